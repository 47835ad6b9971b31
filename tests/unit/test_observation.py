"""The network's input equals an independent computation from the picture's definition."""

import numpy as np
import numpy.typing as npt
import pytest

from models.metadata import Color, Layout, ValueRange
from models.observation import ObservationFormat, Observer


def smooth_picture(seed: int = 0, height: int = 480, width: int = 640) -> npt.NDArray[np.uint8]:
    """A BGR picture with structure at every scale, different in each channel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x / rng.uniform(4, 60) + rng.uniform(0, 6)) + np.cos(y / rng.uniform(4, 60)) for _ in range(3)
    ]
    return (np.stack(waves, axis=2) * 60 + 127).astype(np.uint8)


def expected_gray(image: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.float64]:
    """Mean over factor x factor blocks of 0.114 B + 0.587 G + 0.299 R."""
    gray = image @ np.array([0.114, 0.587, 0.299])
    height, width = gray.shape
    blocks: npt.NDArray[np.float64] = gray.reshape(height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(1, 3))


def test_a_standard_input_is_one_gray_picture_of_160_by_120_in_grey_levels() -> None:
    image = smooth_picture()

    values = Observer(ObservationFormat()).observe(image)

    assert values.shape == (1, 120, 160, 1)
    assert values.dtype == np.float32
    difference = np.abs(values[0, :, :, 0] - expected_gray(image, 4))
    assert difference.max() <= 1.0
    assert difference.mean() < 0.35


def test_a_picture_that_already_fits_is_turned_to_gray_and_nothing_else() -> None:
    image = smooth_picture(height=120, width=160)

    values = Observer(ObservationFormat()).observe(image)

    assert np.abs(values[0, :, :, 0] - expected_gray(image, 1)).max() <= 0.51


def test_a_large_and_a_small_picture_of_the_same_scene_give_the_same_input() -> None:
    large = smooth_picture()
    blocks = large.reshape(120, 4, 160, 4, 3).mean(axis=(1, 3))
    small = np.rint(blocks).astype(np.uint8)
    observer = Observer(ObservationFormat())

    from_large, from_small = observer.observe(large), observer.observe(small)

    assert np.abs(from_large.astype(float) - from_small.astype(float)).max() <= 1.0


def test_colour_is_red_green_blue_in_that_order() -> None:
    blue = np.zeros((120, 160, 3), np.uint8)
    blue[:, :, 0] = 200

    values = Observer(ObservationFormat(color=Color.RGB)).observe(blue)

    assert values.shape == (1, 120, 160, 3)
    assert values[0, 60, 80].tolist() == [0.0, 0.0, 200.0]


def test_planar_layout_is_the_same_picture_with_the_channel_first() -> None:
    image = smooth_picture()
    format_ = {"color": Color.RGB, "height_px": 60, "width_px": 80}

    interleaved = Observer(ObservationFormat(**format_, layout=Layout.NHWC)).observe(image)
    planar = Observer(ObservationFormat(**format_, layout=Layout.NCHW)).observe(image)

    assert planar.shape == (1, 3, 60, 80) == ObservationFormat(**format_, layout=Layout.NCHW).shape
    assert planar.flags["C_CONTIGUOUS"]
    assert np.array_equal(planar, interleaved.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_every_input_type_carries_the_same_grey_levels(dtype: str) -> None:
    image = smooth_picture()

    values = Observer(ObservationFormat(dtype=dtype)).observe(image)

    assert values.dtype == np.dtype(dtype)
    assert np.array_equal(
        values.astype(np.float32), Observer(ObservationFormat()).observe(image).astype(np.float32)
    )


def test_a_unit_range_divides_by_255() -> None:
    white = np.full((120, 160, 3), 255, np.uint8)
    gray = np.full((120, 160, 3), 51, np.uint8)
    observer = Observer(ObservationFormat(range=ValueRange.UNIT))

    assert np.all(observer.observe(white) == np.float32(1.0))
    assert np.all(observer.observe(gray) == np.float32(51) / np.float32(255))


def test_a_frame_stack_holds_the_newest_last_and_starts_with_copies_of_the_first() -> None:
    observer = Observer(ObservationFormat(frame_stack=3))
    pictures = [np.full((120, 160, 3), level, np.uint8) for level in (10, 20, 30, 40)]

    seen = [observer.observe(picture)[0, 0, 0].tolist() for picture in pictures]

    assert seen == [[10, 10, 10], [10, 10, 20], [10, 20, 30], [20, 30, 40]]


def test_reset_forgets_earlier_pictures() -> None:
    observer = Observer(ObservationFormat(frame_stack=2))
    observer.observe(np.full((120, 160, 3), 10, np.uint8))

    observer.reset()

    assert observer.observe(np.full((120, 160, 3), 90, np.uint8))[0, 0, 0].tolist() == [90, 90]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_an_input_stays_as_it_was_when_the_camera_reuses_its_memory(dtype: str) -> None:
    picture = smooth_picture(height=120, width=160)
    values = Observer(ObservationFormat(dtype=dtype)).observe(picture)
    before = values.copy()

    picture[:] = 0
    values_of_next = Observer(ObservationFormat(dtype=dtype)).observe(picture)

    assert np.array_equal(values, before)
    assert not np.shares_memory(values, values_of_next)


@pytest.mark.parametrize(
    "image", [np.zeros((120, 160), np.uint8), np.zeros((120, 160, 3), np.float32), np.zeros((1, 2, 4))]
)
def test_what_is_not_a_picture_is_a_mistake_of_the_caller(image: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="a picture has shape"):
        Observer(ObservationFormat()).observe(image)


def test_bytes_cannot_have_a_unit_range() -> None:
    with pytest.raises(ValueError, match="uint8 cannot have the range"):
        ObservationFormat(dtype="uint8", range=ValueRange.UNIT)


def test_an_unknown_input_type_is_refused() -> None:
    with pytest.raises(ValueError, match="dtype is int64"):
        ObservationFormat(dtype="int64")
