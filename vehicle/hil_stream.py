"""The driving side of a sensor's socket in the HIL world: connecting, receiving, handing on in order."""

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from vehicle.errors import SensorError

CONNECT_TIMEOUT_S = 1.0
RECEIVE_BYTES = 1 << 18

RawT = TypeVar("RawT")


class HilStream(Generic[RawT]):
    """One sensor of a HIL car, at its end of the wire; `split` takes whole readings off received bytes."""

    silence_limit_s = None  # a silent world is a fault to be seen, not to be mended by connecting again

    def __init__(
        self,
        path: Path,
        sensor: str,
        split: Callable[[bytes], tuple[list[RawT], bytes]],
        error: type[SensorError],
    ) -> None:
        self.description = f"HIL {sensor} at {path}"
        self._path = path
        self._sensor = sensor
        self._split = split
        self._error = error
        self._socket: socket.socket | None = None
        self._readings: deque[RawT] = deque()
        self._tail = b""

    def open(self) -> None:
        """Connect to the world; raises the sensor's error while there is none."""
        self._readings.clear()
        self._tail = b""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise self._error(
                f"no {self.description} ({error.strerror or error}); start the HIL world"
            ) from error
        connection.setblocking(False)
        self._socket = connection

    def read(self, timeout_s: float) -> RawT | None:
        """Return the next reading, or None after the time-out; raises the sensor's error without a world."""
        deadline_s = time.monotonic() + timeout_s
        while not self._readings:
            if not self._receive(max(0.0, deadline_s - time.monotonic())):
                return None
        return self._readings.popleft()

    def send(self, data: bytes) -> None:
        """Tell the sensor something short; one that is gone is noticed by reading."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(data)

    def close(self) -> None:
        """Leave the world."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _receive(self, timeout_s: float) -> bool:
        """Read what is there into readings; return whether anything came in time."""
        if self._socket is None:
            raise self._error(f"the {self.description} is not open; open it before reading")
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(timeout_s * 1e3):
            return False
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:  # closed with words of ours unread
            data = b""
        except OSError as error:
            raise self._error(f"the {self.description} failed ({error.strerror})") from error
        if not data:
            raise self._error(f"the {self.description} closed; start the HIL world again")
        readings, self._tail = self._split(self._tail + data)
        self._readings.extend(readings)
        return True
