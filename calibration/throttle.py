"""Share of throttle to ESC pulse and to speed, and back.

A share is -1 (full reverse) to 1 (full forward). 0 is neutral exactly; every other share lies beyond
the dead band, so that the smallest wish already moves the car.
"""

import math

import numpy as np

from calibration.car import SpeedTable, ThrottleCalibration


def pulse_us(cal: ThrottleCalibration, frac: float) -> float:
    """Return the pulse width for this share of throttle, clamped; ValueError if not finite."""
    share = min(1.0, max(-1.0, _finite(frac)))
    if share == 0.0:
        return cal.neutral_us
    end_us, dead_band_us = _side(cal, forward=share > 0.0)
    span_us = abs(end_us - cal.neutral_us)
    distance_us = dead_band_us + abs(share) * (span_us - dead_band_us)
    return cal.neutral_us + math.copysign(distance_us, end_us - cal.neutral_us)


def frac(cal: ThrottleCalibration, pulse_us: float) -> float:
    """Return the share of throttle that this pulse gives, 0 in the dead band; ValueError if not finite."""
    offset_us = _finite(pulse_us) - cal.neutral_us
    forward = offset_us * (cal.forward_us - cal.neutral_us) > 0.0
    end_us, dead_band_us = _side(cal, forward=forward)
    span_us = abs(end_us - cal.neutral_us)
    share = (abs(offset_us) - dead_band_us) / (span_us - dead_band_us)
    if share <= 0.0:
        return 0.0
    return min(1.0, share) if forward else -min(1.0, share)


def frac_from_speed(table: SpeedTable, speed_mps: float) -> float:
    """Return the throttle share for this speed, clamped to the table; 0 for a negative speed."""
    throttles, speeds = zip(*table.points, strict=True)
    return float(np.interp(_finite(speed_mps), speeds, throttles))


def speed_from_frac(table: SpeedTable, frac: float) -> float:
    """Return the speed in m/s at this throttle share, clamped to the table; 0 for a negative share."""
    throttles, speeds = zip(*table.points, strict=True)
    return float(np.interp(_finite(frac), throttles, speeds))


def _side(cal: ThrottleCalibration, *, forward: bool) -> tuple[float, float]:
    """Return the end and the dead band of one side of neutral."""
    if forward:
        return cal.forward_us, cal.forward_dead_band_us
    return cal.reverse_us, cal.reverse_dead_band_us


def _finite(value: float) -> float:
    if not math.isfinite(value):
        message = (
            f"throttle or speed is {value}, allowed finite numbers; the caller must check before converting"
        )
        raise ValueError(message)
    return value
