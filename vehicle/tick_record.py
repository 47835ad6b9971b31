"""One tick of the loop as the record that is published, recorded and replayed."""

from collections.abc import Sequence

from models.policy import Decision
from vehicle.messages import (
    BoardStatus,
    DriveAction,
    DriveCommand,
    DriveState,
    Fault,
    OperatorRequest,
    Sensed,
    StageTimes,
    TickRecord,
)
from vehicle.rate import Start
from vehicle.sensing import Seen, Sensing


def tick_record(
    sequence: int,
    seen: Seen,
    start: Start,
    decision: Decision | None,
    *,
    state: DriveState,
    faults: tuple[Fault, ...],
    requests: Sequence[OperatorRequest],
    wanted: DriveAction,
    sent: DriveCommand,
    sent_frac: DriveAction,
    board: BoardStatus,
    sensed: Sensed,
    now_ns: int,
    written_ns: int,
) -> TickRecord:
    """Return what came in, what was decided (in this tick or before it) and what was sent."""
    frame = seen.frame
    decided_now = decision if start.decides else None
    times = StageTimes(
        decode_ns=frame.ready_ns - frame.stamp_ns if frame else 0,
        wait_ns=now_ns - frame.ready_ns if frame else 0,
        observe_ns=decided_now.observe_ns if decided_now else 0,
        infer_ns=decided_now.infer_ns if decided_now else 0,
        step_ns=written_ns - now_ns,
        frame_to_wire_ns=written_ns - frame.stamp_ns if frame and start.decides else 0,
    )
    return TickRecord(
        sequence=sequence,
        now_ns=now_ns,
        decided=start.decides,
        state=state,
        faults=faults,
        frame_number=frame.number if frame else -1,
        frame_stamp_ns=frame.stamp_ns if frame else 0,
        policy_output=decided_now.output if decided_now else (),
        action_index=decision.index if decision else -1,
        action=decision.action if decision else None,
        wanted=wanted,
        sent=sent,
        board=board,
        trigger=start.trigger.value,
        lateness_ns=start.lateness_ns,
        times=times,
        right_frame_number=seen.right.number if seen.right else -1,
        right_frame_stamp_ns=seen.right.stamp_ns if seen.right else 0,
        scan_number=seen.scan.number if seen.scan else -1,
        scan_stamp_ns=seen.scan.stamp_ns if seen.scan else 0,
        requests=tuple(requests),
        sensed=sensed,
        sent_frac=sent_frac,
    )


def sensed(
    sensing: Sensing, seen: Seen, *, camera_lost: bool, suspended_ns: int, checked_ns: int, slept_ns: int
) -> Sensed:
    """Return what the monitors judged beside pictures and the board's status."""
    right, lidar = sensing.right_eye(seen), sensing.lidar(seen)
    return Sensed(
        newest_frame=seen.newest.number if seen.newest else -1,
        newest_right_frame=seen.right_newest.number if seen.right_newest else -1,
        camera_lost=camera_lost,
        right_camera_lost=right is not None and right.lost,
        lidar_lost=lidar is not None and lidar.lost,
        lidar_period_s=lidar.period_s if lidar is not None else 0.0,
        suspended_ns=suspended_ns,
        checked_ns=checked_ns,
        slept_ns=slept_ns,
    )
