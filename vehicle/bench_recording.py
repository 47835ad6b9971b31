"""Rows of `lapwing bench` about a long run on the Runs page: opened and looked into, in a real browser.

The run is a short one that the HIL car has just driven, repeated to its length with true stamps and small
pictures.
"""

import contextlib
import http.client
import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np

from vehicle.bench_beside import recording
from vehicle.bench_browser import browser, chromium_program, signed_in
from vehicle.bench_car import (
    READY_LIMIT_S,
    BenchError,
    end_process,
    free_port,
    lapwing_command,
    private_key,
    running_bench_car,
)
from vehicle.bench_plan import SETTLE_S, Plan
from vehicle.bench_rows import Limit, Row, at_most, impossible, judged
from vehicle.messages import TickRecord
from vehicle.run_file import Entry, RunWriter, as_json, pack, read
from vehicle.run_schemas import Topic, protobuf_bytes, protobuf_class
from vehicle.run_seek import RunIndex
from vehicle.run_summary import RunSummary
from vehicle.run_traces import TRACES, TraceKeeper
from vehicle.runs import RunShelf
from vehicle.truth import WorldTruth

OPEN_LIMIT_S = 2.0
SEEK_LIMIT_MS = 300.0
OPENINGS = 5
SEEKS = 60
NEARER = 8  # presses of +, each halving what the curves show: two hours become half a minute
RUN_NAME = "2026-01-01_12-00-00"
WALL_NS = 1_767_268_800 * 10**9
START_NS = 10**12
SMALL_PX = (160, 120)
GAP_NS = 16_666_667  # between two repetitions, a tick
REPEATED = (Topic.EXACT_TICK, Topic.CAMERA, Topic.TRUTH)
VIEWPORT = {"width": 1280, "height": 800}

OPEN = """async () => {
  await new Promise((resolve) => setTimeout(resolve, 500)); // until the other run is all there
  const names = ["picture", "plot-steering", "line"];
  const [canvas, curves, line] = names.map((name) => document.getElementById(name));
  canvas.width = canvas.width;
  curves.replaceChildren();
  line.replaceChildren();
  const pixel = () => canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[3];
  const isShown = () => pixel() > 0 && curves.querySelector(".curve") && line.querySelector(".driven");
  const began = performance.now();
  document.querySelector(`#list [data-key="NAME"] button`).click();
  while (!isShown() && performance.now() - began < 30000) await new Promise(requestAnimationFrame);
  return (performance.now() - began) / 1000;
}"""
SEEK = """async (seconds) => {
  const names = ["picture", "plot-steering", "time", "readout"];
  const [canvas, curves, time, readout] = names.map((name) => document.getElementById(name));
  canvas.width = canvas.width; // two moments may look alike: what is drawn anew is what counts
  curves.replaceChildren();
  readout.textContent = "";
  const pixel = () => canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[3];
  const isShown = () => pixel() > 0 && readout.textContent && curves.querySelector(".curve");
  const began = performance.now();
  time.value = String(seconds);
  time.dispatchEvent(new Event("input", { bubbles: true }));
  while (!isShown() && performance.now() - began < 30000) await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


class LongRun(NamedTuple):
    """A run as long as one may be, and what it was made of."""

    size_bytes: int
    chunks: int
    driven_s: float
    """By the car; the rest repeats it."""


def long_run_rows(folder: Path, source: str, plan: Plan, chromium: str) -> list[Row]:
    """Measure how soon the page shows a long run, and another moment of it."""
    what = f"a run of {plan.run_s / 60:g} min on the page"
    names = (f"{what}: from the click to picture, line and curves", f"{what}: from a moment to its picture")
    program = chromium_program(chromium)
    if program is None:
        return [
            impossible(name, "-", "there is no Chromium here; `make bench` fetches one") for name in names
        ]
    folder.mkdir(parents=True, exist_ok=True)
    long_run = write_long_run(folder / "runs", _driven(folder / "car", source, plan), plan.run_s)
    with _page(folder) as address, browser(program) as opened:
        context = signed_in(opened, folder / "access", address, viewport=VIEWPORT)
        page = context.new_page()
        openings_s = [_opened_s(page, address) for _ in range(OPENINGS)]
        seeks_ms = _seeks_ms(page, plan.run_s)
        context.close()
    note = (
        f"{long_run.size_bytes / 1e6:.0f} MB in {long_run.chunks} chunks, as many as a real one has: "
        f"{long_run.driven_s:.0f} s driven by the HIL car, repeated with true stamps and small pictures"
    )
    return [
        at_most(
            names[0], max(openings_s), "s", OPEN_LIMIT_S, f"worst of {OPENINGS}, the first unread; {note}"
        ),
        judged(names[1], seeks_ms, "ms", (Limit(100, SEEK_LIMIT_MS),), "and the curves around it"),
    ]


def _driven(folder: Path, source: str, plan: Plan) -> Path:
    """Return a run that the HIL car has just driven."""
    runs = folder / "runs"
    with running_bench_car(folder, source, has_page=False) as car, recording(car, runs):
        car.start_driving()
        car.drive(SETTLE_S + plan.timing_s)
        car.stop_driving()
    return RunShelf(runs).find("last")


@contextlib.contextmanager
def _page(folder: Path) -> Iterator[str]:
    """Serve the page of these runs; yield its address."""
    port, access = free_port(), folder / "access"
    private_key(access)
    where = ("--run-dir", folder / "run", "--runs", folder / "runs", "--access-dir", access)
    process = subprocess.Popen(
        lapwing_command("web", *where, "--port", port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}/"
    finally:
        end_process(process)


def _opened_s(page: Any, address: str) -> float:
    """Return how long it takes from a click in the list until the run is seen."""
    page.goto(f"{address}runs")
    page.locator(f'#list [data-key="{RUN_NAME}"] button').wait_for()
    page.locator(f'#list [data-key="{_other(RUN_NAME)}"] button').click()
    page.locator("#plot-steering .curve").wait_for(state="attached")
    return float(page.evaluate(OPEN.replace("NAME", RUN_NAME)))


def _seeks_ms(page: Any, seconds: float) -> list[float]:
    """Return how long it takes until other moments are seen, the curves showing half a minute around each."""
    for _ in range(NEARER):
        page.locator("#zoom-in").click()
    leaps = np.random.default_rng(0).uniform(0.1, 0.9, SEEKS)  # never within what the curves show already
    moments_s = (np.cumsum(leaps) % 1.0 * seconds).round(2)
    return [float(page.evaluate(SEEK, moment_s)) for moment_s in moments_s.tolist()]


def _other(name: str) -> str:
    return name.replace("2026", "2025")


def write_long_run(folder: Path, source: Path, seconds: float) -> LongRun:
    """Write a run as the recorder would, of a driven one over and over, and a short one beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    driven = RunIndex(source)
    ticks_ns = [entry.time_ns for entry in read(source, [Topic.EXACT_TICK])]
    since_ns, lasts_ns = ticks_ns[0], ticks_ns[-1] - ticks_ns[0]
    entries = [entry for entry in read(source, REPEATED) if 0 <= entry.time_ns - since_ns <= lasts_ns]
    small = [_Repeated(entry) for entry in entries]
    chunk_bytes = sum(len(one.at(0, 0).data) for one in small) // max(driven.chunk_count(), 1)
    for name, length_s in ((RUN_NAME, seconds), (_other(RUN_NAME), min(seconds, lasts_ns / 1e9))):
        writer, traces = RunWriter(folder / f"{name}.mcap", chunk_bytes), TraceKeeper()
        for number in itertools.count():
            moved_ns = START_NS - since_ns + number * (lasts_ns + GAP_NS)
            moved = (one.at(moved_ns, number * len(entries)) for one in small)
            kept = [entry for entry in moved if entry.time_ns < START_NS + length_s * 1e9]
            for entry in kept:
                writer.add(*entry)
                traces.entry(entry)
            if len(kept) < len(entries):
                break
        summary = RunSummary(
            name=name,
            started_wall_ns=WALL_NS,
            boot_id="",
            started_ns=START_NS,
            duration_s=length_s,
            driven_s=length_s,
            modes=("autonomous",),
        )
        writer.attach(TRACES, traces.packed())
        writer.finish({"summary": as_json(summary).decode()})
        summary.size_bytes = writer.path.stat().st_size
        RunShelf(folder).put(summary)
    path = folder / f"{RUN_NAME}.mcap"
    return LongRun(path.stat().st_size, RunIndex(path).chunk_count(), lasts_ns / 1e9)


class _Repeated:
    """One message of a driven run, for every repetition."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._tick: TickRecord | None = None
        self._truth: WorldTruth | None = None
        self._jpeg = b""
        match entry.topic:
            case Topic.EXACT_TICK:
                self._tick = msgspec.msgpack.decode(entry.data, type=TickRecord)
            case Topic.TRUTH:
                self._truth = msgspec.json.decode(entry.data, type=WorldTruth)
            case _:
                self._jpeg = _shrunk(protobuf_class("CompressedImage").FromString(entry.data).data)

    def at(self, moved_ns: int, moved: int) -> Entry:
        """Return it so much later, and so many ticks after the first time."""
        time_ns = self._entry.time_ns + moved_ns
        if self._tick is not None:
            number = self._tick.sequence + moved
            data = pack(msgspec.structs.replace(self._tick, now_ns=time_ns, sequence=number))
        elif self._truth is not None:
            data = as_json(msgspec.structs.replace(self._truth, now_ns=time_ns))
        else:
            data = protobuf_bytes("CompressedImage", time_ns, data=self._jpeg, format="jpeg")
        return Entry(self._entry.topic, time_ns, data)


def _shrunk(jpeg: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    small = cv2.resize(image, SMALL_PX, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 60])[1])


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/login")
            connection.getresponse()
            return
        time.sleep(0.05)
    raise BenchError("the page did not answer")
