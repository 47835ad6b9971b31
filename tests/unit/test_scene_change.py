"""The car of a running world, carried to another track."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from vehicle.errors import HilError
from vehicle.hil import scene_change
from vehicle.hil.dynamics import STANDARD_CAR
from vehicle.hil.scene_change import SceneChange
from vehicle.hil.settings import Obstacle
from vehicle.hil.things import Things
from vehicle.hil.track import Track, load_track
from vehicle.hil.world import Scene, World

STEP_NS = 20_000_000
NEUTRAL_US, FORWARD_US = 1500.0, 1700.0


@pytest.fixture
def world() -> World:
    track = load_track("oval")
    return World(track, car=STANDARD_CAR, size=(40, 30), things=Things(track, [Obstacle(s_m=3.0)]))


def drive(world: World, throttle_us: float, until_ns: int, since_ns: int = 0) -> None:
    for t_ns in range(since_ns, until_ns, STEP_NS):
        world.advance(t_ns, [(t_ns, 1450.0, throttle_us)])


def change_to(world: World, track: str, now_ns: int = 0) -> SceneChange:
    change = SceneChange(world)
    change.begin(track, now_ns)
    change.finish(now_ns, wait=True)
    return change


def test_the_car_stands_at_the_start_of_the_other_track_with_what_it_has_rolled_and_learnt(
    world: World,
) -> None:
    drive(world, NEUTRAL_US, 2_500_000_000)
    drive(world, FORWARD_US, 4_000_000_000, 2_500_000_000)
    drive(world, NEUTRAL_US, 9_000_000_000, 4_000_000_000)
    before, ticks = world.state, world.wheel_ticks
    assert ticks > 10, "it never moved, so there is nothing to keep"

    change = change_to(world, "kidney", 9_000_000_000)

    truth = world.truth(9_000_000_000)
    kidney = load_track("kidney")
    assert (change.preparing, change.problem, truth.track) == ("", "", "kidney")
    assert (truth.x_m, truth.y_m, truth.heading_rad) == pytest.approx(kidney.pose_at(-0.5))
    assert (truth.speed_mps, truth.laps, truth.off_track, truth.crashed) == (0.0, (), False, False)
    assert (world.wheel_ticks, world.state.esc_armed) == (ticks, before.esc_armed)
    (thing,) = truth.things
    assert (thing.x_m, thing.y_m) == pytest.approx(kidney.pose_at(3.0)[:2])


def test_camera_and_lidar_see_the_other_track(world: World) -> None:
    picture, distances = world.expose(0, 0), world.measure(0)
    right = world.expose_right(0, 0)

    change_to(world, "hairpins")

    assert not np.array_equal(world.expose(0, 0), picture)
    assert not np.array_equal(world.expose_right(0, 0), right)
    assert not np.array_equal(world.measure(0), distances)
    fresh = World(
        load_track("hairpins"), size=(40, 30), things=Things(load_track("hairpins"), [Obstacle(s_m=3.0)])
    )
    assert np.array_equal(world.measure(0), fresh.measure(0))
    assert np.array_equal(World.expose(world, 5, 0).shape, fresh.expose(5, 0).shape)


def test_a_moving_car_is_not_carried_and_one_that_began_to_move_meanwhile_stays(world: World) -> None:
    drive(world, NEUTRAL_US, 2_500_000_000)
    change = SceneChange(world)
    change.begin("kidney", 2_500_000_000)
    drive(world, FORWARD_US, 3_500_000_000, 2_500_000_000)

    change.finish(3_500_000_000, wait=True)

    assert "m/s; stop it" in change.problem
    assert world.track.name == "oval"
    with pytest.raises(HilError, match="stop it"):
        change.begin("kidney", 3_500_000_000)
    assert change.preparing == ""


def test_what_is_no_track_is_refused_at_once_and_changes_nothing(world: World) -> None:
    change = SceneChange(world)

    with pytest.raises(HilError, match="no track named 'nowhere'"):
        change.begin("nowhere", 0)

    change.finish(0)
    assert (change.preparing, world.track.name) == ("", "oval")


class SlowWorld(World):
    """Draws when it is let."""

    def __init__(self, track: Track) -> None:
        self.may_draw = threading.Event()
        self.may_draw.set()
        self.fails = False
        super().__init__(track, size=(40, 30))

    def scene(self, track: Track) -> Scene:
        assert self.may_draw.wait(10)
        if self.fails:
            raise MemoryError
        return super().scene(track)


@pytest.fixture
def slow_world() -> Iterator[SlowWorld]:
    world = SlowWorld(load_track("oval"))
    yield world
    world.may_draw.set()


def test_the_world_goes_on_while_a_track_is_drawn_and_takes_one_wish_at_a_time(slow_world: SlowWorld) -> None:
    change = SceneChange(slow_world)
    slow_world.may_draw.clear()

    change.begin("kidney", 0)
    change.finish(0)

    assert (change.preparing, slow_world.track.name) == ("kidney", "oval")
    with pytest.raises(HilError, match="kidney is being drawn"):
        change.begin("wide", 0)
    slow_world.may_draw.set()
    deadline_s = time.monotonic() + 10
    while change.preparing:
        assert time.monotonic() < deadline_s
        change.finish(0)
        time.sleep(0.005)
    assert slow_world.track.name == "kidney"


def test_a_track_too_large_to_be_drawn_is_a_sentence_and_the_car_stays(slow_world: SlowWorld) -> None:
    slow_world.fails = True

    change = change_to(slow_world, "kidney")

    assert "too large" in change.problem
    assert (change.preparing, slow_world.track.name) == ("", "oval")
    slow_world.fails = False
    change.begin("wide", 0)
    change.finish(0, wait=True)
    assert (change.problem, slow_world.track.name) == ("", "wide")


def test_a_car_at_rest_stands() -> None:
    assert 0 < scene_change.STANDS_MPS < 0.1


def test_a_layout_has_as_many_points_as_an_eye_needs() -> None:
    layout = load_track("wide-reversed").layout()

    assert layout["track"] == "wide-reversed"
    center = layout["center"]
    assert isinstance(center, list)
    assert 200 <= len(center) <= 2 * 400
    track = load_track("wide-reversed")
    assert center[0] == pytest.approx(track.center[0], abs=0.001)
