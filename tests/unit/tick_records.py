"""Tick records for tests of what reads them."""

from vehicle.messages import (
    BoardStatus,
    DriveAction,
    DriveCommand,
    DriveState,
    StageTimes,
    TickRecord,
)

FRAME_S = 1 / 30


def record_of(number, **changes):
    board = BoardStatus(connected=True, received_ns=0, acked_sent_ns=0, acked_armed=True)
    fields = {
        "sequence": number,
        "now_ns": round(number * FRAME_S * 1e9),
        "decided": True,
        "state": DriveState.AUTONOMOUS,
        "faults": (),
        "frame_number": number,
        "frame_stamp_ns": 0,
        "policy_output": (0.2, 0.8),
        "action_index": 1,
        "action": DriveAction(-0.5, 0.4),
        "wanted": DriveAction(-0.5, 0.3),
        "sent": DriveCommand(armed=True, steering_us=1500, throttle_us=1500),
        "board": board,
        "trigger": "frame",
        "lateness_ns": 0,
        "times": StageTimes(frame_to_wire_ns=2_000_000),
    }
    return TickRecord(**{**fields, **changes})
