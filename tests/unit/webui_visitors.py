"""Visitors for tests of the page: signed in, watching by a view-only link, or with an API key.

None of them types a password: that takes its time on purpose, and has tests of its own.
"""

from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from webui.access import COOKIE, CSRF_HEADER, Access
from webui.access_state import SessionKind
from webui.access_store import AccessStore

PASSWORD = "correct horse battery"
PASSWORD_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$+p+EoJ5KZIrmNPQtzt8fGw$W+YMfj1gGf3oMkrZznFz3lqAKmUooWLTACXQP3heWe0"
)


def store_of(app: Flask) -> AccessStore:
    """Return who may come in to this application."""
    access = app.extensions["access"]
    assert isinstance(access, Access)
    return access.store


def signed_in(app: Flask) -> FlaskClient:
    """Return a browser whose owner has signed in; its changes carry the session's token by themselves."""
    return _client(app, "owner")


def watcher(app: Flask) -> FlaskClient:
    """Return a browser that came by a view-only link."""
    return _client(app, "viewer")


def script(app: Flask, name: str = "a test") -> FlaskClient:
    """Return a client without cookies that sends an API key."""
    key = _with_password(store_of(app)).make_key(name)
    client = app.test_client(use_cookies=False)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
    return client


def browser_cookies(app: Flask, url: str, kind: SessionKind = "owner") -> list[dict[str, Any]]:
    """Return what `context.add_cookies` needs to sign a real browser in over plain HTTP."""
    token = _open(store_of(app), kind)
    return [{"name": COOKIE, "value": token, "url": url}]


def signed_in_headers(root: Path | None = None) -> dict[str, str]:
    """Return headers for a server process that keeps its access in `root`, else in this test's home."""
    store = AccessStore(root)
    token = _open(store, "owner")
    return {"Cookie": f"{COOKIE}={token}", CSRF_HEADER: store.csrf_token(token)}


def _client(app: Flask, kind: SessionKind) -> FlaskClient:
    store = store_of(app)
    token = _open(store, kind)
    client = app.test_client(use_cookies=False)  # a header: it goes along whatever the host is called
    client.environ_base["HTTP_COOKIE"] = f"{COOKIE}={token}"
    client.environ_base[f"HTTP_{CSRF_HEADER.upper().replace('-', '_')}"] = store.csrf_token(token)
    return client


def _open(store: AccessStore, kind: SessionKind) -> str:
    _with_password(store)
    if kind == "owner":
        return store.open_session("owner", "Test browser")
    link = store.view_link(store.make_view_link("A friend"))
    assert link is not None
    return store.open_session("viewer", link.name, link.id)


def _with_password(store: AccessStore) -> AccessStore:
    if not store.has_password:
        store.set_password(PASSWORD_HASH)
    return store
