"""Drives a recorded run through the loop again: the same ticks must give the same commands.

Every part around `vehicle.loop.ControlLoop` is replaced by one that plays the recording; the loop, its
monitors, limits, operator and state machine, the policy and its eyes are the real ones. On one machine the
pulses are the same to the bit; elsewhere networks and JPEG decoders may differ in the last digit.
"""

from pathlib import Path

import msgspec

from models.policy import Policy
from vehicle.camera import decode_jpeg
from vehicle.loop import ControlLoop
from vehicle.messages import MOVING_STATES, DriveState, Fault, TickRecord
from vehicle.operator import Operator
from vehicle.parts import CarSetup
from vehicle.replay_parts import (
    Cursor,
    PlayedBoard,
    PlayedCalibrations,
    PlayedCamera,
    PlayedClock,
    PlayedLidar,
    PlayedPolicies,
    PlayedPublisher,
    PlayedTeller,
    Recording,
)
from vehicle.run_file import RunFileError
from vehicle.safety import Limiter, Monitor

PULSE_TOLERANCE_US = 1.0  # between machines; on one it is 0


class Difference(msgspec.Struct, frozen=True):
    """One tick that came out otherwise."""

    sequence: int
    t_s: float
    what: str
    recorded: str
    replayed: str


class ReplayReport(msgspec.Struct, frozen=True):
    """How a replay went."""

    run: str
    ticks: int
    moving_ticks: int
    decisions: int
    pulse_span_us: float
    """Between the smallest and the largest throttle pulse, in calibrating also of the steering: 0 means that
    the run never moved."""
    worst_us: float
    """Largest difference of a pulse."""
    actions_equal_frac: float
    inputs_equal_frac: float
    """Of the network's inputs that were made anew from pictures; those recorded are the judge."""
    differences: tuple[Difference, ...]
    """The first fifty."""

    @property
    def moved(self) -> bool:
        """Whether there was anything to compare."""
        return self.moving_ticks > 0 and self.pulse_span_us > 0.0

    @property
    def is_same(self) -> bool:
        """Whether every tick came out as recorded."""
        return self.moved and not self.differences


def replay(path: Path, policy: Policy | None, *, exact: bool = True) -> ReplayReport:
    """Drive a run again; `policy` is the one that it was driven with.

    `exact` asks for the same pulses to the bit, else they may differ by 1 us. Raises RunFileError where the
    run cannot be replayed, or was driven with another policy.
    """
    recording = Recording(path)
    start = recording.start
    assert start is not None
    begin = start.begin
    loaded_hash = policy.bundle.sha256 if policy else ""
    if loaded_hash != begin.policy_hash:
        raise RunFileError(
            f"{path.stem} was driven with {begin.policy or 'no policy'} ({begin.policy_hash[:12] or '-'}), "
            f"given is {loaded_hash[:12] or 'none'}; name the right one with --policy"
        )
    cursor = Cursor(recording)
    clock, publisher, teller = PlayedClock(cursor), PlayedPublisher(cursor), PlayedTeller(cursor)
    car = start.car
    loop = ControlLoop(
        car=CarSetup(
            calibration=begin.calibration,
            is_calibrated=begin.is_calibrated,
            is_hil=car.is_hil,
            control_rate_hz=car.control_rate_hz,
        ),
        clock=clock,
        camera=PlayedCamera(cursor, "front", start),
        right_camera=PlayedCamera(cursor, "right", start) if car.has_right_camera else None,
        lidar=PlayedLidar(cursor) if car.has_lidar else None,
        board=PlayedBoard(cursor),
        policies=PlayedPolicies(),
        calibrations=PlayedCalibrations(),
        operator=Operator(car.lease_limits, begin.memory.operator.speed_cap_frac),
        monitor=Monitor(car.monitor_limits, decode_jpeg),
        limiter=Limiter(car.throttle_growth_per_s),
        publisher=publisher,
        teller=teller,
    )
    loop.recall(begin.memory, policy)
    report = _compare(cursor, clock, loop, publisher, 0.0 if exact else PULSE_TOLERANCE_US)
    equal_frac = teller.equal / teller.compared if teller.compared else 1.0
    return msgspec.structs.replace(report, run=path.stem, inputs_equal_frac=equal_frac)


def _compare(
    cursor: Cursor,
    clock: PlayedClock,
    loop: ControlLoop,
    publisher: PlayedPublisher,
    tolerance_us: float,
) -> ReplayReport:
    recording = cursor.recording
    differences: list[Difference] = []
    worst_us, actions, equal_actions, moving = 0.0, 0, 0, 0
    sent_us: list[tuple[float, float]] = []
    first_ns = recording.ticks[0].now_ns
    for tick in recording.ticks:
        cursor.tick = tick
        clock.rewind()
        loop.wait()
        loop.step(tick.now_ns)
        again = publisher.record
        assert again is not None
        t_s = (tick.now_ns - first_ns) / 1e9
        if tick.state in MOVING_STATES:
            moving += 1
            steering_us = tick.sent.steering_us if tick.state is DriveState.CALIBRATING else 0.0
            sent_us.append((steering_us, tick.sent.throttle_us))
        apart_us = max(
            abs(again.sent.steering_us - tick.sent.steering_us),
            abs(again.sent.throttle_us - tick.sent.throttle_us),
        )
        worst_us = max(worst_us, apart_us)
        if tick.decided and tick.action is not None:
            actions += 1
            equal_actions += again.action_index == tick.action_index
        for what, recorded, replayed, same in (
            ("state", tick.state, again.state, again.state is tick.state),
            ("faults", _names(tick.faults), _names(again.faults), again.faults == tick.faults),
            ("pulses", _pulses(tick), _pulses(again), apart_us <= tolerance_us),
            ("armed", tick.sent.armed, again.sent.armed, again.sent.armed == tick.sent.armed),
        ):
            if not same:
                differences.append(Difference(tick.sequence, t_s, what, str(recorded), str(replayed)))
    span_us = max((max(each) - min(each) for each in zip(*sent_us, strict=True)), default=0.0)
    return ReplayReport(
        run="",
        ticks=len(recording.ticks),
        moving_ticks=moving,
        decisions=actions,
        pulse_span_us=span_us,
        worst_us=worst_us,
        actions_equal_frac=equal_actions / actions if actions else 1.0,
        inputs_equal_frac=1.0,
        differences=tuple(differences[:50]),
    )


def _names(faults: tuple[Fault, ...]) -> str:
    return ", ".join(fault.value for fault in faults) or "none"


def _pulses(tick: TickRecord) -> str:
    return f"{tick.sent.steering_us:.2f} / {tick.sent.throttle_us:.2f} us"
