"""`lapwing bench`: measures the running software against its budgets and prints them as one table.

Real processes, real bytes; the figures come from tick records, the emulated board's diary and /proc.
A benchmark, not a test: a busy computer makes it worse, and the table shows what was seen.
"""

import contextlib
import enum
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from calibration.car import HIL_AWS
from models.bundle import load_bundle, zoo_names
from models.errors import PolicyError
from models.standard_network import write_standard_bundle
from vehicle.__main__ import HilCar, Vehicle
from vehicle.bench_car import (
    LOOK_PERIOD_S,
    BenchCar,
    BenchError,
    CarStoppedError,
    beside,
    child_answer,
    end_process,
    proportional_memory_bytes,
    running_bench_car,
    start_lapwing,
)
from vehicle.bench_rows import (
    Limit,
    Row,
    Verdict,
    at_least,
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
    neutral_row,
    observe_ms,
    overhead_ms,
    rest_of_step_ms,
    wait_ms,
)
from vehicle.config import CarConfig, ControlConfig, FailsafeConfig
from vehicle.doctor import try_realtime
from vehicle.errors import LapwingError
from vehicle.hil.launch import start_hil
from vehicle.hil.settings import HilSettings
from vehicle.messages import (
    DriveState,
    OperatorRequest,
    Reply,
    RequestKind,
    Status,
    TickRecord,
)
from vehicle.remote import VehicleClient

STANDARD = "standard network"
RATE_HZ = 30.0
FAST_RATE_HZ = 60.0
OVERHEAD_LIMITS = (Limit(50, 1.0), Limit(99, 3.0))  # ms, as all limits of percentiles here
BESIDE_BARE_LOOP_MS = 3.0
IDLE_JITTER = (Limit(99, 0.5),)
LOADED_JITTER = (Limit(99, 2.0),)
HOST_FAULT_LIMIT_S = 0.100
DEAD_HOST_LIMIT_S = 0.220
READY_LIMIT_S = 3.0
SWITCH_LIMIT_S = 1.0
MEMORY_LIMIT_MB = 250.0
ENVIRONMENT_LIMITS = {1: 1500.0, 32: 5000.0}  # decisions a second by number of cars
LOCKSTEP_LIMIT = 10.0  # times real time
SETTLE_S = 1.0


class Length(enum.StrEnum):
    """How long to measure."""

    QUICK = "quick"
    NORMAL = "normal"
    LONG = "long"


class Plan(msgspec.Struct, frozen=True):
    """How long and how often."""

    timing_s: float
    missed_s: float
    trials: int
    environment_s: float
    lockstep_s: float


PLANS = {
    Length.QUICK: Plan(timing_s=5.0, missed_s=10.0, trials=1, environment_s=3.0, lockstep_s=10.0),
    Length.NORMAL: Plan(timing_s=20.0, missed_s=60.0, trials=3, environment_s=10.0, lockstep_s=30.0),
    Length.LONG: Plan(timing_s=60.0, missed_s=600.0, trials=10, environment_s=30.0, lockstep_s=120.0),
}


class Section(msgspec.Struct, frozen=True):
    """Some rows that are measured together."""

    title: str
    measure: Callable[[], list[Row]]


def run_bench(*, length: Length = Length.NORMAL, policy: str = "", as_json: bool = False) -> int:
    """Measure, print the table (or one JSON document), and return 0; progress goes to standard error.

    Args:
        length: how long to measure.
        policy: the policy to measure beside the standard network; empty: the first shipped one.
        as_json: print one JSON document instead of the table.

    """
    progress = Console(stderr=True)
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lw", dir="/tmp") as scratch:  # sockets need short paths
        rows = measure_all(_sections(Path(scratch), policy, PLANS[length]), progress)
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
        Console().print(as_table(rows))
    return 0


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


def _sections(scratch: Path, policy: str, plan: Plan) -> list[Section]:
    """Return everything that is measured, in an order that a person can follow."""
    measured: list[tuple[str, str]] = []
    why_no_standard = ""
    try:
        write_standard_bundle(scratch / "standard")
        measured.append((STANDARD, str(scratch / "standard")))
    except PolicyError as error:
        why_no_standard = str(error)
    shipped = policy or next(iter(zoo_names()), "")
    if shipped:
        shipped = str(Path(shipped).resolve()) if Path(shipped).exists() else shipped
        measured.append((Path(shipped).name, shipped))
    numbers = itertools.count()

    def folder() -> Path:
        return scratch / str(next(numbers))

    sections = []
    if why_no_standard:
        sections.append(Section(STANDARD, lambda: [impossible(STANDARD, "-", why_no_standard)]))
    for label, source in measured:
        sections += [
            Section(f"{label}, {RATE_HZ:g} Hz: timing", _bound(timing_rows, folder, label, source, plan)),
            Section(f"{label}: jitter", _bound(plain_jitter_rows, folder, label, source, plan)),
            Section(
                f"{label}: missed decisions at {FAST_RATE_HZ:g} Hz",
                _bound(missed_rows, folder, label, source, plan),
            ),
            Section(f"{label}: lockstep", _bound(lockstep_rows, folder, label, source, plan)),
        ]
    if measured:
        label, source = measured[0]
        other = measured[-1][1] if len(measured) > 1 else ""
        sections += [
            Section("time to neutral", _bound(neutral_rows, folder, label, source, plan)),
            Section("start", _bound(start_rows, folder, label, source, plan)),
            Section("switching the model", lambda: switch_rows(folder(), (source, other), plan)),
            Section("memory", _bound(memory_rows, folder, label, source, plan)),
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


# --- timing


def timing_rows(folder: Path, label: str, source: str, plan: Plan) -> list[Row]:
    """Measure decisions at 30 Hz: idle, with a viewer, with a viewer and two busy processes."""
    name = f"{label}, {RATE_HZ:g} Hz"
    refusal = try_realtime()
    with running_bench_car(folder, source) as car:
        viewer = ("viewer", "127.0.0.1", car.port)
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
        with beside(("viewer", "127.0.0.1", car.port), ("busy",), ("busy",)):
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
        beside(("viewer", "127.0.0.1", car.port), ("busy",), ("busy",)),
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


# --- safety


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


# --- starting, memory


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
    """Measure switching from one policy to another and back."""
    name = "switching the model"
    if not all(sources):
        return [impossible(name, f"<= {SWITCH_LIMIT_S:g} s", "there is only one policy: none is shipped")]
    hashes = {source: load_bundle(source).sha256 for source in sources}
    took_s = []
    with running_bench_car(folder, sources[0], has_page=False) as car:
        for source in [*reversed(sources)] * plan.trials:
            start_s = time.monotonic()
            car.activate(source, hashes[source])
            took_s.append(time.monotonic() - start_s)
    return [at_most(name, max(took_s), "s", SWITCH_LIMIT_S, f"worst of {len(took_s)}")]


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
    with running_bench_car(folder, source) as car, beside(("viewer", "127.0.0.1", car.port)):
        car.start_driving()
        car.drive(max(SETTLE_S, plan.timing_s / 2))
        assert car.page is not None
        vehicle_mb = proportional_memory_bytes(car.vehicle.pid) / 1e6
        page_mb = proportional_memory_bytes(car.page.pid) / 1e6
    note = f"vehicle {vehicle_mb:.0f}, page {page_mb:.0f} MB; proportional (PSS), driving, one viewer"
    return [at_most(f"memory, vehicle and page, {label}", vehicle_mb + page_mb, "MB", MEMORY_LIMIT_MB, note)]


# --- simulation


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
