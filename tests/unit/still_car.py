"""The status of a car that stands still, for tests that change what they are about."""

from typing import Any

import msgspec

from vehicle.messages import DriveState, Status

STATUS = Status(
    now_ns=1,
    state=DriveState.DISARMED,
    faults=(),
    latched_fault=None,
    sentence="Standing still, disarmed.",
    not_ready=(),
    driver="",
    speed_cap_frac=0.3,
    policy="",
    policy_hash="",
    policy_note="",
    control_rate_hz=30.0,
    tick_rate_hz=60.0,
    camera_rate_hz=30.0,
    camera_note="",
    frame_age_s=0.01,
    frame_to_wire_p50_ms=1.0,
    frame_to_wire_p99_ms=2.0,
    missed_decisions=0,
    decisions=0,
    frames_used_twice=0,
    reverses_refused=0,
    steering_frac=0.0,
    throttle_frac=0.0,
    battery_v=None,
    board_note="",
    hil=True,
)


def status_with(**changes: Any) -> Status:
    """Return the same car, but for these fields."""
    return msgspec.structs.replace(STATUS, **changes)
