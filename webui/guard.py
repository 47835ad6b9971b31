"""What every request must pass and every answer must carry, before anybody asks who it is from.

The Host header keeps out names that an attacker's DNS points here, the Origin header keeps out other
pages of the same browser. Who may come in is `webui.access`.
"""

import re
from typing import TypeVar

import msgspec
from flask import Flask, Response, render_template, request
from werkzeug.exceptions import BadRequest, Conflict, Forbidden, HTTPException, NotFound

from vehicle.errors import UNREADABLE, LapwingError, VehicleSilentError
from webui.access_store import AccessError
from webui.hosts import Hosts, is_loopback

BODY_LIMIT_BYTES = 4096  # the largest body of ours is below 200
AGAIN = frozenset({429, 503})
"""What may be better a little later."""
TITLES = {
    403: "You may not do this",
    404: "Not found",
    409: "Not now",
    429: "Too many attempts",
    503: "Not at the moment",
}
"""What a person reads over the sentence."""
CHANGING_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Body = TypeVar("Body", bound=msgspec.Struct)


def protect(app: Flask, hosts: Hosts) -> None:
    """Put the guards before every view of this application and the headers on every answer."""
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
    app.before_request(lambda: _refuse_foreign_hosts(hosts))
    app.before_request(_refuse_foreign_origins)
    app.after_request(_add_security_headers)
    app.register_error_handler(HTTPException, lambda error: _as_sentence(error, hosts))
    app.register_error_handler(VehicleSilentError, _as_silence)
    app.register_error_handler(AccessError, _as_silence)


def security_headers(host: str, *, is_secure: bool) -> dict[str, str]:
    """Return what every answer carries to a browser that came by this name."""
    if is_secure or is_loopback(host):  # elsewhere browsers ignore it, and say so as an error
        return {**SECURITY_HEADERS, "Cross-Origin-Opener-Policy": "same-origin"}
    return SECURITY_HEADERS


def read_body(kind: type[Body]) -> Body:
    """Return the JSON body of the current request, checked; a bad one is a 400 that says what is wrong."""
    if request.mimetype != "application/json":
        raise BadRequest("Send the body as application/json.")
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except UNREADABLE as error:
        raise BadRequest(f"The body is not what is expected here: {error}.") from error


def read_query(kind: type[Body]) -> Body:
    """Return what stands in the address after the question mark, checked; a bad one is a 400."""
    try:
        return msgspec.convert(request.args.to_dict(), kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The address is not what is expected here: {error}.") from error


def read_form(kind: type[Body]) -> Body:
    """Return the fields of the form that was sent; a missing one is empty."""
    return msgspec.convert(request.form.to_dict(), kind)


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
    is_name = re.match(r"\w+[._]\w", reason) is not None  # of a file or a setting: written as it is
    start = reason[:1] if is_name else reason[:1].upper()
    return f"{start}{reason[1:]}{'' if reason.endswith(('.', '?')) else '.'}"


def _refuse_foreign_hosts(hosts: Hosts) -> None:
    host = request.headers.get("Host", "")
    if not hosts.is_ours(host):
        raise Forbidden(
            f"This server answers as {hosts.in_words()}, not as {host[:100]!r}. "
            "Open it by one of those, or add the name to `page.names` in car.toml."
        )


def _refuse_foreign_origins() -> None:
    is_socket = request.url_rule is not None and request.url_rule.websocket
    if request.method not in CHANGING_METHODS and not is_socket:
        return
    origin = request.headers.get("Origin")
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if origin is None and fetch_site is None:
        if "Authorization" in request.headers:
            return  # a script: no browser sends a key to us without being told by our own page
        raise Forbidden("A change needs an Origin header that names this server.")
    own_origin = f"{request.scheme}://{request.headers['Host']}"
    if origin is not None and origin.lower() != own_origin.lower():
        raise Forbidden(f"A page of {origin[:100]!r} may not change anything here; only {own_origin} may.")
    if is_socket and origin is not None:
        return  # browsers differ in what they call the site of a ws: address
    if fetch_site is not None and fetch_site != "same-origin":
        raise Forbidden(f"A {fetch_site[:20]!r} page may not change anything here; only our own may.")


def _add_security_headers(response: Response) -> Response:
    response.headers.update(security_headers(request.host, is_secure=request.is_secure))
    return response


def wants_page() -> bool:
    """Whether a person goes to this address, rather than a script or a page that asks by itself."""
    accepted = request.accept_mimetypes
    return accepted.quality("text/html") > accepted.quality("application/json")


def _as_sentence(error: HTTPException, hosts: Hosts) -> tuple[Response | str, int]:
    is_unsaid = error.description == NotFound.description
    words = "There is nothing at this address." if is_unsaid else str(error.description)
    return _refusal(words, error.code or 500, hosts)


def _as_silence(error: LapwingError) -> tuple[Response | str, int]:
    return _refusal(sentence(str(error)), 503)


def _refusal(words: str, status: int, hosts: Hosts | None = None) -> tuple[Response | str, int]:
    """Return the sentence, to a person as a page that can stop the car, too."""
    is_here = hosts is None or hosts.is_ours(request.headers.get("Host", ""))
    if wants_page() and is_here:  # by another name neither its style nor its stop would come
        again = request.full_path.rstrip("?") if request.method == "GET" and status in AGAIN else ""
        title = TITLES.get(status, "That did not work")
        return render_template("refused.html", title=title, words=words, again=again), status
    return answer({"error": words}), status
