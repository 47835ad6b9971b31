"""The HIL car's cameras, serving side: what is on the pictures and how they go through the socket.

On the socket, per frame: `<4sIQq` = magic `LWF1`, picture length, frame number, stamp in ns; then the
picture as the camera encoded it. The stamp is when the camera's driver would hand the frame over.
The other way come its controls, 16 bytes: `<4sfiI` = magic `LWL1`, exposure in ms, gain, white balance in
K; 0, -1 and 0 where the camera chooses for itself.
"""

import math
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
CONTROLS = struct.Struct("<4sfiI")
CONTROLS_MAGIC = b"LWL1"
ROOM_EXPOSURE_MS, ROOM_GAIN, ROOM_LIGHT_K = 8.0, 32, 4500  # what the camera chooses by itself in this light
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
        self._levels: Image | None = None  # of blue, green and red, where controls change them

    def control(self, told: bytes) -> None:
        """Take the newest controls of what a reader has told; garbage is none."""
        start = told.rfind(CONTROLS_MAGIC)
        if start < 0 or len(told) - start < CONTROLS.size:
            return
        _, exposure_ms, gain, light_k = CONTROLS.unpack_from(told, start)
        self._levels = levels(exposure_ms, gain, light_k)

    def _look(self, number: int, exposed_ns: int) -> bytes:
        image = self._render(number, exposed_ns)
        if self._levels is not None:
            image = cv2.LUT(image, self._levels).astype(np.uint8, copy=False)
        if self._faults.is_on(self.part, "covered"):
            image = self._noise.integers(0, COVERED_NOISE_LEVELS, image.shape, dtype=np.uint8)
        if self._faults.is_on(self.part, "wrong"):
            image = np.ascontiguousarray(image[:, ::-1])
        return encode(image, self._settings)

    def _head(self, number: int, stamp_ns: int, content: bytes) -> bytes:
        return HEADER.pack(MAGIC, len(content), number, stamp_ns)


def levels(exposure_ms: float, gain: int, light_k: int) -> Image | None:
    """Return what the levels of blue, green and red become by the camera's controls; None: they stay.

    A gain that is locked alone changes nothing: the camera exposes for as much longer or shorter.
    """
    brightness = 1.0
    if exposure_ms > 0:
        brightness = exposure_ms / ROOM_EXPOSURE_MS * (1.0 if gain < 0 else gain / ROOM_GAIN)
    warmth = math.sqrt(light_k / ROOM_LIGHT_K) if light_k > 0 else 1.0
    factors = np.array([brightness / warmth, brightness, brightness * warmth])
    if not np.all(np.isfinite(factors)) or np.all(factors == 1.0):
        return None
    table = np.arange(256)[:, None] * factors
    return np.asarray(np.clip(np.rint(table), 0, 255), np.uint8)[None]


def encode(image: Image, settings: CameraSettings) -> bytes:
    """Return the picture as the camera would send it."""
    if settings.encoding == "bmp":
        encoded, data = cv2.imencode(".bmp", image)
    else:
        encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, settings.quality])
    if not encoded:
        raise HilError(f"OpenCV could not encode a picture of {image.shape}")
    return data.tobytes()
