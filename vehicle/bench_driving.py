"""Rows of `lapwing bench` about a driving car: overhead, jitter, missed decisions."""

from pathlib import Path

import msgspec

from vehicle.bench_car import BenchCar, BenchError, beside, child_answer, end_process, running_bench_car
from vehicle.bench_plan import RATE_HZ, SETTLE_S, Plan
from vehicle.bench_rows import (
    Limit,
    Row,
    at_most,
    beside_bare_loop,
    decode_ms,
    far_end_ms,
    frame_to_wire_ms,
    impossible,
    infer_ms,
    judged,
    late_frames_note,
    lateness_ms,
    missed_decisions,
    observe_ms,
    overhead_ms,
    rest_of_step_ms,
    wait_ms,
)
from vehicle.computer import try_realtime
from vehicle.messages import DriveState, TickRecord

FAST_RATE_HZ = 60.0
OVERHEAD_LIMITS = (Limit(50, 1.0), Limit(99, 3.0))  # ms, as all limits of percentiles here
BESIDE_BARE_LOOP_MS = 3.0
IDLE_JITTER = (Limit(99, 0.5),)
LOADED_JITTER = (Limit(99, 2.0),)


def timing_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure decisions at 30 Hz: idle, with a viewer, with a viewer and two busy processes."""
    name = f"{label}, {RATE_HZ:g} Hz"
    refusal = try_realtime()
    with running_bench_car(folder, source) as car:
        viewer = ("viewer", "127.0.0.1", car.port, car.page_key)
        car.start_driving()
        car.drive(SETTLE_S)
        idle = car.drive(plan.timing_s)
        accepted_ns = [command.t_ns for command in car.hil.pulse_log().commands]
        with beside(viewer):
            viewed = _drive_again(car, plan.timing_s)
            with beside(("busy",), ("busy",)):
                loaded = _drive_again(car, plan.timing_s)
        car.stop_driving()
        end_process(car.vehicle)  # its camera becomes free for the bare loop
        bare_s = plan.timing_s
        quiet_bare = _bare(car, source, bare_s)
        with beside(("busy",), ("busy",)):
            loaded_bare = _bare(car, source, bare_s)

    rows = [
        judged(f"{name}, idle: overhead", overhead_ms(idle), "ms", OVERHEAD_LIMITS, late_frames_note(idle)),
        judged(
            f"{name}, one viewer: overhead",
            overhead_ms(viewed),
            "ms",
            OVERHEAD_LIMITS,
            late_frames_note(viewed),
        ),
        beside_bare_loop(
            f"{name}, viewer and two busy processes: overhead",
            overhead_ms(loaded),
            loaded_bare["overhead_ms"],
            BESIDE_BARE_LOOP_MS,
            late_frames_note(loaded),
        ),
        judged(
            f"{name}, idle: bare loop's overhead", quiet_bare["overhead_ms"], "ms", note="the floor for ours"
        ),
        judged(f"{name}, idle: of the overhead, waiting for the tick", wait_ms(idle), "ms"),
        judged(f"{name}, idle: of the overhead, making the network's input", observe_ms(idle), "ms"),
        judged(f"{name}, idle: of the overhead, the rest of the tick", rest_of_step_ms(idle), "ms"),
        judged(f"{name}, idle: stamp to pixels", decode_ms(idle), "ms", note="delivery and decoding"),
        judged(f"{name}, idle: decoding alone", quiet_bare["decode_ms"], "ms", note="in the bare loop"),
        judged(f"{name}, idle: inference", infer_ms(idle), "ms"),
        judged(f"{name}, idle: frame to wire, all of it", frame_to_wire_ms(idle), "ms"),
        judged(
            f"{name}, idle: write to accepted at the far end",
            far_end_ms(idle, accepted_ns),
            "ms",
            note="by the emulator's diary; 1.04 ms of it are 12 bytes at 115 200 baud",
        ),
        judged(f"{name}, viewer and load: frame to wire, all of it", frame_to_wire_ms(loaded), "ms"),
    ]
    jitter = [
        ("idle", lateness_ms(idle), IDLE_JITTER),
        ("viewer and load", lateness_ms(loaded), LOADED_JITTER),
    ]
    for when, values, limits in jitter:
        what = f"{name}, {when}: decision start jitter, real-time priority"
        rows.append(
            impossible(what, f"p99 <= {limits[0].most:g} ms", f"the system refuses it: {refusal}")
            if refusal
            else judged(what, values, "ms", limits)
        )
    return rows


def plain_jitter_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure decision start jitter without real-time priority."""
    name = f"{label}, {RATE_HZ:g} Hz"
    with running_bench_car(folder, source, is_realtime=False) as car:
        car.start_driving()
        car.drive(SETTLE_S)
        idle = car.drive(plan.timing_s)
        loaded: list[TickRecord] = []
        why = ""
        with beside(("viewer", "127.0.0.1", car.port, car.page_key), ("busy",), ("busy",)):
            try:
                loaded = _drive_again(car, plan.timing_s)
            except BenchError as error:
                why = str(error)
    what = "decision start jitter, normal priority"
    return [
        judged(f"{name}, idle: {what}", lateness_ms(idle), "ms"),
        judged(f"{name}, viewer and load: {what}", lateness_ms(loaded), "ms", note=why),
    ]


def missed_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Count decisions that start over a period late at 60 Hz, with a viewer and load."""
    with (
        running_bench_car(folder, source, rate_hz=FAST_RATE_HZ) as car,
        beside(("viewer", "127.0.0.1", car.port, car.page_key), ("busy",), ("busy",)),
    ):
        car.start_driving()
        car.drive(SETTLE_S)
        records = car.drive(plan.missed_s)
    name = f"{label}, {FAST_RATE_HZ:g} Hz, viewer and load, {plan.missed_s:g} s"
    missed = missed_decisions(records, FAST_RATE_HZ)
    late = lateness_ms(records)
    return [
        at_most(f"{name}: missed decisions", missed, f"of {len(late)}", 0),
        judged(f"{name}: decision start jitter", late, "ms"),
    ]


def _drive_again(car: BenchCar, duration_s: float) -> list[TickRecord]:
    """Drive on, after starting again if the lease ran out while helpers were started."""
    status = car.client.status()
    if status is None or status.state is not DriveState.AUTONOMOUS:
        car.start_driving()
    car.drive(SETTLE_S)
    return car.drive(duration_s)


def _bare(car: BenchCar, source: str, duration_s: float) -> dict[str, list[float]]:
    answer = child_answer(duration_s + 30, "bare", car.hil.hil_dir, source, duration_s)
    return msgspec.convert(answer, dict[str, list[float]])
