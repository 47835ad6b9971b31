"""A HIL car in real processes for measuring: start it, drive it, watch it, load the computer, break it."""

import contextlib
import ctypes
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from models.activation import activate
from models.store import PolicyStore
from vehicle.errors import LapwingError
from vehicle.hil.launch import RunningHil, start_hil
from vehicle.hil.settings import CameraSettings, HilSettings, Light, MarkerSettings
from vehicle.messages import DriveState, Reply, RequestKind, Status, TickRecord
from vehicle.realtime import die_with_parent
from vehicle.remote_client import VehicleClient

SOURCE = "lapwing bench"
PR_CAPBSET_DROP, CAP_SYS_NICE = 24, 23  # <linux/prctl.h>, <linux/capability.h>
RENEW_PERIOD_S = 0.25
LOOK_PERIOD_S = 0.05
READY_LIMIT_S = 20.0
SPEED_CAP_FRAC = 0.3
GOODBYE_S = 3.0
WORLD_PRIORITY = 30  # below loop and camera thread, which must not wait for a simulator


class BenchError(LapwingError):
    """A measurement could not be made."""


class CarStoppedError(BenchError):
    """The car failed safe while it was measured."""


class BenchCar:
    """A HIL car, its vehicle process and its page, and whoever drives it."""

    def __init__(
        self,
        folder: Path,
        hil: RunningHil,
        policy: str,
        *,
        rate_hz: float,
        is_realtime: bool = True,
        has_page: bool = True,
    ) -> None:
        self.hil = hil
        self.run_dir = folder / "run"
        self._is_realtime = is_realtime
        config = folder / "car.toml"
        config.write_text(
            f"policy = {json.dumps(policy)}\n[control]\nrate_hz = {rate_hz}\n[camera]\nrate_hz = {rate_hz}\n"
        )
        self._drive_command = lapwing_command(
            "drive", "--config", config, "--run-dir", self.run_dir, "--hil-dir", hil.hil_dir
        )
        self._log = (folder / "vehicle.log").open("ab")
        self.vehicle = self._start(self._drive_command)
        self.port = free_port()
        self.page: subprocess.Popen[bytes] | None = None
        self.page_key = ""
        """Lets a viewer in to this page."""
        if has_page:
            access_dir = folder / "access"
            self.page_key = private_key(access_dir)
            web = ("web", "--run-dir", self.run_dir, "--hil-dir", hil.hil_dir, "--port", self.port)
            self.page = self._start(lapwing_command(*web, "--access-dir", access_dir))
        self.client = VehicleClient(self.run_dir, SOURCE, records=True)

    def close(self) -> None:
        """End the processes of this car; its HIL world goes on."""
        with contextlib.suppress(LapwingError):
            self.client.request(RequestKind.DISARM, timeout_s=0.3)
        self.client.close()
        for process in (self.page, self.vehicle):
            if process is not None:
                end_process(process)
        self._log.close()

    def restart_vehicle(self) -> None:
        """Start the vehicle process again after its death."""
        end_process(self.vehicle)
        self.vehicle = self._start(self._drive_command)

    def wait_status(self, accept: Callable[[Status], bool], limit_s: float, what: str) -> Status:
        """Return the first status that is accepted; raises BenchError."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            status = self.client.status()
            if status is not None and accept(status):
                return status
            time.sleep(0.005)
        status = self.client.status()
        seen = "it is silent" if status is None else f"{status.sentence} {' '.join(status.not_ready)}"
        raise BenchError(f"the car was not {what} within {limit_s:g} s: {seen}")

    def wait_page(self) -> None:
        """Return when the page answers; raises BenchError."""
        deadline_s = time.monotonic() + READY_LIMIT_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
                connection.request("GET", "/", headers={"Authorization": f"Bearer {self.page_key}"})
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            time.sleep(0.05)
        raise BenchError("the page did not answer")

    def start_driving(self, speed_cap_frac: float = SPEED_CAP_FRAC) -> None:
        """Bring the car into AUTONOMOUS; raises BenchError (CarStoppedError: it failed safe on the way)."""
        self.wait_status(lambda status: status.state is not DriveState.ARMING, READY_LIMIT_S, "answering")
        self._ask(RequestKind.TAKE_LEASE)
        disarmed_ns = self._disarm()
        self.hil.client.control("reset")
        self._keep_lease_until(
            lambda status: status.now_ns > disarmed_ns and not status.not_ready, READY_LIMIT_S, "ready"
        )
        self._ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=speed_cap_frac)
        try:
            self._ask(RequestKind.START, target=DriveState.AUTONOMOUS)
        except BenchError:
            self._raise_if_stopped(time.monotonic_ns())
            raise
        started_ns = time.monotonic_ns()
        self._keep_lease_until(
            lambda status: status.now_ns > started_ns and status.state is not DriveState.ARMING,
            5.0,
            "driving",
        )
        self._raise_if_stopped(started_ns)

    def _disarm(self) -> int:
        """Disarm, whatever the newest status says: it may be older than the failsafe; return until when."""
        deadline_s = time.monotonic() + READY_LIMIT_S
        while True:
            try:
                self._ask(RequestKind.DISARM)
            except BenchError:  # it failed safe after this was sent
                if time.monotonic() > deadline_s:
                    raise
            else:
                return time.monotonic_ns()

    def _raise_if_stopped(self, since_ns: int) -> None:
        """Raise CarStoppedError when the car has failed safe, by a status that is not older than this."""
        status = self.wait_status(lambda status: status.now_ns > since_ns, 2.0, "telling its state")
        if status.state is DriveState.FAILSAFE:
            raise CarStoppedError(f"the car stopped before it drove: {status.sentence}")

    def activate(self, store: PolicyStore, key: str) -> None:
        """Switch to a policy of the store as an owner does; return when the car could start with it.

        Raises BenchError or PolicyError.
        """
        self._ask(RequestKind.TAKE_LEASE)
        activate(store, key, self.client, SOURCE)
        self.wait_status(
            lambda status: status.policy_hash == key and not status.not_ready,
            READY_LIMIT_S,
            "switched",
        )

    def drive(self, duration_s: float) -> list[TickRecord]:
        """Keep driving and return the ticks of that time; raises BenchError when the car stops."""
        for _ in self.client.records(timeout_s=0):
            pass
        records: list[TickRecord] = []
        end_s = time.monotonic() + duration_s
        renew_s = 0.0
        while (now_s := time.monotonic()) < end_s:
            if now_s >= renew_s:
                renew_s = now_s + RENEW_PERIOD_S
                self._ask(RequestKind.RENEW_LEASE)
            records.extend(self.client.records(timeout_s=0))
            self._put_back_after_crash()
            if records and records[-1].state in {DriveState.FAILSAFE, DriveState.DISARMED}:
                status = self.client.status()
                why = status.sentence if status is not None else "it is silent"
                raise CarStoppedError(f"the car stopped while it was measured: {why}")
            time.sleep(LOOK_PERIOD_S)
        return records

    def _put_back_after_crash(self) -> None:
        """Put a car that hit the barrier back: untrained networks do, and blocked wheels would stop it."""
        truth = self.hil.client.truth()
        if truth is not None and truth.crashed:
            self.hil.client.control("reset")

    def records(self) -> list[TickRecord]:
        """Return the ticks that have come since the last look."""
        return list(self.client.records(timeout_s=0))

    def stop_driving(self) -> None:
        """Disarm, wherever the car is."""
        self._ask(RequestKind.DISARM)
        self.wait_status(lambda status: status.state is DriveState.DISARMED, 2.0, "disarmed")

    def _keep_lease_until(self, accept: Callable[[Status], bool], limit_s: float, what: str) -> None:
        deadline_s = time.monotonic() + limit_s
        while True:
            self._ask(RequestKind.RENEW_LEASE)
            with contextlib.suppress(BenchError):
                self.wait_status(accept, RENEW_PERIOD_S, what)
                return
            if time.monotonic() > deadline_s:
                self.wait_status(accept, 0.01, what)

    def _ask(self, kind: RequestKind, **fields: Any) -> Reply:
        reply = self.client.request(kind, **fields)
        if not reply.ok:
            raise BenchError(f"the car refused '{kind.value}': {reply.reason}")
        return reply

    def _start(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        prepare = die_with_parent if self._is_realtime else _without_realtime
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            preexec_fn=prepare,  # noqa: PLW1509 - nothing else can drop a right for a child
        )


@contextlib.contextmanager
def running_bench_car(
    folder: Path,
    policy: str,
    *,
    rate_hz: float = 30.0,
    is_realtime: bool = True,
    has_page: bool = True,
    marker: MarkerSettings | None = None,
    light: Light = "even",
) -> Iterator[BenchCar]:
    """Yield a car that stands ready, in directories of its own under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    camera = CameraSettings(fps=rate_hz)
    settings = HilSettings(folder / "hil", track="oval", camera=camera, marker=marker, light=light)
    with start_hil(settings) as hil:
        _prefer(hil)
        car = BenchCar(folder, hil, policy, rate_hz=rate_hz, is_realtime=is_realtime, has_page=has_page)
        try:
            car.wait_status(lambda status: not status.not_ready, READY_LIMIT_S, "ready")
            if has_page:
                car.wait_page()
            yield car
        finally:
            car.close()


def private_key(access_dir: Path) -> str:
    """Return an API key of a page of its own, whose password nobody knows."""
    command = [sys.executable, "-m", "webui.access_command", str(access_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def beside(*whats: tuple[object, ...]) -> Iterator[None]:
    """Run children of `vehicle.bench_child` while the block runs."""
    processes = [
        subprocess.Popen(_child(*what), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for what in whats
    ]
    time.sleep(1.0)  # until they have started to do what they are for; not a deadline of anything
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def child_answer(limit_s: float, *what: object) -> object:
    """Run one child of `vehicle.bench_child` and return what it prints; raises BenchError."""
    try:
        done = subprocess.run(_child(*what), capture_output=True, timeout=limit_s, check=True)
    except subprocess.SubprocessError as error:
        words = getattr(error, "stderr", None) or b""
        last = words.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchError(" ".join(last) or str(error)) from None
    return msgspec.json.decode(done.stdout)


@contextlib.contextmanager
def start_lapwing(log: Path, *arguments: object) -> Iterator[None]:
    """Run one `lapwing` command, with a page's port of its own, while the block runs."""
    command = lapwing_command(*arguments, "--port", free_port())
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield
    finally:
        end_process(process)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process, at once when it does not listen."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def proportional_memory_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return the memory of a process and its descendants, each shared page counted by its share (PSS)."""
    total = 0
    for member in (pid, *descendants(pid, proc)):
        text = (proc / str(member) / "smaps_rollup").read_text(encoding="ascii")
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    return total


def descendants(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """Return the children of a process, and theirs."""
    parents: dict[int, list[int]] = {}
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _prefer(hil: RunningHil) -> None:
    """Let the world come before ordinary processes, where permitted: it stands for a camera."""
    assert hil.world is not None
    for thread in Path(f"/proc/{hil.world.pid}/task").iterdir():
        with contextlib.suppress(PermissionError):
            policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(WORLD_PRIORITY))


def _without_realtime() -> None:
    """Take the right to real-time priority from this process and its children, root or not."""
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)


def lapwing_command(*arguments: object) -> tuple[str, ...]:
    """Return how one `lapwing` command is started."""
    return (sys.executable, "-m", "vehicle.cli", *(str(argument) for argument in arguments))


def _child(*what: object) -> tuple[str, ...]:
    return (sys.executable, "-m", "vehicle.bench_child", *(str(part) for part in what))


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
