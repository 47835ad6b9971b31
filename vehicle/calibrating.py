"""Calibrating, on the vehicle's side: which actuator may move, how far, how fast, and from which rest.

Whoever calibrates says first which actuator moves and where both rest. The board is told then: it holds
the other one within a microsecond of its rest, so that even a mistake of ours cannot move it, and what a
dead computer leads to is the rest that was named.
"""

import math

import msgspec

from calibration.car import MIN_SPAN_US, PULSE_MAX_US, PULSE_MIN_US
from vehicle.messages import Actuator, BoardPulses

HELD_US = 1.0  # the clamps of the actuator that rests: the board wants min < rest < max
THROTTLE_GROWTH_US_PER_S = 300.0  # a 25 us nudge takes 83 ms, an AWS car's full throttle half a second
STEERING_GROWTH_US_PER_S = 1500.0  # from lock to lock in a third of a second; a servo takes half as long
PREPARED_LIMIT_S = 5.0  # from being prepared to the start; then the board gets the car's own numbers back


class Preparation(msgspec.Struct, frozen=True):
    """What is calibrated next, and where both actuators rest meanwhile."""

    actuator: Actuator
    center_us: float
    neutral_us: float
    prepared_ns: int

    def board_pulses(self) -> BoardPulses:
        """Return what the board keeps while this is calibrated: one actuator may move, the other may not."""
        steers = self.actuator is Actuator.STEERING
        steering = _clamps(self.center_us, moves=steers)
        throttle = _clamps(self.neutral_us, moves=not steers)
        return BoardPulses(
            steering[0], self.center_us, steering[1], throttle[0], self.neutral_us, throttle[1]
        )


def _clamps(rest_us: float, *, moves: bool) -> tuple[float, float]:
    return (PULSE_MIN_US, PULSE_MAX_US) if moves else (rest_us - HELD_US, rest_us + HELD_US)


def was_cut_off(kept: BoardPulses) -> bool:
    """Return whether a board keeps what it was told for calibrating: the vehicle's process died meanwhile.

    The actuator that rests is held within less than any car's range.
    """
    held_us = min(kept.steering_max_us - kept.steering_min_us, kept.throttle_max_us - kept.throttle_min_us)
    return held_us < MIN_SPAN_US


def slewed_us(wanted_us: float, previous_us: float, rest_us: float, growth_us: float) -> float:
    """Return the pulse for this tick: away from rest it grows by at most `growth_us`, back it is free."""
    wanted, previous = wanted_us - rest_us, previous_us - rest_us
    start = abs(previous) if wanted * previous > 0.0 else 0.0
    if abs(wanted) <= start + growth_us:
        return wanted_us
    return rest_us + math.copysign(start + growth_us, wanted)


class Bench:
    """The pulses of a car on its stand; used by the loop's thread alone."""

    def __init__(self) -> None:
        self.preparation: Preparation | None = None
        """None: nothing may be calibrated now."""
        self.rest_us: tuple[float, float] | None = None
        """Where the board was last told to rest, which outlives the preparation."""
        self._sent_us = (0.0, 0.0)
        self._sent_ns = 0

    def recall(self, preparation: Preparation | None, rest_us: tuple[float, float] | None) -> None:
        """Go on from what was prepared, and where the board rests; for a replay."""
        if preparation is not None:
            self.prepare(preparation)
        self.rest_us = rest_us

    def prepare(self, preparation: Preparation) -> None:
        """Begin at rest."""
        self.preparation = preparation
        self.rest_us = self._sent_us = (preparation.center_us, preparation.neutral_us)
        self._sent_ns = 0

    def end(self) -> None:
        """Calibrate nothing until prepared again."""
        self.preparation = None

    def pulses_us(self, asked_us: tuple[float, float] | None, now_ns: int) -> tuple[float, float]:
        """Return steering and throttle for this tick; None, or a 0, asks for rest."""
        preparation = self.preparation
        assert preparation is not None, "pulses are asked for only when something was prepared"
        rest_us = (preparation.center_us, preparation.neutral_us)
        steering_us, throttle_us = asked_us or (0.0, 0.0)
        steers = preparation.actuator is Actuator.STEERING
        wanted_us = (
            (_bounded(steering_us) if steers and steering_us else rest_us[0]),
            (_bounded(throttle_us) if not steers and throttle_us else rest_us[1]),
        )
        dt_s = max(0.0, (now_ns - self._sent_ns) / 1e9) if self._sent_ns else 0.0
        self._sent_us = (
            slewed_us(wanted_us[0], self._sent_us[0], rest_us[0], dt_s * STEERING_GROWTH_US_PER_S),
            slewed_us(wanted_us[1], self._sent_us[1], rest_us[1], dt_s * THROTTLE_GROWTH_US_PER_S),
        )
        self._sent_ns = now_ns
        return self._sent_us


def _bounded(pulse_us: float) -> float:
    return min(max(pulse_us, PULSE_MIN_US), PULSE_MAX_US)
