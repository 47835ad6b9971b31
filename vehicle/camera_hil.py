"""The HIL world's camera: numbers, stamps and JPEG pictures over a Unix stream socket.

offset  type    meaning
0       4s      magic, b"LWF1"
4       uint32  length of the JPEG in bytes, little-endian as all below
8       uint64  frame number, from 0
16      int64   stamp in ns of the world's clock
24      bytes   the JPEG
"""

import select
import socket
import struct
import time
from collections import deque
from pathlib import Path

from vehicle.camera_source import Granted, RawFrame
from vehicle.errors import CameraError

HEADER = struct.Struct("<4sIQq")
MAGIC = b"LWF1"
MAX_JPEG_BYTES = 8 << 20
CONNECT_TIMEOUT_S = 1.0
RECEIVE_BYTES = 1 << 18


def split_frames(data: bytes) -> tuple[list[RawFrame], bytes]:
    """Return the whole frames at the start of `data` and the unread tail; raises CameraError on garbage."""
    frames: list[RawFrame] = []
    start = 0
    while len(data) - start >= HEADER.size:
        magic, length, number, stamp_ns = HEADER.unpack_from(data, start)
        if magic != MAGIC or length > MAX_JPEG_BYTES:
            raise CameraError(
                f"the HIL camera sent {magic!r} and a length of {length}, expected {MAGIC!r} and at most "
                f"{MAX_JPEG_BYTES}; both sides must be of one version"
            )
        end = start + HEADER.size + length
        if end > len(data):
            break
        frames.append(RawFrame(number, stamp_ns, data[start + HEADER.size : end]))
        start = end
    return frames, data[start:]


class HilCamera:
    """The camera of a HIL car, at its end of the wire."""

    is_static = False
    silence_limit_s = None  # a silent world is a fault to be seen, not to be mended by connecting again

    def __init__(self, path: Path, rate_hz: float) -> None:
        self.description = f"HIL camera at {path}"
        self.granted = Granted(rate_hz)
        self._path = path
        self._socket: socket.socket | None = None
        self._frames: deque[RawFrame] = deque()
        self._tail = b""

    def open(self) -> None:
        """Connect to the world; raises CameraError while there is none."""
        self._frames.clear()
        self._tail = b""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise CameraError(
                f"no HIL camera at {self._path} ({error.strerror or error}); start the HIL world"
            ) from error
        connection.setblocking(False)
        self._socket = connection

    def read(self, timeout_s: float) -> RawFrame | None:
        """Return the next frame, or None after the time-out; raises CameraError when the world is gone."""
        deadline_s = time.monotonic() + timeout_s
        while not self._frames:
            if not self._receive(max(0.0, deadline_s - time.monotonic())):
                return None
        return self._frames.popleft()

    def close(self) -> None:
        """Leave the world."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _receive(self, timeout_s: float) -> bool:
        """Read what is there into frames; return whether anything came in time."""
        if self._socket is None:
            raise CameraError(f"the HIL camera at {self._path} is not open; open it before reading")
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(timeout_s * 1e3):
            return False
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            raise CameraError(f"the HIL camera at {self._path} failed ({error.strerror})") from error
        if not data:
            raise CameraError(f"the HIL camera at {self._path} closed; start the HIL world again")
        frames, self._tail = split_frames(self._tail + data)
        self._frames.extend(frames)
        return True
