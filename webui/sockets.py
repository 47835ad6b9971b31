"""What every WebSocket of the page shares: its place among few, its lock, and how full its way out is."""

import array
import errno
import fcntl
import select
import selectors
import termios
import threading
import time
from collections import Counter, deque
from typing import Any

from flask import Blueprint, g, request
from simple_websocket import ConnectionClosed, Server
from werkzeug.exceptions import BadRequest, ServiceUnavailable
from wsproto.utilities import LocalProtocolError

from webui.computers import computer_of

SOCKET_LIMIT = 40  # of the server's 64 threads: a stop by POST always finds a free one
SOCKETS_OF_ONE_COMPUTER = 24  # twelve tabs
PING_S = 2.0
WAITING_LIMIT = 64  # messages read and not yet obeyed: more is a flood
UNSENT_LIMIT_BYTES = 64 * 1024
CLOSED_FLOOD = 4429
CONTROL_FRAME = 0x08  # a bit of a frame's first byte: ping, pong or close, at most 125 bytes
CLOSE_OPCODE = 0x8
CONTROL_FRAMES_WAITING = 8


class SteadySelector(selectors.PollSelector):
    """Wakes its socket's thread for the next ping, whatever the time of day does meanwhile.

    That thread reckons by the wall clock: stepped back by an hour, it would not notice for an hour that
    nobody is there any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self._due_s = time.monotonic() + PING_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for something to read; return nothing when a ping is due."""
        left_s = max(0.0, self._due_s - time.monotonic())
        ready = super().select(left_s if timeout is None else min(left_s, timeout))
        if not ready:
            self._due_s = time.monotonic() + PING_S
        return ready


OPTIONS = {
    "ping_interval": PING_S,
    "max_message_size": 4096,
    "receive_bytes": 16384,
    "selector_class": SteadySelector,
}
"""A record of TLS is at most 16384 bytes; what stays inside OpenSSL would not wake the reader."""


class Places:
    """Counts long-lived connections; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> None:
        """Take a place; raises ServiceUnavailable with a sentence when there is none."""
        computer = computer_of(address)
        with self._lock:
            if self._taken.total() >= SOCKET_LIMIT:
                raise ServiceUnavailable(
                    f"{SOCKET_LIMIT} connections are open already; close a page, then try again."
                )
            if self._taken[computer] >= SOCKETS_OF_ONE_COMPUTER:
                raise ServiceUnavailable(
                    f"{SOCKETS_OF_ONE_COMPUTER} connections of {computer} are open already; "
                    "close a page there."
                )
            self._taken[computer] += 1

    def give_back(self, address: str) -> None:
        """Free a place."""
        with self._lock:
            self._taken[computer_of(address)] -= 1
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


def says_farewell(control_frames: bytes) -> bool:
    """Whether one of these frames, unmasked as a server sends them, closes the connection."""
    start = 0
    while start < len(control_frames) - 1:
        if control_frames[start] & 0x0F == CLOSE_OPCODE:
            return True
        start += 2 + control_frames[start + 1]
    return False


class _OneWriter:
    """A socket on which messages follow one another whole, and whose reader never waits for them to leave.

    Pings, their answers and the farewell come from the reading thread too. Where a message is on its way
    they follow it; where the other side takes nothing they wait, and are lost with the connection. What the
    writing thread had made ready when the reader said farewell is left out: nothing may follow that.
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._small: deque[bytes] = deque(maxlen=CONTROL_FRAMES_WAITING)
        self._has_said_farewell = False

    def send(self, data: bytes) -> int:
        if data and data[0] & CONTROL_FRAME:
            self._has_said_farewell |= says_farewell(data)
            self._small.append(data)
            if self._lock.acquire(blocking=False):
                try:
                    self._send_small()
                finally:
                    self._lock.release()
        else:
            with self._lock:
                if not self._has_said_farewell:
                    self._socket.sendall(data)
                self._send_small()
        return len(data)

    def _send_small(self) -> None:
        while self._small and self._has_room():
            self._socket.sendall(self._small.popleft())

    def _has_room(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self._socket.fileno(), select.POLLOUT)
        except ValueError:  # closed under its reader
            raise OSError(errno.EBADF, "the connection is closed") from None
        return bool(poll.poll(0))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
