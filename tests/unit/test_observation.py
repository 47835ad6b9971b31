"""The network's input equals an independent computation from the picture's definition."""

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import OutputProblem, SenseMissingError
from models.lidar import lidar_values
from models.lidar_config import LidarConfig
from models.metadata import Color, Layout, Sensor, ValueRange
from models.observation import (
    CameraInput,
    CameraObserver,
    LidarInput,
    ObservationFormat,
    Observer,
    Scan,
    Sight,
)


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

    values = CameraObserver(ObservationFormat()).observe(image)

    assert values.shape == (1, 120, 160, 1)
    assert values.dtype == np.float32
    difference = np.abs(values[0, :, :, 0] - expected_gray(image, 4))
    assert difference.max() <= 1.0
    assert difference.mean() < 0.35


def test_a_picture_that_already_fits_is_turned_to_gray_and_nothing_else() -> None:
    image = smooth_picture(height=120, width=160)

    values = CameraObserver(ObservationFormat()).observe(image)

    assert np.abs(values[0, :, :, 0] - expected_gray(image, 1)).max() <= 0.51


def test_a_large_and_a_small_picture_of_the_same_scene_give_the_same_input() -> None:
    large = smooth_picture()
    blocks = large.reshape(120, 4, 160, 4, 3).mean(axis=(1, 3))
    small = np.rint(blocks).astype(np.uint8)
    observer = CameraObserver(ObservationFormat())

    from_large, from_small = observer.observe(large), observer.observe(small)

    assert np.abs(from_large.astype(float) - from_small.astype(float)).max() <= 1.0


def test_colour_is_red_green_blue_in_that_order() -> None:
    blue = np.zeros((120, 160, 3), np.uint8)
    blue[:, :, 0] = 200

    values = CameraObserver(ObservationFormat(color=Color.RGB)).observe(blue)

    assert values.shape == (1, 120, 160, 3)
    assert values[0, 60, 80].tolist() == [0.0, 0.0, 200.0]


def test_planar_layout_is_the_same_picture_with_the_channel_first() -> None:
    image = smooth_picture()
    format_ = {"color": Color.RGB, "height_px": 60, "width_px": 80}

    interleaved = CameraObserver(ObservationFormat(**format_, layout=Layout.NHWC)).observe(image)
    planar = CameraObserver(ObservationFormat(**format_, layout=Layout.NCHW)).observe(image)

    assert planar.shape == (1, 3, 60, 80) == ObservationFormat(**format_, layout=Layout.NCHW).shape
    assert planar.flags["C_CONTIGUOUS"]
    assert np.array_equal(planar, interleaved.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_every_input_type_carries_the_same_grey_levels(dtype: str) -> None:
    image = smooth_picture()

    values = CameraObserver(ObservationFormat(dtype=dtype)).observe(image)

    assert values.dtype == np.dtype(dtype)
    assert np.array_equal(
        values.astype(np.float32), CameraObserver(ObservationFormat()).observe(image).astype(np.float32)
    )


def test_a_unit_range_divides_by_255() -> None:
    white = np.full((120, 160, 3), 255, np.uint8)
    gray = np.full((120, 160, 3), 51, np.uint8)
    observer = CameraObserver(ObservationFormat(range=ValueRange.UNIT))

    assert np.all(observer.observe(white) == np.float32(1.0))
    assert np.all(observer.observe(gray) == np.float32(51) / np.float32(255))


def test_a_frame_stack_holds_the_newest_last_and_starts_with_copies_of_the_first() -> None:
    observer = CameraObserver(ObservationFormat(frame_stack=3))
    pictures = [np.full((120, 160, 3), level, np.uint8) for level in (10, 20, 30, 40)]

    seen = [observer.observe(picture)[0, 0, 0].tolist() for picture in pictures]

    assert seen == [[10, 10, 10], [10, 10, 20], [10, 20, 30], [20, 30, 40]]


def test_reset_forgets_earlier_pictures() -> None:
    observer = CameraObserver(ObservationFormat(frame_stack=2))
    observer.observe(np.full((120, 160, 3), 10, np.uint8))

    observer.reset()

    assert observer.observe(np.full((120, 160, 3), 90, np.uint8))[0, 0, 0].tolist() == [90, 90]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_an_input_stays_as_it_was_when_the_camera_reuses_its_memory(dtype: str) -> None:
    picture = smooth_picture(height=120, width=160)
    values = CameraObserver(ObservationFormat(dtype=dtype)).observe(picture)
    before = values.copy()

    picture[:] = 0
    values_of_next = CameraObserver(ObservationFormat(dtype=dtype)).observe(picture)

    assert np.array_equal(values, before)
    assert not np.shares_memory(values, values_of_next)


@pytest.mark.parametrize(
    "image", [np.zeros((120, 160), np.uint8), np.zeros((120, 160, 3), np.float32), np.zeros((1, 2, 4))]
)
def test_what_is_not_a_picture_is_a_mistake_of_the_caller(image: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="a picture has shape"):
        CameraObserver(ObservationFormat()).observe(image)


def test_bytes_cannot_have_a_unit_range() -> None:
    with pytest.raises(ValueError, match="uint8 cannot have the range"):
        ObservationFormat(dtype="uint8", range=ValueRange.UNIT)


def test_an_unknown_input_type_is_refused() -> None:
    with pytest.raises(ValueError, match="dtype is int64"):
        ObservationFormat(dtype="int64")


def test_two_eyes_are_two_channels_the_left_one_first() -> None:
    observer = CameraObserver(ObservationFormat(eyes=2))
    left, right = smooth_picture(1), smooth_picture(2)

    values = observer.observe(left, right)

    assert values.shape == (1, 120, 160, 2)
    alone = CameraObserver(ObservationFormat())
    assert np.array_equal(values[..., :1], alone.observe(left))
    assert np.array_equal(values[..., 1:], alone.observe(right))


def test_a_stack_of_two_eyes_holds_both_of_the_older_pair_first() -> None:
    observer = CameraObserver(ObservationFormat(eyes=2, frame_stack=2, layout=Layout.NCHW))
    pairs = [[np.full((120, 160, 3), level, np.uint8) for level in pair] for pair in ((10, 20), (30, 40))]

    seen = [observer.observe(*pair)[0, :, 0, 0].tolist() for pair in pairs]

    assert seen == [[10, 20, 10, 20], [10, 20, 30, 40]]


def test_a_sight_becomes_one_array_for_each_input_by_its_name() -> None:
    config = LidarConfig.from_metadata(None, Sensor.SECTOR_LIDAR)
    camera = CameraInput(name="eyes", sensor=Sensor.STEREO_CAMERAS, format=ObservationFormat(eyes=2))
    lidar = LidarInput(name="rays", sensor=Sensor.SECTOR_LIDAR, config=config, dtype="float16")
    angles = np.linspace(-3, 3, 100, dtype=np.float32)
    scan = Scan(angles, np.where(angles > 0.5, 0.2, 3.0).astype(np.float32))
    sight = Sight(smooth_picture(1), smooth_picture(2), scan)

    for inputs in ((camera, lidar), (lidar, camera)):
        values = Observer(inputs).observe(sight)

        assert values.keys() == {"eyes", "rays"}
        assert np.array_equal(values["eyes"], CameraObserver(camera.format).observe(*sight[:2]))
        assert values["rays"].dtype == np.float16
        assert values["rays"].shape == lidar.shape == (1, 8)
        assert np.array_equal(values["rays"][0], lidar_values(scan, config))


@pytest.mark.parametrize(
    "sight",
    [
        Sight(np.zeros((120, 160, 3), np.uint8)),
        Sight(np.zeros((120, 160, 3), np.uint8), np.zeros((120, 160, 3), np.uint8)),
        Sight(
            np.zeros((120, 160, 3), np.uint8),
            None,
            Scan(np.array([0, 1], np.float32), np.array([1, 1], np.float32)),
        ),
    ],
)
def test_a_missing_sense_is_no_answer_rather_than_a_guess(sight: Sight) -> None:
    camera = CameraInput(name="eyes", sensor=Sensor.STEREO_CAMERAS, format=ObservationFormat(eyes=2))
    config = LidarConfig.from_metadata(None, Sensor.LIDAR)
    lidar = LidarInput(name="rays", sensor=Sensor.LIDAR, config=config)

    with pytest.raises(SenseMissingError) as caught:
        Observer((camera, lidar)).observe(sight)

    assert caught.value.kind is OutputProblem.FAILED


def test_reset_of_an_observer_reaches_its_cameras() -> None:
    camera = CameraInput(name="picture", sensor=Sensor.LEFT_CAMERA, format=ObservationFormat(frame_stack=2))
    observer = Observer((camera,))
    observer.observe(Sight(np.full((120, 160, 3), 10, np.uint8)))

    observer.reset()

    seen = observer.observe(Sight(np.full((120, 160, 3), 90, np.uint8)))["picture"]
    assert seen[0, 0, 0].tolist() == [90, 90]


def test_two_eyes_see_gray() -> None:
    with pytest.raises(ValueError, match="rgb picture of 2 eyes"):
        ObservationFormat(eyes=2, color=Color.RGB)
