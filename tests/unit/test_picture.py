"""A picture becomes small as in its training, and shows what this car's camera options leave of it."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.picture import CameraOptions, Resize, gray_picture, resized, rgb_picture
from vehicle.hil.render import FULL_SIZE, make_renderer
from vehicle.hil.track import TRACKS, load_track

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

SIZE_PX = (160, 120)
DEEPRACER_GRAY = np.array([0.1140, 0.5870, 0.2989])  # of blue, green, red, as training weighs them
MEAN_LIMIT = 1.3  # grey levels of 255
PHOTO_SIZES_PX = [
    (640, 480),
    (1920, 1080),
    (1280, 960),
    (1280, 720),
    (320, 240),
    (240, 135),
    (320, 180),
    (480, 640),
    (641, 479),
    (333, 1001),
    (200, 150),
    (170, 130),
    (160, 120),
    (100, 300),
    (300, 100),
    (120, 90),
    (80, 60),
]


def pil_bilinear(image: Image, size_px: tuple[int, int]) -> Floats:
    """What PIL's `resize(size, BILINEAR)` does, from its definition: columns first, then rows.

    Each new pixel is a triangle around its middle, as wide as two new pixels (two old ones where the
    picture grows), cut off at the edges and divided by its sum; rounded after each of the two.
    """
    wide = _triangles(image, size_px[0], axis=1)
    return _triangles(wide, size_px[1], axis=0)


def _triangles(image: npt.NDArray[np.generic], wanted: int, axis: int) -> Floats:
    found = image.shape[axis]
    scale = found / wanted
    if scale == 1.0:
        return image.astype(float)
    reach = max(scale, 1.0)
    middles = (np.arange(wanted)[:, np.newaxis] + 0.5) * scale
    positions = np.arange(found)[np.newaxis] + 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(positions - middles) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    lines = np.tensordot(weights, image.astype(float), axes=(1, axis))
    return np.floor(np.moveaxis(lines, 0, axis) + 0.5).clip(0, 255)


def as_training_sees(image: Image) -> Floats:
    """DeepRacer's training: shrink in colour, then weigh to gray and cut off the fraction."""
    return np.floor(pil_bilinear(image, SIZE_PX) @ DEEPRACER_GRAY)


def photo(seed: int, size_px: tuple[int, int], slope: float) -> Image:
    """A picture with a photograph's spectrum: amplitude falls as frequency to the power of `slope`.

    With 1.5, block means of a 640 x 480 picture are as far from training's (1.2 grey levels) as on real
    photographs (1.0 to 1.3); less slope means more fine detail than these have.
    """
    rng = np.random.default_rng(seed)
    width_px, height_px = size_px
    frequency = np.hypot(np.fft.fftfreq(height_px)[:, np.newaxis], np.fft.fftfreq(width_px))
    frequency[0, 0] = 1.0

    def noise() -> Floats:
        values = np.fft.ifft2(np.fft.fft2(rng.standard_normal((height_px, width_px))) / frequency**slope).real
        return np.asarray(values / values.std())

    bright = noise()
    channels = [0.9 * bright + 0.43 * noise() for _ in range(3)]
    return np.clip(np.stack(channels, axis=2) * 50.0 + 128.0, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("slope", [1.3, 1.5])
@pytest.mark.parametrize("size_px", PHOTO_SIZES_PX, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_photograph_of_any_size_is_what_training_would_have_seen(
    size_px: tuple[int, int], slope: float
) -> None:
    image = photo(7, size_px, slope)

    difference = gray_picture(image, SIZE_PX, Resize.TRIANGLE) - as_training_sees(image)

    print(f"{size_px} slope {slope}: mean {np.abs(difference).mean():.2f}, bias {difference.mean():+.2f}")
    assert np.abs(difference).mean() <= MEAN_LIMIT
    assert np.abs(difference.mean()) <= 0.8  # rounding where training cuts off is half a level


@pytest.mark.parametrize("size_px", [size for size in PHOTO_SIZES_PX if min(size) >= 120], ids=str)
def test_block_means_of_a_photograph_are_what_our_own_training_would_have_seen(
    size_px: tuple[int, int],
) -> None:
    """`lapwing train` looks through a camera of 160 x 120 and shrinks that again; a car shrinks once."""
    image = photo(7, size_px, 1.3)
    camera = resized(image, SIZE_PX)
    for wanted_px in ((80, 60), SIZE_PX):
        difference = gray_picture(image, wanted_px).astype(float) - gray_picture(camera, wanted_px)
        print(f"{size_px} to {wanted_px}: mean {np.abs(difference).mean():.2f}")
        assert np.abs(difference).mean() <= MEAN_LIMIT


@pytest.mark.parametrize("scale", [1, 2])
def test_what_the_simulated_camera_sees_is_what_training_would_have_seen(scale: int) -> None:
    track = load_track(TRACKS[0])
    size_px = (FULL_SIZE[0] // scale, FULL_SIZE[1] // scale)
    renderer = make_renderer(track, size=size_px, seed=3)

    for s_m in np.arange(0.0, track.length_m, 5.0):
        image = renderer.render(*track.pose_at(float(s_m)), 0.0, 0)
        difference = gray_picture(image, SIZE_PX, Resize.TRIANGLE) - as_training_sees(image)
        print(f"{size_px} at {s_m:.0f} m: mean {np.abs(difference).mean():.2f}")

        assert np.abs(difference).mean() <= MEAN_LIMIT


def test_the_triangle_halves_the_difference_that_block_means_leave() -> None:
    image = photo(1, (640, 480), 1.3)
    wanted = as_training_sees(image)

    triangle, area = (
        np.abs(gray_picture(image, SIZE_PX, resize) - wanted).mean()
        for resize in (Resize.TRIANGLE, Resize.AREA)
    )

    assert triangle < 0.5 * area


@pytest.mark.parametrize("factor", [2, 3])
def test_at_whole_factors_the_triangle_is_training_s_own_but_for_rounding(factor: int) -> None:
    gray = photo(2, (160 * factor, 120 * factor), 1.0)[:, :, 0]

    found = resized(gray, SIZE_PX, Resize.TRIANGLE).astype(float)

    inside = (slice(2, -2), slice(2, -2))
    assert np.abs(found - pil_bilinear(gray, SIZE_PX))[inside].max() <= 1.5


@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize(
    "size_px", [(640, 480), (333, 1001), (161, 121), (160, 700), (90, 700), (3, 3), (1, 1)]
)
def test_every_size_becomes_the_wanted_one_and_a_flat_picture_stays_flat(
    resize: Resize, size_px: tuple[int, int]
) -> None:
    flat = np.full((size_px[1], size_px[0], 3), 77, np.uint8)

    assert np.array_equal(gray_picture(flat, SIZE_PX, resize), np.full((120, 160), 77))
    assert np.array_equal(rgb_picture(flat, SIZE_PX, resize), np.full((120, 160, 3), 77))


def test_block_means_are_opencvs_own() -> None:
    gray = photo(3, (640, 480), 1.2)[:, :, 1]

    assert np.array_equal(resized(gray, SIZE_PX), cv2.resize(gray, SIZE_PX, interpolation=cv2.INTER_AREA))
    assert resized(gray, (640, 480)) is gray


# --- how this car's camera is mounted


def marked() -> Image:
    """Four different quarters: 10 20 above 30 40."""
    image = np.zeros((240, 320, 3), np.uint8)
    image[:120, :160], image[:120, 160:], image[120:, :160], image[120:, 160:] = 10, 20, 30, 40
    return image


def corners(picture: Image) -> list[int]:
    return [int(picture[y, x].max()) for y in (0, -1) for x in (0, -1)]


@pytest.mark.parametrize("make", [gray_picture, rgb_picture])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [10, 20, 30, 40]),
        ({"rotate_180": True}, [40, 30, 20, 10]),
        ({"crop": (0.5, 0.0, 0.0, 0.0)}, [30, 40, 30, 40]),
        ({"crop": (0.0, 0.5, 0.0, 0.0)}, [10, 20, 10, 20]),
        ({"crop": (0.0, 0.0, 0.5, 0.0)}, [20, 20, 40, 40]),
        ({"crop": (0.0, 0.0, 0.0, 0.5)}, [10, 10, 30, 30]),
        ({"rotate_180": True, "crop": (0.5, 0.0, 0.5, 0.0)}, [10, 10, 10, 10]),
        ({"mask_above": 0.25}, [0, 0, 30, 40]),
        ({"rotate_180": True, "mask_above": 0.25}, [0, 0, 20, 10]),
    ],
)
def test_options_show_the_policy_another_part_of_the_picture(
    make: Callable[..., Image], options: dict[str, object], expected: list[int]
) -> None:
    image = marked()

    picture = make(image, SIZE_PX, Resize.AREA, CameraOptions(**options))  # type: ignore[arg-type]

    assert picture.shape[:2] == (120, 160)
    assert corners(picture) == expected
    assert np.array_equal(image, marked())


def test_the_mask_ends_where_it_says() -> None:
    bright = np.full((480, 640, 3), 200, np.uint8)

    rows = gray_picture(bright, SIZE_PX, options=CameraOptions(mask_above=1 / 3))[:, 80]

    assert np.flatnonzero(rows).tolist() == list(range(40, 120))


def test_options_never_write_into_the_cameras_picture() -> None:
    image = photo(0, SIZE_PX, 1.5)
    before = image.copy()

    for make in (gray_picture, rgb_picture):
        make(image, SIZE_PX, Resize.AREA, CameraOptions(mask_above=0.5, rotate_180=True))

    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": (-0.1, 0.0, 0.0, 0.0)}, "crop top is -0.1, allowed are 0 to 0.9"),
        ({"crop": (0.0, 0.91, 0.0, 0.0)}, "crop bottom is 0.91"),
        ({"crop": (0.0, 0.0, float("nan"), 0.0)}, "crop left is nan"),
        ({"crop": (0.0, 0.0, 0.0, float("inf"))}, "crop right is inf"),
        ({"crop": (0.5, 0.5, 0.0, 0.0)}, "crop top and bottom are 1 together"),
        ({"crop": (0.0, 0.0, 0.5, 0.45)}, "crop left and right are 0.95 together"),
        ({"mask_above": 0.95}, "mask_above is 0.95, allowed are 0 to 0.9"),
        ({"mask_above": float("nan")}, "mask_above is nan"),
    ],
)
def test_options_that_leave_no_road_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CameraOptions(**options)  # type: ignore[arg-type]


def test_a_crop_needs_a_larger_picture_for_the_same_detail() -> None:
    assert CameraOptions().needed_px(SIZE_PX) == SIZE_PX
    assert CameraOptions(crop=(0.25, 0.25, 0.1, 0.1)).needed_px(SIZE_PX) == (200, 240)
