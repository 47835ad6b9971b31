"""A TLS socket that two threads may use at once: one reads a WebSocket while the other writes it.

OpenSSL allows no two calls on one connection at the same time, and Python 3.11 does not keep them apart.
So nothing here ever blocks inside OpenSSL: each call is made under a lock on a socket that does not
block, and waiting for the network happens outside it. Writers wait for one another, and `send` sends
all it is given, which a plain blocking socket does and a TLS one does not (it stops after 16 KiB).
"""

import functools
import select
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Buffer

Result = TypeVar("Result")
HANDSHAKE_LIMIT_S = 5.0
LOOK_AGAIN_S = 1.0  # at whether another thread has closed the socket; Linux does not wake who waits for it


class SharedTlsSocket(ssl.SSLSocket):
    """What an SSLContext makes when its `sslsocket_class` is this."""

    _patience_s: float | None
    _call: threading.Lock
    _writing: Any
    """A lock that its owner may take again; `threading.RLock` is a function before Python 3.13."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "SharedTlsSocket":
        """Make the locks: an SSLSocket's `__init__` is never called."""
        self = super().__new__(cls, *args, **kwargs)
        self._patience_s = None
        self._call = threading.Lock()
        self._writing = threading.RLock()
        return self

    def settimeout(self, value: float | None) -> None:
        """Set how long reading and writing wait; the socket itself never does."""
        self._patience_s = value
        super().settimeout(0.0)

    def setblocking(self, flag: bool) -> None:
        """Wait for ever, or not at all."""
        self.settimeout(None if flag else 0.0)

    def gettimeout(self) -> float | None:
        """Return how long reading and writing wait."""
        return self._patience_s

    def do_handshake(self, block: bool = False) -> None:
        """Agree on a key, in at most five seconds: whoever is slower holds a thread for nothing."""
        del block
        self._patiently(super().do_handshake, HANDSHAKE_LIMIT_S)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return what has come, waiting for the first byte."""
        return self._patiently(functools.partial(super().recv, buflen, flags), self._patience_s)

    def recv_into(self, buffer: "Buffer", nbytes: int | None = None, flags: int = 0) -> int:
        """As `recv`, into a buffer."""
        return self._patiently(functools.partial(super().recv_into, buffer, nbytes, flags), self._patience_s)

    def send(self, data: "Buffer", flags: int = 0) -> int:
        """Send all of it; return its length."""
        with memoryview(data) as view, view.cast("B") as left, self._writing:
            sent = 0
            while sent < len(left):
                sent += self._patiently(functools.partial(super().send, left[sent:], flags), self._patience_s)
            return sent

    def sendall(self, data: "Buffer", flags: int = 0) -> None:
        """Send all of it."""
        self.send(data, flags)

    def _patiently(self, call: Callable[[], Result], patience_s: float | None) -> Result:
        deadline_s = None if patience_s is None else time.monotonic() + patience_s
        while True:
            try:
                with self._call:
                    return call()
            except ssl.SSLWantReadError:
                if patience_s == 0.0:
                    raise
                awaited = select.POLLIN
            except ssl.SSLWantWriteError:
                if patience_s == 0.0:
                    raise
                awaited = select.POLLOUT
            self._wait(awaited, deadline_s)

    def _wait(self, awaited: int, deadline_s: float | None) -> None:
        left_s = LOOK_AGAIN_S if deadline_s is None else deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the other side said nothing in time")
        descriptor = self.fileno()
        if descriptor < 0:
            raise ConnectionAbortedError("the connection was closed meanwhile")
        poller = select.poll()
        poller.register(descriptor, awaited)
        poller.poll(1000 * min(left_s, LOOK_AGAIN_S))
