"""The simulated car: what its servo, ESC, motor and tyres do with pulses."""

import dataclasses
import math

import numpy as np
import pytest

from calibration.car import HIL_AWS, HIL_STANDARD, CarCalibration
from vehicle.hil.dynamics import (
    AWS_CAR,
    MANY,
    ONE,
    PULSE_PERIOD_S,
    REVERSE_DIRECT,
    REVERSE_NONE,
    STANDARD_CAR,
    CarParameters,
    CarState,
    arm,
    many_states,
    receive_pulses,
    stacked,
    step,
)

NEUTRAL_US, FORWARD_US, REVERSE_US, CENTER_US = 1446.0, 1311.0, 1603.5, 1450.0


def driven(
    state: CarState,
    seconds: float,
    throttle_us: float,
    steering_us: float = CENTER_US,
    car: CarParameters = AWS_CAR,
) -> CarState:
    for _ in range(round(seconds / PULSE_PERIOD_S)):
        receive_pulses(state, steering_us, throttle_us, car, ONE)
        for _ in range(6):
            step(state, car, ONE)
    return state


def armed() -> CarState:
    state = CarState()
    arm(state)
    return state


@pytest.mark.parametrize(("calibration", "car"), [(HIL_AWS, AWS_CAR), (HIL_STANDARD, STANDARD_CAR)])
def test_the_hil_calibrations_describe_the_hil_cars(calibration: CarCalibration, car: CarParameters) -> None:
    for part in (calibration.steering, calibration.throttle):
        for name in part.__struct_fields__:
            if name != "esc":
                assert getattr(part, name) == pytest.approx(getattr(car, name)), name
    assert calibration.speed_table is not None
    assert calibration.speed_table.points[-1] == (1.0, car.top_speed_mps)


def test_the_esc_drives_only_after_a_second_of_neutral() -> None:
    assert driven(CarState(), 3.0, FORWARD_US).speed_mps == 0.0
    short = driven(driven(CarState(), 0.9, NEUTRAL_US), 1.0, FORWARD_US)
    assert short.speed_mps == 0.0
    assert driven(driven(CarState(), 1.1, NEUTRAL_US), 1.0, FORWARD_US).speed_mps > 2.0


def test_full_forward_reaches_the_top_speed_and_a_share_its_share() -> None:
    assert driven(armed(), 6.0, FORWARD_US).speed_mps == pytest.approx(4.0, abs=0.02)
    half_us = NEUTRAL_US - 8.0 - 0.5 * (135.0 - 8.0)
    assert driven(armed(), 6.0, half_us).speed_mps == pytest.approx(2.0, abs=0.02)


def test_pulses_in_the_dead_band_move_nothing() -> None:
    assert driven(armed(), 2.0, NEUTRAL_US - 8.0).speed_mps == 0.0
    assert driven(armed(), 2.0, NEUTRAL_US - 12.0).speed_mps > 0.0


def test_neutral_and_no_pulse_let_the_car_roll_to_a_halt() -> None:
    for throttle_us in (NEUTRAL_US, 0.0):
        state = armed()
        state.speed_mps = 3.0
        driven(state, 0.5, throttle_us)
        assert 1.6 < state.speed_mps < 2.1  # it coasts, it does not stop dead
        assert driven(state, 4.0, throttle_us).speed_mps == pytest.approx(0.0, abs=1e-3)


def test_the_first_pull_back_brakes_and_only_the_second_reverses() -> None:
    state = armed()
    state.speed_mps = 2.0
    driven(state, 0.25, REVERSE_US)
    assert 0.0 < state.speed_mps < 1.0
    driven(state, 1.0, REVERSE_US)
    assert state.speed_mps == 0.0  # it brakes to a stand and stays there
    driven(state, 0.1, NEUTRAL_US)
    assert driven(state, 1.0, REVERSE_US).speed_mps < -0.5


def test_other_escs_reverse_at_once_or_never() -> None:
    direct = dataclasses.replace(AWS_CAR, reverse_mode=REVERSE_DIRECT)
    assert driven(armed(), 1.0, REVERSE_US, car=direct).speed_mps < -0.5
    never = dataclasses.replace(AWS_CAR, reverse_mode=REVERSE_NONE)
    state = driven(driven(armed(), 0.5, REVERSE_US, car=never), 0.1, NEUTRAL_US, car=never)
    assert driven(state, 1.0, REVERSE_US, car=never).speed_mps == 0.0


@pytest.mark.parametrize(
    ("pulse_us", "angle_deg"), [(1700, 30), (1575, 15), (1450, 0), (1325, -15), (1200, -30), (2000, 30)]
)
def test_the_servo_reaches_its_angle(pulse_us: float, angle_deg: float) -> None:
    assert driven(armed(), 1.0, NEUTRAL_US, pulse_us).steering_rad == pytest.approx(
        math.radians(angle_deg), abs=1e-4
    )


def test_the_servo_takes_time_and_goes_limp_without_pulses() -> None:
    state = driven(armed(), PULSE_PERIOD_S, NEUTRAL_US, 1700.0)
    assert 0.0 < state.steering_rad <= 6.0 * PULSE_PERIOD_S + 1e-9
    driven(state, 1.0, NEUTRAL_US, 1700.0)
    assert driven(state, 1.0, 0.0, 0.0).steering_rad == pytest.approx(math.radians(30), abs=1e-3)


def radius_m(speed_mps: float, grip: float) -> float:
    car = dataclasses.replace(AWS_CAR, grip=grip, coast_mps2=0.0, drag_per_s=0.0, scrub=0.0, motor_tau_s=1e9)
    state = armed()
    state.speed_mps, state.steering_rad = speed_mps, math.radians(30)
    state = driven(state, 0.2, NEUTRAL_US, 1700.0, car)
    return float(state.speed_mps / state.yaw_rate_radps)


def test_a_slow_car_turns_as_its_geometry_says_and_a_fast_one_slides_wide() -> None:
    assert radius_m(0.5, 0.8) == pytest.approx(0.165 / math.tan(math.radians(30)), rel=0.02)
    assert radius_m(3.0, 0.8) > 1.1  # 9 / (0.8 * 9.81)
    assert radius_m(3.0, 0.5) > 1.5 * radius_m(3.0, 0.9)


def test_tyres_never_give_more_than_the_friction_they_have() -> None:
    for speed_mps in (1.0, 2.0, 3.0, 4.0):
        assert speed_mps**2 / radius_m(speed_mps, 0.6) <= 0.6 * 9.81 + 1e-6


def test_many_cars_move_like_one() -> None:
    rng = np.random.default_rng(1)
    cars = [AWS_CAR.randomised(rng) for _ in range(5)]
    together, batch = many_states(5), stacked(cars)
    arm(together)
    alone = [armed() for _ in cars]
    for _ in range(200):
        steering_us, throttle_us = rng.uniform(1200, 1700, 5), rng.uniform(1311, 1603, 5)
        receive_pulses(together, steering_us, throttle_us, batch, MANY)
        for state, car, turn, push in zip(alone, cars, steering_us, throttle_us, strict=True):
            receive_pulses(state, float(turn), float(push), car, ONE)
        for _ in range(6):
            step(together, batch, MANY)
            for state, car in zip(alone, cars, strict=True):
                step(state, car, ONE)

    for field in dataclasses.fields(CarState):
        expected = [getattr(state, field.name) for state in alone]
        assert getattr(together, field.name) == pytest.approx(expected, abs=1e-9), field.name


def test_randomised_cars_differ_and_depend_on_the_seed_alone() -> None:
    one, same, other = (AWS_CAR.randomised(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert one.neutral_us == AWS_CAR.neutral_us
