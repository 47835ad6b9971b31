"""The numbers measured on one car, each of them bounded.

Ends are named by what the car does (`left_us`, `forward_us`), so there is no polarity to reconcile:
forward may lie above or below neutral, left above or below centre.
"""

import datetime
import enum
import math
import re

import msgspec

from calibration.errors import CalibrationError

PULSE_MIN_US = 800.0  # no RC servo or ESC answers to less; the board refuses it too
PULSE_MAX_US = 2200.0
MIN_SPAN_US = 10.0  # of an end from its middle: less is a mistake of measurement, not a range
MAX_DEAD_BAND_SHARE = 0.8  # of the way from neutral to the end, so that something is left to drive with
MIN_LOCK_RAD = math.radians(1.0)
MAX_LOCK_RAD = math.radians(60.0)
MAX_SPEED_MPS = 20.0  # a 1/18 scale car with the wildest motor sold for it
MAX_TABLE_POINTS = 64
MAX_VERSION = 1_000_000_000
MAX_SAVER_LENGTH = 80
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # it is also the stem of the car's file


def file_stem(name: str) -> str:
    """Return a car's name as it may stand in a file's name and in its calibration."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64] or "car"


REMEDY = "measure it again on the calibration page, or edit the car's file"


class ReverseMode(enum.StrEnum):
    """What an ESC does with pulses on the side of neutral away from forward."""

    NONE = "none"  # it cannot reverse
    DIRECT = "direct"  # it reverses at once
    DOUBLE_TAP = "double_tap"  # the first pull brakes, the second one after neutral reverses


class EscCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this car's speed controller behaves."""

    reverse_mode: ReverseMode
    brakes_on_first_pull: bool
    """Measured, not assumed: only then may a stop use it as a brake."""


class SteeringCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pulse widths of the steering servo, and the wheel angles they give."""

    left_us: float
    """At full left lock; above or below `center_us`."""
    center_us: float
    """At which the car drives straight."""
    right_us: float
    left_rad: float
    """Of the front wheels at full left lock, positive."""
    right_rad: float
    """Of the front wheels at full right lock, negative."""

    def __post_init__(self) -> None:
        """Refuse numbers that no car has."""
        for field in ("left_us", "center_us", "right_us"):
            _check_range(f"steering.{field}", getattr(self, field), PULSE_MIN_US, PULSE_MAX_US)
        _check_range("steering.left_rad", self.left_rad, MIN_LOCK_RAD, MAX_LOCK_RAD)
        _check_range("steering.right_rad", self.right_rad, -MAX_LOCK_RAD, -MIN_LOCK_RAD)
        _check_between(
            "steering.center_us", self.center_us, ("left_us", self.left_us), ("right_us", self.right_us)
        )


class ThrottleCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pulse widths of the ESC."""

    reverse_us: float
    """At full reverse; on the other side of neutral than `forward_us`."""
    neutral_us: float
    """At which the motor stands still: the middle of the dead band."""
    forward_us: float
    """At full forward; above or below `neutral_us`."""
    forward_dead_band_us: float
    """Distance from neutral at which the car begins to move forward."""
    reverse_dead_band_us: float
    """Distance from neutral at which it begins to brake or reverse."""
    esc: EscCalibration

    def __post_init__(self) -> None:
        """Refuse numbers that no car has."""
        for field in ("reverse_us", "neutral_us", "forward_us"):
            _check_range(f"throttle.{field}", getattr(self, field), PULSE_MIN_US, PULSE_MAX_US)
        _check_between(
            "throttle.neutral_us",
            self.neutral_us,
            ("reverse_us", self.reverse_us),
            ("forward_us", self.forward_us),
        )
        for end, dead_band_us in (
            ("forward", self.forward_dead_band_us),
            ("reverse", self.reverse_dead_band_us),
        ):
            span_us = abs(getattr(self, f"{end}_us") - self.neutral_us)
            _check_range(f"throttle.{end}_dead_band_us", dead_band_us, 0.0, MAX_DEAD_BAND_SHARE * span_us)


class SpeedTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measured speed at some throttle shares, both strictly increasing from (0, 0)."""

    points: tuple[tuple[float, float], ...]
    """(throttle share, speed in m/s)."""

    def __post_init__(self) -> None:
        """Refuse a table that cannot be read backwards."""
        if not 2 <= len(self.points) <= MAX_TABLE_POINTS:
            message = (
                f"speed_table.points has {len(self.points)} points, allowed 2 to {MAX_TABLE_POINTS}; {REMEDY}"
            )
            raise CalibrationError(message)
        for index, (throttle_frac, speed_mps) in enumerate(self.points):
            _check_range(f"speed_table.points[{index}] throttle share", throttle_frac, 0.0, 1.0)
            _check_range(f"speed_table.points[{index}] speed in m/s", speed_mps, 0.0, MAX_SPEED_MPS)
        if self.points[0] != (0.0, 0.0):
            message = f"speed_table.points[0] is {self.points[0]}, allowed (0.0, 0.0) alone; {REMEDY}"
            raise CalibrationError(message)
        for index in range(1, len(self.points)):
            before, point = self.points[index - 1], self.points[index]
            if point[0] <= before[0] or point[1] <= before[1]:
                message = f"speed_table.points[{index}] is {point}, allowed only above {before}; {REMEDY}"
                raise CalibrationError(message)


class CarCalibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that was measured on one car."""

    name: str
    """Of the car: letters, digits, `-` and `_`."""
    version: int
    """One higher with every save; 0 was never saved."""
    steering: SteeringCalibration
    throttle: ThrottleCalibration
    speed_table: SpeedTable | None
    """None until somebody measured it."""
    measured_at: str
    """ISO 8601 date and time, or empty for numbers that nobody measured."""
    saved_by: str = ""
    """Who saved this version, as they named themselves."""
    saved_at: str = ""
    """As `measured_at`; by the computer's clock, which may be wrong where there is no network."""

    def __post_init__(self) -> None:
        """Refuse a name that is no file name, and a time that is none."""
        if not NAME_PATTERN.fullmatch(self.name):
            message = (
                f"name is {self.name!r}, allowed 1 to 64 letters, digits, - and _, not starting with - or _; "
                "rename the car"
            )
            raise CalibrationError(message)
        if not 0 <= self.version <= MAX_VERSION:
            message = f"version is {self.version}, allowed 0 to {MAX_VERSION}; {REMEDY}"
            raise CalibrationError(message)
        for field in ("measured_at", "saved_at"):
            _check_time(field, getattr(self, field))
        if len(self.saved_by) > MAX_SAVER_LENGTH:
            message = f"saved_by has {len(self.saved_by)} characters, allowed {MAX_SAVER_LENGTH}; shorten it"
            raise CalibrationError(message)


def _check_time(field: str, text: str) -> None:
    try:
        if text:
            datetime.datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{field} is {text!r}, allowed a time like 2026-05-01T12:00:00+00:00, or nothing; {REMEDY}"
        raise CalibrationError(message) from error


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN fails this too
        message = f"{field} is {value:g}, allowed {low:g} to {high:g}; {REMEDY}"
        raise CalibrationError(message)


def _check_between(
    field: str, middle_us: float, one_end: tuple[str, float], other_end: tuple[str, float]
) -> None:
    """Refuse a middle that is not clearly between the two ends, whichever is the larger."""
    low, high = sorted((one_end, other_end), key=lambda end: end[1])
    if not low[1] + MIN_SPAN_US <= middle_us <= high[1] - MIN_SPAN_US:
        message = (
            f"{field} is {middle_us:g}, allowed at least {MIN_SPAN_US:g} above {low[0]} {low[1]:g} "
            f"and at least {MIN_SPAN_US:g} below {high[0]} {high[1]:g}; {REMEDY}"
        )
        raise CalibrationError(message)


_ASSUMED_ESC = EscCalibration(reverse_mode=ReverseMode.DOUBLE_TAP, brakes_on_first_pull=False)
_HIL_ESC = EscCalibration(reverse_mode=ReverseMode.DOUBLE_TAP, brakes_on_first_pull=True)

AWS_DEFAULTS = CarCalibration(
    name="aws-defaults",
    version=0,
    steering=SteeringCalibration(
        left_us=1700.0,
        center_us=1450.0,
        right_us=1200.0,
        left_rad=math.radians(30.0),
        right_rad=math.radians(-30.0),
    ),
    throttle=ThrottleCalibration(
        reverse_us=1603.5,
        neutral_us=1446.0,
        forward_us=1311.0,
        forward_dead_band_us=0.0,
        reverse_dead_band_us=0.0,
        esc=_ASSUMED_ESC,
    ),
    speed_table=None,
    measured_at="",
)
"""What an AWS DeepRacer drives with before anybody calibrated it. Forward lies below neutral."""

STANDARD_1500 = CarCalibration(
    name="standard-1500",
    version=0,
    steering=SteeringCalibration(
        left_us=1900.0,
        center_us=1500.0,
        right_us=1100.0,
        left_rad=math.radians(30.0),
        right_rad=math.radians(-30.0),
    ),
    throttle=ThrottleCalibration(
        reverse_us=1100.0,
        neutral_us=1500.0,
        forward_us=1900.0,
        forward_dead_band_us=0.0,
        reverse_dead_band_us=0.0,
        esc=_ASSUMED_ESC,
    ),
    speed_table=None,
    measured_at="",
)
"""The usual pulses of the RC trade. Forward lies above neutral."""

_HIL_SPEED_TABLE = SpeedTable(points=((0.0, 0.0), (1.0, 4.0)))

HIL_AWS = msgspec.structs.replace(
    AWS_DEFAULTS,
    name="hil-aws",
    throttle=msgspec.structs.replace(
        AWS_DEFAULTS.throttle, forward_dead_band_us=8.0, reverse_dead_band_us=8.0, esc=_HIL_ESC
    ),
    speed_table=_HIL_SPEED_TABLE,
)
"""The HIL car with an AWS car's pulses."""

HIL_STANDARD = msgspec.structs.replace(
    STANDARD_1500,
    name="hil-standard",
    throttle=msgspec.structs.replace(
        STANDARD_1500.throttle, forward_dead_band_us=25.0, reverse_dead_band_us=25.0, esc=_HIL_ESC
    ),
    speed_table=_HIL_SPEED_TABLE,
)
"""The HIL car with the usual pulses."""
