"""Why a start would be refused now, in words: what is missing, being read, or wrong."""

from models.policy import Policy
from vehicle import safety
from vehicle.calibrating import Bench
from vehicle.messages import POLICY_STATES, BoardStatus, DriveState, Fault
from vehicle.parts import CalibrationSource, CarSetup, PolicySource
from vehicle.sensing import Sensing
from vehicle.state import binding_faults


class Readiness:
    """Asks the parts that a start depends on."""

    def __init__(
        self, *, sensing: Sensing, policies: PolicySource, calibrations: CalibrationSource, bench: Bench
    ) -> None:
        self._sensing = sensing
        self._policies = policies
        self._calibrations = calibrations
        self._bench = bench

    def why_not(
        self,
        target: DriveState,
        *,
        car: CarSetup,
        calibration_problem: str,
        policy: Policy | None,
        board: BoardStatus,
        faults: tuple[Fault, ...],
    ) -> tuple[str, ...]:
        """Return the reasons against a start into this state; empty where it would be accepted."""
        return (
            *self._of_calibration(target, car, calibration_problem),
            *self._of_policy(target, policy),
            *_of_board(board),
            *_of_faults(target, board, faults),
        )

    def _of_calibration(self, target: DriveState, car: CarSetup, problem: str) -> list[str]:
        reasons = []
        calibrates = target is DriveState.CALIBRATING
        if not car.is_calibrated and not calibrates:
            reasons.append(safety.SENTENCES[Fault.CALIBRATION_MISSING])
        if calibrates and self._bench.preparation is None:
            reasons.append("Nothing is prepared for calibrating. Begin on the calibration page.")
        elif not calibrates and self._bench.preparation is not None:
            reasons.append("The car is prepared for calibrating. Finish it, or wait a few seconds.")
        if self._calibrations.is_reading:
            reasons.append("This car's calibration is being read.")
        elif problem and not calibrates:
            reasons.append(problem)
        return reasons

    def _of_policy(self, target: DriveState, policy: Policy | None) -> tuple[str, ...]:
        if self._policies.is_loading:  # into any state: no other thread computes while the car moves
            return (self._policies.note,)
        if target not in POLICY_STATES:
            return ()
        if policy is None or self._policies.note:
            # Also after a failed wish for another: driving the old one then would surprise its owner.
            return (self._policies.note or safety.SENTENCES[Fault.POLICY_MISSING],)
        return self._sensing.missing(policy)


def _of_board(board: BoardStatus) -> tuple[str, ...]:
    if board.problem:
        return (board.problem,)
    if board.connected and not board.ready_to_arm:
        return (safety.SENTENCES[Fault.BOARD_REFUSED],)
    return ()


def _of_faults(target: DriveState, board: BoardStatus, faults: tuple[Fault, ...]) -> tuple[str, ...]:
    named_by_board = {Fault.BOARD_LOST, Fault.BOARD_SILENT} if board.problem else set()
    binding = binding_faults(faults, target) - named_by_board
    return tuple(safety.SENTENCES[fault] for fault in Fault if fault in binding)
