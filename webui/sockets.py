"""What every WebSocket of the page shares: its place among few, its lock, and how full its way out is."""

import array
import fcntl
import termios
import threading
from collections import Counter
from typing import Any

from flask import Blueprint, g, request
from simple_websocket import ConnectionClosed, Server
from werkzeug.exceptions import BadRequest, ServiceUnavailable
from wsproto.utilities import LocalProtocolError

SOCKET_LIMIT = 40  # of the server's 64 threads: a stop by POST always finds a free one
SOCKETS_OF_ONE_ADDRESS = 24  # twelve tabs of one computer
OPTIONS = {"ping_interval": 2.0, "max_message_size": 4096, "receive_bytes": 16384}
"""A record of TLS is at most 16384 bytes; what stays inside OpenSSL would not wake the reader."""
WAITING_LIMIT = 64  # messages read and not yet obeyed: more is a flood
UNSENT_LIMIT_BYTES = 64 * 1024
CLOSED_FLOOD = 4429


class Places:
    """Counts long-lived connections; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> None:
        """Take a place; raises ServiceUnavailable with a sentence when there is none."""
        with self._lock:
            if self._taken.total() >= SOCKET_LIMIT:
                raise ServiceUnavailable(
                    f"{SOCKET_LIMIT} connections are open already; close a page, then try again."
                )
            if self._taken[address] >= SOCKETS_OF_ONE_ADDRESS:
                raise ServiceUnavailable(
                    f"{SOCKETS_OF_ONE_ADDRESS} connections of {address} are open already; close a page there."
                )
            self._taken[address] += 1

    def give_back(self, address: str) -> None:
        """Free a place."""
        with self._lock:
            self._taken[address] -= 1
            self._taken += Counter()  # forgets addresses without any


def guard_sockets(blueprint: Blueprint, places: Places) -> None:
    """Let only as many sockets be opened here as there are places; the guard has looked at their origin."""

    @blueprint.before_request
    def enter() -> None:
        if request.url_rule is None or not request.url_rule.websocket:
            return
        if "HTTP_SEC_WEBSOCKET_KEY" not in request.environ:
            raise BadRequest("This address is for WebSockets; open it with one.")
        # JPEG does not get smaller, and a compressor for each of ten viewers costs the car's computer.
        request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        address = request.remote_addr or ""
        places.take(address)
        g.place = address

    @blueprint.teardown_request
    def leave(error: BaseException | None) -> None:
        del error
        address = g.pop("place", None)
        if address is not None:
            places.give_back(address)


class Line:
    """One WebSocket with two users: a thread that reads and one that writes whole messages."""

    def __init__(self, socket: Server) -> None:
        self._socket = socket
        socket.sock = _OneWriter(socket.sock)

    @property
    def is_open(self) -> bool:
        """Whether the other side is there."""
        return bool(self._socket.connected)

    def receive(self, timeout_s: float) -> str | bytes | None:
        """Return the next message, None after the time-out; raises ConnectionClosed."""
        if len(self._socket.input_buffer) > WAITING_LIMIT:
            self._socket.close(CLOSED_FLOOD, "Too many messages at once.")
        message = self._socket.receive(timeout_s)
        assert message is None or isinstance(message, str | bytes)
        return message

    def receive_all(self, timeout_s: float) -> list[str | bytes]:
        """Return the messages that wait, after waiting for one; empty after the time-out."""
        first = self.receive(timeout_s)
        if first is None:
            return []
        messages = [first]
        while self._socket.input_buffer:
            messages.append(self._socket.input_buffer.pop(0))
        return messages

    def is_clogged(self) -> bool:
        """Whether earlier messages still wait to leave: what is added now would arrive old."""
        return unsent_bytes(self._socket.sock) > UNSENT_LIMIT_BYTES

    def send(self, message: str | bytes) -> None:
        """Send a message; raises ConnectionClosed or OSError."""
        try:
            self._socket.send(message)
        except LocalProtocolError as error:  # closed by the other side between the look and the sending
            raise ConnectionClosed(self._socket.close_reason, str(error)) from None

    def close(self, code: int, reason: str) -> None:
        """Close with a code that the page can read."""
        self._socket.close(code, reason)


def unsent_bytes(socket: Any) -> float:
    """Return how much a socket was given and has not sent; infinite for one that is closed."""
    unsent = array.array("i", [0])
    try:
        fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, unsent)
    except (OSError, ValueError):
        return float("inf")
    return unsent[0]


class _OneWriter:
    """A socket that sends whole messages, one after the other: pings come from the reading thread."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._lock = threading.Lock()

    def send(self, data: bytes) -> int:
        with self._lock:
            self._socket.sendall(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
