"""What is broken behind the board: what servo and ESC take of its pulses, and what it measures of them."""

import pytest

from vehicle.hil.boards import WIRINGS, PulseEvent
from vehicle.hil.broken_car import BrokenCar, break_esc
from vehicle.hil.dynamics import AWS_CAR, REVERSE_DIRECT, REVERSE_NONE
from vehicle.hil.faults import FaultSchedule, Part, parse_fault
from vehicle.hil.track import load_track
from vehicle.hil.world import World

LEFT_US, CENTER_US, RIGHT_US, NEUTRAL_US = 1700.0, 1450.0, 1200.0, 1446.0
PULSE_NS = 20_000_000
PULSES_PER_S = 50


def broken(*texts: str) -> tuple[BrokenCar, FaultSchedule]:
    faults = FaultSchedule(parse_fault(text) for text in texts)
    faults.advance(0)
    return BrokenCar(faults, WIRINGS["aws"]), faults


def taken(car: BrokenCar, steering_us: float, throttle_us: float = NEUTRAL_US, count: int = 1) -> PulseEvent:
    """Return the last of so many pulses as servo and ESC take it."""
    pulses = [PulseEvent(at * PULSE_NS, steering_us, throttle_us) for at in range(count)]
    return car.pulses(pulses, count * PULSE_NS)[-1]


def test_a_slow_servo_takes_its_share_of_the_speed_from_lock_to_lock():
    car, _ = broken("car=servo_slow:0.1")
    taken(car, LEFT_US, count=PULSES_PER_S * 3)

    assert taken(car, LEFT_US).steering_us == LEFT_US
    assert RIGHT_US < taken(car, RIGHT_US, count=80).steering_us < CENTER_US
    assert taken(car, RIGHT_US, count=10).steering_us == RIGHT_US


def test_a_servo_of_limited_travel_reaches_its_share_on_both_sides():
    car, _ = broken("car=servo_limited:0.4")

    assert taken(car, LEFT_US).steering_us == pytest.approx(1550.0)
    assert taken(car, RIGHT_US).steering_us == pytest.approx(1350.0)
    assert taken(car, 1500.0).steering_us == 1500.0


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ("ticks_stuck", [100, 100, 100, 100]),
        ("ticks_lost:0.5", [100, 105, 110, 115]),
        ("ticks_lost:1", [100, 100, 100, 100]),
        ("ticks_doubled", [100, 120, 140, 160]),
        ("ticks_backwards", [100, 90, 80, 70]),
        ("ticks_wrap", [65531, 65541, 65551, 65561]),
    ],
)
def test_a_broken_wheel_sensor_counts_wrongly_from_then_on_and_rightly_again_afterwards(fault, counted):
    car, faults = broken(f"car={fault}")

    assert [car.wheel_ticks(rolled) for rolled in (100, 110, 120, 130)] == counted
    faults.switch_off(Part.CAR, fault.split(":")[0])
    faults.advance(1)
    assert car.wheel_ticks(140) == 140


def test_an_esc_with_another_neutral_takes_this_cars_neutral_for_throttle():
    car, _ = broken("car=esc_trim:40")

    assert taken(car, CENTER_US).throttle_us == NEUTRAL_US - 40.0  # which is forward on this car
    assert taken(car, CENTER_US, 0.0).throttle_us == 0.0


@pytest.mark.parametrize(("stick", "throttle_us"), [("0", 1446.0), ("0.5", 1525.0), ("-0.4", 1392.0)])
def test_a_radio_that_has_taken_over_gives_its_own_pulses_until_it_lets_go(stick, throttle_us):
    car, faults = broken(f"board=rc_takeover:{stick}")

    pulse = taken(car, LEFT_US, 1350.0)
    assert (pulse.steering_us, pulse.throttle_us) == (CENTER_US, pytest.approx(throttle_us))
    faults.switch_off(Part.BOARD, "rc_takeover")
    faults.advance(1)
    assert taken(car, LEFT_US, 1350.0)[1:] == (LEFT_US, 1350.0)


@pytest.mark.parametrize(
    ("fault", "mode"), [("reverse_brakes", REVERSE_NONE), ("reverse_at_once", REVERSE_DIRECT)]
)
def test_an_esc_that_is_set_up_otherwise_makes_something_else_of_a_pull_until_it_is_mended(fault, mode):
    world = World(load_track("oval"))
    faults = FaultSchedule([parse_fault(f"car={fault}@0..1")])

    for at_ns, expected in ((0, mode), (10**9, AWS_CAR.reverse_mode)):
        for change in faults.advance(at_ns):
            break_esc(world, change)
        assert world.car.reverse_mode == expected
