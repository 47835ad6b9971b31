"""Rows of `lapwing bench` about the simulation: the training environment, and the stack in lockstep."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from vehicle.__main__ import HilCar, Vehicle
from vehicle.bench_car import BenchError, child_answer
from vehicle.bench_plan import RATE_HZ, Plan
from vehicle.bench_rows import Row, at_least, impossible
from vehicle.config import CarConfig, ControlConfig
from vehicle.hil.launch import start_hil
from vehicle.hil.settings import HilSettings
from vehicle.messages import DriveState, OperatorRequest, Reply, RequestKind, Status, TickRecord

ENVIRONMENT_LIMITS = {1: 1500.0, 32: 5000.0}  # decisions a second by number of cars
LOCKSTEP_LIMIT = 10.0  # times real time


def environment_rows(plan: Plan) -> list[Row]:
    """Measure the training environment on one core."""
    rows = []
    for cars, least in ENVIRONMENT_LIMITS.items():
        name = f"training environment, {cars} car{'s' if cars > 1 else ''}, one core"
        try:
            answer = child_answer(plan.environment_s + 120, "environment", cars, plan.environment_s)
        except BenchError as error:
            rows.append(impossible(name, f">= {least:g} steps/s", f"{error}; it needs the extra `train`"))
            continue
        rate = msgspec.convert(answer, dict[str, float])
        note = f"by processor time; {rate['per_s']:.0f} by the clock"
        rows.append(at_least(name, rate["per_core_s"], "steps/s", least, note))
    return rows


def lockstep_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure the whole stack in lockstep, through the real bytes."""
    folder.mkdir(parents=True)
    with (
        start_hil(HilSettings(folder / "hil", lockstep=True)) as hil,
        lockstep_driver(folder, hil.hil_dir, source) as driver,
    ):
        driver.start()
        driver.records.clear()
        start_ns, start_s = driver.now_ns, time.perf_counter()
        driver.run_until_ns(start_ns + round(plan.lockstep_s * 1e9))
        wall_s = time.perf_counter() - start_s
        simulated_s = (driver.now_ns - start_ns) / 1e9
        network_s = sum(record.times.infer_ns for record in driver.records) / 1e9
    return [
        at_least(
            f"{label}: the whole stack in lockstep, network apart",
            simulated_s / (wall_s - network_s),
            "x real time",
            LOCKSTEP_LIMIT,
            f"{simulated_s / wall_s:.1f} x with the network; {simulated_s:.0f} s at {RATE_HZ:g} Hz",
        )
    ]


class LockstepDriver:
    """A vehicle stepped in this process; requests and records take a short cut past ZeroMQ.

    Their stamps must be the world's, which no other process knows.
    """

    def __init__(self) -> None:
        self.records: list[TickRecord] = []
        self.status: Status | None = None
        self.vehicle: Vehicle | None = None
        self._waiting: list[OperatorRequest] = []
        self._refusal = ""
        self._ids = itertools.count()
        self._renew_ns = 0

    @property
    def now_ns(self) -> int:
        """The world's time."""
        assert self.vehicle is not None
        return self.vehicle.clock.now_ns()

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        """Answer what `_send` has put down; called by the loop."""
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            reply = answer(request)
            self._refusal = reply.reason or self._refusal

    def publish_status(self, status: Status) -> None:
        """Keep the newest status."""
        self.status = status

    def publish_record(self, record: TickRecord) -> None:
        """Keep every tick."""
        self.records.append(record)

    def start(self) -> None:
        """Bring the car into AUTONOMOUS; raises BenchError."""
        assert self.vehicle is not None
        deadline_s = time.monotonic() + 30.0  # the policy is loaded in real time
        while self.status is None or self.status.not_ready:
            self.run_until_ns(self.now_ns + 100_000_000)
            if time.monotonic() > deadline_s:
                raise BenchError(f"not ready in lockstep: {self.status.not_ready if self.status else ''}")
        self._send(RequestKind.SET_SPEED_CAP, speed_cap_frac=0.3)
        self._send(RequestKind.START, target=DriveState.AUTONOMOUS)
        self.run_until_ns(self.now_ns + 3_000_000_000)
        if self.status.state is not DriveState.AUTONOMOUS:
            raise BenchError(f"does not drive in lockstep: {self._refusal or self.status.sentence}")

    def run_until_ns(self, end_ns: int) -> None:
        """Step the loop, keeping the lease."""
        assert self.vehicle is not None
        while self.now_ns < end_ns:
            if self.now_ns >= self._renew_ns:
                self._renew_ns = self.now_ns + 250_000_000
                self._send(RequestKind.TAKE_LEASE)
            self.vehicle.loop.step(self.now_ns)
            self.vehicle.loop.wait()

    def _send(
        self, kind: RequestKind, *, target: DriveState | None = None, speed_cap_frac: float = 0.0
    ) -> None:
        identity = str(next(self._ids))
        request = OperatorRequest(
            identity, "bench", kind, self.now_ns, target=target, speed_cap_frac=speed_cap_frac
        )
        self._waiting.append(request)


@contextlib.contextmanager
def lockstep_driver(folder: Path, hil_dir: Path, source: str) -> Iterator[LockstepDriver]:
    """Yield a stepped vehicle in front of a lockstep world."""
    driver = LockstepDriver()
    config = CarConfig(policy=source, control=ControlConfig(rate_hz=RATE_HZ))
    vehicle = Vehicle(config, folder / "run", HilCar(hil_dir, lockstep=True), publisher=driver)
    driver.vehicle = vehicle
    try:
        yield driver
    finally:
        vehicle.close()
