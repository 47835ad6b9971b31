"""An MJPEG stream from an http address, through OpenCV with time-outs of our own."""

import time

import cv2
import numpy as np

from vehicle.camera_source import Granted, RawFrame
from vehicle.errors import CameraError

OPEN_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 1.0  # OpenCV's default of thirty would keep a dead stream for as long


class HttpCamera:
    """A camera somewhere on the network."""

    is_static = False
    silence_limit_s = None  # a read that times out is a failure already

    def __init__(self, address: str, rate_hz: float) -> None:
        self.description = f"stream {address}"
        self.granted = Granted(rate_hz)
        self._address = address
        self._asked_rate_hz = rate_hz
        self._stream: cv2.VideoCapture | None = None
        self._number = 0

    def open(self) -> None:
        """Connect; blocks a few seconds at most; raises CameraError."""
        stream = cv2.VideoCapture(
            self._address,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                round(OPEN_TIMEOUT_S * 1e3),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                round(READ_TIMEOUT_S * 1e3),
                cv2.CAP_PROP_N_THREADS,
                1,  # more would decode several pictures at once and hand each over late
            ],
        )
        if not stream.isOpened():
            raise CameraError(
                f"no MJPEG stream at {self._address}; open the address in a browser to see "
                "whether it is there"
            )
        self._stream = stream
        self._number = 0
        self.granted = Granted(
            self._asked_rate_hz,
            int(stream.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(stream.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )

    def read(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture; blocks up to READ_TIMEOUT_S whatever the time-out; with 0, None.

        OpenCV cannot say whether a picture is waiting; after a hold-up the next reads catch up.
        """
        if self._stream is None:
            raise CameraError(f"the stream {self._address} is not open; open it before reading")
        if timeout_s <= 0.0:
            return None
        if not self._stream.grab():
            raise CameraError(f"the stream {self._address} stopped; check the camera and the network")
        stamp_ns = time.monotonic_ns()
        found, image = self._stream.retrieve()
        number, self._number = self._number, self._number + 1
        return RawFrame(number, stamp_ns, image=image.astype(np.uint8, copy=False) if found else None)

    def close(self) -> None:
        """Disconnect."""
        if self._stream is not None:
            self._stream.release()
            self._stream = None
