"""Pictures and scans that every upload is tried on, as data: a car has no simulator.

They were seen by the HIL car's cameras and LIDAR on its own tracks; `python -m
models.training.check_frames` makes the file again, bit for bit.
"""

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from models.check_pictures import FRAMES, seen_jpegs
from models.errors import PolicyError
from models.lidar import Scan
from models.observation import Sight

RANDOM_SIGHTS = 4
BLANK_LEVEL = 128
PICTURE_SHAPE = (120, 160, 3)
SCAN_RAYS = 360


@lru_cache(maxsize=1)
def seen_sights() -> tuple[Sight, ...]:
    """Return what the HIL car saw: both eyes and a scan each, from poses all round its tracks."""
    try:
        with np.load(FRAMES, allow_pickle=False) as data:
            angles_rad, ranges_m = data["angles_rad"], data["ranges_m"]
    except (OSError, KeyError, ValueError) as error:
        raise PolicyError(f"{FRAMES} cannot be read ({error}); install Lapwing again") from error
    left, right = ([_decoded(jpeg) for jpeg in seen_jpegs(eye)] for eye in ("left", "right"))
    return tuple(
        Sight(left[index], right[index], Scan(angles_rad, ranges_m[index])) for index in range(len(left))
    )


def random_sights(seed: int = 0) -> tuple[Sight, ...]:
    """Return sights that nobody has seen: any grey level in any pixel, any range on any ray."""
    rng = np.random.default_rng(seed)
    return tuple(
        Sight(
            rng.integers(0, 256, PICTURE_SHAPE, np.uint8),
            rng.integers(0, 256, PICTURE_SHAPE, np.uint8),
            Scan(_angles_rad(), rng.uniform(0.1, 3.0, SCAN_RAYS).astype(np.float32)),
        )
        for _ in range(RANDOM_SIGHTS)
    )


def blank_sight() -> Sight:
    """Return a picture without anything in it, and a scan that nothing answers."""
    blank = np.full(PICTURE_SHAPE, BLANK_LEVEL, np.uint8)
    return Sight(blank, blank, Scan(_angles_rad(), np.full(SCAN_RAYS, np.inf, np.float32)))


def mirrored(sight: Sight) -> Sight:
    """Return the sight as it would be with left and right exchanged; the eyes change places too."""
    image, right, scan = sight
    turned = None if scan is None else Scan(-scan.angles_rad[::-1], scan.ranges_m[::-1].copy())
    if right is None:
        return Sight(_flipped(image), None, turned)
    return Sight(_flipped(right), _flipped(image), turned)


def _flipped(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(image[:, ::-1])


def _angles_rad() -> npt.NDArray[np.float32]:
    return np.linspace(-np.pi, np.pi, SCAN_RAYS, endpoint=False, dtype=np.float32)


def _decoded(jpeg: bytes) -> npt.NDArray[np.uint8]:
    image: npt.NDArray[np.uint8] = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return image
