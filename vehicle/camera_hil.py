"""The HIL world's camera: numbers, stamps and JPEG pictures over a Unix stream socket.

offset  type    meaning
0       4s      magic, b"LWF1"
4       uint32  length of the JPEG in bytes, little-endian as all below
8       uint64  frame number, from 0
16      int64   stamp in ns of the world's clock
24      bytes   the JPEG

The other way go its controls, `LOCKS`: magic, b"LWL1"; float32 exposure in ms, int32 gain, uint32 white
balance in K; 0, -1 and 0 where the camera chooses.
"""

import struct
from pathlib import Path

from vehicle.camera_source import Granted, RawFrame
from vehicle.errors import CameraError
from vehicle.hil_stream import HilStream
from vehicle.messages import CameraLocks

HEADER = struct.Struct("<4sIQq")
MAGIC = b"LWF1"
LOCKS = struct.Struct("<4sfiI")
LOCKS_MAGIC = b"LWL1"
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


def packed_locks(locks: CameraLocks) -> bytes:
    """Return what the camera is to leave as it is, as it goes through the socket."""
    gain = -1 if locks.gain is None else locks.gain
    return LOCKS.pack(LOCKS_MAGIC, locks.exposure_ms or 0.0, gain, locks.white_balance_k or 0)


class HilCamera(HilStream[RawFrame]):
    """The camera of a HIL car, at its end of the wire."""

    is_static = False

    def __init__(self, path: Path, rate_hz: float, locks: CameraLocks = CameraLocks()) -> None:  # noqa: B008 - frozen
        super().__init__(path, "camera", split_frames, CameraError)
        self.granted = Granted(rate_hz)
        self._locks = locks

    def open(self) -> None:
        """Connect to the world and set what is locked; raises CameraError while there is none."""
        super().open()
        self.send(packed_locks(self._locks))

    def tune(self, locks: CameraLocks) -> None:
        """Set what is locked from now on."""
        self._locks = locks
        self.send(packed_locks(locks))
