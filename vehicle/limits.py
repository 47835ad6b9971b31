"""The times and levels at which the car stops by itself, with their defaults and their arguments."""

import msgspec

FRAME_OVERDUE_S = 0.075  # beyond the moment the next frame was due; two dropped frames at 30 fps are borne
ACK_LIMIT_S = 0.080  # four missed ticks at 50 Hz
STALL_LIMIT_S = 0.100  # a tick is at most 20 ms; five of them without us is a host that stopped
BATTERY_CRITICAL_V = 6.4  # two lithium cells at 3.2 V; below it they are damaged
LEASE_HANDS_ON_S = 0.3
LEASE_AUTONOMOUS_S = 1.5
ECHO_AGE_LIMIT_S = 0.3  # three statuses; longer, and whoever asks has not seen what the car does
TRIM_LIMIT_US = 50.0  # an eighth of a lock: enough for a bent link, too little to steer with
TIME_LIMIT_S = (1.0, 3600.0)


class MonitorLimits(msgspec.Struct, frozen=True):
    """When a monitor speaks."""

    frame_overdue_s: float = FRAME_OVERDUE_S
    ack_limit_s: float = ACK_LIMIT_S
    stall_limit_s: float = STALL_LIMIT_S
    battery_critical_v: float = BATTERY_CRITICAL_V


class LeaseLimits(msgspec.Struct, frozen=True):
    """How long a silent driver keeps the car."""

    hands_on_s: float = LEASE_HANDS_ON_S
    """In MANUAL, ASSISTED and CALIBRATING."""
    autonomous_s: float = LEASE_AUTONOMOUS_S
