"""How a drive of some laps looks in a terminal: while it goes on, and when it is over."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vehicle.lap_drive import LapsPlan
from vehicle.lap_log import DriveLog
from vehicle.laps_report import LapsReport
from vehicle.messages import DriveState, Status


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
        for lap in log.timed[self._laps_shown :]:
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


def print_report(report: LapsReport, console: Console) -> None:
    """Print the lap table and what else its reader should know; the film is still to be made."""
    drive = report.drive
    place = report.track or "by the start marker"
    table = Table(title=f"{place}, policy {report.policy}", title_justify="left", title_style="bold")
    for heading in ("lap", "time, s", "mean, m/s", "top, m/s"):
        table.add_column(heading, justify="right")
    for lap in drive.laps:
        style = "bold" if lap.time_s == drive.best_s else ""
        mean, top = (f"{speed:.2f}" if speed is not None else "-" for speed in (lap.mean_mps, lap.top_mps))
        cells = (str(lap.lap), f"{lap.time_s:.3f}" + (" ?" if lap.missed else ""), mean, top)
        table.add_row(*cells, style=style)
    console.print(table)
    console.print(Text(report.reason, style="green" if report.done else "red"))
    if any(lap.missed for lap in drive.laps):
        console.print("?: a multiple of the usual time; the start marker may have been missed")
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
    if report.picture is not None:
        console.print(Text(f"picture: {report.picture}"), soft_wrap=True)


def print_film(report: LapsReport, told: Sequence[str], console: Console) -> None:
    """Print where the film is, and the notes that were not yet `told`."""
    for note in report.notes:
        if note not in told:
            console.print(note)
    if report.film is not None:
        console.print(Text(f"film: {report.film}"), soft_wrap=True)
