"""The camera thread: takes every picture from its source, decodes the newest, opens again what is lost."""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.camera_hil import HilCamera
from vehicle.camera_http import HttpCamera
from vehicle.camera_recording import ImageFolder, VideoFile
from vehicle.camera_source import CameraSource, RawFrame
from vehicle.config import CameraConfig
from vehicle.errors import CameraError
from vehicle.messages import Frame

READ_TIMEOUT_S = 0.1  # how soon the thread notices that it should stop
REOPEN_FIRST_S = 0.1
REOPEN_MAX_S = 2.0
DRAIN_LIMIT = 64  # pictures skipped in one go; a source that floods must not keep the newest from the loop
RATE_WINDOW_FRAMES = 30
SLOW_SHARE = 0.8  # of the granted rate; less is worth a warning
STOP_TIMEOUT_S = 5.0
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
        return HilCamera(Path(rest), config.rate_hz)
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


class Camera:
    """The newest picture of one source, kept by a thread of its own.

    `latest`, `lost`, `is_static`, `rate_hz` and `note` may be read from any thread and never wait.
    """

    def __init__(
        self,
        source: CameraSource,
        *,
        decode_scale: int | None = 1,
        ready_at_stamp: bool = False,
        on_start: Callable[[], object] | None = None,
        on_frame: Callable[[Frame], object] | None = None,
    ) -> None:
        """Nothing is opened before `start`.

        `decode_scale` 2, 4 or 8 decodes JPEG pictures at that fraction of their size; None takes the
        smallest that `fit` allows. In lockstep `ready_at_stamp` says that decoding takes no time, so
        that a run repeats. `on_start` is called in the camera thread, and `on_frame` with every new frame.
        """
        self._source = source
        self._fixed_scale = decode_scale
        self._wanted_px: tuple[int, int] | None = None
        self._full_px = (0, 0)  # of the newest JPEG, before any reduction; 0: none yet
        self._ready_at_stamp = ready_at_stamp
        self._on_start = on_start
        self._on_frame = on_frame

        self._arrived = threading.Condition()
        self._latest: Frame | None = None
        self._received_number = -1  # of the newest frame that came, usable or not
        self._problem = ""
        self._lost = False
        self._number_offset = 0
        self._stamps_ns: deque[int] = deque(maxlen=RATE_WINDOW_FRAMES)
        self.bad_frames = 0
        """Pictures that could not be decoded, since the start."""
        self.skipped_frames = 0
        """Pictures not decoded because a newer one was already there."""

        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def start(self) -> None:
        """Open the source and keep it open, in the camera thread; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the source; waits for it a few seconds at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def latest(self) -> Frame | None:
        """Return the newest frame, or None before the first."""
        return self._latest

    def fit(self, width_px: int, height_px: int) -> None:
        """Say how small a picture may be from now on; before this, pictures keep their full size."""
        self._wanted_px = (width_px, height_px)

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as a frame with a higher number is there, False after the time-out."""
        return self._wait(lambda: self._latest is not None and self._latest.number > number, timeout_s)

    def await_frame(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as this frame or a later one has come, False after the time-out.

        Unusable ones count: in lockstep a broken picture must not be waited for forever.
        """
        return self._wait(lambda: self._received_number >= number, timeout_s)

    @property
    def lost(self) -> bool:
        """Whether the source could not be opened, is gone or has ended."""
        return self._lost

    @property
    def problem(self) -> str:
        """Why it is lost, in words; empty while it works."""
        return self._problem

    @property
    def is_static(self) -> bool:
        """Whether it shows a recording: pictures may repeat, and it must not drive a real car."""
        return self._source.is_static

    @property
    def rate_hz(self) -> float:
        """What the source says it delivers."""
        return self._source.granted.rate_hz

    @property
    def measured_rate_hz(self) -> float | None:
        """Pictures a second over the last ones that came; None until enough have."""
        stamps_ns = tuple(self._stamps_ns)
        if len(stamps_ns) < RATE_WINDOW_FRAMES or stamps_ns[-1] <= stamps_ns[0]:
            return None
        return (len(stamps_ns) - 1) * 1e9 / (stamps_ns[-1] - stamps_ns[0])

    @property
    def note(self) -> str:
        """What its owner should know, in words, or empty."""
        if self._problem:
            return self._problem
        notes = [self._source.granted.note, self._rate_warning()]
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

    def _wait(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        if is_there():
            return True
        if timeout_s <= 0.0:
            return False
        with self._arrived:
            return self._arrived.wait_for(is_there, timeout_s)

    # --- the camera thread

    def _run(self) -> None:
        if self._on_start is not None:
            self._on_start()
        try:
            self._keep_open()
        finally:
            self._lost = True
            self._problem = self._problem or "the camera was stopped"

    def _keep_open(self) -> None:
        pause_s = REOPEN_FIRST_S
        while not self._stopping.is_set():
            number_before = self._received_number
            try:
                self._source.open()
                self._read_until_stopped()
            except CameraError as error:
                self._problem = str(error)
                self._lost = True
            finally:
                self._source.close()
            has_worked = self._received_number > number_before
            pause_s = REOPEN_FIRST_S if has_worked else min(2 * pause_s, REOPEN_MAX_S)
            self._stopping.wait(pause_s)

    def _read_until_stopped(self) -> None:
        """Hand over pictures; raises CameraError when the source is gone or was silent too long."""
        silent_since_s = time.monotonic()
        while not self._stopping.is_set():
            raw = self._source.read(READ_TIMEOUT_S)
            if raw is not None:
                self._take(self._newest(raw))
                silent_since_s = time.monotonic()
                continue
            limit_s = self._source.silence_limit_s
            if limit_s is not None and time.monotonic() - silent_since_s > limit_s:
                raise CameraError(
                    f"{self._source.description} gave no picture for {limit_s:g} s; it is opened again"
                )

    def _newest(self, raw: RawFrame) -> RawFrame:
        """Return the last of the pictures that are already waiting."""
        for _ in range(DRAIN_LIMIT):
            newer = self._source.read(0.0)
            if newer is None:
                break
            self.skipped_frames += 1
            raw = newer
        return raw

    def _take(self, raw: RawFrame) -> None:
        """Decode a picture and make it the latest, or count it as bad."""
        number = self._monotone(raw.number)
        image = self._decode(raw.jpeg) if raw.image is None else raw.image
        frame = None
        if image is None:
            self.bad_frames += 1
        else:
            ready_ns = raw.stamp_ns if self._ready_at_stamp else time.monotonic_ns()
            frame = Frame(number, raw.stamp_ns, ready_ns, image, raw.jpeg)
            self._stamps_ns.append(raw.stamp_ns)
            self._lost, self._problem = False, ""
        with self._arrived:
            self._latest = frame or self._latest
            self._received_number = number
            self._arrived.notify_all()
        if frame is not None and self._on_frame is not None:
            time.sleep(YIELD_S)
            self._on_frame(frame)

    def _decode(self, jpeg: bytes) -> npt.NDArray[np.uint8] | None:
        scale = self._fixed_scale or reduction(self._full_px, self._wanted_px)
        image = decode_jpeg(jpeg, scale)
        if image is not None:
            self._full_px = (image.shape[1] * scale, image.shape[0] * scale)
        return image

    def _monotone(self, number: int) -> int:
        """Return a number above all before, also when the source has begun to count anew."""
        if number + self._number_offset <= self._received_number:
            self._number_offset = self._received_number + 1 - number
        return number + self._number_offset
