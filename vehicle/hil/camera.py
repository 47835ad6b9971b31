"""The HIL car's cameras, serving side: what is on the pictures and how they go through the socket.

On the socket, per frame: `<4sIQq` = magic `LWF1`, picture length, frame number, stamp in ns; then the
picture as the camera encoded it. The stamp is when the camera's driver would hand the frame over.
"""

import struct
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.errors import HilError
from vehicle.hil.faults import FaultSchedule, Part
from vehicle.hil.sensor import HilSensor, Timing
from vehicle.hil.settings import CameraSettings

MAGIC = b"LWF1"
HEADER = struct.Struct("<4sIQq")
COVERED_NOISE_LEVELS = 4  # what a sensor shows of a hand over its lens

Image = npt.NDArray[np.uint8]


class HilCamera(HilSensor):
    """Exposes on the grid of its rate, hands over later, and can be broken; in the time it is told.

    `render` gets the frame's number and returns the picture of this very moment.
    """

    def __init__(
        self,
        settings: CameraSettings,
        render: Callable[[int, int], Image],
        faults: FaultSchedule,
        *,
        seed: int,
        start_ns: int,
        part: Part = Part.CAMERA,
    ) -> None:
        timing = Timing(settings.fps, settings.delay_s, settings.jitter_s, settings.drop_frac)
        super().__init__(part, timing, faults, seed=seed, start_ns=start_ns)
        self._settings = settings
        self._render = render

    def _look(self, number: int, exposed_ns: int) -> bytes:
        image = self._render(number, exposed_ns)
        if self._faults.is_on(self.part, "covered"):
            image = self._noise.integers(0, COVERED_NOISE_LEVELS, image.shape, dtype=np.uint8)
        if self._faults.is_on(self.part, "wrong"):
            image = np.ascontiguousarray(image[:, ::-1])
        return encode(image, self._settings)

    def _head(self, number: int, stamp_ns: int, content: bytes) -> bytes:
        return HEADER.pack(MAGIC, len(content), number, stamp_ns)


def encode(image: Image, settings: CameraSettings) -> bytes:
    """Return the picture as the camera would send it."""
    if settings.encoding == "bmp":
        encoded, data = cv2.imencode(".bmp", image)
    else:
        encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, settings.quality])
    if not encoded:
        raise HilError(f"OpenCV could not encode a picture of {image.shape}")
    return data.tobytes()
