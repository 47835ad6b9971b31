"""Who is asking: a signed-in browser, a visitor by a view-only link, a script with a key, or a stranger.

Strangers get the pages that let them in, the emergency stop, and nothing else. While there is no
password nobody can be signed in, so nothing on this page can move a car that has none.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlencode

from flask import Flask, current_app, g, redirect, request, url_for
from simple_websocket import ConnectionClosed, Server
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.wrappers import Response as AnyResponse

from webui.access_state import hashed, same
from webui.access_store import AccessError, AccessStore
from webui.guard import CHANGING_METHODS, wants_page
from webui.guessing import GuessLimiter
from webui.passwords import Passwords

COOKIE = "lapwing"
SECURE_COOKIE = "__Host-lapwing"  # a browser takes it over HTTPS only, and for this very name only
COOKIE_LIFE_S = 400 * 24 * 3600  # the most that browsers keep; the server ends the session long before
CSRF_HEADER = "X-Lapwing-Token"
CSRF_FIELD = "token"
CLOSED_SIGNED_OUT = 4401

STOP_PATH = "/emergency-stop"
OPEN_PATHS = frozenset({"/login", "/setup", "/sign-in", "/watch", "/ca.crt", STOP_PATH})
OWNERS_PATHS = ("/access",)
"""Not for view-only visitors, not even to look at."""


class VisitorKind(StrEnum):
    """How somebody came in."""

    OWNER = "owner"
    VIEWER = "viewer"
    SCRIPT = "script"


@dataclass(frozen=True)
class Visitor:
    """Somebody who was let in."""

    kind: VisitorKind
    name: str
    """Of the browser, link or key; for people."""
    credential: str
    """Hash of the cookie or key."""
    csrf: str
    """What changes by this session must carry; empty for a script."""
    _store: AccessStore = field(repr=False, compare=False)

    @property
    def may_drive(self) -> bool:
        """Whether this visitor may change anything; all may watch and press the emergency stop."""
        return self.kind is not VisitorKind.VIEWER

    def is_allowed_now(self) -> bool:
        """Whether the session or key still stands; ask again while a socket is open."""
        if self.kind is VisitorKind.SCRIPT:
            return any(same(key.hash, self.credential) for key in self._store.state().keys)
        return self._store.has_session(self.credential)


@dataclass(frozen=True)
class Access:
    """What decides who comes in, once for an application."""

    store: AccessStore
    passwords: Passwords = field(default_factory=Passwords)
    limiter: GuessLimiter = field(default_factory=GuessLimiter)


def protect(app: Flask, access: Access) -> None:
    """Put the doorkeeper before every view, after the guards that look at Host and Origin."""
    app.extensions["access"] = access
    app.before_request(_admit)
    app.context_processor(lambda: {"visitor": g.get("visitor"), "csrf": _csrf()})


def current_access() -> Access:
    """Return what decides for the current application."""
    access = current_app.extensions["access"]
    assert isinstance(access, Access)
    return access


def visitor() -> Visitor:
    """Return who asks; a stranger never gets as far as a view that calls this."""
    asks = g.get("visitor")
    if asks is None:
        raise Unauthorized("Sign in first.")
    assert isinstance(asks, Visitor)
    return asks


def socket_visitor(socket: Server) -> Visitor:
    """Return who opened this WebSocket; call it first in every handler.

    Raises:
        ConnectionClosed: a stranger; the socket has been closed with 4401, so let it pass.

    """
    asks = g.get("visitor")
    if asks is None:
        socket.close(CLOSED_SIGNED_OUT, "Sign in first.")
        raise ConnectionClosed(CLOSED_SIGNED_OUT, "Sign in first.")
    assert isinstance(asks, Visitor)
    return asks


def cookie_name() -> str:
    """Return the name of the session's cookie on this connection."""
    return SECURE_COOKIE if request.is_secure else COOKIE


def give_cookie(response: AnyResponse, token: str) -> None:
    """Let the browser keep its session."""
    response.set_cookie(
        cookie_name(),
        token,
        max_age=COOKIE_LIFE_S,
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
        path="/",
    )


def take_cookie(response: AnyResponse) -> None:
    """Let the browser forget its session."""
    response.delete_cookie(cookie_name(), path="/", secure=request.is_secure, httponly=True, samesite="Lax")


def _csrf() -> str:
    asks = g.get("visitor")
    return asks.csrf if asks is not None else ""


def _recognise(access: Access) -> Visitor | None:
    store = access.store
    authorization = request.headers.get("Authorization", "")
    if authorization:
        scheme, _, text = authorization.partition(" ")
        key = store.key(text.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise Unauthorized("This API key is not known; make one on the page Access.")
        return Visitor(VisitorKind.SCRIPT, key.name, key.hash, "", store)
    token = request.cookies.get(cookie_name(), "")
    session = store.session(token) if token else None
    if session is None:
        return None
    kind = VisitorKind.OWNER if session.kind == "owner" else VisitorKind.VIEWER
    return Visitor(kind, session.name, hashed(token), store.csrf_token(token), store)


def _admit() -> AnyResponse | None:
    """Let the request through, or say where to sign in."""
    access = current_access()
    path = request.path
    if path == STOP_PATH and not _stop_needs_sign_in(access):
        return None  # before anything that could fail or refuse
    g.visitor = asks = _recognise(access)
    if path.startswith("/static/") or (path in OPEN_PATHS and path != STOP_PATH):
        return None
    if asks is None:
        return _turn_away(access)
    if request.method in CHANGING_METHODS and path != STOP_PATH:
        _check_csrf(asks)
        if not asks.may_drive and request.endpoint != "access.sign_out":
            raise Forbidden("You came by a view-only link: you can watch, and press the emergency stop.")
    if (
        asks.kind is not VisitorKind.OWNER
        and path.startswith(OWNERS_PATHS)
        and request.endpoint != ("access.sign_out")
    ):
        raise Forbidden("Only somebody who signed in with the password may see and change who has access.")
    return None


def _stop_needs_sign_in(access: Access) -> bool:
    try:
        return access.store.state().stop_needs_sign_in
    except AccessError:
        return False  # nobody can sign in now, and a car that nobody can stop is worse


def _turn_away(access: Access) -> AnyResponse | None:
    if request.url_rule is not None and request.url_rule.websocket:
        return None  # the handler closes with a code that the page can read; see socket_visitor
    has_password = access.store.has_password
    if request.method in {"GET", "HEAD"} and wants_page():
        if not has_password:
            return redirect(url_for("access.setup"), 303)
        where = "" if request.path == "/" else "?" + urlencode({"next": request.path})
        return redirect(url_for("access.login") + where, 303)
    if not has_password:
        raise Unauthorized(
            "This car has no password yet, and nothing moves before it has one: open its page and set it."
        )
    raise Unauthorized("Sign in first, or send an API key as Bearer.")


def _check_csrf(asks: Visitor) -> None:
    if asks.kind is VisitorKind.SCRIPT:
        return  # no browser sends a key by itself
    sent = request.headers.get(CSRF_HEADER, "")
    if not sent and request.mimetype == "application/x-www-form-urlencoded":
        sent = request.form.get(CSRF_FIELD, "")
    if not same(sent, asks.csrf):
        raise Forbidden(
            f"A change needs this session's token in the header {CSRF_HEADER}; reload the page and try again."
        )
