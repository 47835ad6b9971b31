"""Pictures and a source by hand for camera tests."""

import queue
import struct
import time

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.camera_source import Granted, RawFrame
from vehicle.errors import CameraError


def picture(level: int = 128, height: int = 48, width: int = 64) -> npt.NDArray[np.uint8]:
    """A BGR picture with a gradient, so that a JPEG of it is not trivial."""
    ramp = np.linspace(0, 60, width, dtype=np.float64)[np.newaxis, :, np.newaxis]
    return np.clip(np.full((height, width, 3), float(level)) + ramp, 0, 255).astype(np.uint8)


def jpeg_of(image: npt.NDArray[np.uint8]) -> bytes:
    found, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert found
    return data.tobytes()


def hil_frame(number: int, stamp_ns: int, jpeg: bytes, magic: bytes = b"LWF1") -> bytes:
    """One frame as the HIL world sends it; written from the description, not with the reader's code."""
    return struct.pack("<4sIQq", magic, len(jpeg), number, stamp_ns) + jpeg


class ScriptedSource:
    """A source that hands over what a test puts into it; an exception is raised, once."""

    description = "scripted camera"
    is_static = False
    silence_limit_s: float | None = None

    def __init__(self, rate_hz: float = 30.0) -> None:
        self.granted = Granted(rate_hz)
        self.pictures: queue.Queue[RawFrame | CameraError] = queue.Queue()
        self.open_errors: queue.Queue[CameraError] = queue.Queue()
        self.opened = 0
        self.closed = 0

    def put(self, number: int, jpeg: bytes, stamp_ns: int | None = None) -> None:
        self.pictures.put(RawFrame(number, time.monotonic_ns() if stamp_ns is None else stamp_ns, jpeg))

    def open(self) -> None:
        self.opened += 1
        if not self.open_errors.empty():
            raise self.open_errors.get()

    def read(self, timeout_s: float) -> RawFrame | None:
        try:
            item = self.pictures.get(timeout=timeout_s) if timeout_s else self.pictures.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, CameraError):
            raise item
        return item

    def close(self) -> None:
        self.closed += 1
