"""The page's gunicorn worker: threads, kept free for a stop whatever one computer on the network does.

One address gets at most half of the threads, and a connection whose request does not come within eight
seconds loses its own. On an HTTPS port a browser that tries plain HTTP first is sent on to HTTPS.
"""

import contextlib
import re
import socket
import threading
import time
from collections import Counter
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

ADDRESS_LIMIT = 32
REQUEST_LIMIT_S = 8.0  # gunicorn itself gives an empty connection its thread for five
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

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection a thread, unless its address has its share already."""
        address = _address_of(conn)
        with self._lock:
            is_over = self._held[address] >= ADDRESS_LIMIT
            if not is_over:
                self._held[address] += 1
        if is_over:
            self.nr_conns -= 1
            conn.close()
            return
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> object:
        """Answer one request, or give the thread back when none comes."""
        try:
            if self.cfg.is_ssl and not conn.initialized and self._is_plain(conn):
                return False
            with self._lock:
                self._awaited[conn] = time.monotonic()
            return super().handle(conn)
        finally:
            address = _address_of(conn)
            with self._lock:
                self._awaited.pop(conn, None)
                self._held[address] -= 1
                if not self._held[address]:
                    del self._held[address]

    def handle_request(self, req: object, conn: TConn) -> object:
        """Answer a request whose head has come whole."""
        with self._lock:
            self._awaited.pop(conn, None)
        return super().handle_request(req, conn)

    def notify(self) -> None:
        """Say that the worker lives; at the same beat, end connections that say nothing."""
        super().notify()
        oldest_s = time.monotonic() - REQUEST_LIMIT_S
        with self._lock:
            late = [conn for conn, since_s in self._awaited.items() if since_s < oldest_s]
        for conn in late:
            # Not through `conn.sock`: an SSLSocket forgets its key then, under the feet of its reader.
            with contextlib.suppress(OSError, ValueError):
                socket.socket.shutdown(conn.sock, socket.SHUT_RDWR)

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


def _address_of(conn: TConn) -> str:
    return str(conn.client[0]) if isinstance(conn.client, tuple) else ""
