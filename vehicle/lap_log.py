"""Collects what happened in a drive and sums it up: laps, line, latency, faults. No I/O."""

import bisect
from typing import TypeVar

import msgspec
import numpy as np

from vehicle.drawing import DrivenLine, LapRow
from vehicle.lap_video import Overlay
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.messages import Fault, TickRecord
from vehicle.truth import Crossing, WorldTruth

Numbered = TypeVar("Numbered", TickRecord, WorldTruth)

LINE_COLUMNS = ("t_s", "x_m", "y_m", "speed_mps", "lap", "off_track")


class FaultSeen(msgspec.Struct, frozen=True):
    """A fault and when it was first present in the drive."""

    fault: Fault
    at_s: float


class LapSummary(msgspec.Struct, frozen=True):
    """One completed lap."""

    lap: int
    time_s: float
    mean_mps: float | None
    """None on a real car, as the next."""
    top_mps: float | None
    missed: int = 0
    """Passes of the start marker that it probably lacks."""


class Percentiles(msgspec.Struct, frozen=True):
    """Of one quantity over a drive."""

    p50: float
    p99: float
    most: float


class DriveSummary(msgspec.Struct, frozen=True):
    """A drive in numbers."""

    laps: tuple[LapSummary, ...]
    best_s: float | None
    mean_s: float | None
    off_track_s: float
    duration_s: float
    decisions: int
    frame_to_wire_ms: Percentiles | None
    """From the frame's stamp to the serial write; None when nothing was decided."""
    faults: tuple[FaultSeen, ...]
    timed_by: str
    """`world` or `marker`, the start marker; empty: by nothing."""
    records_lost: bool
    """Whether some ticks are missing from these numbers."""


class DriveLog:
    """Everything collected in one drive."""

    def __init__(self) -> None:
        self.records_lost = False
        self._truths: list[WorldTruth] = []
        self._marker: MarkerLaps | None = None
        self._decisions: list[TickRecord] = []
        self._faults: dict[Fault, int] = {}
        self._first_ns: int | None = None
        self._last_ns = 0

    @property
    def newest(self) -> WorldTruth | None:
        """The world's newest truth, None before the first and on a real car."""
        return self._truths[-1] if self._truths else None

    @property
    def timed(self) -> tuple[Crossing | TimedLap, ...]:
        """Completed laps, as the world or the start marker timed them."""
        if self._truths:
            return self._truths[-1].laps
        return self._marker.laps if self._marker is not None else ()

    @property
    def laps_done(self) -> int:
        """Completed laps."""
        return len(self.timed)

    @property
    def best_s(self) -> float | None:
        """Time of the best lap, None before the first."""
        return min((lap.time_s for lap in self.timed), default=None)

    def add_marker(self, told: MarkerLaps) -> None:
        """Take what the start marker says of this drive."""
        self._marker = told

    def add_truth(self, truth: WorldTruth) -> None:
        """Keep one sample; a repeated one is ignored, and a car that was put back begins a new line."""
        newest = self.newest
        if newest is not None and truth.now_ns <= newest.now_ns:
            return
        if newest is not None and len(truth.laps) < len(newest.laps):
            self._truths.clear()
        self._truths.append(truth)

    def add_record(self, record: TickRecord) -> None:
        """Keep what a tick decided, and which faults it saw."""
        if self._first_ns is None:
            self._first_ns = record.now_ns
        self._last_ns = record.now_ns
        for fault in record.faults:
            self._faults.setdefault(fault, record.now_ns)
        if record.decided and record.action is not None:
            self._decisions.append(record)

    def lap_time_s(self) -> float | None:
        """Return how long the lap in progress has taken, None before the start line."""
        newest = self.newest or self._marker
        if newest is None or not newest.lap_started_ns:
            return None
        return (newest.now_ns - newest.lap_started_ns) / 1e9

    def summary(self) -> DriveSummary:
        """Return the drive in numbers."""
        first_ns = self._last_ns if self._first_ns is None else self._first_ns
        laps = self._laps()
        times_s = [lap.time_s for lap in laps]
        return DriveSummary(
            laps=laps,
            best_s=min(times_s, default=None),
            mean_s=float(np.mean(times_s)) if times_s else None,
            off_track_s=self._off_track_s(),
            duration_s=(self._last_ns - first_ns) / 1e9,
            decisions=len(self._decisions),
            frame_to_wire_ms=self._frame_to_wire_ms(),
            faults=tuple(FaultSeen(fault, (at - first_ns) / 1e9) for fault, at in self._faults.items()),
            timed_by="world" if self._truths else "marker" if self._marker is not None else "",
            records_lost=self.records_lost,
        )

    def line(self) -> list[tuple[float, float, float, float, int, bool]]:
        """Return the driven line, one row of `LINE_COLUMNS` a sample."""
        if not self._truths:
            return []
        start_ns = self._truths[0].now_ns
        return [
            (
                round((truth.now_ns - start_ns) / 1e9, 4),
                round(truth.x_m, 4),
                round(truth.y_m, 4),
                round(truth.speed_mps, 4),
                _lap_number(truth),
                truth.off_track,
            )
            for truth in self._truths
        ]

    def driven_line(self, title: str, notes: tuple[str, ...]) -> DrivenLine:
        """Return the drive for the picture."""
        truths = self._truths
        return DrivenLine(
            x_m=np.array([truth.x_m for truth in truths]),
            y_m=np.array([truth.y_m for truth in truths]),
            speed_mps=np.array([truth.speed_mps for truth in truths]),
            lap=np.array([_lap_number(truth) for truth in truths], dtype=np.int64),
            off_track=np.array([truth.off_track for truth in truths], dtype=bool),
            laps=tuple(
                LapRow(lap.lap, lap.time_s, lap.mean_mps or 0.0, lap.top_mps or 0.0) for lap in self._laps()
            ),
            title=title,
            notes=notes,
        )

    def overlay(self, frame_number: int, laps_wanted: int, action_names: tuple[str, ...]) -> Overlay:
        """Return what to draw on the picture with this number: the newest known by then."""
        record = _newest_by(self._decisions, frame_number)
        truth = _newest_by(self._truths, frame_number)
        if record is None:
            return Overlay("not driving")
        is_discrete = record.action_index >= 0
        best_s = min((lap.time_s for lap in truth.laps), default=None) if truth else None
        lap_number = min(_lap_number(truth), laps_wanted) if truth else 0
        return Overlay(
            state=record.state.value,
            steering_frac=record.action.steering_frac if record.action else 0.0,
            throttle_frac=record.wanted.throttle_frac,
            lap=f"Lap {lap_number} of {laps_wanted}" if lap_number else "",
            lap_time_s=(truth.now_ns - truth.lap_started_ns) / 1e9 if truth and lap_number else None,
            best_s=best_s,
            speed_mps=truth.speed_mps if truth else None,
            frame_to_wire_ms=record.times.frame_to_wire_ns / 1e6,
            action_names=action_names,
            probabilities=probabilities_of(record.policy_output) if is_discrete else (),
            action_index=record.action_index,
            fault=record.faults[0].value if record.faults else "",
        )

    def _laps(self) -> tuple[LapSummary, ...]:
        newest = self.newest
        if newest is None:
            laps = self._marker.laps if self._marker is not None else ()
            return tuple(LapSummary(lap.lap, lap.time_s, None, None, lap.missed) for lap in laps)
        speeds: dict[int, list[float]] = {}
        for truth in self._truths:
            speeds.setdefault(_lap_number(truth), []).append(truth.speed_mps)
        return tuple(
            LapSummary(
                lap.lap,
                lap.time_s,
                float(np.mean(speeds.get(lap.lap, [0.0]))),
                max(speeds.get(lap.lap, [0.0])),
            )
            for lap in newest.laps
        )

    def _off_track_s(self) -> float:
        pairs = zip(self._truths, self._truths[1:], strict=False)
        return sum(after.now_ns - before.now_ns for before, after in pairs if after.off_track) / 1e9

    def _frame_to_wire_ms(self) -> Percentiles | None:
        if not self._decisions:
            return None
        values_ms = np.array([record.times.frame_to_wire_ns for record in self._decisions]) / 1e6
        p50, p99 = np.percentile(values_ms, [50, 99])
        return Percentiles(float(p50), float(p99), float(values_ms.max()))


def _lap_number(truth: WorldTruth) -> int:
    """Return the lap that this sample belongs to, 0 before the start line."""
    return len(truth.laps) + 1 if truth.lap_started_ns else 0


def _newest_by(samples: list[Numbered], frame_number: int) -> Numbered | None:
    index = bisect.bisect_right(samples, frame_number, key=lambda sample: sample.frame_number)
    return samples[index - 1] if index else None


def probabilities_of(output: tuple[float, ...]) -> tuple[float, ...]:
    """Return a discrete policy's output as shares of one; some networks end before the softmax."""
    values = np.array(output)
    if np.all(values >= 0) and abs(values.sum() - 1) < 0.01:
        return output
    weights = np.exp(values - values.max())
    return tuple((weights / weights.sum()).tolist())
