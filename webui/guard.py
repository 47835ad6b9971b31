"""What every request must pass and every answer must carry.

There is no login yet, so only pages of this very server, seen by a browser on this very computer,
may speak: the Host header keeps out names that an attacker's DNS points here, the Origin header
keeps out other pages of the same browser.
"""

import re
from typing import TypeVar

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, Conflict, Forbidden, HTTPException

from vehicle.errors import VehicleSilentError

BODY_LIMIT_BYTES = 4096  # the largest body of ours is below 200
LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
CHANGING_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Body = TypeVar("Body", bound=msgspec.Struct)


def protect(app: Flask) -> None:
    """Put the guards before every view of this application and the headers on every answer."""
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
    app.before_request(_refuse_foreign_hosts)
    app.before_request(_refuse_foreign_origins)
    app.after_request(_add_security_headers)
    app.register_error_handler(HTTPException, _as_sentence)
    app.register_error_handler(VehicleSilentError, _as_silence)


def read_body(kind: type[Body]) -> Body:
    """Return the JSON body of the current request, checked; a bad one is a 400 that says what is wrong."""
    if request.mimetype != "application/json":
        raise BadRequest("Send the body as application/json.")
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not what is expected here: {error}.") from error


def refuse_late(seen_ns: int, now_ns: int, limit_s: float) -> None:
    """Refuse what was sent by a page that looked at the car too long ago, or has waited on the way."""
    age_s = (now_ns - seen_ns) / 1e9
    if not 0 <= age_s <= limit_s:
        raise Conflict(
            f"This came {age_s:.1f} s after the page last heard of the car, allowed {limit_s:.1f} s. "
            "Look at the car, then try again."
        )


def answer(document: object) -> Response:
    """Return `document` as JSON; numbers that are not finite become null."""
    return Response(msgspec.json.encode(document), mimetype="application/json")


def sentence(reason: str) -> str:
    """Return a reason from the vehicle as a sentence for people."""
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith(('.', '?')) else '.'}"


def _refuse_foreign_hosts() -> None:
    host = request.headers.get("Host", "")
    if not LOOPBACK_HOST.fullmatch(host):
        raise Forbidden(
            f"This server answers only as localhost, not as {host!r}: it has no login yet. "
            "Open it on the car's own computer, or through `ssh -L`."
        )


def _refuse_foreign_origins() -> None:
    if request.method not in CHANGING_METHODS:
        return
    origin = request.headers.get("Origin")
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if origin is None and fetch_site is None:
        raise Forbidden("A change needs an Origin header that names this server.")
    own_origin = f"{request.scheme}://{request.headers['Host']}"
    if origin is not None and origin.lower() != own_origin.lower():
        raise Forbidden(f"A page of {origin!r} may not change anything here; only {own_origin} may.")
    if fetch_site is not None and fetch_site != "same-origin":
        raise Forbidden(f"A {fetch_site!r} page may not change anything here; only this server's own may.")


def _add_security_headers(response: Response) -> Response:
    response.headers.update(SECURITY_HEADERS)
    return response


def _as_sentence(error: HTTPException) -> tuple[Response, int]:
    return answer({"error": error.description}), error.code or 500


def _as_silence(error: VehicleSilentError) -> tuple[Response, int]:
    return answer({"error": sentence(str(error))}), 503
