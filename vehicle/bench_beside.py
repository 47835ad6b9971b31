"""Rows of `lapwing bench` about who listens beside a drive: what recorder and timekeeper cost; its laps."""

import contextlib
import itertools
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from vehicle.bench_car import (
    READY_LIMIT_S,
    BenchCar,
    BenchError,
    end_process,
    lapwing_command,
    running_bench_car,
)
from vehicle.bench_plan import RATE_HZ, SETTLE_S, Plan
from vehicle.bench_rows import Row, Verdict, at_most, judged, lateness_ms, overhead_ms
from vehicle.hil.settings import Light, MarkerSettings
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.laps_client import MarkerFollower
from vehicle.messages import TickRecord
from vehicle.recorder_status import RecorderClient
from vehicle.runs import RunShelf
from vehicle.truth import Crossing

COST_P50_MS = 0.1
COST_P99_MS = 0.5
PICTURE_MS = 1e3 / RATE_HZ
LIGHTS: tuple[Light, ...] = ("even", "dim")
LAP_S = 8.5  # about, by a shipped policy on the oval

Beside = Callable[[], contextlib.AbstractContextManager[None]]


def recorder_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure decisions without and with a recorder that writes them down, in turns."""
    runs = folder / "runs"
    with running_bench_car(folder, source, has_page=False) as car:
        without, beside_it = _in_turns(car, plan, lambda: recording(car, runs))
    kept = RunShelf(runs).runs()
    if len(kept) != 2 or not all(run.is_complete and run.ticks for run in kept):
        raise BenchError(f"the recorder kept {[(run.ticks, run.note) for run in kept]}, not two whole runs")
    size = sum(run.size_bytes for run in kept) / sum(run.duration_s for run in kept)
    return _cost_rows(label, "recorder", without, beside_it, note=f"{size / 1e6:.2f} MB/s")


def timekeeper_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure decisions without and with a timekeeper that looks at every picture, in turns."""
    with running_bench_car(folder, source, has_page=False, marker=MarkerSettings()) as car:
        looked: list[MarkerLaps] = []
        without, beside_it = _in_turns(car, plan, lambda: _timekeeper(car, looked))
    pictures, skipped = (sum(getattr(one, name) for one in looked) for name in ("pictures", "skipped"))
    if not pictures:
        raise BenchError("the timekeeper looked at no picture")
    note = f"it looked at {pictures} pictures and left out {skipped}"
    return _cost_rows(label, "timekeeper", without, beside_it, note=note)


def marker_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Drive laps past the start marker in even and in dim light; compare its laps with the world's."""
    return [_marker_row(folder / light, label, source, plan, light) for light in LIGHTS]


def _marker_row(folder: Path, label: str, source: str, plan: Plan, light: Light) -> Row:
    told: list[MarkerLaps] = []
    with running_bench_car(folder, source, has_page=False, marker=MarkerSettings(), light=light) as car:
        with _timekeeper(car, told):
            car.start_driving(speed_cap_frac=1.0)
            car.drive((1 + plan.marker_laps) * LAP_S)
            truth = car.hil.client.truth_now()
        car.stop_driving()
    return laps_row(f"laps by the start marker, {light} light, by {label}", told[-1], truth.laps)


def laps_row(name: str, told: MarkerLaps, by_world: Sequence[Crossing]) -> Row:
    """Return the row that compares the marker's laps with the world's, one by one from the first."""
    missed = sum(lap.missed for lap in told.laps)
    budget = f"each within {PICTURE_MS:.1f} ms, one picture; none missed, none twice"
    pairs = list(zip(told.laps, by_world, strict=False))
    counts = f"{missed} missed, {told.doubles} twice, {told.untimed} untold"
    left_out = f"{told.skipped} of {told.pictures + told.skipped} pictures left out"
    off_ms = [_off_ms(marker, world) for marker, world in pairs]
    worst_ms = max(off_ms, default=float("inf"))
    is_met = worst_ms <= PICTURE_MS and not missed and told.lap_count >= len(by_world) > 0
    return Row(
        name,
        f"worst of {len(pairs)} {worst_ms:.1f} ms; {counts}",
        budget,
        Verdict.MET if is_met and not told.doubles else Verdict.MISSED,
        f"the world counted {len(by_world)}; {left_out}",
        {"worst_ms": worst_ms, "missed": missed, "doubles": told.doubles, "laps": len(pairs)},
    )


def _off_ms(marker: TimedLap, world: Crossing) -> float:
    return abs(marker.time_s - world.time_s) * 1e3


def _in_turns(car: BenchCar, plan: Plan, beside: Beside) -> tuple[list[TickRecord], list[TickRecord]]:
    """Return the ticks of driving alone, and of driving beside something, twice each in turns."""
    alone: list[TickRecord] = []
    accompanied: list[TickRecord] = []
    for _ in range(2):
        alone += _drive(car, plan.timing_s / 2)
        with beside():
            accompanied += _drive(car, plan.timing_s / 2)
    return alone, accompanied


def _cost_rows(
    label: str, what: str, without: Sequence[TickRecord], beside_it: Sequence[TickRecord], *, note: str
) -> list[Row]:
    name = f"{label}, {RATE_HZ:g} Hz"
    before, after = overhead_ms(without), overhead_ms(beside_it)
    cost = {share: float(np.percentile(after, share) - np.percentile(before, share)) for share in (50, 99)}
    turns = "in turns, twice each"
    return [
        judged(f"{name}, no {what}: overhead", before, "ms"),
        judged(f"{name}, {what}: overhead", after, "ms"),
        judged(f"{name}, no {what}: decision start jitter", lateness_ms(without), "ms"),
        judged(f"{name}, {what}: decision start jitter", lateness_ms(beside_it), "ms"),
        at_most(f"cost of the {what}: median overhead", cost[50], "ms", COST_P50_MS, turns),
        at_most(f"cost of the {what}: p99 overhead", cost[99], "ms", COST_P99_MS, note),
    ]


def _drive(car: BenchCar, duration_s: float) -> list[TickRecord]:
    car.start_driving()
    car.drive(SETTLE_S)
    records = car.drive(duration_s)
    car.stop_driving()
    return records


@contextlib.contextmanager
def recording(car: BenchCar, runs: Path) -> Iterator[None]:
    """Record what this car drives while the block runs."""
    where = ("--run-dir", car.run_dir, "--hil-dir", car.hil.hil_dir, "--runs", runs)
    process = subprocess.Popen(lapwing_command("record", *where), stdin=subprocess.DEVNULL)
    client = RecorderClient(car.run_dir)
    try:
        if client.wait(READY_LIMIT_S) is None:
            raise BenchError("the recorder did not start")
        time.sleep(SETTLE_S)  # until the vehicle knows that it listens; a run without its start would show
        yield
    finally:
        client.close()
        time.sleep(0.5)  # a run's end is written down a moment after it
        end_process(process)


@contextlib.contextmanager
def _timekeeper(car: BenchCar, told: list[MarkerLaps]) -> Iterator[None]:
    """Keep time beside this car while the block runs, and append what was told last."""
    process = subprocess.Popen(
        lapwing_command("timekeeper", "--run-dir", car.run_dir), stdin=subprocess.DEVNULL
    )
    with contextlib.closing(MarkerFollower(car.run_dir)) as follower:
        try:
            for _ in itertools.takewhile(lambda _: follower.laps() is None, range(round(READY_LIMIT_S))):
                follower.wait(1.0)
            if follower.laps() is None:
                raise BenchError("the timekeeper did not start")
            yield
            time.sleep(SETTLE_S)  # it tells four times a second
            newest = follower.laps()
            if newest is None:
                raise BenchError("the timekeeper fell silent")
            told.append(newest)
        finally:
            end_process(process)
