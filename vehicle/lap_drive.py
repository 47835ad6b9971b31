"""One autonomous drive of some laps: start the car, watch it, collect, stop it on every way out."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from vehicle.errors import LapwingError, VehicleSilentError
from vehicle.lap_log import DriveLog
from vehicle.lap_video import FrameStore
from vehicle.laps import MarkerLaps
from vehicle.messages import (
    GUARDED_STATES,
    DriveState,
    Fault,
    Preview,
    Reply,
    RequestKind,
    Status,
    TickRecord,
)
from vehicle.truth import WorldTruth

LEASE_PERIOD_S = 0.25
LOOK_PERIOD_S = 0.02  # faster than frames come, so that no picture is missed
REDRAW_PERIOD_S = 0.1
READY_LIMIT_S = 15.0  # a policy of the largest kind loads in a second; a board's bootloader takes two
WORLD_SILENT_LIMIT_S = 1.0
START_LIMIT_S = 2.0  # from an accepted START to ARMING; a tick is enough
STOP_LIMIT_S = 1.0


NOBODY_KEEPS_TIME = (
    "laps of a real car are timed by its start marker, and nobody looks for one: start the car with "
    "`lapwing run`, or the timekeeper with `lapwing timekeeper`"
)


class NotStartedError(LapwingError):
    """The car was not ready to drive; it has not moved."""


class Vehicle(Protocol):
    """What driving laps needs of `VehicleClient`."""

    @property
    def records_incomplete(self) -> bool:
        """Whether a record was lost."""
        ...

    def status(self) -> Status | None:
        """Return the newest status, None when the vehicle is silent."""
        ...

    def preview(self, newer_than: int = -1, timeout_s: float = 1.0) -> Preview | None:
        """Return a picture other than the one named, or None."""
        ...

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: Any) -> Reply:
        """Ask and return the answer."""
        ...

    def records(self, timeout_s: float = 1.0) -> Iterator[TickRecord]:
        """Yield what has come."""
        ...


class World(Protocol):
    """What driving laps needs of `HilClient`."""

    def truths(self) -> list[WorldTruth]:
        """Return every truth since the last look, oldest first."""
        ...

    def control(self, op: str, timeout_s: float = 5.0, **fields: Any) -> dict[str, Any]:
        """Give an order and return the answer."""
        ...


class Marker(Protocol):
    """What driving laps of a real car needs of `MarkerFollower`."""

    def laps(self) -> MarkerLaps | None:
        """Return what the start marker says, None when nobody keeps time."""
        ...


class LapsPlan(msgspec.Struct, frozen=True):
    """What is to be driven."""

    laps: int
    speed_cap_frac: float
    time_limit_s: float
    policy: str = ""
    """Source to activate first; empty: drive what is loaded."""
    policy_hash: str = ""
    """Of that source; the vehicle reports it once the policy is in place."""


class Outcome(msgspec.Struct, frozen=True):
    """How a drive ended."""

    done: bool
    reason: str
    """Why it ended, in words."""


class LapDrive:
    """One autonomous drive: starts the car, watches it, collects, stops it on every way out."""

    def __init__(
        self,
        vehicle: Vehicle,
        world: World | None,
        plan: LapsPlan,
        *,
        marker: Marker | None = None,
        show: Callable[[DriveLog, Status | None], None] = lambda log, status: None,  # noqa: ARG005 - unseen
        stopping: Callable[[], bool] = lambda: False,
        now_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.log = DriveLog()
        self.pictures = FrameStore()
        self.action_names: tuple[str, ...] = ()
        self.policy = ""
        self.policy_hash = ""
        self._vehicle = vehicle
        self._world = world
        self._marker = marker
        self._began_ns = 0  # of the vehicle's clock; what the marker says of before is of another drive
        self._plan = plan
        self._show = show
        self._stopping = stopping
        self._now_s = now_s
        self._pause = pause
        self._renew_at_s = 0.0
        self._redraw_at_s = 0.0
        self._truth_at_s = 0.0
        self._picture_number = -1

    def run(self) -> Outcome:
        """Drive the plan; raises NotStartedError when the car cannot start."""
        self._ask(RequestKind.TAKE_LEASE)
        try:
            self._prepare()
            status = self._vehicle.status()
            self._began_ns = status.now_ns if status is not None else 0
            self._ask(RequestKind.START, target=DriveState.AUTONOMOUS)
            return self._drive()
        finally:
            self._stop()

    # --- before

    def _prepare(self) -> None:
        """Bring the car to where START is accepted; raises NotStartedError with the reason."""
        self._leave_failsafe()
        if self._plan.policy:
            self._ask(RequestKind.ACTIVATE_POLICY, policy=self._plan.policy)
        self._wait_until_ready()
        self._ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=self._plan.speed_cap_frac)
        if self._world is not None:
            self._world.control("reset")
            self._world.truths()  # of before
        elif self._marker is None or self._marker.laps() is None:
            raise NotStartedError(NOBODY_KEEPS_TIME)
        for _ in self._vehicle.records(timeout_s=0):
            pass

    def _leave_failsafe(self) -> None:
        """Disarm a car that has failed safe: who types the command is the person who may.

        An emergency stop is left to whoever pressed it.
        """
        status = self._wait_for(lambda status: True, READY_LIMIT_S)  # noqa: ARG005 - any will do
        if status is None:
            raise NotStartedError("the vehicle does not report its state; is it running?")
        if status.state is not DriveState.FAILSAFE:
            return
        if status.latched_fault is Fault.EMERGENCY_STOP:
            raise NotStartedError("somebody pressed the emergency stop; disarm on the page, then start again")
        self._ask(RequestKind.DISARM)
        if self._wait_for(lambda status: status.state is DriveState.DISARMED, STOP_LIMIT_S) is None:
            raise NotStartedError(f"the car does not leave its failsafe: {status.sentence}")

    def _wait_until_ready(self) -> None:
        wanted = self._plan.policy_hash

        def is_ready(status: Status) -> bool:
            return not status.not_ready and wanted in {"", status.policy_hash}

        if self._wait_for(is_ready, READY_LIMIT_S) is not None:
            return
        status = self._vehicle.status()
        if status is None:
            raise NotStartedError("the vehicle has fallen silent; is it running?")
        reasons = status.not_ready or (status.policy_note, f"the policy in the car is {status.policy!r}")
        raise NotStartedError(" ".join(reason for reason in reasons if reason))

    def _wait_for(self, accept: Callable[[Status], bool], limit_s: float) -> Status | None:
        """Keep the lease until a status is accepted; return it, or None after the limit."""
        deadline_s = self._now_s() + limit_s
        while self._now_s() < deadline_s:
            if self._stopping():
                raise NotStartedError("interrupted before the start")
            self._renew_lease()
            status = self._vehicle.status()
            if status is not None and accept(status):
                return status
            self._pause(LOOK_PERIOD_S)
        return None

    def _ask(self, kind: RequestKind, **fields: Any) -> None:
        try:
            reply = self._vehicle.request(kind, **fields)
        except VehicleSilentError as error:
            raise NotStartedError(str(error)) from None
        if not reply.ok:
            raise NotStartedError(f"the car refused '{kind.value}': {reply.reason}")
        self._renew_at_s = self._now_s() + LEASE_PERIOD_S

    # --- the drive

    def _drive(self) -> Outcome:
        start_s = self._truth_at_s = self._now_s()
        has_moved_on = False  # from DISARMED, where a status may still be from before the start
        while True:
            now_s = self._now_s()
            self._collect(now_s)
            status = self._vehicle.status()
            has_moved_on |= status is not None and status.state in GUARDED_STATES
            outcome = self._judge(status, has_moved_on=has_moved_on, now_s=now_s, drive_s=now_s - start_s)
            if outcome is not None:
                self._show(self.log, status)
                return outcome
            refusal = self._renew_lease()
            if refusal:
                return Outcome(done=False, reason=refusal)
            if now_s >= self._redraw_at_s:
                self._redraw_at_s = now_s + REDRAW_PERIOD_S
                self._show(self.log, status)
            self._pause(LOOK_PERIOD_S)

    def _judge(
        self, status: Status | None, *, has_moved_on: bool, now_s: float, drive_s: float
    ) -> Outcome | None:
        """Return how the drive has ended, None while it goes on."""
        plan, truth = self._plan, self.log.newest
        if self.log.laps_done >= plan.laps:
            return Outcome(done=True, reason=f"{plan.laps} {'lap' if plan.laps == 1 else 'laps'} done")
        if self._stopping():
            return Outcome(done=False, reason="interrupted")
        if status is None:
            return Outcome(done=False, reason="the vehicle fell silent")
        if status.state is DriveState.FAILSAFE:
            return Outcome(done=False, reason=status.sentence)
        if status.state is DriveState.DISARMED and has_moved_on:
            return Outcome(done=False, reason="somebody disarmed the car")
        if not has_moved_on and drive_s > START_LIMIT_S:
            why = " ".join(status.not_ready) or status.sentence
            return Outcome(done=False, reason=f"the car did not start: {why}")
        if truth is not None and truth.crashed:
            place = f"{truth.progress_frac:.0%} of lap {self.log.laps_done + 1}"
            return Outcome(done=False, reason=f"the car ran into the barrier at {place}")
        if now_s - self._truth_at_s > WORLD_SILENT_LIMIT_S:
            who = "HIL world" if self._world is not None else "timekeeper"
            return Outcome(done=False, reason=f"the {who} fell silent")
        if drive_s > plan.time_limit_s:
            done = self.log.laps_done
            return Outcome(
                done=False,
                reason=f"{done} of {plan.laps} laps within the limit of {plan.time_limit_s:g} s",
            )
        return None

    def _collect(self, now_s: float) -> None:
        """Take what has come: ticks, the world's truth, a picture for the film."""
        for record in self._vehicle.records(timeout_s=0):
            self.log.add_record(record)
        self.log.records_lost = self._vehicle.records_incomplete
        for truth in self._world.truths() if self._world is not None else ():
            self._truth_at_s = now_s
            self.log.add_truth(truth)
        told = self._marker.laps() if self._marker is not None else None
        if told is not None:
            self._truth_at_s = now_s
            if told.began_ns >= self._began_ns:
                self.log.add_marker(told)
        picture = self._vehicle.preview(self._picture_number, timeout_s=0)
        if picture is not None:
            self._picture_number = picture.frame_number
            self.pictures.add(picture.frame_number, picture.stamp_ns, picture.jpeg)
        status = self._vehicle.status()
        if status is not None and status.policy:
            self.policy, self.policy_hash = status.policy, status.policy_hash
            self.action_names = status.action_names

    def _renew_lease(self) -> str:
        """Renew when due; return why that failed, else an empty string."""
        now_s = self._now_s()
        if now_s < self._renew_at_s:
            return ""
        self._renew_at_s = now_s + LEASE_PERIOD_S
        try:
            reply = self._vehicle.request(RequestKind.RENEW_LEASE, timeout_s=0.5)
        except VehicleSilentError as error:
            return str(error)
        return reply.reason

    # --- after

    def _stop(self) -> None:
        """Stop the car and let go of it; a car that has failed safe stays so, for a person to look at."""
        status = self._vehicle.status()
        is_failsafe = status is not None and status.state is DriveState.FAILSAFE
        deadline_s = self._now_s() + STOP_LIMIT_S
        while not is_failsafe and self._now_s() < deadline_s:
            with contextlib.suppress(VehicleSilentError):
                self._vehicle.request(RequestKind.DISARM, timeout_s=0.3)
            status = self._vehicle.status()
            if status is not None and status.state in {DriveState.DISARMED, DriveState.FAILSAFE}:
                break
            self._pause(LOOK_PERIOD_S)
        with contextlib.suppress(VehicleSilentError):
            self._vehicle.request(RequestKind.RELEASE_LEASE, timeout_s=0.3)
        for record in self._vehicle.records(timeout_s=0):
            self.log.add_record(record)
