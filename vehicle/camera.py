"""The camera thread: decodes the newest picture of its source, no larger than it is needed."""

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.camera_hil import HilCamera
from vehicle.camera_http import HttpCamera
from vehicle.camera_recording import ImageFolder, VideoFile
from vehicle.camera_source import CameraSource, RawFrame, TunableSource
from vehicle.config import CameraConfig
from vehicle.errors import CameraError
from vehicle.messages import CameraLocks, Frame
from vehicle.sensor_thread import SensorThread

SLOW_SHARE = 0.8  # of the granted rate; less is worth a warning
YIELD_S = 0.001  # after the arrival: whoever waits for the picture gets the interpreter before its viewers

SOURCE_KINDS = "v4l2:DEVICE, hil:SOCKET, video:FILE, images:FOLDER or http://ADDRESS"
KEPT_SIZE_PX = (160, 120)  # decoded pictures stay this large: the monitors look at them too
REDUCED_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def open_source(spec: str, config: CameraConfig) -> CameraSource:
    """Return the source that `camera.source` names, not yet open; raises CameraError for a wrong name."""
    kind, _, rest = spec.partition(":")
    if kind in ("http", "https") and rest.startswith("//"):
        return HttpCamera(spec, config.rate_hz)
    if rest and kind == "hil":
        return HilCamera(Path(rest), config.rate_hz, config.locks())
    if rest and kind == "video":
        return VideoFile(Path(rest), config.rate_hz)
    if rest and kind == "images":
        return ImageFolder(Path(rest), config.rate_hz)
    if rest and kind == "v4l2":
        return _v4l2_source(rest, config)
    raise CameraError(f"camera.source is {spec!r}; allowed is {SOURCE_KINDS}; correct it in car.toml")


def _v4l2_source(device: str, config: CameraConfig) -> CameraSource:
    try:
        from vehicle.camera_v4l2 import V4l2Camera, device_path  # noqa: PLC0415 - linuxpy exists on Linux only
    except ImportError as error:
        raise CameraError(
            f"a camera device needs Linux and the package linuxpy ({error}); install it, or use another "
            f"source: {SOURCE_KINDS}"
        ) from error
    return V4l2Camera(
        device_path(device),
        width_px=config.width_px,
        height_px=config.height_px,
        rate_hz=config.rate_hz,
        power_line_hz=config.power_line_hz,
        locks=config.locks(),
    )


def decode_jpeg(jpeg: bytes, scale: int = 1) -> npt.NDArray[np.uint8] | None:
    """Return the picture as BGR, at 1/scale of its size; None when it is not a whole JPEG."""
    if not jpeg.startswith(b"\xff\xd8") or not jpeg.rstrip(b"\0").endswith(b"\xff\xd9"):
        return None  # OpenCV 4 fills the missing part of a cut-off picture with grey and says nothing
    try:
        image = cv2.imdecode(
            np.frombuffer(jpeg, np.uint8), REDUCED_FLAGS[scale] | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


def reduction(full_px: tuple[int, int], wanted_px: tuple[int, int] | None) -> int:
    """Return the largest scale that leaves a picture at least as large as wanted and as KEPT_SIZE_PX.

    A JPEG decoder reduces by averaging within its 8 x 8 blocks, as INTER_AREA would afterwards, and
    skips the rest of the work: `lapwing bench` shows what that saves.
    """
    if wanted_px is None:
        return 1
    least_px = [max(wanted, kept) for wanted, kept in zip(wanted_px, KEPT_SIZE_PX, strict=True)]
    fitting = [
        scale
        for scale in REDUCED_FLAGS
        if all(full // scale >= least for full, least in zip(full_px, least_px, strict=True))
    ]
    return max(fitting, default=1)


class Camera(SensorThread[RawFrame, Frame]):
    """The newest picture of one source, kept by a thread of its own.

    `latest`, `lost`, `is_static`, `rate_hz` and `note` may be read from any thread and never wait.
    """

    sensor = "camera"
    reading = "picture"

    def __init__(
        self,
        source: CameraSource,
        *,
        decode_scale: int | None = 1,
        ready_at_stamp: bool = False,
        wanted: bool = True,
        on_start: Callable[[], object] | None = None,
        on_frame: Callable[[Frame], object] | None = None,
    ) -> None:
        """Nothing is opened before `start`, nor while it is not `wanted`.

        `decode_scale` 2, 4 or 8 decodes JPEG pictures at that fraction of their size; None takes the
        smallest that `fit` allows. In lockstep `ready_at_stamp` says that decoding takes no time, so
        that a run repeats. `on_start` is called in the camera thread, and `on_frame` with every new frame.
        """
        super().__init__(source, wanted=wanted, on_start=on_start)
        self._source = source
        self._fixed_scale = decode_scale
        self._wanted_px: tuple[int, int] | None = None
        self._full_px = (0, 0)  # of the newest JPEG, before any reduction; 0: none yet
        self._ready_at_stamp = ready_at_stamp
        self._on_frame = on_frame
        self._wished_locks: CameraLocks | None = None  # None: as the source was made
        self._set_locks: CameraLocks | None = None

    def tune(self, locks: CameraLocks) -> None:
        """Lock exposure, gain and white balance before the next picture is read; returns at once."""
        self._wished_locks = locks

    def fit(self, width_px: int, height_px: int) -> None:
        """Say how small a picture may be from now on; before this, pictures keep their full size."""
        self._wanted_px = (width_px, height_px)

    @property
    def bad_frames(self) -> int:
        """Pictures that could not be decoded, since the start."""
        return self.bad_readings

    @property
    def skipped_frames(self) -> int:
        """Pictures not decoded because a newer one was already there."""
        return self.skipped_readings

    @property
    def is_static(self) -> bool:
        """Whether it shows a recording: pictures may repeat, and it must not drive a real car."""
        return self._source.is_static

    @property
    def rate_hz(self) -> float:
        """What the source says it delivers."""
        return self._source.granted.rate_hz

    @property
    def note(self) -> str:
        """What its owner should know, in words, or empty."""
        if self._problem:
            return self._problem
        notes = [self._source.granted.note, self._rate_warning()]
        if self._wished_locks and not isinstance(self._source, TunableSource):
            notes.append(f"exposure, gain and white balance of the {self._source.description} cannot be set")
        if self.bad_frames:
            notes.append(f"{self.bad_frames} pictures could not be decoded; check the camera's cable")
        return "; ".join(note for note in notes if note)

    def _rate_warning(self) -> str:
        measured_hz, granted_hz = self.measured_rate_hz, self.rate_hz
        if measured_hz is None or measured_hz >= SLOW_SHARE * granted_hz:
            return ""
        return (
            f"slow camera: it delivers {measured_hz:.1f} of {granted_hz:g} pictures a second; give it more "
            "light, another USB port or a lower camera.rate_hz"
        )

    # --- the camera thread

    def _between(self) -> None:
        wished = self._wished_locks
        if wished is not self._set_locks and wished is not None and isinstance(self._source, TunableSource):
            self._source.tune(wished)
            self._set_locks = wished

    def _interpret(self, number: int, raw: RawFrame) -> Frame | None:
        image = self._decode(raw.jpeg) if raw.image is None else raw.image
        if image is None:
            return None
        ready_ns = raw.stamp_ns if self._ready_at_stamp else time.monotonic_ns()
        return Frame(number, raw.stamp_ns, ready_ns, image, raw.jpeg)

    def _after(self, reading: Frame) -> None:
        if self._on_frame is not None:
            time.sleep(YIELD_S)
            self._on_frame(reading)

    def _decode(self, jpeg: bytes) -> npt.NDArray[np.uint8] | None:
        scale = self._fixed_scale or reduction(self._full_px, self._wanted_px)
        image = decode_jpeg(jpeg, scale)
        if image is not None:
            self._full_px = (image.shape[1] * scale, image.shape[0] * scale)
        return image
