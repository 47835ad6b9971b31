"""The page's gunicorn worker: threads, kept free for a stop whatever one computer on the network does.

One computer gets at most half of the threads, and a connection whose request does not come within eight
seconds, body and all, loses its own; when threads run short, whoever has let its thread wait for longest
does at once. A connection that is over is closed by its own thread: whoever does not hang up holds
nobody up. On an HTTPS port a browser that tries plain HTTP first is sent on to HTTPS.
"""

import contextlib
import errno
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

from webui.computers import computer_of

THREADS = 64
COMPUTER_LIMIT = 32
SPARE_THREADS = 8
REQUEST_LIMIT_S = 8.0  # gunicorn itself gives an empty connection its thread for five
FAREWELL_S = 0.5  # for the other side to take the last bytes; closed at once it would lose them
UNHEARD_LIMIT_MS = 10_000  # of what was sent and is not acknowledged, or not taken: nobody is there
OUT_OF_REACH = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})
TLS_HANDSHAKE = b"\x16"
PLAIN_HEAD_BYTES = 4096
HOST_LINE = re.compile(rb"\r\nHost:[ \t]*([A-Za-z0-9.:\[\]-]{1,255})[ \t]*\r\n", re.IGNORECASE)
PATH_LINE = re.compile(rb"[A-Z]+ (/[!-~]{0,1000}) HTTP/1\.[01]\r\n")


class CarWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threads as gunicorn's own, with limits that keep some of them free."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._awaited: dict[TConn, float] = {}
        self.log.error_log.addFilter(_is_news)

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection a thread, unless its computer has its share already."""
        computer = _computer_of(conn)
        with self._lock:
            is_over = self._held[computer] >= COMPUTER_LIMIT
            if not is_over:
                self._held[computer] += 1
            slowest = None
            if self._held.total() > THREADS - SPARE_THREADS and not is_over:
                slowest = min(self._awaited, key=self._awaited.__getitem__, default=None)
                self._awaited.pop(slowest, None)
        if is_over:
            self.nr_conns -= 1
            conn.close()
            return
        if slowest is not None:
            _hang_up(slowest)
        if not conn.initialized:
            with contextlib.suppress(OSError):
                conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNHEARD_LIMIT_MS)
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> object:
        """Answer one request, or give the thread back when none comes."""
        began_s = time.monotonic()
        goes_on: object = False
        try:
            with self._awaiting(conn, began_s):
                is_plain = self.cfg.is_ssl and not conn.initialized and self._is_plain(conn)
            if not is_plain:
                with self._lock:
                    self._awaited[conn] = began_s
                goes_on = super().handle(conn)
            return goes_on
        finally:
            with self._lock:
                self._awaited.pop(conn, None)
            if not goes_on:
                close_graceful(conn.sock, FAREWELL_S)
            computer = _computer_of(conn)
            with self._lock:
                self._held[computer] -= 1
                if not self._held[computer]:
                    del self._held[computer]

    def handle_request(self, req: Any, conn: TConn) -> object:
        """Answer a request whose head has come whole, and whose body may not take for ever."""
        with self._lock:
            began_s = self._awaited.pop(conn, time.monotonic())
        req.body = AwaitedBody(req.body, lambda: self._awaiting(conn, began_s))
        return super().handle_request(req, conn)

    def finish_request(self, conn: TConn, done: "Future[object]") -> None:
        """Keep the connection for its next request, or count it out: its thread has closed it."""
        if done.cancelled() or done.exception() is not None or not done.result():
            self.nr_conns -= 1
            conn.close()
        else:
            super().finish_request(conn, done)

    def notify(self) -> None:
        """Say that the worker lives; at the same beat, end connections that say nothing."""
        super().notify()
        oldest_s = time.monotonic() - REQUEST_LIMIT_S
        with self._lock:
            late = [conn for conn, since_s in self._awaited.items() if since_s < oldest_s]
        for conn in late:
            _hang_up(conn)

    @contextlib.contextmanager
    def _awaiting(self, conn: TConn, since_s: float) -> Iterator[None]:
        with self._lock:
            self._awaited[conn] = since_s
        try:
            yield
        finally:
            with self._lock:
                self._awaited.pop(conn, None)

    def _is_plain(self, conn: TConn) -> bool:
        """Whether a browser speaks HTTP to the HTTPS port; it has been told where to go then."""
        conn.sock.settimeout(REQUEST_LIMIT_S)
        with contextlib.suppress(OSError):
            if conn.sock.recv(1, socket.MSG_PEEK) in {TLS_HANDSHAKE, b""}:
                return False
            head = b""
            while b"\r\n\r\n" not in head and len(head) < PLAIN_HEAD_BYTES:
                more = conn.sock.recv(PLAIN_HEAD_BYTES)
                if not more:
                    break
                head += more
            conn.sock.sendall(_redirect(head))
        return True


class AwaitedBody:
    """A request's body, whose reader holds a thread while it waits."""

    def __init__(self, body: Any, awaiting: Callable[[], AbstractContextManager[None]]) -> None:
        self._body = body
        self._awaiting = awaiting

    def take_long(self) -> None:
        """Let reading take as long as it does: whoever reads sees to it that the sender does not sleep."""
        self._awaiting = contextlib.nullcontext

    def read(self, size: int | None = None) -> bytes:
        """Return so many bytes, or fewer at the end."""
        with self._awaiting():
            data = self._body.read(size)
        assert isinstance(data, bytes)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


def _redirect(head: bytes) -> bytes:
    """Return the answer to a plain request: the same address over HTTPS."""
    path, host = PATH_LINE.match(head), HOST_LINE.search(head)
    if path is None or host is None:
        return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    lines = [
        b"HTTP/1.1 307 Temporary Redirect",  # a stop sent here is sent again, with its method
        b"Location: https://" + host[1] + path[1],
        b"Cache-Control: no-store",
        b"Content-Length: 0",
        b"Connection: close",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a word of the server's is worth a line: a phone that has left is no mistake of anybody's."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) and error.errno in OUT_OF_REACH)


def _hang_up(conn: TConn) -> None:
    """Let whoever reads from this connection find its end."""
    # Not through `conn.sock`: an SSLSocket forgets its key then, under the feet of its reader.
    with contextlib.suppress(OSError, ValueError):
        socket.socket.shutdown(conn.sock, socket.SHUT_RDWR)


def _computer_of(conn: TConn) -> str:
    return computer_of(str(conn.client[0])) if isinstance(conn.client, tuple) else ""
