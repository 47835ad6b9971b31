"""What a LIDAR sees in the HIL world, against geometry done by hand; and what boxes do to a car."""

import math

import numpy as np
import pytest

from vehicle.hil.lidar_rays import box_sides, cast, spread_rad, walls
from vehicle.hil.settings import LidarSettings, Obstacle, OtherCar
from vehicle.hil.things import Box, Things, corners, own_box, touch
from vehicle.hil.track import TRACKS, load_track
from vehicle.hil.world import BARRIER_M, World

ROOM = np.array(
    [[2.0, -1.0, 2.0, 1.0], [2.0, 1.0, -2.0, 1.0], [-2.0, 1.0, -2.0, -1.0], [-2.0, -1.0, 2.0, -1.0]]
)
NOWHERE = (0.0, 0.0, 0.0)


def box(x_m: float, y_m: float, yaw_rad: float = 0.0, side_m: float = 0.2, height_m: float = 0.3) -> Box:
    return Box(x_m, y_m, yaw_rad, side_m, side_m, height_m, (0.0, 0.0, 0.0))


@pytest.mark.parametrize("yaw_rad", [0.0, 0.3, math.pi / 2, -2.5])
def test_distances_in_a_rectangular_room_are_those_of_school(yaw_rad: float) -> None:
    angles_rad = np.array([0.0, math.pi / 2, math.pi, -math.pi / 2, math.atan2(0.5, 2.0)]) - yaw_rad
    (ranges_m,) = cast(np.array([[0.0, 0.0, yaw_rad]]), angles_rad, ROOM)

    assert ranges_m == pytest.approx([2.0, 1.0, 2.0, 1.0, math.hypot(2.0, 0.5)])


def test_many_places_at_once_give_what_each_gives_alone() -> None:
    rng = np.random.default_rng(5)
    places = np.column_stack([rng.uniform(-1.9, 1.9, 70), rng.uniform(-0.9, 0.9, 70), rng.uniform(-3, 3, 70)])
    angles_rad = spread_rad(360, 360.0)
    together = cast(places, angles_rad, np.concatenate([ROOM] * 40))

    for place, ranges_m in zip(places, together, strict=True):
        np.testing.assert_allclose(cast(place[None], angles_rad, ROOM)[0], ranges_m, rtol=1e-12)


def test_a_ray_into_the_open_and_a_ray_along_a_wall_come_back_from_nothing() -> None:
    wall = np.array([[1.0, 0.0, 3.0, 0.0]])
    ranges_m = cast(np.array([NOWHERE]), np.array([0.0, 0.1, math.pi]), wall)[0]

    assert np.isinf(ranges_m[1:]).all()
    assert np.isinf(cast(np.array([NOWHERE]), np.array([0.0]), np.empty((0, 4)))).all()


def test_a_box_stands_before_the_wall_and_low_ones_are_not_seen() -> None:
    seen = box_sides([box(1.0, 0.0), box(0.0, 0.7, height_m=0.1)], height_m=0.185)
    ranges_m = cast(np.array([NOWHERE]), np.array([0.0, math.pi / 2]), np.concatenate([ROOM, seen]))[0]

    assert ranges_m == pytest.approx([0.9, 1.0])


def test_rays_go_from_right_to_left_and_all_round_none_comes_twice() -> None:
    assert np.rad2deg(spread_rad(3, 300.0)) == pytest.approx([-150, 0, 150])
    assert np.rad2deg(spread_rad(4, 360.0)) == pytest.approx([-180, -90, 0, 90])


@pytest.mark.parametrize("name", [*TRACKS, "random-3", "random-11"])
def test_no_ray_leaves_a_track_and_walls_stand_where_cars_crash(name: str) -> None:
    track = load_track(name)
    pieces = walls(track, BARRIER_M)
    angles_rad = spread_rad(720, 360.0)
    for index in range(0, len(track.center), 40):
        place = np.array([[*track.center[index], track.heading_rad[index]]])
        ranges_m = cast(place, angles_rad, pieces)[0]
        assert np.isfinite(ranges_m).all()
        side_m = float(track.half_width_m[index]) + BARRIER_M
        if name != "hairpins":  # whose lanes lie so near that there is no wall between them
            assert ranges_m.min() <= side_m + 0.03
        assert ranges_m.min() >= float((track.half_width_m + BARRIER_M).min()) - 0.05


def test_beside_the_middle_of_a_straight_both_walls_are_equally_far() -> None:
    world = World(load_track("oval"), lidar=LidarSettings(rays=4))
    world.reset(0.5)
    back, right, _, left = world.measure(0)

    assert (right, left) == pytest.approx((1.0, 1.0), abs=0.01)
    world.reset(0.5, offset_m=0.2)
    _, right, _, left = world.measure(0)
    assert (right, left) == pytest.approx((1.2, 0.8), abs=0.01)
    assert back > 2.0


def test_the_lidar_sees_a_box_where_it_stands() -> None:
    track = load_track("oval")
    things = Things(track, [Obstacle(s_m=2.0, length_m=0.2)])
    world = World(track, things=things, lidar=LidarSettings(rays=4))
    world.reset(0.5)

    assert world.measure(0)[2] == pytest.approx(2.0 - 0.5 - 0.1 - 0.11, abs=0.01)


@pytest.mark.parametrize(
    ("other", "is_touching"),
    [
        (box(0.19, 0.0), True),
        (box(0.21, 0.0), False),
        (box(0.19, 0.19), True),
        (box(0.23, 0.0, math.pi / 4), True),  # its corner reaches 0.141 m
        (box(0.23, 0.19, math.pi / 4), False),  # near by its corners' circle, and beside all the same
        (box(0.0, 0.0, 1.0, side_m=0.01), True),  # within
    ],
)
def test_boxes_touch_where_they_overlap(other: Box, is_touching: bool) -> None:
    assert touch(box(0.0, 0.0), other) is is_touching
    assert touch(other, box(0.0, 0.0)) is is_touching


def test_corners_go_round_from_the_front_left() -> None:
    standing = corners(Box(1.0, 2.0, math.pi / 2, 0.4, 0.2, 0.1, (0, 0, 0)))

    assert standing == pytest.approx(np.array([[0.9, 2.2], [0.9, 1.8], [1.1, 1.8], [1.1, 2.2]]))


def test_the_cars_own_room_reaches_from_behind_the_rear_axle_to_its_bumper() -> None:
    along = corners(own_box(0.0, 0.0, 0.0))[:, 0]

    assert (along.min(), along.max()) == pytest.approx((-0.09, 0.27))
    north = corners(own_box(1.0, 2.0, math.pi / 2))[:, 1]
    assert (north.min(), north.max()) == pytest.approx((2.0 - 0.09, 2.0 + 0.27))


def test_cars_keep_their_line_and_their_speed() -> None:
    track = load_track("oval")
    things = Things(track, cars=[OtherCar(s_m=1.0, offset_m=0.2, speed_mps=0.5)], start_ns=1_000_000_000)
    for after_s in (0.0, 3.0, 60.0):
        (car,) = things.boxes_at(1_000_000_000 + round(after_s * 1e9))
        place = track.project(car.x_m, car.y_m)
        assert place.offset_m == pytest.approx(0.2, abs=0.02)
        assert place.s_m == pytest.approx((1.0 + 0.5 * after_s) % track.length_m, abs=0.05)


def test_a_car_that_stands_is_hit_by_one_that_comes_and_another_start_forgets_it() -> None:
    track = load_track("oval")
    world = World(track, things=Things(track, cars=[OtherCar(s_m=-2.0, speed_mps=1.0)]))
    world.advance(round(0.9e9))
    assert not world.truth(0).crashed
    world.advance(round(2e9))

    truth = world.truth(round(2e9))
    assert (truth.crashed, truth.crashed_into, len(truth.things)) == (True, "thing", 1)
    world.reset(9.0)
    world.advance(round(2.1e9))
    assert not world.truth(0).crashed
