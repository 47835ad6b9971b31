"""Every way of pulling the stick, through our belief about the ESC, the pulses and an ESC that has its own.

The emulated ESC refuses reverse while the wheels turn and, with a double tap, takes the first pull as brake.
What is sent is judged too, as an ESC would take it that refuses nothing.
"""

import dataclasses
import itertools

import pytest

from calibration.car import HIL_AWS, HIL_STANDARD, CarCalibration
from calibration.throttle import pulse_us
from vehicle.esc import BRAKE_PULL_S, COAST_FRAC_PER_S, NEUTRAL_PAUSE_S, EscState, next_throttle
from vehicle.hil.dynamics import (
    AWS_CAR,
    ONE,
    REVERSE_DIRECT,
    REVERSE_DOUBLE_TAP,
    REVERSE_NONE,
    STANDARD_CAR,
    STEP_S,
    CarParameters,
    CarState,
    arm,
    receive_pulses,
    step,
)

MODES = {"none": REVERSE_NONE, "direct": REVERSE_DIRECT, "double_tap": REVERSE_DOUBLE_TAP}
CARS = {"aws": (AWS_CAR, HIL_AWS), "standard": (STANDARD_CAR, HIL_STANDARD)}
TICK_NS = 20_000_000
STEPS_A_TICK = 6
ROLLING_MPS = 0.3  # faster, and the ESC refuses
STANDING_MPS = 0.03  # the slow end of coasting
WISHES = (1.0, 0.3, 0.0, -0.4, -1.0)


class Driven:
    """A car and a hand on its stick; `reverse_mode` is what both we and the ESC go by."""

    def __init__(self, wiring: str, reverse_mode: str, **other: float) -> None:
        parameters, self._calibration = CARS[wiring]
        self._car: CarParameters = dataclasses.replace(parameters, reverse_mode=MODES[reverse_mode], **other)
        self._reverse_mode = reverse_mode
        self._belief = EscState()
        self._was_released = True
        self._now_ns = 1_000_000_000
        self.car = CarState()
        arm(self.car)
        self.sent: list[float] = []

    @property
    def calibration(self) -> CarCalibration:
        return self._calibration

    def hold(self, wish: float, duration_s: float) -> None:
        for _ in range(round(duration_s * 1e9 / TICK_NS)):
            self._belief, share = next_throttle(self._belief, wish, self._reverse_mode, self._now_ns)
            self._belief = self._belief.sent(share, self._now_ns)
            believed = self._belief.rolls_frac(self._now_ns) > 0.0
            assert believed or self.car.speed_mps <= STANDING_MPS, "it rolls, and we believe that it stands"
            self._now_ns += TICK_NS
            self.sent.append(share)
            rolling = self.car.speed_mps
            receive_pulses(self.car, 0.0, pulse_us(self._calibration.throttle, share), self._car, ONE)
            self.check(wish, share, rolling)
            for _ in range(STEPS_A_TICK):
                step(self.car, self._car, ONE, STEP_S)

    def check(self, wish: float, share: float, rolling_mps: float) -> None:
        assert share * wish >= 0.0, "the other way than the stick"
        if rolling_mps > ROLLING_MPS:
            assert self.car.drive_share >= 0.0, "reverse drive while rolling forward"
        if rolling_mps > STANDING_MPS and self._reverse_mode == "direct":
            assert share >= 0.0, "an ESC that reverses at once was told to, at speed"
        if rolling_mps > STANDING_MPS and wish < 0.0 and self._reverse_mode == "double_tap":
            assert self._was_released or share < 0.0, "the second pull of one long one came at speed"
        self._was_released = wish >= 0.0
        if wish >= 0.0:
            assert self.car.drive_share >= 0.0
            assert self.car.brake_share == 0.0
        if self._reverse_mode == "none":
            assert self.car.drive_share >= 0.0
            assert self.car.brake_share == 0.0


@pytest.mark.parametrize("wiring", CARS)
@pytest.mark.parametrize("reverse_mode", MODES)
def test_no_way_of_pulling_the_stick_drives_backwards_before_standstill(wiring, reverse_mode):
    for wishes in itertools.product(WISHES, repeat=3):
        for hold_s in (0.06, 0.4):
            driven = Driven(wiring, reverse_mode)
            driven.hold(1.0, 0.8)
            for wish in wishes:
                driven.hold(wish, hold_s)


@pytest.mark.parametrize("wiring", CARS)
def test_pulling_the_stick_back_at_speed_brakes_first_and_never_turns_the_wheels_back(wiring):
    coasting, braking = Driven(wiring, "double_tap"), Driven(wiring, "double_tap")
    for driven in (coasting, braking):
        driven.hold(1.0, 1.5)
    coasting.hold(0.0, BRAKE_PULL_S)
    braking.hold(-1.0, BRAKE_PULL_S)
    assert braking.car.brake_share > 0.0
    assert braking.car.speed_mps < coasting.car.speed_mps
    braking.hold(-1.0, 3.0)  # held back: it stands, and is not believed to yet
    assert braking.car.speed_mps == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("wiring", CARS)
def test_the_slowest_coasting_car_that_we_know_rolls_no_faster_than_is_believed(wiring):
    for gain, coast_mps2, tau_s in itertools.product((0.8, 1.1), (1.2, 3.2), (0.12, 0.45)):
        for driven_s in (0.1, 0.5, 3.0):
            driven = Driven(wiring, "direct", battery_gain=gain, coast_mps2=coast_mps2, motor_tau_s=tau_s)
            driven.hold(1.0, driven_s)
            driven.hold(-1.0, 1.0 / COAST_FRAC_PER_S + 0.5)
            assert driven.car.drive_share < 0.0  # it does reverse in the end


@pytest.mark.parametrize("wiring", CARS)
def test_a_car_that_stands_drives_backwards_after_the_double_tap(wiring):
    driven = Driven(wiring, "double_tap")
    driven.hold(0.0, 0.1)
    driven.hold(-0.6, BRAKE_PULL_S + NEUTRAL_PAUSE_S + 1.0)
    assert driven.car.speed_mps < -0.2


@pytest.mark.parametrize("wiring", CARS)
def test_after_a_stop_at_speed_the_way_back_opens_with_the_next_pull(wiring):
    driven = Driven(wiring, "double_tap")
    driven.hold(1.0, 1.5)
    driven.hold(-1.0, 3.0)
    driven.hold(0.0, 1.5)
    driven.hold(-0.6, 1.0)
    assert driven.car.speed_mps < -0.2


@pytest.mark.parametrize("wiring", CARS)
def test_forward_at_any_time_ends_the_way_back(wiring):
    driven = Driven(wiring, "double_tap")
    driven.hold(-0.6, 1.5)
    driven.hold(0.5, 1.5)
    assert driven.car.speed_mps > 0.2
    driven.hold(-1.0, 0.1)
    assert driven.car.drive_share == 0.0
    assert driven.car.brake_share > 0.0
