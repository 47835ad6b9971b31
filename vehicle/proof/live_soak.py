"""`lapwing soak --real-time`: every process of a HIL car, broken at random on the real clock, and judged.

The driver is a client like any other, the stop is dated by the vehicle's record, the motor's pulses are the
board's own diary. Processes are killed and stopped among the faults.
"""

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import zmq
from rich.console import Console

from models.bundle import load_bundle
from vehicle.__main__ import HIL_CALIBRATIONS
from vehicle.errors import HilError, VehicleSilentError
from vehicle.hil.faults import FAULTS, HOST_PARTS, MOMENTARY, Part
from vehicle.hil.pulse_log import PulseLog, parse_pulse_log
from vehicle.hil.settings import host_endpoint, pulse_log
from vehicle.hil_client import HilClient, ask_desk
from vehicle.messages import Actuator, DriveState, RequestKind, Status, TickRecord
from vehicle.proof.outcomes import ALL, BOARD_BOUND_S, PROVED_PARTS
from vehicle.proof.soak import (
    ENDING,
    FAULT_SHARE,
    LONGEST_DRIVE_S,
    STRETCH_S,
    WAYS_TO_STOP,
    Judge,
    Stretch,
    begin,
    finish,
)
from vehicle.proof.software import software
from vehicle.proof.stepped_car import CALIBRATION_SHARE, PULSE_NS
from vehicle.remote_client import VehicleClient
from vehicle.run_command import RunningCar, RunOptions, running_car

LATENESS_LIMIT_NS = 10_000_000
"""A board's process that woke up later than this measured itself, not the car."""
BEFORE_NS = 1_000_000_000
"""Of the diary that is looked at before a stop."""
NEVER_S = 3600.0
START_LIMIT_S = 60.0
SILENT_S = 0.3
TEND_EVERY_S = 0.02
LOOK_EVERY_S = 0.5
RENEW_EVERY_S = 0.1
INPUT_EVERY_S = 0.05
STOPPED_FOR_S = 0.6
"""Of a process that is stopped and goes on."""
PROCESS_SHARE = 0.15
"""Of the faults that are a process's death."""
DEATHS = (
    ("vehicle", signal.SIGKILL),
    ("vehicle", signal.SIGSTOP),
    ("recorder", signal.SIGKILL),
    ("web", signal.SIGKILL),
)
ENDS_A_DRIVE = frozenset({"vehicle"})


class Diary:
    """Reads the board's diary as it grows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""
        self._lines: list[tuple[int, str]] = []

    def since(self, since_ns: int, until_ns: int | None = None) -> PulseLog:
        """Return what is written of the time between; what is older is forgotten."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        self._lines += [(int(line.split()[1]), line.decode("ascii")) for line in lines]
        self._lines = [(at_ns, line) for at_ns, line in self._lines if at_ns >= since_ns]
        return parse_pulse_log(line for at_ns, line in self._lines if until_ns is None or at_ns <= until_ns)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Watcher:
    """Judges every record of the loop in a thread of its own."""

    def __init__(self, client: VehicleClient, judge: Judge) -> None:
        self._client = client
        self._judge = judge
        self._lock = threading.Lock()
        self._broken: list[str] = []
        self._last_sequence = -1
        self._closing = threading.Event()
        self.clock_is_broken = False
        """The records' own dates are worth nothing then."""
        self.gaps = 0
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._thread.start()

    @property
    def stopped_ns(self) -> int | None:
        """When the last stop was decided, None while the car may move or after a fresh start."""
        with self._lock:
            return self._judge.stopped_ns

    def forget_stop(self) -> None:
        """Judge the last stop no more."""
        with self._lock:
            self._judge.stopped_ns = None

    def take_broken(self) -> list[str]:
        """Return the invariants that did not hold since the last call."""
        with self._lock:
            broken, self._broken = self._broken, []
            return broken

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        before_ns = time.monotonic_ns()
        while not self._closing.is_set():
            for record in self._client.records(timeout_s=SILENT_S):
                now_ns = time.monotonic_ns()
                self._look(record, before_ns if self.clock_is_broken else record.now_ns)
                before_ns = now_ns
                if self._closing.is_set():  # a car that is there is never silent
                    return

    def _look(self, record: TickRecord, at_ns: int) -> None:
        with self._lock:
            if record.sequence != self._last_sequence + 1:  # another process, or records were lost
                self.gaps += record.sequence > self._last_sequence
                self._judge.forget(record.state)
            self._last_sequence = record.sequence
            self._broken += self._judge.look(record, at_ns)


class Hand:
    """The person who drives: keeps the lease and repeats their input, in a thread of its own."""

    def __init__(self, client: VehicleClient, wiring: str) -> None:
        throttle = HIL_CALIBRATIONS[wiring].throttle
        self._client = client
        self._held_us = throttle.neutral_us + CALIBRATION_SHARE * (throttle.forward_us - throttle.neutral_us)
        self._closing = threading.Event()
        self.throttle_share = 0.25
        self.steering_share = 0.0
        self._thread = threading.Thread(target=self._drive, name="hand", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go."""
        self._closing.set()
        self._thread.join()

    def _drive(self) -> None:
        renew_s = 0.0
        while not self._closing.wait(INPUT_EVERY_S):
            status, now_s = self._client.status(), time.monotonic()
            with contextlib.suppress(VehicleSilentError):
                if now_s >= renew_s:
                    renew_s = now_s + RENEW_EVERY_S
                    self._client.request(RequestKind.TAKE_LEASE, timeout_s=SILENT_S)
                self._repeat(None if status is None else status.state)

    def _repeat(self, state: DriveState | None) -> None:
        if state in {DriveState.MANUAL, DriveState.ASSISTED}:
            shares = {"steering_frac": self.steering_share, "throttle_frac": self.throttle_share}
            self._client.request(RequestKind.DRIVE, timeout_s=SILENT_S, **shares)
        elif state is DriveState.CALIBRATING:
            held_us = self._held_us
            self._client.request(RequestKind.CALIBRATION_PULSE, timeout_s=SILENT_S, throttle_us=held_us)


class LiveCar:
    """A whole HIL car in real time, whoever drives it, and what there is to break."""

    def __init__(self, car: RunningCar, wiring: str, opened: contextlib.ExitStack) -> None:
        assert car.hil_dir is not None
        self._car = car
        self._hil_dir = car.hil_dir
        self._context: zmq.Context[Any] = zmq.Context()
        opened.callback(self._context.destroy, linger=0)
        self._calibration = HIL_CALIBRATIONS[wiring]
        self.neutral_us = self._calibration.throttle.neutral_us
        self.world = HilClient(car.hil_dir)
        opened.callback(self.world.close)
        self.client = opened.enter_context(VehicleClient(car.run_dir, "lapwing soak", records=True))
        throttle = self._calibration.throttle
        self.judge = Judge(self.neutral_us, -1.0 if throttle.reverse_us < throttle.neutral_us else 1.0)
        self.watcher = Watcher(self.client, self.judge)
        opened.callback(self.watcher.close)
        self.hand = Hand(self.client, wiring)
        opened.callback(self.hand.close)
        self._wait(lambda: pulse_log(self._hil_dir).exists() and self.client.status() is not None)
        self.diary = Diary(pulse_log(self._hil_dir))
        opened.callback(self.diary.close)

    @property
    def status(self) -> Status | None:
        """The car at a glance, None while its process is silent."""
        return self.client.status()

    def tend(self, duration_s: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Look after the processes for a while, or until something is so; return whether it came to be."""
        deadline_s = time.monotonic() + duration_s
        while not until():
            if time.monotonic() > deadline_s:
                return False
            self._car.supervisor.tend()
            time.sleep(TEND_EVERY_S)
        return True

    def ask(self, kind: RequestKind, **fields: Any) -> str:
        """Make a request; return why it was refused, or nothing."""
        try:
            reply = self.client.request(kind, **fields)
        except VehicleSilentError as error:
            return str(error)
        return "" if reply.ok else reply.reason or "refused"

    def start(self, target: DriveState, speed_cap_frac: float) -> str:
        """Bring the car into a moving state; return why it does not come to it, or nothing."""
        reason, deadline_s = "the car never became ready", time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline_s:
            self.tend(0.1)
            status = self.status
            if status is None:
                continue
            if status.state is not DriveState.DISARMED:
                self.ask(RequestKind.DISARM)
            reason = self._ask_to_start(target, speed_cap_frac)
            if reason:
                continue
            self.tend(5.0, lambda: self._state() not in {DriveState.ARMING, DriveState.DISARMED})
            if self._state() is target:
                return ""
            reason = self.status.sentence if self.status else "its process is silent"
        return reason

    def _state(self) -> DriveState | None:
        return None if self.status is None else self.status.state

    def _ask_to_start(self, target: DriveState, speed_cap_frac: float) -> str:
        reason = self.ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=speed_cap_frac)
        if target is DriveState.CALIBRATING and not reason:
            rest = {"steering_us": self._calibration.steering.center_us, "throttle_us": self.neutral_us}
            reason = self.ask(RequestKind.PREPARE_CALIBRATION, actuator=Actuator.THROTTLE, **rest)
            self.tend(0.2)
            self.tend(2.0, lambda: self.status is not None and not self.status.is_storing)
        return reason or self.ask(RequestKind.START, target=target)

    def break_part(self, part: Part, fault: str, *, on: bool) -> None:
        """Break or mend a part of the world or of the process that drives; one that is silent has none."""
        order = {"op": "fault", "part": part, "fault": fault, "on": on}
        with contextlib.suppress(HilError):
            if part in HOST_PARTS:
                ask_desk(self._context, host_endpoint(self._hil_dir), order, 1.0)
            else:
                self.world.control("fault", part=part, fault=fault, on=on)

    def pid(self, name: str) -> int | None:
        """Return a process of the car by its name."""
        return next(child.pid for child in self._car.supervisor.children if child.spec.name == name)

    def _wait(self, happened: Callable[[], bool]) -> None:
        if not self.tend(START_LIMIT_S, happened):
            raise HilError(f"the HIL car's processes were not up within {START_LIMIT_S:g} s")


class Soak:
    """Drives one stretch after the other with one car."""

    def __init__(self, car: LiveCar) -> None:
        self._car = car

    def drive_stretch(self, seed: int, length_s: float) -> Stretch:
        """Drive one stretch and return what was seen."""
        rng = random.Random(seed)  # noqa: S311 # repeatable, not secret
        seen = Stretch(seed, is_live=True, software=software())
        began_s, gaps = time.monotonic(), self._car.watcher.gaps
        while time.monotonic() - began_s < length_s:
            self._one_drive(rng, seen)
        seen.simulated_s = time.monotonic() - began_s
        seen.gaps = self._car.watcher.gaps - gaps
        seen.memory_mb, seen.descriptors = usage(self._car.pid("vehicle"))
        return seen

    def _one_drive(self, rng: random.Random, seen: Stretch) -> None:
        car, state = self._car, rng.choice(ALL)
        with contextlib.suppress(HilError):
            car.world.control("reset", s_m=rng.uniform(0.0, 15.0))
        car.hand.throttle_share, car.hand.steering_share = rng.uniform(-0.4, 0.4), rng.uniform(-0.5, 0.5)
        if reason := car.start(state, rng.choice([0.3, 0.6, 1.0])):
            seen.broken += [f"does not start {state}: {reason}", *car.watcher.take_broken()]
            return
        seen.drives += 1
        self._watch(rng.uniform(0.2, LONGEST_DRIVE_S), seen)
        if rng.random() < FAULT_SHARE:
            seen.faults += 1
            self._break(rng, seen)
        else:
            self._watch(rng.uniform(0.5, 3.0), seen)
        self._judge_stop(seen)
        if (status := car.status) is not None:
            seen.missed += status.missed_decisions
        car.ask(rng.choice(WAYS_TO_STOP))
        self._watch(0.5, seen)
        self._judge_stop(seen, by_itself=False)
        seen.broken += car.watcher.take_broken()

    def _break(self, rng: random.Random, seen: Stretch) -> None:
        if rng.random() < PROCESS_SHARE:
            self._break_process(*rng.choice(DEATHS), seen)
            return
        part = rng.choice(PROVED_PARTS)
        fault = rng.choice([fault for fault in FAULTS[part] if (part, fault) not in ENDING])
        self._car.watcher.clock_is_broken = part is Part.CLOCK
        self._car.break_part(part, fault, on=True)
        self._watch(rng.uniform(0.5, 3.0), seen)
        self._judge_stop(seen)
        if (part, fault) not in MOMENTARY:
            self._car.break_part(part, fault, on=False)
        self._watch(0.3, seen)
        self._car.watcher.clock_is_broken = False

    def _break_process(self, name: str, number: signal.Signals, seen: Stretch) -> None:
        car, began_ns = self._car, time.monotonic_ns()
        pid = car.pid(name)
        if pid is None:
            return
        os.kill(pid, number)
        if number is signal.SIGSTOP:
            car.tend(STOPPED_FOR_S)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if name in ENDS_A_DRIVE:
            car.tend(0.5)
            log = car.diary.since(began_ns - BEFORE_NS)
            if log.driven(car.neutral_us):
                neutral_s = min(log.time_to_neutral_s(car.neutral_us), NEVER_S)
                self._note_neutral(began_ns, began_ns + round(neutral_s * 1e9), f"{name} {number.name}", seen)
        self._watch(1.0, seen)

    def _watch(self, duration_s: float, seen: Stretch) -> None:
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            looked_s = min(LOOK_EVERY_S, left_s)
            self._car.tend(looked_s)
            with contextlib.suppress(HilError):
                truth = self._car.world.truth()
                seen.driven_m += abs(truth.speed_mps) * looked_s if truth is not None else 0.0

    def _judge_stop(self, seen: Stretch, *, by_itself: bool = True) -> None:
        """Count a stop, and judge by the diary how soon the motor had neutral."""
        car = self._car
        stopped_ns = car.watcher.stopped_ns
        if stopped_ns is None:
            return
        car.tend(0.3)
        status = car.status
        seen.stops += by_itself and status is not None and status.state is DriveState.FAILSAFE
        driven = car.diary.since(stopped_ns - PULSE_NS).driven(car.neutral_us)
        neutral_ns = driven[-1].t_ns + PULSE_NS if driven else stopped_ns
        self._note_neutral(stopped_ns, neutral_ns, "the stop", seen)
        car.watcher.forget_stop()

    def _note_neutral(self, stopped_ns: int, neutral_ns: int, after: str, seen: Stretch) -> None:
        neutral_s = max(0.0, (neutral_ns - stopped_ns) / 1e9)
        log = self._car.diary.since(stopped_ns - PULSE_NS, neutral_ns + PULSE_NS)
        if log.latest_ns > LATENESS_LIMIT_NS:
            seen.inconclusive += 1
            return
        seen.worst_neutral_s = max(seen.worst_neutral_s, neutral_s)
        if neutral_s > BOARD_BOUND_S:
            seen.broken.append(f"neutral {neutral_s * 1e3:.0f} ms after {after}")


def usage(pid: int | None) -> tuple[float, int]:
    """Return the megabytes that a process really uses, and how many descriptors it has open."""
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd"))
    return 0.0, 0


@contextlib.contextmanager
def live_soak(policy: str, wiring: str, track: str, console: Console) -> Iterator[Soak]:
    """Yield a soak with a car of its own, all of whose processes end with it."""
    options = RunOptions(
        hil=True, is_private=True, policy=policy, wiring=wiring, track=track, port=_free_port()
    )
    with contextlib.ExitStack() as opened:
        car = opened.enter_context(running_car(options, console.print))
        yield Soak(LiveCar(car, wiring, opened))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_live_soak(
    policy: str, hours: float, *, seed: int, kept: Path, as_json: bool = False, stretch_s: float = STRETCH_S
) -> int:
    """Soak for so many hours of the real clock; return 0 only when every invariant held.

    Raises LapwingError for a policy that cannot be loaded.
    """
    load_bundle(policy)
    console = Console(stderr=as_json)
    done, missing = begin(kept, hours, seed, console, stretch_s)
    if missing:
        wiring = ("aws", "standard")[seed % 2]
        with live_soak(policy, wiring, "oval", console) as soak, kept.open("ab") as file:
            for number in missing:
                stretch = soak.drive_stretch(number, stretch_s)
                done[number] = stretch
                file.write(msgspec.json.encode(stretch) + b"\n")
                file.flush()
                console.print(f"seed {number}: {stretch.drives} drives, {len(stretch.broken)} broken")
    return finish([done[number] for number in sorted(done)], console, as_json=as_json)
