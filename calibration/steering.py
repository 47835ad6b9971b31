"""Share of lock to servo pulse and to wheel angle, and back.

A share is -1 (full right lock) to 1 (full left lock). Both sides are straight lines through the
centre, each with its own slope, because a car's two locks are seldom alike.
"""

import math

from calibration.car import SteeringCalibration


def pulse_us(cal: SteeringCalibration, frac: float) -> float:
    """Return the pulse width for this share of lock, clamped to the locks; ValueError if not finite."""
    share = _clamped(frac)
    end_us = cal.left_us if share > 0.0 else cal.right_us
    return cal.center_us + abs(share) * (end_us - cal.center_us)


def trimmed_us(cal: SteeringCalibration, frac: float, trim_us: float) -> float:
    """Return the pulse width for this share of lock, shifted but never beyond the locks."""
    low_us, high_us = sorted((cal.left_us, cal.right_us))
    return min(high_us, max(low_us, pulse_us(cal, frac) + _finite(trim_us)))


def frac(cal: SteeringCalibration, pulse_us: float) -> float:
    """Return the share of lock that this pulse width gives, clamped; ValueError if not finite."""
    offset_us = _finite(pulse_us) - cal.center_us
    left_span_us = cal.left_us - cal.center_us
    if offset_us * left_span_us > 0.0:
        return min(1.0, offset_us / left_span_us)
    return max(-1.0, -offset_us / (cal.right_us - cal.center_us)) + 0.0  # + 0.0: no negative zero


def frac_from_angle(cal: SteeringCalibration, angle_rad: float) -> float:
    """Return the share of lock for this wheel angle, clamped to the locks; ValueError if not finite."""
    if _finite(angle_rad) > 0.0:
        return min(1.0, angle_rad / cal.left_rad)
    return max(-1.0, -angle_rad / cal.right_rad) + 0.0


def angle_from_frac(cal: SteeringCalibration, frac: float) -> float:
    """Return the wheel angle in rad at this share of lock, clamped; ValueError if not finite."""
    share = _clamped(frac)
    return share * (cal.left_rad if share > 0.0 else -cal.right_rad)


def _clamped(frac: float) -> float:
    return min(1.0, max(-1.0, _finite(frac)))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        message = f"steering is {value}, allowed finite numbers; the caller must check before converting"
        raise ValueError(message)
    return value
