"""What the parts of the loop remember between two ticks, as data: with it a recorded run can be repeated.

Taken while the car is disarmed, so nothing of a drive is in it but that it may still roll: no decision, no
pictures.
"""

import msgspec

from calibration.car import CarCalibration
from vehicle.calibrating import Preparation
from vehicle.esc import EscState
from vehicle.messages import Actuator, DriveAction, Fault


class RateMemory(msgspec.Struct, frozen=True):
    """Of `vehicle.rate.Rate` and `CameraRate`."""

    control_rate_hz: float
    frames_per_decision: int
    deadline_ns: float
    decision_ns: int
    ticks_left: int
    target_frame: int | None
    used_frame: int
    decisions_without_frame: int
    camera_frames: tuple[tuple[int, int], ...]


class OperatorMemory(msgspec.Struct, frozen=True):
    """Of `vehicle.operator.Operator`."""

    holder: str
    renewed_ns: int
    name: str
    speed_cap_frac: float
    trim_us: float
    calibrated: Actuator | None = None
    """What was prepared for calibrating last."""


class LimiterMemory(msgspec.Struct, frozen=True):
    """Of `vehicle.safety.Limiter`."""

    sent: DriveAction
    sent_ns: int
    moved_ns: int


class MonitorMemory(msgspec.Struct, frozen=True):
    """Of `vehicle.safety.Monitor` while nothing moves."""

    boots: int | None
    suspended_ns: int | None
    ticks_moved_ns: int
    wheel_ticks: int | None
    battery_good_ns: int


class BenchMemory(msgspec.Struct, frozen=True):
    """Of `vehicle.calibrating.Bench` before anything is calibrated."""

    preparation: Preparation | None = None
    rest_us: tuple[float, float] | None = None


class LoopMemory(msgspec.Struct, frozen=True):
    """What the loop remembered at the start of a tick; with what came in, the tick can be repeated."""

    previous_ns: int
    since_ns: int
    """Since when it was DISARMED."""
    faults: tuple[Fault, ...]
    """Of that tick; a start is judged by them."""
    rate: RateMemory
    operator: OperatorMemory
    limiter: LimiterMemory
    monitor: MonitorMemory
    bench: BenchMemory = BenchMemory()
    esc: EscState = EscState()


class RunBegin(msgspec.Struct, frozen=True):
    """What the loop knows of a run that begins in this tick."""

    sequence: int
    """Of the tick's record."""
    now_ns: int
    calibration: CarCalibration
    policy: str
    """Name, empty without one."""
    policy_hash: str
    control_rate_hz: float
    memory: LoopMemory
    is_calibrated: bool = True
    """Whether this car's own numbers are known; pulses are bounded by `calibration` either way."""
