"""The HIL world's camera: numbers, stamps and JPEG pictures over a Unix stream socket.

offset  type    meaning
0       4s      magic, b"LWF1"
4       uint32  length of the JPEG in bytes, little-endian as all below
8       uint64  frame number, from 0
16      int64   stamp in ns of the world's clock
24      bytes   the JPEG
"""

import struct
from pathlib import Path

from vehicle.camera_source import Granted, RawFrame
from vehicle.errors import CameraError
from vehicle.hil_stream import HilStream

HEADER = struct.Struct("<4sIQq")
MAGIC = b"LWF1"
MAX_JPEG_BYTES = 8 << 20


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


class HilCamera(HilStream[RawFrame]):
    """The camera of a HIL car, at its end of the wire."""

    is_static = False

    def __init__(self, path: Path, rate_hz: float) -> None:
        super().__init__(path, "camera", split_frames, CameraError)
        self.granted = Granted(rate_hz)
