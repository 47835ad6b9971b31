"""The fleet: the same chain from decision to wheels as in the vehicle, without its bytes."""

import dataclasses
import math

import numpy as np
import pytest

from calibration import steering, throttle
from calibration.car import HIL_AWS, HIL_STANDARD
from models.training.expert import Expert, speed_profile
from models.training.fleet import (
    STEPS_PER_DECISION,
    STEPS_PER_TICK,
    THROTTLE_GROWTH_PER_S,
    TICK_S,
    Fleet,
    FleetSettings,
    Start,
    through_jpeg,
)
from vehicle import safety
from vehicle.hil.dynamics import AWS_CAR, STANDARD_CAR
from vehicle.hil.track import Track, load_track
from vehicle.hil.world import SECOND_NS, World

WIRE_NS = 12 * 10 * SECOND_NS // 115_200  # a COMMAND of 12 bytes at 115200 baud, 10 bits each


@pytest.fixture(scope="module")
def oval() -> Track:
    return load_track("oval")


def make_fleet(track: Track, **changes: object) -> Fleet:
    settings = FleetSettings(**{"count": 1, "randomise": False, "rooms_per_track": 1} | changes)  # type: ignore[arg-type]
    fleet = Fleet([track], settings)
    for car in range(settings.count):
        fleet.place(car, Start(track=0, s_m=1.0 + car), np.random.default_rng(car))
    return fleet


def on_the_wire(pulse_us: float) -> int:
    return math.floor(pulse_us + 0.5)


def decisions(count: int) -> list[tuple[float, float]]:
    rng = np.random.default_rng(3)
    return [(float(rng.uniform(-0.6, 0.8)), float(rng.choice([0.0, 0.25, 0.5, 0.75]))) for _ in range(count)]


@pytest.mark.parametrize("calibration", [HIL_AWS, HIL_STANDARD])
def test_commands_are_those_of_the_vehicle_s_limiter_and_calibration(oval: Track, calibration) -> None:
    fleet = make_fleet(oval, calibration=calibration)
    assert THROTTLE_GROWTH_PER_S == safety.THROTTLE_GROWTH_PER_S
    sent = 0.0
    for turn, push in decisions(40):
        fleet.steering_frac = np.array([turn])
        for command in fleet._commands(np.array([push])):
            sent = safety.limited_throttle(push, sent, TICK_S, THROTTLE_GROWTH_PER_S)
            assert command[0, 0] == on_the_wire(steering.pulse_us(calibration.steering, turn))
            assert command[1, 0] == on_the_wire(throttle.pulse_us(calibration.throttle, sent))


@pytest.mark.parametrize("first_step", [0, 2, 5])
@pytest.mark.parametrize(("calibration", "car"), [(HIL_AWS, AWS_CAR), (HIL_STANDARD, STANDARD_CAR)])
def test_a_fleet_of_one_moves_as_the_world_does_with_the_vehicle_s_pulses(
    oval: Track, first_step: int, calibration, car
) -> None:
    """Ticks, wire and pulse edges written out in nanoseconds here, on steps of the motion there."""
    fleet = make_fleet(oval, first_step=first_step, calibration=calibration, car=car)
    world = World(oval, car=car, size=(160, 120), now_ns=0)
    world.advance(
        2 * SECOND_NS, [(k * 20_000_000, 1500.0, calibration.throttle.neutral_us) for k in range(100)]
    )
    start_ns = 2 * SECOND_NS
    world.reset(s_m=1.0)
    arriving = [(0, calibration.steering.center_us, calibration.throttle.neutral_us)]
    sent, tick, first_ns = 0.0, 0, start_ns + first_step * SECOND_NS // 300
    edge_ns = start_ns
    while edge_ns < first_ns:  # pulses before the first decision
        world.advance(edge_ns, [(edge_ns, *arriving[0][1:])])
        edge_ns += 20_000_000
    for turn, push in decisions(30):
        fleet.drive(np.array([turn]), np.array([push]))
        for _ in range(STEPS_PER_DECISION // STEPS_PER_TICK):
            now_ns = first_ns + tick * SECOND_NS // 60
            sent = safety.limited_throttle(push, sent, TICK_S, THROTTLE_GROWTH_PER_S)
            command = (
                on_the_wire(steering.pulse_us(calibration.steering, turn)),
                on_the_wire(throttle.pulse_us(calibration.throttle, sent)),
            )
            arriving.append((now_ns + WIRE_NS, *command))
            tick += 1
        end_ns = first_ns + tick * SECOND_NS // 60
        while edge_ns < end_ns - 500:
            newest = [command for command in arriving if command[0] <= edge_ns][-1]
            world.advance(edge_ns, [(edge_ns, float(newest[1]), float(newest[2]))])
            edge_ns += 20_000_000
        world.advance(end_ns)

        truth = world.truth(end_ns)
        assert truth.x_m == pytest.approx(fleet.state.x_m, abs=1e-9)
        assert truth.y_m == pytest.approx(fleet.state.y_m, abs=1e-9)
        assert truth.speed_mps == pytest.approx(fleet.state.speed_mps, abs=1e-9)


def test_many_cars_drive_as_each_would_alone(oval: Track) -> None:
    together = make_fleet(oval, count=3)
    alone = make_fleet(oval)
    alone.place(0, Start(track=0, s_m=2.0), np.random.default_rng(1))
    for turn, push in decisions(20):
        together.drive(np.full(3, turn), np.full(3, push))
        alone.drive(np.array([turn]), np.array([push]))

    assert together.state.x_m[1] == pytest.approx(alone.state.x_m, abs=1e-9)
    assert together.progress_m[1] == pytest.approx(alone.progress_m[0])
    assert (together.pictures[1] == alone.pictures[0]).mean() > 0.999


def test_a_picture_shows_where_the_car_was_when_it_was_exposed(oval: Track) -> None:
    fresh, late = make_fleet(oval, delay_steps=0), make_fleet(oval, delay_steps=20)
    previous = fresh.pictures[0].copy()
    for turn, push in decisions(12):
        fresh.drive(np.array([turn]), np.array([push]))
        late.drive(np.array([turn]), np.array([push]))
        # Twenty steps late is the picture of the decision before; only its noise is another.
        assert np.abs(late.pictures[0].astype(float) - previous).mean() < 3.0
        previous = fresh.pictures[0].copy()


def test_dropped_frames_leave_the_old_picture(oval: Track) -> None:
    fleet = make_fleet(oval, count=2, randomise=True)
    fleet.drop_share = np.array([1.0, 0.0])
    before = fleet.pictures.copy()
    fleet.drive(np.zeros(2), np.full(2, 0.5))

    assert (fleet.pictures[0] == before[0]).all()
    assert (fleet.pictures[1] != before[1]).any()


def test_randomised_cars_delays_and_drops_lie_in_their_ranges(oval: Track) -> None:
    fleet = make_fleet(oval, count=40, randomise=True)

    assert 0 <= fleet.delay_steps.min() < 10
    assert 30 < fleet.delay_steps.max() <= 42
    assert 0.0 == fleet.drop_share.min() < fleet.drop_share.max() <= 0.2
    assert len({fleet.parameters(car).grip for car in range(40)}) == 40


def test_the_same_seed_gives_the_same_fleet(oval: Track) -> None:
    one, same = (make_fleet(oval, count=4, randomise=True, seed=8) for _ in range(2))
    for turn, push in decisions(5):
        one.drive(np.full(4, turn), np.full(4, push))
        same.drive(np.full(4, turn), np.full(4, push))

    assert (one.pictures == same.pictures).all()
    assert (one.state.x_m == same.state.x_m).all()


def test_a_policy_cannot_reverse(oval: Track) -> None:
    fleet = make_fleet(oval)
    for _ in range(20):
        fleet.drive(np.zeros(1), np.full(1, -1.0))

    assert fleet.progress_m[0] == pytest.approx(0.0, abs=1e-6)


def test_colour_pictures_went_through_jpeg(oval: Track) -> None:
    fleet = make_fleet(oval, colour=True)

    assert fleet.pictures.shape == (1, 120, 160, 3)
    again = through_jpeg(fleet.pictures[0])
    assert np.abs(again.astype(float) - fleet.pictures[0]).mean() < 2.0


def test_the_expert_laps_quickly_and_brakes_for_bends(oval: Track) -> None:
    fleet = make_fleet(oval, count=4, randomise=True)
    fleet.watched[:] = False
    expert = Expert(fleet)
    speeds = []
    for _ in range(120):
        fleet.drive(*expert.decide())
        speeds.append(fleet.speed_mps.copy())
        assert not fleet.is_off_track.any()

    assert (fleet.progress_m > oval.length_m).all()
    profile = speed_profile(oval, dataclasses.replace(AWS_CAR, grip=0.6))
    assert profile.min() < 0.8 * profile.max()
    assert np.array(speeds)[30:].mean() > 2.0
