"""A HIL car in real time, its processes apart as on a car, for tests that kill them."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.hil.policies import write_policy
from tests.hil.rig import NEUTRAL_US
from vehicle.errors import VehicleSilentError
from vehicle.hil.launch import RunningHil, start_hil
from vehicle.hil.settings import HilSettings
from vehicle.messages import DriveState, RequestKind, Status
from vehicle.remote import VehicleClient

LATENESS_LIMIT_S = 0.010
"""An emulator that woke up later than this measured itself, not the car."""
ATTEMPTS = 4


class InconclusiveError(Exception):
    """The computer was too busy for this run to say anything; it is repeated, never passed."""


def conclusive(check: Callable[["LiveCar"], None], wiring: str = "aws", *, illness: str = "") -> None:
    """Run a check against a fresh car, again while the computer is too busy for an answer."""
    for attempt in range(ATTEMPTS):
        try:
            with live_car(wiring, illness) as car:
                check(car)
        except InconclusiveError as error:
            print(f"attempt {attempt + 1} says nothing: {error}")
        else:
            return
    pytest.fail(f"no conclusive run in {ATTEMPTS}; give the computer some rest and repeat")


class LiveCar:
    """The processes and a driver who keeps the lease."""

    def __init__(self, hil: RunningHil, vehicle: subprocess.Popen[bytes], run_dir: Path, wiring: str) -> None:
        self.hil = hil
        self.vehicle = vehicle
        self.run_dir = run_dir
        self.neutral_us = NEUTRAL_US[wiring]
        self.is_ill = False
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
        self.wait(lambda status: not status.not_ready and status.policy != "")
        self.take_lease()
        self.ask(RequestKind.SET_SPEED_CAP, speed_cap_frac=1.0)
        reply = self.client.request(RequestKind.START, target=DriveState.AUTONOMOUS)
        if not reply.ok:
            raise InconclusiveError(reply.reason)
        self.wait(lambda status: status.state in {DriveState.AUTONOMOUS, DriveState.FAILSAFE})
        time.sleep(0.7)
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

    def is_driven(self) -> bool:
        """Whether the board's newest pulse drives the motor."""
        log = self.hil.pulse_log()
        driven = log.driven(self.neutral_us)
        return bool(driven) and driven[-1].t_ns == log.pulses[-1].t_ns

    def neutral_after_last_command_s(self) -> float:
        """Wait for neutral; return the time to it from the last driving command, by the board's diary."""
        time.sleep(0.5)
        assert not self.is_driven()
        log = self.hil.pulse_log()
        neutral_s = log.time_to_neutral_s(self.neutral_us)
        print(
            f"neutral after {neutral_s * 1e3:.0f} ms, emulator late by {log.latest_ns / 1e6:.1f} ms at most"
        )
        if log.latest_ns > LATENESS_LIMIT_S * 1e9:
            raise InconclusiveError(f"the emulator woke up {log.latest_ns / 1e6:.1f} ms late")
        return neutral_s

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.vehicle.pid, signal.SIGCONT)
        if self.is_ill:
            self.vehicle.kill()
        self.vehicle.terminate()
        try:
            self.vehicle.wait(5)
        except subprocess.TimeoutExpired:
            self.vehicle.kill()
            self.vehicle.wait()
        if self.vehicle.stderr is not None:
            self.vehicle.stderr.close()


@contextmanager
def live_car(wiring: str = "aws", illness: str = "") -> Iterator[LiveCar]:
    """Yield a car that stands ready; end its processes afterwards.

    With an illness of `tests.hil.ill_vehicle` nobody reads what the vehicle says.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
        settings = HilSettings(hil_dir=folder / "hil", track="oval", wiring=wiring)  # type: ignore[arg-type]
        hil = stack.enter_context(start_hil(settings))
        policy = write_policy(folder / "straight", speed_mps=0.6)
        program = ["tests.hil.ill_vehicle", illness] if illness else ["vehicle.cli"]
        command = [sys.executable, "-m", *program, "drive", "--policy", str(policy)]
        command += ["--run-dir", str(folder / "run"), "--hil-dir", str(settings.hil_dir), "--wiring", wiring]
        unread = subprocess.PIPE if illness else None
        vehicle = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=unread)
        car = LiveCar(hil, vehicle, folder / "run", wiring)
        car.is_ill = bool(illness)
        stack.callback(car.close)
        yield car
