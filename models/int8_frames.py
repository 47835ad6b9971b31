"""Pictures from an owner's recordings: a part to quantise with, another to judge by, never the same.

Every recording is one drive. Its pictures go in blocks of ten seconds: some to calibrate with, a gap,
the rest to judge by, a gap; neighbours in time look alike and must not stand on both sides.
"""

import enum
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import PolicyError
from models.observation import Sight

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
RUN_SUFFIX = ".mcap"
BLOCK_FRAMES = 300  # ten seconds at 30 Hz
CALIBRATION_FRAMES = 40  # of each block, at its start
GAP_FRAMES = 15  # half a second

Image = npt.NDArray[np.uint8]


class Role(enum.StrEnum):
    """What frames are for."""

    CALIBRATION = "calibration"
    TEST = "test"


class FrameSource(Protocol):
    """Gives drives of consecutive sights; what it gives for one role it never gives for the other."""

    @property
    def description(self) -> str:
        """Where the frames come from, for the report."""

    def drives(self, role: Role) -> Iterator[Iterator[Sight]]:
        """Return the drives of a role, the same each time; each must be read before the next."""


class Recordings:
    """Recorded runs (`lapwing runs`), video files and folders of pictures.

    Only a run has what a policy with two eyes or a LIDAR looks at beside the front camera's picture.
    """

    def __init__(
        self, paths: Sequence[Path], read_run: Callable[[Path], Iterator[Sight]] | None = None
    ) -> None:
        """Take the files; raises PolicyError when one cannot be what it should be.

        `read_run` reads a recorded run. It is given, not imported: runs of a HIL car hold the world's truth,
        and what is imported here is imported by what drives.
        """
        for path in paths:
            if path.is_dir() and not _pictures_in(path):
                raise PolicyError(f"{path} has no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}) in it")
            if not path.exists():
                raise PolicyError(
                    f"{path} does not exist; give recorded runs (.mcap), videos or folders of pictures"
                )
        if not paths:
            raise PolicyError("no recordings are given; give runs (.mcap), videos or folders of pictures")
        if read_run is None and any(path.suffix == RUN_SUFFIX for path in paths):
            raise PolicyError("recorded runs cannot be read here; give videos or folders of pictures")
        self._paths = tuple(paths)
        self._read_run = read_run

    @property
    def description(self) -> str:
        """The names of the recordings."""
        return ", ".join(path.name for path in self._paths)

    def drives(self, role: Role) -> Iterator[Iterator[Sight]]:
        """Return the parts of every recording that are for this role, without repeated pictures."""
        seen: set[bytes] = set()
        for path in self._paths:
            sights = _without_repeats(self._sights(path), seen)
            yield from (iter(part) for part in _parts(sights, role))

    def _sights(self, path: Path) -> Iterator[Sight]:
        if path.suffix == RUN_SUFFIX and self._read_run is not None:
            return self._read_run(path)
        return (Sight(image) for image in _images(path))


def _parts(sights: Iterator[Sight], role: Role) -> Iterator[list[Sight]]:
    part: list[Sight] = []
    for index, sight in enumerate(sights):
        if _role_at(index % BLOCK_FRAMES) is role:
            part.append(sight)
        elif part:
            yield part
            part = []
    if part:
        yield part


def _role_at(place: int) -> Role | None:
    if place < CALIBRATION_FRAMES:
        return Role.CALIBRATION
    is_apart = CALIBRATION_FRAMES + GAP_FRAMES <= place < BLOCK_FRAMES - GAP_FRAMES
    return Role.TEST if is_apart else None


def _without_repeats(sights: Iterator[Sight], seen: set[bytes]) -> Iterator[Sight]:
    """Leave out pictures that are the same to the bit: a car that stands proves nothing."""
    for sight in sights:
        key = hashlib.blake2b(sight.image.tobytes(), digest_size=16).digest()
        if key not in seen:
            seen.add(key)
            yield sight


def _images(path: Path) -> Iterator[Image]:
    if path.is_dir():
        for picture in _pictures_in(path):
            image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
            if image is None:
                raise PolicyError(
                    f"{picture} is not a picture that OpenCV can read; take it out of the folder"
                )
            yield np.asarray(image, np.uint8)
        return
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise PolicyError(f"{path} is not a video that OpenCV can read; give another recording")
        while True:
            found, image = video.read()
            if not found:
                return
            yield np.asarray(image, np.uint8)
    finally:
        video.release()


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
