"""A network between browsers and the car's page that a test can cut and mend."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit

CHUNK_BYTES = 65536


class Network:
    """Passes connections on to the page; cut, it swallows what is sent, as Wi-Fi out of reach does.

    Nobody is told: a connection of before the cut stays silent for ever, as when a phone comes back by
    another way.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._far = ("127.0.0.1", parts.port or 443)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{parts.scheme}://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._lock = threading.Lock()
        self._is_cut = False
        self._lost: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="network", daemon=True).start()

    def cut(self) -> None:
        """Let nothing through any more."""
        with self._lock:
            self._is_cut = True
            self._lost |= self._open

    def mend(self) -> None:
        """Let new connections through."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """End every connection."""
        with self._lock:
            ends = [self._listener, *self._open]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._far)
                with self._lock:
                    self._open |= {near, far}
                    if self._is_cut:
                        self._lost |= {near, far}
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=ends, name="network", daemon=True).start()

    def _carry(self, come_from: socket.socket, goes_to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := come_from.recv(CHUNK_BYTES):
                if come_from not in self._lost:
                    goes_to.sendall(chunk)
        if come_from not in self._lost:  # else the other side never hears of it
            with contextlib.suppress(OSError):
                goes_to.shutdown(socket.SHUT_RDWR)
