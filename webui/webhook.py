"""Sends race events to the one address that the owner gave: signed, in order, again when it fails.

A thread of its own does it; whoever puts an event here never waits, and what cannot be delivered is dropped.
"""

import hashlib
import hmac
import http.client
import logging
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from calibration.errors import CalibrationError
from calibration.store import write_atomically
from vehicle.errors import ConfigError
from webui.race_watch import RaceEvent

log = logging.getLogger("webhook")

TIMEOUT_S = 5.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
GIVE_UP_S = 600.0  # a lap of ten minutes ago helps nobody at a race
WAITING_LIMIT = 500
KEY_BYTES = 32
RETRIED = frozenset({408, 425, 429})  # beside 5xx: the receiver says that it may go well later

Post = Callable[[str, bytes, dict[str, str]], int]
"""Sends to an address; returns the status, raises OSError or HTTPException when nobody answers."""


class WebhookStatus(msgspec.Struct, frozen=True):
    """How deliveries fare."""

    waiting: int
    delivered: int
    dropped: int
    problem: str
    """Of the newest attempt, in words, or empty."""
    host: str
    """Where events go; the rest of the address is often a secret."""
    delivered_ago_s: float | None
    """Since the last event that arrived; None before one."""
    last_problem: str
    """The newest one, also when things have gone well since."""
    failed_ago_s: float | None


def checked_url(url: str) -> str:
    """Return the address; raises ConfigError for one that cannot be posted to, and does not repeat it."""
    refusal = ConfigError(
        "the webhook's address cannot be used, allowed is http:// or https:// and an address, without user "
        "and password"
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refusal from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise refusal
    if parts.username or parts.password or any(sign <= " " for sign in url):
        raise refusal
    return url


def webhook_key(folder: Path) -> bytes:
    """Return the key that signs deliveries, made at the first call; raises ConfigError."""
    path = folder / "webhook-key"
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        text = secrets.token_hex(KEY_BYTES)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, f"{text}\n".encode())
            path.chmod(0o600)
        except (OSError, CalibrationError) as error:
            raise ConfigError(f"the webhook's key cannot be kept in {path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the webhook's key in {path} cannot be read: {error}") from None
    if len(text) < 2 * KEY_BYTES:
        raise ConfigError(f"the webhook's key in {path} is too short; remove the file, and another is made")
    return text.encode()


def signature(key: bytes, stamp: str, body: bytes) -> str:
    """Return what proves that a body comes from this car, and when it was sent."""
    return "sha256=" + hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """Takes events from any thread; `start` begins to send them."""

    def __init__(
        self,
        url: str,
        key: bytes | Callable[[], bytes],
        *,
        is_fixed: bool = False,
        post: Post | None = None,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Begin with an address, empty for none; raises ConfigError as `point_at` does.

        `key` may be asked for when it is needed. A fixed address was given on the command line: no page
        changes it.
        """
        self.is_fixed = is_fixed
        self._url, self._key = "", b""
        self._find_key = key if callable(key) else lambda: key
        self._post = post or post_once
        self._now_s = now_s
        self._wall_s = wall_s
        self._came = threading.Condition()
        self._waiting: deque[tuple[float, RaceEvent]] = deque()
        self._delivered = self._dropped = 0
        self._problem = self._last_problem = ""
        self._delivered_s: float | None = None
        self._failed_s: float | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self.point_at(url)

    def point_at(self, url: str) -> None:
        """Send what comes from now on to another address, empty for nowhere; what waited was for the old one.

        Raises ConfigError for an address that cannot be posted to, or without a key to sign with.
        """
        key = self._find_key() if url and checked_url(url) else b""
        with self._came:
            if url == self._url:
                return
            self._url, self._key = url, key
            self._waiting.clear()
            self._delivered = self._dropped = 0
            self._problem = self._last_problem = ""
            self._delivered_s = self._failed_s = None
            self._came.notify_all()

    def start(self) -> None:
        """Send what comes, in a thread of its own."""
        self._thread.start()

    def put(self, event: RaceEvent) -> None:
        """Take an event to be sent; never waits for the network."""
        with self._came:
            if not self._url:
                return
            if len(self._waiting) >= WAITING_LIMIT:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append((self._now_s(), event))
            self._came.notify_all()

    def status(self) -> WebhookStatus | None:
        """Return how deliveries fare, None where they go nowhere."""
        with self._came:
            if not self._url:
                return None
            return WebhookStatus(
                waiting=len(self._waiting),
                delivered=self._delivered,
                dropped=self._dropped,
                problem=self._problem,
                host=urlsplit(self._url).hostname or "",
                delivered_ago_s=self._ago(self._delivered_s),
                last_problem=self._last_problem,
                failed_ago_s=self._ago(self._failed_s),
            )

    def _ago(self, then_s: float | None) -> float | None:
        return None if then_s is None else max(0.0, self._now_s() - then_s)

    def close(self) -> None:
        """Send nothing more; an attempt under way ends within its time-out."""
        with self._came:
            self._closing = True
            self._came.notify_all()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_S + 1.0)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            with self._came:
                self._came.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                since_s, event = self._waiting[0]
                url = self._url
            if self._try(since_s, event):
                pause_s = FIRST_PAUSE_S
                continue
            with self._came:
                is_new = self._came.wait_for(partial(self._has_left, url), pause_s)
            pause_s = FIRST_PAUSE_S if is_new else min(2 * pause_s, LONGEST_PAUSE_S)

    def _has_left(self, url: str) -> bool:
        """Whether nothing is sent to that address any more."""
        return self._closing or self._url != url

    def _try(self, since_s: float, event: RaceEvent) -> bool:
        """Try to deliver the oldest event; return whether the next one may follow at once."""
        with self._came:
            url, key = self._url, self._key
        problem, is_final = self._send(url, key, event)
        is_old = self._now_s() - since_s > GIVE_UP_S
        with self._came:
            if url != self._url:  # how the old address fares is nobody's business any more
                return True
            if problem and problem != self._problem:
                log.warning("the webhook at %s: %s", urlsplit(url).hostname, problem)
            self._problem = problem
            if problem:
                self._last_problem, self._failed_s = problem, self._now_s()
            if problem and not is_final and not is_old:
                return False
            if self._waiting and self._waiting[0][1] is event:
                self._waiting.popleft()
            if problem:
                self._dropped += 1
            else:
                self._delivered += 1
                self._delivered_s = self._now_s()
            return not problem or is_final

    def _send(self, url: str, key: bytes, event: RaceEvent) -> tuple[str, bool]:
        """Return what went wrong, empty for nothing, and whether trying again is of no use."""
        body, stamp = msgspec.json.encode(event), str(int(self._wall_s()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Lapwing",
            "X-Lapwing-Event": event.kind.value,
            "X-Lapwing-Delivery": event.id,
            "X-Lapwing-Timestamp": stamp,
            "X-Lapwing-Signature": signature(key, stamp, body),
        }
        try:
            status = self._post(url, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return f"nobody answers ({error})", False
        if 200 <= status < 300:
            return "", False
        return f"it answers {status}", not (status >= 500 or status in RETRIED)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Whoever answers there cannot send the car's events elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def post_once(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post, and return the status; follows nothing, and reads no more of the answer."""
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - checked_url
    try:
        with _opener.open(request, timeout=TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)
