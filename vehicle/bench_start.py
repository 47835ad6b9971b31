"""Rows of `lapwing bench` about starting, switching the model, and memory."""

import time
from collections.abc import Callable
from pathlib import Path

from models.bundle import find_bundle
from models.store import PolicyStore
from models.store_intake import add_file
from vehicle.bench_car import (
    BenchError,
    beside,
    end_process,
    proportional_memory_bytes,
    running_bench_car,
    start_lapwing,
)
from vehicle.bench_plan import SETTLE_S, Plan
from vehicle.bench_rows import Row, at_most, impossible
from vehicle.messages import Status
from vehicle.remote_client import VehicleClient

READY_LIMIT_S = 3.0
SWITCH_LIMIT_S = 1.0
MEMORY_LIMIT_MB = 250.0


def start_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure from `lapwing run`, and from the vehicle process alone, to ready-to-arm."""
    from_run_s = [_time_to_ready_s(folder / f"run{trial}", source) for trial in range(plan.trials)]
    from_vehicle_s = []
    with running_bench_car(folder / "car", source) as car:
        for _ in range(plan.trials):
            end_process(car.vehicle)
            start_s, start_ns = time.monotonic(), time.monotonic_ns()
            car.restart_vehicle()
            car.wait_status(_ready_after(start_ns), 20.0, "ready")
            from_vehicle_s.append(time.monotonic() - start_s)
    return [
        at_most(
            f"`lapwing run --hil` to ready-to-arm, {label}",
            max(from_run_s),
            "s",
            READY_LIMIT_S,
            f"worst of {plan.trials}; the simulated car's own start is in it",
        ),
        at_most(
            f"vehicle process to ready-to-arm, {label}",
            max(from_vehicle_s),
            "s",
            READY_LIMIT_S,
            f"worst of {plan.trials}; board, camera and page are up, as on a car",
        ),
    ]


def _ready_after(since_ns: int) -> Callable[[Status], bool]:
    return lambda status: status.now_ns > since_ns and not status.not_ready


def switch_rows(folder: Path, sources: tuple[str, str], plan: Plan) -> list[Row]:
    """Measure switching from one policy of a store to another and back, as an owner does."""
    name = "switching the model"
    if not all(sources):
        return [impossible(name, f"<= {SWITCH_LIMIT_S:g} s", "there is only one policy: none is shipped")]
    store = PolicyStore(folder / "models")
    keys = [add_file(store, find_bundle(source)[0].parent)[0].key for source in sources]
    took_s = []
    with running_bench_car(folder, sources[0], has_page=False) as car:
        for key in [*reversed(keys)] * plan.trials:
            start_s = time.monotonic()
            car.activate(store, key)
            took_s.append(time.monotonic() - start_s)
    return [
        at_most(
            name,
            max(took_s),
            "s",
            SWITCH_LIMIT_S,
            f"worst of {len(took_s)}; files compared, loaded, warm, remembered",
        )
    ]


def _time_to_ready_s(folder: Path, source: str) -> float:
    folder.mkdir(parents=True)
    run_dir = folder / "run"
    start_s = time.monotonic()
    with (
        start_lapwing(folder / "run.log", "run", "--hil", "--policy", source, "--run-dir", run_dir),
        VehicleClient(run_dir, "bench") as client,
    ):
        if client.wait_status(lambda status: not status.not_ready, 30.0) is None:
            raise BenchError("`lapwing run --hil` was not ready within 30 s")
        return time.monotonic() - start_s


def memory_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure memory while the car drives and somebody looks at the page."""
    with running_bench_car(folder, source) as car, beside(("viewer", "127.0.0.1", car.port, car.page_key)):
        car.start_driving()
        car.drive(max(SETTLE_S, plan.timing_s / 2))
        assert car.page is not None
        vehicle_mb = proportional_memory_bytes(car.vehicle.pid) / 1e6
        page_mb = proportional_memory_bytes(car.page.pid) / 1e6
    note = f"vehicle {vehicle_mb:.0f}, page {page_mb:.0f} MB; proportional (PSS), driving, one viewer"
    return [at_most(f"memory, vehicle and page, {label}", vehicle_mb + page_mb, "MB", MEMORY_LIMIT_MB, note)]
