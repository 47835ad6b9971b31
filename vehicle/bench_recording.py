"""Rows of `lapwing bench` about recorded runs: what recording costs a drive, how soon a long run is seen."""

import contextlib
import http.client
import math
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vehicle.bench_car import (
    READY_LIMIT_S,
    BenchCar,
    BenchError,
    end_process,
    free_port,
    lapwing_command,
    private_key,
    running_bench_car,
)
from vehicle.bench_plan import RATE_HZ, SETTLE_S, Plan
from vehicle.bench_rows import Limit, Row, at_most, judged, lateness_ms, overhead_ms
from vehicle.messages import (
    BoardStatus,
    DriveAction,
    DriveCommand,
    DriveState,
    StageTimes,
    TickRecord,
)
from vehicle.recorder_status import RecorderClient
from vehicle.run_file import CHUNK_BYTES, RunWriter, as_json, pack
from vehicle.run_schemas import Topic, protobuf_bytes
from vehicle.run_seek import RunIndex
from vehicle.run_summary import RunSummary
from vehicle.run_traces import TRACES, TraceKeeper
from vehicle.runs import RunShelf
from vehicle.truth import WorldTruth

COST_P50_MS = 0.1
COST_P99_MS = 0.5
OPEN_LIMIT_S = 2.0
SEEK_LIMIT_MS = 300.0
SEEKS = 60
RUN_NAME = "2026-01-01_12-00-00"
TICK_HZ, PICTURE_HZ = 60, 30
REAL_BYTES_PER_S = 1.4e6  # of a driving HIL car
JPEG_PX = (160, 120)


def recorder_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure decisions without and with a recorder that writes them down, in turns."""
    without: list[TickRecord] = []
    beside_it: list[TickRecord] = []
    runs = folder / "runs"
    with running_bench_car(folder, source, has_page=False) as car:
        for _ in range(2):
            without += _drive(car, plan.timing_s / 2)
            with _recorder(car, runs):
                beside_it += _drive(car, plan.timing_s / 2)
    shelf = RunShelf(runs)
    kept = shelf.runs()
    if len(kept) != 2 or not all(run.is_complete and run.ticks for run in kept):
        raise BenchError(f"the recorder kept {[(run.ticks, run.note) for run in kept]}, not two whole runs")
    name = f"{label}, {RATE_HZ:g} Hz"
    before, after = overhead_ms(without), overhead_ms(beside_it)
    cost = {share: float(np.percentile(after, share) - np.percentile(before, share)) for share in (50, 99)}
    size = sum(run.size_bytes for run in kept) / sum(run.duration_s for run in kept)
    return [
        judged(f"{name}, no recorder: overhead", before, "ms"),
        judged(f"{name}, recorder: overhead", after, "ms"),
        judged(f"{name}, no recorder: decision start jitter", lateness_ms(without), "ms"),
        judged(f"{name}, recorder: decision start jitter", lateness_ms(beside_it), "ms"),
        at_most("cost of the recorder: median overhead", cost[50], "ms", COST_P50_MS, "in turns, twice each"),
        at_most("cost of the recorder: p99 overhead", cost[99], "ms", COST_P99_MS, f"{size / 1e6:.2f} MB/s"),
    ]


def _drive(car: BenchCar, duration_s: float) -> list[TickRecord]:
    car.start_driving()
    car.drive(SETTLE_S)
    records = car.drive(duration_s)
    car.stop_driving()
    return records


@contextlib.contextmanager
def _recorder(car: BenchCar, runs: Path) -> Iterator[None]:
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


def long_run_rows(folder: Path, plan: Plan) -> list[Row]:
    """Measure how soon the page shows a long run, and another moment of it."""
    folder.mkdir(parents=True, exist_ok=True)
    size_bytes, chunks = write_long_run(folder / "runs", plan.run_s)
    port, access = free_port(), folder / "access"
    key = private_key(access)
    where = ("--run-dir", folder / "run", "--runs", folder / "runs", "--access-dir", access)
    page = subprocess.Popen(
        lapwing_command("web", *where, "--port", port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        path = f"/api/runs/{RUN_NAME}"
        opened = ("/runs", "/api/runs", path, f"{path}/curves?buckets=1200", f"{path}/picture?t_s=0")
        opening_s = [sum(_get_s(port, key, each) for each in opened)]
        moments_s = np.random.default_rng(0).uniform(0, plan.run_s, SEEKS).tolist()
        seeks_ms = []
        for moment_s in moments_s:
            part = f"since_s={max(0.0, moment_s - 15):.3f}&until_s={moment_s + 15:.3f}"
            seeks_ms.append(
                1e3
                * (
                    _get_s(port, key, f"{path}/picture?t_s={moment_s:.3f}")
                    + _get_s(port, key, f"{path}/curves?{part}&buckets=1200")
                )
            )
    finally:
        end_process(page)
    what = f"a run of {plan.run_s / 60:g} min"
    note = f"{size_bytes / 1e6:.0f} MB in {chunks} chunks, as many as a real one has, with small pictures"
    return [
        at_most(f"{what}: opened on the page", opening_s[0], "s", OPEN_LIMIT_S, note),
        judged(
            f"{what}: another moment",
            seeks_ms,
            "ms",
            (Limit(100, SEEK_LIMIT_MS),),
            "its picture, and the curves around it",
        ),
    ]


def write_long_run(folder: Path, seconds: float) -> tuple[int, int]:
    """Write a run as the recorder would, but with small pictures; return its size and number of chunks."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{RUN_NAME}.mcap"
    small_bytes_per_s = PICTURE_HZ * 2500 + TICK_HZ * 700
    writer = RunWriter(path, chunk_bytes=round(CHUNK_BYTES * small_bytes_per_s / REAL_BYTES_PER_S))
    traces = TraceKeeper()
    pictures = [_picture(number) for number in range(32)]
    for number in range(round(seconds * TICK_HZ)):
        t_s = number / TICK_HZ
        now_ns = 10**12 + round(t_s * 1e9)
        tick = _tick(number, now_ns, t_s)
        traces.tick(tick)
        writer.add(Topic.EXACT_TICK, now_ns, pack(tick))
        if number % (TICK_HZ // PICTURE_HZ) == 0:
            image = protobuf_bytes("CompressedImage", now_ns, data=pictures[number // 2 % 32], format="jpeg")
            writer.add(Topic.CAMERA, now_ns, image)
            traces.picture(now_ns)
            traces.truth(_truth(number, now_ns, t_s))
    summary = RunSummary(
        name=RUN_NAME,
        started_wall_ns=1_767_268_800 * 10**9,
        boot_id="",
        started_ns=10**12,
        duration_s=seconds,
        driven_s=seconds,
        modes=("autonomous",),
    )
    writer.attach(TRACES, traces.packed())
    writer.finish({"summary": as_json(summary).decode()})
    summary.size_bytes = path.stat().st_size
    RunShelf(folder).put(summary)
    return summary.size_bytes, RunIndex(path).chunk_count()


def _tick(number: int, now_ns: int, t_s: float) -> TickRecord:
    action = DriveAction(math.sin(t_s), 0.4)
    board = BoardStatus(connected=True, received_ns=now_ns, acked_sent_ns=now_ns, acked_armed=True)
    return TickRecord(
        sequence=number,
        now_ns=now_ns,
        decided=number % 4 == 0,
        state=DriveState.AUTONOMOUS,
        faults=(),
        frame_number=number // 2,
        frame_stamp_ns=now_ns,
        policy_output=(0.1,) * 10,
        action_index=3,
        action=action,
        wanted=action,
        sent=DriveCommand(armed=True, steering_us=1500 + 200 * action.steering_frac, throttle_us=1400.0),
        board=board,
        trigger="frame",
        lateness_ns=1000,
        times=StageTimes(frame_to_wire_ns=2_000_000),
        sent_frac=action,
    )


def _truth(number: int, now_ns: int, t_s: float) -> WorldTruth:
    angle = t_s / 2
    return WorldTruth(
        now_ns=now_ns,
        frame_number=number // 2,
        track="ring",
        x_m=3 * math.cos(angle),
        y_m=2 * math.sin(angle),
        heading_rad=angle,
        speed_mps=1.5 + 0.5 * math.sin(t_s),
        steering_rad=0.0,
        progress_frac=0.0,
        offset_m=0.0,
        off_track=False,
        crashed=False,
        laps=(),
        lap_started_ns=0,
        servo_pulse_us=1500.0,
        esc_pulse_us=1400.0,
    )


def _picture(number: int) -> bytes:
    noise = np.random.default_rng(number).integers(0, 255, (JPEG_PX[1] // 4, JPEG_PX[0] // 4, 3), np.uint8)
    _, jpeg = cv2.imencode(".jpg", cv2.resize(noise, JPEG_PX), [cv2.IMWRITE_JPEG_QUALITY, 60])
    return bytes(jpeg)


def _get_s(port: int, key: str, path: str) -> float:
    """Return how long one request takes; raises BenchError where it is refused."""
    started_s = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != http.HTTPStatus.OK or not body:
        raise BenchError(f"{path} answered {response.status}")
    return time.perf_counter() - started_s


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
