"""The world core: pulses in, truth out, at a time that is handed in."""

import math

import numpy as np
import pytest

from vehicle.hil.render import POLICY_SIZE
from vehicle.hil.track import Track, load_track
from vehicle.hil.world import World, step_index

SECOND_NS = 1_000_000_000
PERIOD_NS = 20_000_000
NEUTRAL = (1450.0, 1446.0)


@pytest.fixture(scope="module")
def oval() -> Track:
    return load_track("oval")


def make_world(track: Track, **options: object) -> World:
    return World(track, size=POLICY_SIZE, now_ns=SECOND_NS, **options)  # type: ignore[arg-type]


def drive(world: World, start_ns: int, seconds: float, steer_and_push) -> int:
    """Send pulses every 20 ms; `steer_and_push` may be a pair or a function of the truth."""
    now_ns = start_ns
    for _ in range(round(seconds * 50)):
        pair = steer_and_push(world.truth(now_ns)) if callable(steer_and_push) else steer_and_push
        world.advance(now_ns + PERIOD_NS, [(now_ns, *pair)])
        now_ns += PERIOD_NS
    return now_ns


def follow_line(track: Track, throttle_us: float):
    def pair(truth) -> tuple[float, float]:
        x, y, _ = track.pose_at(truth.progress_frac * track.length_m + 0.5)
        bearing = math.atan2(y - truth.y_m, x - truth.x_m) - truth.heading_rad
        angle = math.atan(2 * 0.165 * math.sin(bearing) / 0.5)
        return 1450.0 + 250.0 * max(-1.0, min(1.0, angle / math.radians(30))), throttle_us

    return pair


def test_moments_on_the_grid_are_recognised_although_they_are_no_whole_nanoseconds() -> None:
    for index in range(0, 3000, 7):
        assert step_index(index * SECOND_NS // 300) == index
        assert step_index(round(index * SECOND_NS / 300)) == index


def test_a_car_without_pulses_stands_still(oval: Track) -> None:
    world = make_world(oval)
    before = world.truth(SECOND_NS)
    world.advance(3 * SECOND_NS)
    after = world.truth(3 * SECOND_NS)

    assert (after.x_m, after.y_m, after.speed_mps) == (before.x_m, before.y_m, 0.0)
    assert after.esc_pulse_us == after.servo_pulse_us == 0.0


def test_laps_are_counted_and_timed_between_crossings_of_the_line(oval: Track) -> None:
    world = make_world(oval)
    now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
    assert world.truth(now_ns).lap_started_ns == 0
    now_ns = drive(world, now_ns, 24.0, follow_line(oval, 1388.0))
    truth = world.truth(now_ns)

    assert len(truth.laps) == 2
    assert [lap.lap for lap in truth.laps] == [1, 2]
    assert truth.laps[1].time_s == pytest.approx(truth.laps[0].time_s, rel=0.15)
    assert truth.laps[1].time_s == pytest.approx(oval.length_m / truth.speed_mps, rel=0.1)
    assert not truth.off_track
    assert truth.lap_started_ns < now_ns


def test_lap_times_do_not_depend_on_how_often_the_world_is_advanced(oval: Track) -> None:
    results = []
    for portions in (1, 7):
        world = make_world(oval)
        now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
        for _ in range(600):
            pair = follow_line(oval, 1388.0)(world.truth(now_ns))
            world.advance(now_ns, [(now_ns, *pair)])
            for part in range(1, portions + 1):
                world.advance(now_ns + PERIOD_NS * part // portions)
            now_ns += PERIOD_NS
        results.append(world.truth(now_ns))

    assert results[0] == results[1]


def test_driving_backwards_over_the_line_and_forward_again_is_no_lap(oval: Track) -> None:
    world = make_world(oval)
    world.reset(s_m=0.2)
    now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
    for pair, seconds in (((1450.0, 1603.5), 0.1), (NEUTRAL, 0.1), ((1450.0, 1603.5), 1.0)):
        now_ns = drive(world, now_ns, seconds, pair)
    assert world.truth(now_ns).progress_frac > 0.9
    drive(world, now_ns, 2.0, (1450.0, 1400.0))

    assert world.truth(now_ns).laps == ()


def test_a_car_that_leaves_the_track_is_off_and_then_crashes_until_reset(oval: Track) -> None:
    world = make_world(oval)
    now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
    seen_off = False
    for _ in range(300):
        now_ns = drive(world, now_ns, 0.02, (1450.0, 1388.0))
        truth = world.truth(now_ns)
        seen_off |= truth.off_track and not truth.crashed
        if truth.crashed:
            break
    assert seen_off
    assert truth.crashed
    assert truth.speed_mps == 0.0
    still = drive(world, now_ns, 0.5, (1450.0, 1388.0))
    assert world.truth(still).x_m == truth.x_m

    world.reset()
    truth = world.truth(still)
    assert not truth.crashed
    assert not truth.off_track
    assert world.truth(drive(world, still, 1.0, (1450.0, 1388.0))).speed_mps > 0.5  # the ESC is still armed


def test_a_power_cycled_esc_wants_neutral_again(oval: Track) -> None:
    world = make_world(oval)
    now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
    world.power_cycle_esc()
    now_ns = drive(world, now_ns, 1.0, (1450.0, 1388.0))

    assert world.truth(now_ns).speed_mps == 0.0


def test_when_pulses_cease_the_car_coasts(oval: Track) -> None:
    world = make_world(oval)
    now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
    now_ns = drive(world, now_ns, 1.0, (1450.0, 1388.0))
    fast = world.truth(now_ns).speed_mps
    world.advance(now_ns + SECOND_NS // 2)
    truth = world.truth(now_ns + SECOND_NS // 2)

    assert truth.speed_mps < fast - 0.5
    assert truth.esc_pulse_us == 0.0


def test_battery_sags_and_wheels_tick_while_driving(oval: Track) -> None:
    world = make_world(oval)
    rested_v = world.battery_v
    now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
    assert world.wheel_ticks == 0
    drive(world, now_ns, 1.0, (1450.0, 1388.0))

    assert world.battery_v < rested_v
    assert world.wheel_ticks > 30


def test_the_same_seed_and_pulses_give_the_same_pictures_and_truth(oval: Track) -> None:
    ends = []
    for _ in range(2):
        world = make_world(oval, seed=4)
        now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
        now_ns = drive(world, now_ns, 2.0, follow_line(oval, 1380.0))
        ends.append((world.truth(now_ns), world.expose(9, now_ns)))

    assert ends[0][0] == ends[1][0]
    assert (ends[0][1] == ends[1][1]).all()


def test_a_frame_between_two_steps_shows_the_car_between_two_poses(oval: Track) -> None:
    world = make_world(oval)
    now_ns = drive(world, SECOND_NS, 1.2, NEUTRAL)
    now_ns = drive(world, now_ns, 2.0, follow_line(oval, 1380.0))
    on_grid = world.expose(1, now_ns).astype(float)
    world.advance(now_ns + 3_000_000)  # no step is due
    later = world.expose(1, now_ns + 3_000_000).astype(float)
    world.advance(now_ns + 3_333_334)
    next_step = world.expose(1, now_ns + 3_333_334).astype(float)

    assert np.abs(later - next_step).mean() < np.abs(on_grid - next_step).mean()
