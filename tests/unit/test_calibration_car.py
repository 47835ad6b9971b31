"""Bounds and conversions of one car's numbers."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import steering, throttle
from calibration.car import (
    AWS_DEFAULTS,
    HIL_AWS,
    HIL_STANDARD,
    STANDARD_1500,
    CarCalibration,
    ReverseMode,
    SpeedTable,
)
from calibration.errors import CalibrationError

CARS = [AWS_DEFAULTS, STANDARD_1500, HIL_AWS, HIL_STANDARD]
SHARES = [-1.0, -0.75, -0.5, -0.01, 0.0, 0.01, 0.5, 0.75, 1.0]
MIRRORED = msgspec.structs.replace(AWS_DEFAULTS.steering, left_us=1200.0, right_us=1710.0)
LOPSIDED = msgspec.structs.replace(
    AWS_DEFAULTS.steering, left_us=1800.0, left_rad=math.radians(20.0), right_rad=math.radians(-32.0)
)
STEERINGS = [AWS_DEFAULTS.steering, STANDARD_1500.steering, MIRRORED, LOPSIDED]


@pytest.mark.parametrize("cal", STEERINGS)
def test_steering_reaches_its_named_ends_and_centre(cal):
    assert steering.pulse_us(cal, 1.0) == cal.left_us
    assert steering.pulse_us(cal, 0.0) == cal.center_us
    assert steering.pulse_us(cal, -1.0) == cal.right_us
    assert steering.angle_from_frac(cal, 1.0) == cal.left_rad
    assert steering.angle_from_frac(cal, -1.0) == cal.right_rad


@pytest.mark.parametrize("cal", STEERINGS)
@pytest.mark.parametrize("share", SHARES)
def test_steering_share_survives_the_round_trip_through_pulse_and_angle(cal, share):
    assert steering.frac(cal, steering.pulse_us(cal, share)) == pytest.approx(share, abs=1e-12)
    assert steering.frac_from_angle(cal, steering.angle_from_frac(cal, share)) == pytest.approx(
        share, abs=1e-12
    )


@pytest.mark.parametrize("cal", STEERINGS)
def test_steering_beyond_the_lock_is_the_lock(cal):
    assert steering.pulse_us(cal, 1.7) == cal.left_us
    assert steering.pulse_us(cal, -1e9) == cal.right_us
    beyond_left_us = cal.left_us + 100.0 * math.copysign(1.0, cal.left_us - cal.center_us)
    beyond_right_us = cal.right_us + 100.0 * math.copysign(1.0, cal.right_us - cal.center_us)
    assert steering.frac(cal, beyond_left_us) == 1.0
    assert steering.frac(cal, beyond_right_us) == -1.0
    assert steering.frac_from_angle(cal, 1.5) == 1.0
    assert steering.frac_from_angle(cal, -1.5) == -1.0


def test_steering_gives_the_aws_cars_pulses():
    pulses = [steering.pulse_us(AWS_DEFAULTS.steering, share) for share in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    assert pulses == [1200.0, 1325.0, 1450.0, 1575.0, 1700.0]


def test_throttle_gives_the_aws_cars_pulses():
    pulses = [throttle.pulse_us(AWS_DEFAULTS.throttle, share) for share in (1.0, 0.5, 0.0, -0.5, -1.0)]
    assert pulses == [1311.0, 1378.5, 1446.0, 1524.75, 1603.5]


@pytest.mark.parametrize("car", CARS, ids=lambda car: car.name)
@pytest.mark.parametrize("share", SHARES)
def test_throttle_share_survives_the_round_trip_through_the_pulse(car, share):
    assert throttle.frac(car.throttle, throttle.pulse_us(car.throttle, share)) == pytest.approx(
        share, abs=1e-12
    )


@pytest.mark.parametrize("car", CARS, ids=lambda car: car.name)
def test_throttle_reaches_its_named_ends_and_clamps_beyond_them(car):
    cal = car.throttle
    assert throttle.pulse_us(cal, 1.0) == cal.forward_us
    assert throttle.pulse_us(cal, 5.0) == cal.forward_us
    assert throttle.pulse_us(cal, 0.0) == cal.neutral_us
    assert throttle.pulse_us(cal, -1.0) == cal.reverse_us
    assert throttle.pulse_us(cal, -5.0) == cal.reverse_us
    assert throttle.frac(cal, 2.0 * cal.forward_us - cal.neutral_us) == 1.0
    assert throttle.frac(cal, 2.0 * cal.reverse_us - cal.neutral_us) == -1.0


@pytest.mark.parametrize("car", [HIL_AWS, HIL_STANDARD], ids=lambda car: car.name)
def test_the_smallest_throttle_lies_beyond_the_dead_band(car):
    cal = car.throttle
    forward_sign = math.copysign(1.0, cal.forward_us - cal.neutral_us)
    assert (throttle.pulse_us(cal, 1e-9) - cal.neutral_us) * forward_sign == pytest.approx(
        cal.forward_dead_band_us, abs=1e-6
    )
    assert (throttle.pulse_us(cal, -1e-9) - cal.neutral_us) * -forward_sign == pytest.approx(
        cal.reverse_dead_band_us, abs=1e-6
    )


@pytest.mark.parametrize("car", [HIL_AWS, HIL_STANDARD], ids=lambda car: car.name)
def test_a_pulse_inside_the_dead_band_is_no_throttle(car):
    cal = car.throttle
    for offset_us in (-7.0, -1.0, 0.0, 1.0, 7.0):
        assert throttle.frac(cal, cal.neutral_us + offset_us) == 0.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_every_conversion(value):
    table = HIL_AWS.speed_table
    for convert in (
        lambda: steering.pulse_us(AWS_DEFAULTS.steering, value),
        lambda: steering.frac(AWS_DEFAULTS.steering, value),
        lambda: steering.frac_from_angle(AWS_DEFAULTS.steering, value),
        lambda: steering.angle_from_frac(AWS_DEFAULTS.steering, value),
        lambda: throttle.pulse_us(AWS_DEFAULTS.throttle, value),
        lambda: throttle.frac(AWS_DEFAULTS.throttle, value),
        lambda: throttle.frac_from_speed(table, value),
        lambda: throttle.speed_from_frac(table, value),
    ):
        with pytest.raises(ValueError, match="allowed finite"):
            convert()


def test_speed_comes_from_the_table_by_straight_lines_and_goes_back():
    table = SpeedTable(points=((0.0, 0.0), (0.2, 1.0), (0.8, 3.0)))
    assert throttle.speed_from_frac(table, 0.1) == pytest.approx(0.5)
    assert throttle.speed_from_frac(table, 0.5) == pytest.approx(2.0)
    for speed_mps in (0.0, 0.3, 1.0, 2.2, 3.0):
        share = throttle.frac_from_speed(table, speed_mps)
        assert throttle.speed_from_frac(table, share) == pytest.approx(speed_mps)


def test_speed_outside_the_table_is_its_end():
    table = SpeedTable(points=((0.0, 0.0), (0.8, 3.0)))
    assert throttle.frac_from_speed(table, 9.0) == 0.8
    assert throttle.frac_from_speed(table, -1.0) == 0.0
    assert throttle.speed_from_frac(table, 1.0) == 3.0
    assert throttle.speed_from_frac(table, -0.5) == 0.0


@given(
    middle=st.floats(1000, 2000),
    left=st.floats(15, 190),
    right=st.floats(15, 190),
    flip=st.booleans(),
    share=st.floats(-1, 1),
)
def test_any_allowed_steering_survives_the_round_trip(middle, left, right, flip, share):
    sign = -1.0 if flip else 1.0
    cal = msgspec.structs.replace(
        AWS_DEFAULTS.steering,
        left_us=middle + sign * left,
        center_us=middle,
        right_us=middle - sign * right,
    )
    assert steering.frac(cal, steering.pulse_us(cal, share)) == pytest.approx(share, abs=1e-9)


def test_the_defaults_are_the_two_kinds_of_car():
    throttles = [(car.throttle.neutral_us, car.throttle.forward_us, car.throttle.reverse_us) for car in CARS]
    assert throttles == [
        (1446.0, 1311.0, 1603.5),
        (1500.0, 1900.0, 1100.0),
        (1446.0, 1311.0, 1603.5),
        (1500.0, 1900.0, 1100.0),
    ]
    assert HIL_AWS.throttle.esc.reverse_mode is ReverseMode.DOUBLE_TAP


@pytest.mark.parametrize(
    ("part", "changes", "seen"),
    [
        ("steering", {"left_us": 2900.0}, "steering.left_us is 2900, allowed 800 to 2200"),
        ("steering", {"right_us": 799.9}, "steering.right_us is 799.9, allowed 800 to 2200"),
        ("steering", {"center_us": math.nan}, "steering.center_us is nan, allowed 800 to 2200"),
        ("steering", {"center_us": 1700.0}, "steering.center_us is 1700, allowed at least 10 above right_us"),
        ("steering", {"left_us": 1100.0}, "steering.center_us is 1450, allowed"),
        ("steering", {"left_rad": -0.5}, "steering.left_rad is -0.5, allowed"),
        ("steering", {"right_rad": 0.5}, "steering.right_rad is 0.5, allowed"),
        ("steering", {"left_rad": 1.2}, "steering.left_rad is 1.2, allowed"),
        ("throttle", {"forward_us": 2201.0}, "throttle.forward_us is 2201, allowed 800 to 2200"),
        ("throttle", {"neutral_us": math.inf}, "throttle.neutral_us is inf, allowed 800 to 2200"),
        ("throttle", {"neutral_us": 1700.0}, "throttle.neutral_us is 1700, allowed at least 10 above"),
        ("throttle", {"reverse_us": 1300.0}, "throttle.neutral_us is 1446, allowed"),
        ("throttle", {"forward_dead_band_us": -1.0}, "throttle.forward_dead_band_us is -1, allowed 0 to 108"),
        (
            "throttle",
            {"reverse_dead_band_us": 150.0},
            "throttle.reverse_dead_band_us is 150, allowed 0 to 126",
        ),
    ],
)
def test_a_number_that_no_car_has_is_refused_with_value_range_and_remedy(part, changes, seen):
    with pytest.raises(CalibrationError) as error:
        msgspec.structs.replace(getattr(AWS_DEFAULTS, part), **changes)
    assert seen in str(error.value)
    assert "measure it again" in str(error.value)


@pytest.mark.parametrize(
    ("points", "seen"),
    [
        (((0.0, 0.0),), "has 1 points, allowed 2 to 64"),
        (((0.1, 0.0), (1.0, 2.0)), "points[0] is (0.1, 0.0), allowed (0.0, 0.0)"),
        (((0.0, 0.0), (0.5, 2.0), (1.0, 2.0)), "points[2] is (1.0, 2.0), allowed only above (0.5, 2.0)"),
        (((0.0, 0.0), (0.5, 2.0), (0.5, 3.0)), "points[2] is (0.5, 3.0), allowed only above (0.5, 2.0)"),
        (((0.0, 0.0), (1.1, 2.0)), "points[1] throttle share is 1.1, allowed 0 to 1"),
        (((0.0, 0.0), (1.0, 21.0)), "points[1] speed in m/s is 21, allowed 0 to 20"),
        (((0.0, 0.0), (1.0, math.nan)), "points[1] speed in m/s is nan"),
    ],
)
def test_a_speed_table_that_cannot_be_read_backwards_is_refused(points, seen):
    with pytest.raises(CalibrationError) as error:
        SpeedTable(points=points)
    assert seen in str(error.value)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": "../etc"}, "name is '../etc'"),
        ({"name": "a" * 65}, "allowed 1 to 64"),
        ({"version": -1}, "version is -1, allowed 0 to"),
        ({"measured_at": "yesterday"}, "measured_at is 'yesterday', allowed a time"),
    ],
)
def test_a_car_needs_a_name_a_version_and_a_time(changes, seen):
    with pytest.raises(CalibrationError) as error:
        msgspec.structs.replace(AWS_DEFAULTS, **changes)
    assert seen in str(error.value)


def test_a_calibration_cannot_be_changed_behind_its_owners_back():
    with pytest.raises(AttributeError):
        AWS_DEFAULTS.name = "mine"
    assert isinstance(AWS_DEFAULTS, CarCalibration)
