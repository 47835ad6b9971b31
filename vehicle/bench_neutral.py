"""Rows of `lapwing bench` about faults: how long throttle goes on after one is observable."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from calibration.car import HIL_AWS
from vehicle.bench_car import LOOK_PERIOD_S, BenchCar, running_bench_car
from vehicle.bench_plan import SETTLE_S, Plan
from vehicle.bench_rows import Row, neutral_row
from vehicle.config import FailsafeConfig
from vehicle.messages import DriveState, RequestKind, TickRecord

HOST_FAULT_LIMIT_S = 0.100
DEAD_HOST_LIMIT_S = 0.220


def neutral_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure, by the board's own diary, how long throttle pulses go on after a fault is observable."""
    times_s: dict[str, list[float]] = {name: [] for name in NEUTRAL_TRIALS}
    with running_bench_car(folder, source, has_page=False) as car:
        for name, (trial, _) in NEUTRAL_TRIALS.items():
            for _ in range(plan.trials):
                car.start_driving()
                car.drive(SETTLE_S)
                observable_ns = trial(car)
                log = car.hil.pulse_log()
                times_s[name].append(
                    log.time_to_neutral_s(HIL_AWS.throttle.neutral_us, since_ns=observable_ns)
                )
                _recover(car)
    return [
        neutral_row(f"time to neutral: {name}", times_s[name], limit_s, note=f"by the board's diary; {label}")
        for name, (_, limit_s) in NEUTRAL_TRIALS.items()
    ]


def _camera_falls_silent(car: BenchCar) -> int:
    car.hil.client.control("fault", part="camera", fault="silent")
    records = _watch(car, 0.6)
    car.hil.client.control("fault", part="camera", fault="silent", on=False)
    newest_ns = max(record.frame_stamp_ns for record in records)
    return newest_ns + round(FailsafeConfig().frame_overdue_s * 1e9)


def _board_falls_silent(car: BenchCar) -> int:
    car.hil.client.control("fault", part="serial_in", fault="off")
    records = _watch(car, 0.6)
    car.hil.client.control("fault", part="serial_in", fault="off", on=False)
    newest_ns = max(record.board.acked_sent_ns for record in records)
    return newest_ns + round(FailsafeConfig().acknowledged_age_s * 1e9)


def _driver_falls_silent(car: BenchCar) -> int:
    renewed_ns = time.monotonic_ns()
    car.client.request(RequestKind.RENEW_LEASE)
    lease_s = FailsafeConfig().lease_autonomous_s
    time.sleep(lease_s + 0.5)  # silence is what is measured
    return renewed_ns + round(lease_s * 1e9)


def _vehicle_dies(car: BenchCar) -> int:
    return _signal_vehicle(car, signal.SIGKILL)


def _vehicle_freezes(car: BenchCar) -> int:
    return _signal_vehicle(car, signal.SIGSTOP)


def _signal_vehicle(car: BenchCar, number: signal.Signals) -> int:
    now_ns = time.monotonic_ns()
    car.vehicle.send_signal(number)
    time.sleep(0.6)  # the board alone acts now
    return now_ns


NEUTRAL_TRIALS: dict[str, tuple[Callable[[BenchCar], int], float]] = {
    "frames stop (overdue after 75 ms)": (_camera_falls_silent, HOST_FAULT_LIMIT_S),
    "board's replies stop (80 ms)": (_board_falls_silent, HOST_FAULT_LIMIT_S),
    "driver silent (lease of 1.5 s)": (_driver_falls_silent, HOST_FAULT_LIMIT_S),
    "vehicle process killed": (_vehicle_dies, DEAD_HOST_LIMIT_S),
    "vehicle process stopped": (_vehicle_freezes, DEAD_HOST_LIMIT_S),
}
"""What is broken, with the time allowed from when that is observable."""


def _watch(car: BenchCar, duration_s: float) -> list[TickRecord]:
    """Keep the lease and collect ticks, whatever the car does."""
    car.records()
    records: list[TickRecord] = []
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        car.client.request(RequestKind.RENEW_LEASE)
        records.extend(car.client.records(timeout_s=0))
        time.sleep(LOOK_PERIOD_S)
    return records


def _recover(car: BenchCar) -> None:
    """Bring the vehicle process back, disarmed and ready."""
    if car.vehicle.poll() is not None:
        car.restart_vehicle()
    car.vehicle.send_signal(signal.SIGCONT)
    car.wait_status(lambda status: status.state is not DriveState.AUTONOMOUS, 10.0, "out of its drive")
    car.stop_driving()
    car.wait_status(lambda status: not status.not_ready, 20.0, "ready again")
