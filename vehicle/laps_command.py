"""`lapwing laps`: drives laps autonomously, shows them live, and writes lap table, picture and film."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.bundle import load_bundle
from models.errors import PolicyError
from vehicle.drawing import TrackLines, write_driven_line
from vehicle.errors import HilError, LapwingError, VehicleSilentError
from vehicle.hil_client import HilClient
from vehicle.lap_log import LINE_COLUMNS, DriveLog, DriveSummary
from vehicle.lap_video import FILM_RATE_HZ, FrameStore, encode_film
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
from vehicle.remote import VehicleClient
from vehicle.supervisor import StopSignal
from vehicle.truth import WorldTruth

SOURCE = "lapwing laps"
LEASE_PERIOD_S = 0.25
LOOK_PERIOD_S = 0.02  # faster than frames come, so that no picture is missed
REDRAW_PERIOD_S = 0.1
READY_LIMIT_S = 15.0  # a policy of the largest kind loads in a second; a board's bootloader takes two
WORLD_SILENT_LIMIT_S = 1.0
START_LIMIT_S = 2.0  # from an accepted START to ARMING; a tick is enough
STOP_LIMIT_S = 1.0

DONE, NOT_DONE, NOT_STARTED = 0, 1, 2  # exit status

NO_LAP_SOURCE = (
    "laps of a real car are counted from a start marker, which this version cannot see yet; "
    "drive it from the page, or give --hil-dir for a HIL car"
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
        world: World,
        plan: LapsPlan,
        *,
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
        self._world.control("reset")
        self._world.truths()  # of before
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
            return Outcome(done=True, reason=f"{plan.laps} laps done")
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
            return Outcome(done=False, reason="the HIL world fell silent")
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
        for truth in self._world.truths():
            self._truth_at_s = now_s
            self.log.add_truth(truth)
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


class LapsReport(msgspec.Struct, frozen=True):
    """What the command prints with --json and writes to laps.json."""

    done: bool
    reason: str
    laps_wanted: int
    track: str
    policy: str
    policy_hash: str
    speed_cap_frac: float
    drive: DriveSummary
    picture: str | None
    film: str | None
    notes: tuple[str, ...]
    """What else its reader should know."""


def run_laps(
    *,
    run_dir: Path,
    hil_dir: Path | None,
    laps: int,
    policy: str | None,
    speed_cap_frac: float,
    time_limit_s: float,
    out_dir: Path,
    as_json: bool,
) -> int:
    """Drive the laps, then write laps.json, picture and film into `out_dir`.

    Returns:
        0 when the laps were done, 1 when they were not, 2 when the car could not start.

    """
    console = Console(stderr=as_json)
    try:
        if hil_dir is None:
            raise NotStartedError(NO_LAP_SOURCE)
        plan = _plan(laps, policy, speed_cap_frac, time_limit_s)
        drive, outcome = _drive(run_dir, hil_dir, plan, console)
    except (NotStartedError, HilError) as error:
        if as_json:
            _print_json({"done": False, "reason": str(error), "laps_wanted": laps})
        else:
            console.print(Text(f"Not started: {error}", style="red"))
        return NOT_STARTED

    report = _write_results(drive, outcome, plan, out_dir, console)
    if as_json:
        _print_json(report)
    else:
        _print_report(report, console)
    return DONE if outcome.done else NOT_DONE


def _plan(laps: int, policy: str | None, speed_cap_frac: float, time_limit_s: float) -> LapsPlan:
    """Check the policy here first: a mistyped name is then one sentence at once."""
    if not policy:
        return LapsPlan(laps, speed_cap_frac, time_limit_s)
    source = str(Path(policy).resolve()) if Path(policy).exists() else policy
    try:
        policy_hash = load_bundle(source).sha256
    except PolicyError as error:
        raise NotStartedError(str(error)) from None
    return LapsPlan(laps, speed_cap_frac, time_limit_s, source, policy_hash)


def _drive(run_dir: Path, hil_dir: Path, plan: LapsPlan, console: Console) -> tuple[LapDrive, Outcome]:
    stopping = StopSignal()
    display = LiveDisplay(plan, console)
    with (
        VehicleClient(run_dir, SOURCE, records=True) as vehicle,
        contextlib.closing(HilClient(hil_dir)) as world,
        display,
    ):
        drive = LapDrive(vehicle, world, plan, show=display.show, stopping=stopping)
        try:
            outcome = drive.run()
        finally:  # from here on there is nothing to stop but this command itself
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return drive, outcome


class LiveDisplay:
    """Shows a drive while it goes on; where there is no terminal, one line a lap."""

    def __init__(self, plan: LapsPlan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._laps_shown = 0

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, log: DriveLog, status: Status | None) -> None:
        """Show how the drive stands."""
        for lap in log.newest.laps[self._laps_shown :] if log.newest else ():
            self._console.print(f"lap {lap.lap} of {self._plan.laps}: {lap.time_s:.3f} s")
            self._laps_shown += 1
        if self._live is not None:
            self._live.update(live_view(log, status, self._plan.laps), refresh=True)


def live_view(log: DriveLog, status: Status | None, laps_wanted: int) -> RenderableType:
    """Return the drive as it stands, for a terminal."""
    truth = log.newest
    progress = truth.progress_frac if truth is not None and truth.lap_started_ns else 0.0
    lap_time_s, best_s = log.lap_time_s(), log.best_s

    bar = Table.grid(padding=(0, 2))
    lap = min(log.laps_done + 1, laps_wanted)
    bar.add_row(
        Text(f"lap {lap} of {laps_wanted}", style="bold"),
        ProgressBar(total=1.0, completed=progress, width=36),
        f"{progress:4.0%}",
    )
    numbers = Table.grid(padding=(0, 4))
    numbers.add_row(
        f"time {lap_time_s:.2f} s" if lap_time_s is not None else "time -",
        f"best {best_s:.3f} s" if best_s is not None else "best -",
        f"speed {truth.speed_mps:.2f} m/s" if truth is not None else "speed -",
    )
    if status is None:
        return Group(bar, numbers, Text("the vehicle is silent", style="red"))
    timing = (
        f"frame to wire {status.frame_to_wire_p50_ms:.1f} ms, p99 {status.frame_to_wire_p99_ms:.1f} ms   "
        f"missed decisions {status.missed_decisions}"
    )
    faults = ", ".join(fault.value for fault in status.faults)
    state = Text(status.sentence, style="red" if status.state is DriveState.FAILSAFE else "green")
    if faults:
        state.append(f"   faults: {faults}", style="red")
    return Group(bar, numbers, timing, state)


def _write_results(
    drive: LapDrive, outcome: Outcome, plan: LapsPlan, out_dir: Path, console: Console
) -> LapsReport:
    """Write everything that outlives the drive and return the report on it."""
    out_dir.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    summary, truth = drive.log.summary(), drive.log.newest
    track = truth.track if truth is not None else ""
    picture = _write_picture(drive, plan, out_dir / "line.png", notes)
    with console.status("encoding the film"):
        film = _write_film(drive, plan, out_dir / "laps", notes)
    drive.pictures.close()
    if summary.records_lost:
        notes.append("some ticks were lost on the way here; the numbers lack them")
    report = LapsReport(
        done=outcome.done,
        reason=outcome.reason,
        laps_wanted=plan.laps,
        track=track,
        policy=drive.policy,
        policy_hash=drive.policy_hash,
        speed_cap_frac=plan.speed_cap_frac,
        drive=summary,
        picture=str(picture) if picture else None,
        film=str(film) if film else None,
        notes=tuple(notes),
    )
    document = {
        **msgspec.to_builtins(report),
        "line_columns": LINE_COLUMNS,
        "line": drive.log.line(),
    }
    (out_dir / "laps.json").write_bytes(msgspec.json.encode(document))
    return report


def _write_picture(drive: LapDrive, plan: LapsPlan, path: Path, notes: list[str]) -> Path | None:
    from vehicle.hil.track import load_track  # noqa: PLC0415 - a drawing of the HIL track, nothing that drives

    truth = drive.log.newest
    if truth is None:
        notes.append("no picture: the world sent no positions")
        return None
    try:
        track = load_track(truth.track)
    except HilError as error:
        notes.append(f"no picture: {error}")
        return None
    best_s = drive.log.best_s
    title = f"{Path(truth.track).stem}: {drive.log.laps_done} of {plan.laps} laps"
    if best_s is not None:
        title += f", best {best_s:.3f} s"
    about = (f"policy {drive.policy}", f"speed cap {plan.speed_cap_frac:.0%}", "HIL car")
    lines = TrackLines(track.center, track.inner, track.outer)
    write_driven_line(path, lines, drive.log.driven_line(title, about))
    return path


def _write_film(drive: LapDrive, plan: LapsPlan, path_without_suffix: Path, notes: list[str]) -> Path | None:
    if drive.pictures.dropped:
        notes.append(f"the film ends early: {drive.pictures.dropped} pictures were too many to keep")
    film = encode_film(
        path_without_suffix,
        drive.pictures.at_rate(FILM_RATE_HZ),
        lambda frame: drive.log.overlay(frame.number, plan.laps, drive.action_names),
    )
    if film is None:
        notes.append("no film: no picture came, or OpenCV has no encoder here")
    return film


def _print_report(report: LapsReport, console: Console) -> None:
    drive = report.drive
    table = Table(title=f"{report.track}, policy {report.policy}", title_justify="left", title_style="bold")
    for heading in ("lap", "time, s", "mean, m/s", "top, m/s"):
        table.add_column(heading, justify="right")
    for lap in drive.laps:
        style = "bold" if lap.time_s == drive.best_s else ""
        cells = (str(lap.lap), f"{lap.time_s:.3f}", f"{lap.mean_mps:.2f}", f"{lap.top_mps:.2f}")
        table.add_row(*cells, style=style)
    console.print(table)
    console.print(Text(report.reason, style="green" if report.done else "red"))
    if drive.off_track_s:
        console.print(f"off the track for {drive.off_track_s:.2f} s")
    if drive.frame_to_wire_ms is not None:
        latency = drive.frame_to_wire_ms
        console.print(
            f"frame to wire p50 {latency.p50:.2f} ms, p99 {latency.p99:.2f} ms, most {latency.most:.2f} ms "
            f"over {drive.decisions} decisions"
        )
    for seen in drive.faults:
        console.print(f"fault after {seen.at_s:.2f} s: {seen.fault.value}")
    for note in report.notes:
        console.print(note)
    for name, path in (("picture", report.picture), ("film", report.film)):
        if path is not None:
            console.print(Text(f"{name}: {path}"), soft_wrap=True)


def _print_json(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
