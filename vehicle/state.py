"""Which drive state the car is in: one pure function decides, from a table of allowed requests."""

import enum
import math
from collections.abc import Collection

import msgspec

from vehicle.messages import (
    CAMERA_FAULTS,
    GUARDED_STATES,
    MOVING_STATES,
    POLICY_SENSOR_FAULTS,
    POLICY_STATES,
    DriveState,
    Fault,
)
from vehicle.safety import gravest

ARMING_NEUTRAL_S = 2.0  # ESCs learn neutral in that time after power-up
ARMING_MINIMUM_S = 0.3  # stop to start again, when neutral has been acknowledged all along


class DriveMode(msgspec.Struct, frozen=True):
    """A drive state with what it needs to be left again."""

    state: DriveState = DriveState.DISARMED
    since_ns: int = 0
    target: DriveState | None = None
    """Where ARMING leads."""
    latched_fault: Fault | None = None
    """Why the car is in FAILSAFE."""
    time_limit_s: float = 0.0
    """For how long this drive may last; 0 for as long as its driver wants."""
    has_timed_out: bool = False
    """Whether the car is DISARMED because the drive before reached `time_limit_s`."""

    def time_left_s(self, now_ns: int) -> float:
        """Return for how long the car may still move; infinite without a limit, or when it does not move."""
        if not self.time_limit_s or self.state not in MOVING_STATES:
            return math.inf
        return self.time_limit_s - (now_ns - self.since_ns) / 1e9


class EventKind(enum.Enum):
    """What a person asked for, once it was found to be theirs to ask."""

    START = "start"
    DISARM = "disarm"


class OperatorEvent(msgspec.Struct, frozen=True):
    """A request, spent once: a page that keeps asserting AUTONOMOUS cannot restart a stopped car."""

    kind: EventKind
    target: DriveState | None = None
    time_limit_s: float = 0.0


def binding_faults(faults: Collection[Fault], state: DriveState) -> frozenset[Fault]:
    """Return the faults that count in, or on the way to, a state."""
    ignored = frozenset() if state in POLICY_STATES else POLICY_SENSOR_FAULTS
    if state is DriveState.CALIBRATING:
        ignored |= CAMERA_FAULTS
    return frozenset(faults) - ignored


LEAVES_BY_DISARM = GUARDED_STATES | {DriveState.FAILSAFE}


def next_mode(
    mode: DriveMode,
    event: OperatorEvent | None,
    faults: Collection[Fault],
    neutral_acked_s: float,
    now_ns: int,
) -> DriveMode:
    """Return the drive mode for this tick; a fault wins over any request.

    Args:
        mode: of the tick before.
        event: at most one request of the lease holder (anyone's, when it disarms).
        faults: present now.
        neutral_acked_s: for how long the board has acknowledged nothing but neutral.
        now_ns: start of this tick.

    """
    binding = binding_faults(faults, mode.target or mode.state)
    if binding and mode.state in GUARDED_STATES:
        return DriveMode(DriveState.FAILSAFE, now_ns, latched_fault=gravest(binding))
    if Fault.EMERGENCY_STOP in faults:  # also where nothing moves: it must be seen, and undone afterwards
        return DriveMode(DriveState.FAILSAFE, now_ns, latched_fault=Fault.EMERGENCY_STOP)

    if event is not None and event.kind is EventKind.DISARM and mode.state in LEAVES_BY_DISARM:
        return DriveMode(DriveState.DISARMED, now_ns)
    if event is not None and event.kind is EventKind.START and mode.state is DriveState.DISARMED:
        if event.target not in MOVING_STATES or binding_faults(faults, event.target):
            return mode
        return DriveMode(DriveState.ARMING, now_ns, target=event.target, time_limit_s=event.time_limit_s)
    if mode.time_left_s(now_ns) <= 0:
        return DriveMode(DriveState.DISARMED, now_ns, time_limit_s=mode.time_limit_s, has_timed_out=True)

    if mode.state is DriveState.ARMING and mode.target is not None:
        arming_s = (now_ns - mode.since_ns) / 1e9
        if arming_s >= ARMING_MINIMUM_S and neutral_acked_s >= ARMING_NEUTRAL_S:
            return DriveMode(mode.target, now_ns, time_limit_s=mode.time_limit_s)
    return mode
