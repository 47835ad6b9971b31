"""Boxes in the picture, and the right eye: through the same lens as the floor."""

import dataclasses
import math

import numpy as np
import pytest

from vehicle.hil.lens import CameraParameters, Lens, Projection
from vehicle.hil.render import Room
from vehicle.hil.scenery import Scenery
from vehicle.hil.things import Box
from vehicle.hil.track import load_track

SIZE = (160, 120)
PLAIN = Scenery(grain=0.0, patches=0.0, shade=0.0, clutter=0)
QUIET = CameraParameters(noise=1.0)
RED = (0.0, 0.0, 255.0)


def red_box(x_m: float, y_m: float = 0.0, side_m: float = 0.25, height_m: float = 0.2) -> Box:
    return Box(x_m, y_m, 0.0, side_m, side_m, height_m, RED)


def red(image: np.ndarray) -> np.ndarray:
    """Return where the picture shows the box."""
    blue, green, reds = (image[:, :, channel].astype(int) for channel in range(3))
    return reds - np.maximum(blue, green) > 110  # the dashes on the road are orange


@pytest.mark.parametrize(
    "camera",
    [
        CameraParameters(),
        CameraParameters(left_m=-0.06),
        CameraParameters(fov_rad=2.0, height_m=0.2, pitch_rad=0.4, k1=0.1),
        CameraParameters(yaw_rad=0.1, roll_rad=-0.08, k1=-0.04, forward_m=0.1),
    ],
)
def test_a_point_on_the_floor_lies_at_the_pixel_that_looks_there(camera: CameraParameters) -> None:
    """The lens says which floor a pixel sees, the projection the way back: two formulas, one camera."""
    lens, projection = Lens(camera, SIZE), Projection(camera, SIZE)
    for row in (80, 100, 119):
        for column in (0, 40, 80, 159):
            ahead_m, left_m = (float(part) for part in lens.ground[row, column])
            seen = projection.from_camera(np.array([[ahead_m, left_m, 0.0]]))
            assert projection.pixels(seen)[0] == pytest.approx([column, row], abs=0.05)


@pytest.fixture(scope="module")
def room() -> Room:
    return Room(load_track("oval"), PLAIN, SIZE)


def test_a_box_ahead_stands_in_the_middle_and_its_foot_where_the_floor_is(room: Room) -> None:
    picture = room.renderer(QUIET).render(0.0, 0.0, 0.0, 0.0, 0, boxes=[red_box(1.0)])
    rows, columns = np.nonzero(red(picture))

    assert columns.mean() == pytest.approx(79.5, abs=1.0)
    foot = Projection(QUIET, SIZE)
    expected = foot.pixels(foot.from_camera(np.array([[1.0 - 0.125, 0.0, 0.0]])))[0, 1]
    assert rows.max() == pytest.approx(expected, abs=1.5)
    wide_px = 2 * 0.125 / (0.875 - 0.145) * 160 / 2 / math.tan(1.13 / 2)
    assert columns.max() - columns.min() == pytest.approx(wide_px, rel=0.1)


def test_what_lies_left_is_seen_left_and_what_lies_behind_not_at_all(room: Room) -> None:
    renderer = room.renderer(QUIET)
    left = red(renderer.render(0.0, 0.0, 0.0, 0.0, 0, boxes=[red_box(1.0, 0.4)]))
    behind = red(renderer.render(0.0, 0.0, 0.0, 0.0, 0, boxes=[red_box(-1.0)]))

    assert np.nonzero(left)[1].mean() < 60
    assert not behind.any()


def test_a_near_box_hides_a_far_one_in_whatever_order_they_come(room: Room) -> None:
    near = Box(0.8, 0.0, 0.0, 0.2, 0.4, 0.4, (255.0, 0.0, 0.0))
    far = red_box(2.0, side_m=0.1, height_m=0.1)
    pictures = [
        room.renderer(QUIET).render(0.0, 0.0, 0.0, 0.0, 0, boxes=b) for b in ((near, far), (far, near))
    ]

    assert not red(pictures[0]).any()
    assert np.array_equal(*pictures)


def test_a_box_at_the_lens_or_around_it_is_drawn_without_trouble(room: Room) -> None:
    for x_m in np.linspace(-0.3, 0.5, 33):
        picture = room.renderer(QUIET).render(0.0, 0.0, 0.0, 0.0, 0, boxes=[red_box(float(x_m))])
        assert picture.shape == (120, 160, 3)
    assert red(room.renderer(QUIET).render(0.0, 0.0, 0.0, 0.0, 0, boxes=[red_box(0.3)])).mean() > 0.3


def test_gray_pictures_show_boxes_too() -> None:
    renderer = Room(load_track("oval"), PLAIN, SIZE, gray=True).renderer(QUIET)
    without, with_box = (renderer.render(0.0, 0.0, 0.0, 0.0, 0, boxes=b) for b in ((), (red_box(1.0),)))

    assert (np.abs(without.astype(int) - with_box) > 8).any()


def test_nothing_in_the_way_leaves_the_picture_as_it_was_to_the_bit(room: Room) -> None:
    renderer = room.renderer(QUIET)

    assert np.array_equal(
        renderer.render(0.0, 0.0, 0.1, 0.2, 3), renderer.render(0.0, 0.0, 0.1, 0.2, 3, boxes=())
    )


@pytest.mark.parametrize("ahead_m", [0.7, 1.2, 2.0])
def test_the_right_eye_sees_things_further_left_by_what_its_distance_makes(
    room: Room, ahead_m: float
) -> None:
    baseline_m = 0.06
    eyes = (QUIET, dataclasses.replace(QUIET, left_m=-baseline_m))
    middles = []
    for eye in eyes:
        picture = room.renderer(eye).render(0.0, 0.0, 0.0, 0.0, 0, boxes=[red_box(ahead_m, side_m=0.02)])
        middles.append(np.nonzero(red(picture))[1].mean())

    focal_px = 160 / 2 / math.tan(1.13 / 2)
    expected_px = baseline_m / (ahead_m - 0.145) * focal_px
    assert middles[0] - middles[1] == pytest.approx(expected_px, rel=0.2)
