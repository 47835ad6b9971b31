"""Pictures from files, at their own pace: a video, or a folder of pictures that starts over at its end.

They count as static: what they show is not in front of the car, and they may repeat themselves.
"""

import time
from pathlib import Path

import cv2
import numpy as np

from vehicle.camera_source import Granted, RawFrame
from vehicle.errors import CameraError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})


class Pace:
    """Absolute deadlines of a fixed rate: picture n is due n periods after the start."""

    def __init__(self, rate_hz: float) -> None:
        self._period_s = 1.0 / rate_hz
        self._due_s = time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until the next picture is due and return True; False when that lies beyond the time-out."""
        now_s = time.monotonic()
        if self._due_s - now_s > timeout_s:
            time.sleep(timeout_s)
            return False
        time.sleep(max(0.0, self._due_s - now_s))
        self._due_s += self._period_s
        if self._due_s < now_s:  # the reader was away: skip, do not hurry
            self._due_s = now_s + self._period_s
        return True


class ImageFolder:
    """A folder of pictures, in the order of their names, over and over."""

    is_static = True
    silence_limit_s = None

    def __init__(self, folder: Path, rate_hz: float) -> None:
        self.description = f"pictures in {folder}"
        self.granted = Granted(rate_hz)
        self._folder = folder
        self._paths: list[Path] = []
        self._number = 0
        self._pace = Pace(rate_hz)

    def open(self) -> None:
        """List the folder; raises CameraError when there is no picture in it."""
        try:
            names = sorted(self._folder.iterdir())
        except OSError as error:
            raise CameraError(
                f"the folder {self._folder} cannot be read ({error.strerror}); check camera.source"
            ) from error
        self._paths = [path for path in names if path.suffix.lower() in PICTURE_SUFFIXES]
        if not self._paths:
            raise CameraError(
                f"the folder {self._folder} has no pictures; put files ending in "
                f"{', '.join(sorted(PICTURE_SUFFIXES))} there"
            )
        self._number = 0
        self._pace = Pace(self.granted.rate_hz)

    def read(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture when it is due."""
        if not self._pace.wait(timeout_s):
            return None
        path = self._paths[self._number % len(self._paths)]
        stamp_ns = time.monotonic_ns()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CameraError(f"{path} cannot be read ({error.strerror})") from error
        number, self._number = self._number, self._number + 1
        if path.suffix.lower() in JPEG_SUFFIXES:
            return RawFrame(number, stamp_ns, data)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        return RawFrame(number, stamp_ns, image=None if image is None else image.astype(np.uint8, copy=False))

    def close(self) -> None:
        """Nothing is held."""


class VideoFile:
    """A video file, once, at the rate it was recorded with."""

    is_static = True
    silence_limit_s = None

    def __init__(self, path: Path, rate_hz: float) -> None:
        """Take `rate_hz` where the file does not say its own."""
        self.description = f"video {path}"
        self.granted = Granted(rate_hz)
        self._path = path
        self._video: cv2.VideoCapture | None = None
        self._number = 0
        self._pace = Pace(rate_hz)

    def open(self) -> None:
        """Open the file at its start; raises CameraError when it is no video."""
        if not self._path.is_file():
            raise CameraError(f"the video {self._path} does not exist; check camera.source")
        video = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not video.isOpened():
            raise CameraError(f"{self._path} is not a video that OpenCV can read; give another file")
        own_rate_hz = video.get(cv2.CAP_PROP_FPS)
        self.granted = Granted(
            own_rate_hz if 1.0 <= own_rate_hz <= 240.0 else self.granted.rate_hz,
            int(video.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        self._video = video
        self._number = 0
        self._pace = Pace(self.granted.rate_hz)

    def read(self, timeout_s: float) -> RawFrame | None:
        """Return the next picture when it is due; raises CameraError at the end."""
        if self._video is None:
            raise CameraError(f"the video {self._path} is not open; open it before reading")
        if not self._pace.wait(timeout_s):
            return None
        stamp_ns = time.monotonic_ns()
        found, image = self._video.read()
        if not found:
            raise CameraError(f"the video {self._path} has ended after {self._number} pictures")
        number, self._number = self._number, self._number + 1
        return RawFrame(number, stamp_ns, image=image.astype(np.uint8, copy=False))

    def close(self) -> None:
        """Close the file."""
        if self._video is not None:
            self._video.release()
            self._video = None
