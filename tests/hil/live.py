"""A HIL car in real time, its processes apart as on a car, for tests that kill them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.hil.policies import write_policy
from tests.hil.rig import NEUTRAL_US
from vehicle.errors import VehicleSilentError
from vehicle.hil.launch import RunningHil, start_hil
from vehicle.hil.pulse_log import PulseLog, read_pulse_log
from vehicle.hil.settings import HilSettings, pulse_log
from vehicle.messages import DriveState, RequestKind, Status
from vehicle.proof.live_soak import Diary
from vehicle.remote_client import VehicleClient
from webui.recording import RecorderFollower, Recording, RecordingDocument

LATENESS_LIMIT_S = 0.010
"""An emulator that woke up later than this measured itself, not the car."""
MEASURED_NS = 500_000_000
"""Before the last pulse that drives: longer than from the last command to neutral."""
ATTEMPTS = 4
DRIVEN_S = 0.3
"""Before a check breaks anything: a slewed throttle is there after a tenth of a second."""
RECORDED_S = 0.7
"""Instead, where a recorder is there, of which the last second may be lost."""
START_LIMIT_S = 45.0
"""Of every process on a computer that has much else to do."""

Car = TypeVar("Car", bound="DrivenCar")


class InconclusiveError(Exception):
    """The computer was too busy for this run to say anything; it is repeated, never passed."""


def conclusive(check: Callable[["LiveCar"], None], wiring: str = "aws") -> None:
    """Run a check against a fresh car, again while the computer is too busy for an answer."""
    _conclusive(check, lambda: live_car(wiring))


def conclusive_with_all(
    check: Callable[["WholeCar"], None], wiring: str = "aws", *, may_block: bool = False
) -> None:
    """As `conclusive`, with every process of `lapwing run`; its disk can be blocked where it `may_block`."""
    _conclusive(check, lambda: whole_car(wiring, may_block=may_block))


def _conclusive(
    check: Callable[[Car], None], make: Callable[[], contextlib.AbstractContextManager[Car]]
) -> None:
    for attempt in range(ATTEMPTS):
        try:
            with make() as car:
                check(car)
        except InconclusiveError as error:
            print(f"attempt {attempt + 1} says nothing: {error}")
        else:
            return
    pytest.fail(f"no conclusive run in {ATTEMPTS}; give the computer some rest and repeat")


class DrivenCar:
    """A driver who keeps the lease of a car in real time, and the diary of its board."""

    driven_s = DRIVEN_S

    def __init__(self, run_dir: Path, hil_dir: Path, wiring: str) -> None:
        self.run_dir = run_dir
        self.hil_dir = hil_dir
        self.neutral_us = NEUTRAL_US[wiring]
        self.client = VehicleClient(run_dir, "test", records=False)
        self._renewing = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def _renew(self) -> None:
        while not self._closing.wait(0.1):
            if self._renewing.is_set():
                with contextlib.suppress(VehicleSilentError):
                    self.client.request(RequestKind.TAKE_LEASE, timeout_s=0.3)

    def wait(self, accept: Callable[[Status], bool], timeout_s: float = 15.0) -> Status:
        status = self.client.wait_status(accept, timeout_s)
        assert status is not None, f"it did not come to be: {self.client.status()}"
        return status

    def ask(self, kind: RequestKind, **fields: object) -> None:
        reply = self.client.request(kind, **fields)
        assert reply.ok, reply.reason

    def drive(self) -> None:
        """Start and go until the car moves."""
        self.wait(lambda status: not status.not_ready and status.policy != "", START_LIMIT_S)
        self.take_lease()
        self.ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=1.0)
        reply = self.client.request(RequestKind.START, target=DriveState.AUTONOMOUS)
        if not reply.ok:
            raise InconclusiveError(reply.reason)
        self.wait(lambda status: status.state in {DriveState.AUTONOMOUS, DriveState.FAILSAFE})
        time.sleep(self.driven_s)
        status = self.wait(lambda status: True)
        if status.state is DriveState.FAILSAFE:  # nothing is broken yet: it is the computer that is busy
            raise InconclusiveError(status.sentence)
        assert self.is_driven()

    def take_lease(self) -> None:
        """Be the driver, from now on."""
        self._renewing.set()
        self.ask(RequestKind.TAKE_LEASE)

    def let_go(self) -> None:
        """Renew the lease no more."""
        self._renewing.clear()

    def pulse_log(self) -> PulseLog:
        """Return the board's diary so far."""
        return read_pulse_log(pulse_log(self.hil_dir))

    def is_driven(self) -> bool:
        """Whether the board's newest pulse drives the motor."""
        log = self.pulse_log()
        driven = log.driven(self.neutral_us)
        return bool(driven) and driven[-1].t_ns == log.pulses[-1].t_ns

    def neutral_after_last_command_s(self) -> float:
        """Wait for neutral; return the time to it from the last driving command, by the board's diary."""
        time.sleep(0.5)
        assert not self.is_driven()
        log = self.pulse_log()
        neutral_s = log.time_to_neutral_s(self.neutral_us)
        late_ns = self._late_ns(log.driven(self.neutral_us)[-1].t_ns - MEASURED_NS)
        print(f"neutral after {neutral_s * 1e3:.0f} ms, emulator late by {late_ns / 1e6:.1f} ms at most")
        if late_ns > LATENESS_LIMIT_S * 1e9:
            raise InconclusiveError(f"the emulator woke up {late_ns / 1e6:.1f} ms late")
        return neutral_s

    def _late_ns(self, since_ns: int) -> int:
        """Return how late the emulator woke up at worst since then."""
        diary = Diary(pulse_log(self.hil_dir))
        late_ns = diary.since(since_ns).latest_ns
        diary.close()
        return late_ns

    def assert_neutral_pulses_go_on(self) -> None:
        time.sleep(0.4)
        last = self.pulse_log().pulses[-1]
        assert abs(last.throttle_us - self.neutral_us) <= 2
        assert time.monotonic_ns() - last.t_ns < 200_000_000

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self.client.close()


class LiveCar(DrivenCar):
    """A vehicle and a HIL car, and their driver."""

    def __init__(self, hil: RunningHil, vehicle: subprocess.Popen[bytes], run_dir: Path, wiring: str) -> None:
        self.hil = hil
        self.vehicle = vehicle
        self.is_ill = False
        super().__init__(run_dir, hil.hil_dir, wiring)

    def fall_ill(self, illness: str) -> None:
        """Give the vehicle an illness of `tests.hil.ill_vehicle`."""
        self.is_ill = True  # for good, also where it goes on answering
        illness_file(self.run_dir).write_text(illness)
        os.kill(self.vehicle.pid, signal.SIGUSR1)

    def stands_on_request(self) -> bool:
        """End the drive and let go; return whether the vehicle does as it is asked."""
        self.let_go()
        if self.is_ill or self.vehicle.poll() is not None:
            return False
        asked_ns = time.monotonic_ns()
        try:
            self.client.request(RequestKind.DISARM)
            self.client.request(RequestKind.RELEASE_LEASE)
        except VehicleSilentError:
            return False
        return self.client.wait_status(lambda status: stands(status, asked_ns), 1.0) is not None


def illness_file(run_dir: Path) -> Path:
    """Return where the illness stands that a vehicle is to get."""
    return run_dir.with_name("illness")


def stands(status: Status, since_ns: int) -> bool:
    """Whether a status of after this moment says that the car is disarmed."""
    return status.now_ns > since_ns and status.state is DriveState.DISARMED


class WholeCar(DrivenCar):
    """Everything that `lapwing run --hil` starts, and a driver."""

    driven_s = RECORDED_S

    def __init__(self, folder: Path, supervisor: subprocess.Popen[bytes], wiring: str) -> None:
        self.supervisor = supervisor
        self.block = folder / "blocked"
        """While this file is there, no file of its software can be changed; see `break_disk`."""
        self.runs_dir = folder / "home" / "runs"
        self.port = 0
        """Of its page."""
        self._scratch: Path | None = None
        super().__init__(folder / "run", folder / "hil", wiring)

    def processes(self) -> dict[str, int]:
        """Return the process id of each child by the word that names it in its command."""
        found = {}
        for pid in children_of(self.supervisor.pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found |= {word: pid for word in WORDS if word in command}
        return found

    def wait_process(self, word: str, other_than: int, timeout_s: float = 20.0) -> int:
        """Wait until a child was started again; return its process id."""
        deadline_s = time.monotonic() + timeout_s
        while (pid := self.processes().get(word, other_than)) == other_than:
            assert time.monotonic() < deadline_s, f"{word} was not started again"
            time.sleep(0.05)
        return pid

    def wait_page(self) -> None:
        """Wait until the page's process answers."""
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline_s, "the page does not come up"
                time.sleep(0.05)
            else:
                return

    def break_disk(self, how: str) -> None:
        """Let the disk hang from now on, or be `FULL`, until `block` is removed."""
        whole = self.block.with_suffix(".new")
        whole.write_text(how)
        whole.rename(self.block)

    def wait_recording(self, *states: Recording, timeout_s: float = 10.0) -> RecordingDocument:
        """Wait until the page shows one of these of the recorder; return what it shows."""
        follower = RecorderFollower(self.run_dir)
        try:
            deadline_s = time.monotonic() + timeout_s
            while (shown := follower.document()).state not in states:
                assert time.monotonic() < deadline_s, f"the page shows {shown}"
                time.sleep(0.02)
            return shown
        finally:
            follower.close()

    def drive(self) -> None:
        super().drive()
        self._find_scratch()

    def _find_scratch(self) -> None:
        if pid := self.processes().get("drive"):
            self._scratch = Path(os.readlink(f"/proc/{pid}/fd/1")).parents[1]

    def close(self) -> None:
        """End everything at once: how a car ends in order is no question here, and takes seconds."""
        self._find_scratch()  # of one that has not driven
        family = (self.supervisor.pid, *descendants_of(self.supervisor.pid))
        super().close()
        for pid in family:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        self.supervisor.wait()
        if self._scratch is not None:  # a supervisor that was killed leaves it behind
            shutil.rmtree(self._scratch, ignore_errors=True)


WORDS = ("vehicle.hil.board_process", "vehicle.hil.server", "drive", "record", "web")


def children_of(pid: int) -> list[int]:
    """Return the processes that one has started and that still are its children."""
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants_of(pid: int) -> list[int]:
    """Return its children, and theirs."""
    children = children_of(pid)
    return children + [each for child in children for each in descendants_of(child)]


def is_running(pid: int) -> bool:
    """Whether a process is there, and no zombie that its parent has not looked at yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def whole_car(wiring: str = "aws", *, may_block: bool = False) -> Iterator[WholeCar]:
    """Yield a car of `lapwing run --hil` that keeps whatever it keeps in a place of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
        policy = write_policy(folder / "circle", speed_mps=0.6, steering_deg=20.0)
        command = [sys.executable, "-m", "vehicle.cli", "run", "--hil", "--policy", str(policy)]
        command += ["--run-dir", str(folder / "run"), "--hil-dir", str(folder / "hil")]
        port = free_port()
        command += ["--track", "oval", "--wiring", wiring, "--port", str(port)]
        if may_block:
            command = [sys.executable, "-m", "tests.hil.blocked_disk", str(folder / "blocked"), *command]
        home = {
            "HOME": str(folder),
            "LAPWING_HOME": str(folder / "home"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder),
        }
        supervisor = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ | home)
        car = WholeCar(folder, supervisor, wiring)
        car.port = port
        stack.callback(car.close)
        yield car


@contextmanager
def live_car(wiring: str = "aws") -> Iterator[LiveCar]:
    """Yield a car that stands ready; end its processes afterwards."""
    with Stand(wiring) as stand, stand.driven() as car:
        yield car


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process; one that obeys ends by itself."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Stand:
    """A HIL car that outlives the vehicle processes which drive it, one after another."""

    def __init__(self, wiring: str) -> None:
        self._wiring = wiring
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
            settings = HilSettings(hil_dir=self._folder / "hil", track="oval", wiring=wiring)  # type: ignore[arg-type]
            self._hil = stack.enter_context(start_hil(settings))
            self._policy = write_policy(self._folder / "straight", speed_mps=0.6)
            self._vehicle = self._start_vehicle()
            stack.callback(lambda: end(self._vehicle))
            self._opened = stack.pop_all()

    def __enter__(self) -> "Stand":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Put everything away."""
        self._opened.close()

    @property
    def is_whole(self) -> bool:
        """Whether world and board still run."""
        parts = (self._hil.world, self._hil.board)
        return all(part is not None and part.poll() is None for part in parts)

    @contextmanager
    def driven(self) -> Iterator[LiveCar]:
        """Yield the car, back at its start, and a driver; a vehicle that obeys no more is started anew."""
        self._hil.client.control("reset")
        car = LiveCar(self._hil, self._vehicle, self._folder / "run", self._wiring)
        try:
            yield car
            obeys = car.stands_on_request()
        finally:
            car.close()
        if not obeys and self.is_whole:
            self._vehicle.kill()
            self._vehicle.wait()
            self._vehicle = self._start_vehicle()

    def _start_vehicle(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.hil.ill_vehicle", str(illness_file(self._folder / "run"))]
        command += ["drive", "--policy", str(self._policy), "--run-dir", str(self._folder / "run")]
        command += ["--hil-dir", str(self._hil.hil_dir), "--wiring", self._wiring]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)


class CarPark:
    """Cars that checks hand on to each other while they are whole; what has died is started anew.

    A car that a check has found wrong, or that it could say nothing about, is not used again.
    """

    def __init__(self) -> None:
        self._stands: dict[str, Stand] = {}

    def conclusive(self, check: Callable[["LiveCar"], None], wiring: str = "aws") -> None:
        """Run a check against a car, again while the computer is too busy for an answer."""
        _conclusive(check, lambda: self._car(wiring))

    @contextmanager
    def _car(self, wiring: str) -> Iterator[LiveCar]:
        stand = self._stands.pop(wiring, None) or Stand(wiring)
        with ExitStack() as unless_whole:
            unless_whole.callback(stand.close)
            with stand.driven() as car:
                yield car
            if stand.is_whole:
                self._stands[wiring] = stand
                unless_whole.pop_all()

    def close(self) -> None:
        """Put every car away."""
        for stand in self._stands.values():
            stand.close()
        self._stands.clear()
