"""What the car's access file holds: password, sessions, keys and links, every secret as a hash only."""

import hashlib
import hmac
import secrets
from typing import Literal

import msgspec

SESSION_LIFE_NS = 7 * 24 * 3600 * 10**9  # since its last use, counted while the computer runs
SIGN_IN_LINK_LIFE_NS = 10 * 60 * 10**9
SESSIONS_KEPT = 50  # the one longest unused goes first
TOKEN_BYTES = 32
NAME_LENGTH = 60

SessionKind = Literal["owner", "viewer"]


class Session(msgspec.Struct, frozen=True):
    """One signed-in browser."""

    kind: SessionKind
    name: str
    """What the browser says it is, for people."""
    used_ns: int
    """On the store's clock."""
    link: str = ""
    """Of a viewer: the id of the link it came by, which ends it when revoked."""


class Secret(msgspec.Struct, frozen=True):
    """An API key or a view-only link; whoever has its text may come in."""

    id: str
    name: str
    hash: str
    made_at: str
    """By the car's wall clock, which may be wrong; for people only."""


class SignInLink(msgspec.Struct, frozen=True):
    """Lets one browser in, once, soon."""

    hash: str
    made_ns: int


class AccessState(msgspec.Struct, frozen=True):
    """Everything that decides who may come in."""

    version: int = 1
    password: str = ""
    """As argon2 writes it; empty before the first visit."""
    sessions: dict[str, Session] = {}
    """By the hash of the cookie."""
    keys: tuple[Secret, ...] = ()
    view_links: tuple[Secret, ...] = ()
    sign_in_links: tuple[SignInLink, ...] = ()
    stop_needs_sign_in: bool = False
    """At events: strangers on the network may not stop the car."""
    boot: str = ""
    saved_ns: int = 0
    """When and in which boot this was written: the clock starts anew with each."""

    def moved_to(self, boot: str, now_ns: int) -> "AccessState":
        """Return the same in this boot's time; what passed while the computer was off counts nothing."""
        if boot == self.boot:
            return self
        shift_ns = now_ns - self.saved_ns
        sessions = {
            key: msgspec.structs.replace(session, used_ns=session.used_ns + shift_ns)
            for key, session in self.sessions.items()
        }
        return msgspec.structs.replace(self, sessions=sessions, sign_in_links=(), boot=boot, saved_ns=now_ns)

    def without_expired(self, now_ns: int) -> "AccessState":
        """Return the same without what has run out, and with no more sessions than are kept."""
        alive = [
            (key, session)
            for key, session in self.sessions.items()
            if now_ns - session.used_ns < SESSION_LIFE_NS
        ]
        alive.sort(key=lambda item: item[1].used_ns)
        links = tuple(link for link in self.sign_in_links if now_ns - link.made_ns < SIGN_IN_LINK_LIFE_NS)
        return msgspec.structs.replace(self, sessions=dict(alive[-SESSIONS_KEPT:]), sign_in_links=links)


def new_token() -> str:
    """Return a secret that nobody can guess, fit for a cookie, a header or an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hashed(token: str) -> str:
    """Return what is kept of a secret; a plain hash is enough for one that no dictionary holds."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def same(first: str, second: str) -> bool:
    """Compare two hashes or tokens without telling by the time how far they agree."""
    return hmac.compare_digest(first.encode("utf-8", "replace"), second.encode("utf-8", "replace"))


def short_name(text: str, otherwise: str) -> str:
    """Return a name for people: one line, not too long."""
    return " ".join(text.split())[:NAME_LENGTH].strip() or otherwise
