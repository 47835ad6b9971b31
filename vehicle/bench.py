"""`lapwing bench`: measures the running software against its budgets and prints them as one table.

Real processes, real bytes; the figures come from tick records, the emulated board's diary and /proc.
A benchmark, not a test: a busy computer makes it worse, and the table shows what was seen.
"""

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.bundle import zoo_names
from models.errors import PolicyError
from models.standard_network import write_standard_bundle
from vehicle.bench_beside import marker_rows, recorder_rows, timekeeper_rows
from vehicle.bench_car import CarStoppedError
from vehicle.bench_driving import FAST_RATE_HZ, missed_rows, plain_jitter_rows, timing_rows
from vehicle.bench_neutral import neutral_rows
from vehicle.bench_page import page_rows, viewers_rows
from vehicle.bench_plan import PLANS, RATE_HZ, Length, Plan
from vehicle.bench_policy import conversion_rows, inference_rows, ready_rows
from vehicle.bench_recording import long_run_rows
from vehicle.bench_rows import Row, Verdict, impossible
from vehicle.bench_simulation import environment_rows, lockstep_rows
from vehicle.bench_start import memory_rows, start_rows, switch_rows
from vehicle.errors import LapwingError

STANDARD = "standard network"
WIDTH_OF_A_FILE = 160  # characters: a pipe or a file has none of its own


class Section(msgspec.Struct, frozen=True):
    """Some rows that are measured together."""

    title: str
    measure: Callable[[], list[Row]]


def run_bench(
    *,
    length: Length = Length.NORMAL,
    policy: str = "",
    chromium: str = "",
    only: Sequence[str] = (),
    as_json: bool = False,
) -> int:
    """Measure, print the table (or one JSON document), and return 0; progress goes to standard error.

    Args:
        length: how long to measure.
        policy: the policy to measure beside the standard network; empty: the first shipped one.
        chromium: the browser that looks at the page; empty: this computer's own.
        only: parts of the titles of what to measure; empty: everything.
        as_json: print one JSON document instead of the table.

    Raises:
        LapwingError: nothing has such a title.

    """
    progress = Console(stderr=True)
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as scratch:  # sockets need short paths
        sections = chosen(_sections(Path(scratch), policy, PLANS[length], chromium), only)
        rows = measure_all(sections, progress)
    if as_json:
        document = {
            "length": length,
            "load_average": os.getloadavg(),
            "cores": os.cpu_count(),
            "took_s": round(time.monotonic() - started_s, 1),
            "rows": rows,
        }
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE).print(as_table(rows))
    return 0


def chosen(sections: list[Section], only: Sequence[str]) -> list[Section]:
    """Return the sections whose title has one of these parts; raises LapwingError where none has."""
    wanted = [part.lower() for part in only]
    found = [
        section for section in sections if not only or any(part in section.title.lower() for part in wanted)
    ]
    if not found:
        titles = "; ".join(section.title for section in sections)
        raise LapwingError(f"nothing that is measured is called {', '.join(only)}. There are: {titles}")
    return found


def measure_all(sections: list[Section], progress: Console) -> list[Row]:
    """Measure every section; one that fails gives a row that says why, and the others go on.

    A car that stops by itself while it is measured is a budget missed, not a measurement that failed.
    """
    rows: list[Row] = []
    for number, section in enumerate(sections, 1):
        progress.print(f"{number}/{len(sections)} {section.title}")
        try:
            rows += section.measure()
        except CarStoppedError as error:
            rows.append(Row(section.title, "the car stopped", "it drives on", Verdict.MISSED, str(error)))
        except (LapwingError, PolicyError) as error:
            rows.append(impossible(section.title, "-", str(error)))
    return rows


def as_table(rows: list[Row]) -> Table:
    """Return the rows for a terminal."""
    styles = {Verdict.MET: "green", Verdict.MISSED: "red", Verdict.SHOWN: "", Verdict.IMPOSSIBLE: "yellow"}
    load = ", ".join(f"{share:.1f}" for share in os.getloadavg())
    table = Table(
        title=f"Against the budgets, on {os.cpu_count()} cores, load {load}",
        title_justify="left",
        expand=True,
    )
    for heading, share in (("what", 5), ("measured", 5), ("budget", 3), ("", None), ("note", 4)):
        table.add_column(heading, ratio=share, overflow="fold", no_wrap=not share)
    for row in rows:
        verdict = Text(row.verdict, style=styles[row.verdict])
        table.add_row(Text(row.name), Text(row.measured), Text(row.budget), verdict, Text(row.note))
    return table


def _sections(scratch: Path, policy: str, plan: Plan, chromium: str) -> list[Section]:
    """Return everything that is measured, in an order that a person can follow."""
    write_standard_bundle(scratch / "standard")
    measured = [(STANDARD, str(scratch / "standard"))]
    shipped = policy or next(iter(zoo_names()), "")
    if shipped:
        shipped = str(Path(shipped).resolve()) if Path(shipped).exists() else shipped
        measured.append((Path(shipped).name, shipped))
    numbers = itertools.count()

    def folder() -> Path:
        return scratch / str(next(numbers))

    sections = [Section("conversion", lambda: conversion_rows(folder(), plan))]
    for label, source in measured:
        sections += [
            Section(f"{label}, {RATE_HZ:g} Hz: timing", _bound(timing_rows, folder, label, source, plan)),
            Section(f"{label}: jitter", _bound(plain_jitter_rows, folder, label, source, plan)),
            Section(
                f"{label}: missed decisions at {FAST_RATE_HZ:g} Hz",
                _bound(missed_rows, folder, label, source, plan),
            ),
            Section(f"{label}: inference", _bound(inference_rows, folder, label, source, plan)),
            Section(f"{label}: load to ready", _bound(ready_rows, folder, label, source, plan)),
            Section(f"{label}: lockstep", _bound(lockstep_rows, folder, label, source, plan)),
        ]
    label, source = measured[0]
    other = measured[-1][1] if len(measured) > 1 else ""
    sections += [
        Section("time to neutral", _bound(neutral_rows, folder, label, source, plan)),
        Section("start", _bound(start_rows, folder, label, source, plan)),
        Section("switching the model", lambda: switch_rows(folder(), (source, other), plan)),
        Section("ten viewers", _bound(viewers_rows, folder, label, source, plan)),
        Section("page", lambda: page_rows(folder(), source, plan, chromium)),
        Section("memory", _bound(memory_rows, folder, label, source, plan)),
        Section("recorder", _bound(recorder_rows, folder, label, source, plan)),
        Section("timekeeper", _bound(timekeeper_rows, folder, *measured[-1], plan)),
        Section("laps by the start marker", _bound(marker_rows, folder, *measured[-1], plan)),
        Section("a long run on the page", lambda: long_run_rows(folder(), measured[-1][1], plan, chromium)),
    ]
    return [*sections, Section("training environment", lambda: environment_rows(plan))]


def _bound(
    measure: Callable[[Path, str, str, Plan], list[Row]],
    folder: Callable[[], Path],
    label: str,
    source: str,
    plan: Plan,
) -> Callable[[], list[Row]]:
    return lambda: measure(folder(), label, source, plan)
