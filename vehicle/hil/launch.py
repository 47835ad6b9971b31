"""Starts a HIL car's processes, waits until they answer, and ends them: for commands, demo and tests."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from vehicle.errors import HilError
from vehicle.hil.faults import parse_fault, refuse_host_part
from vehicle.hil.pulse_log import PulseLog, read_pulse_log
from vehicle.hil.settings import HilSettings, board_link, from_json, prepare_hil_dir, pulse_log, to_json
from vehicle.hil_client import HilClient
from vehicle.realtime import die_with_parent
from vehicle.supervisor import StopSignal

READY_S = 20.0
GOODBYE_S = 3.0
POLL_S = 0.02


class Process(Protocol):
    """What is used of a `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """Its exit status, once it was asked for."""
        ...

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status when it has ended."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


def start_module(module: str, settings: HilSettings) -> Process:
    """Start a module as a process that ends with this one."""
    command = (sys.executable, "-m", module, to_json(settings))
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509 # no threads yet


class RunningHil:
    """A HIL car's processes. `board` is None in lockstep, where the world holds the board."""

    def __init__(
        self, settings: HilSettings, start: Callable[[str, HilSettings], Process] = start_module
    ) -> None:
        self.settings = settings
        self.hil_dir = settings.hil_dir
        self.world: Process | None = None
        self.board: Process | None = None
        self.client = HilClient(settings.hil_dir)
        self._start = start

    def start_world(self) -> None:
        """Start the world's process (again)."""
        self.world = self._start("vehicle.hil.server", self.settings)

    def start_board(self) -> None:
        """Start the board's process (again)."""
        self.board = self._start("vehicle.hil.board_process", self.settings)

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Return when the world answers and hears its board; raises HilError with what a process said."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            self._check_alive()
            with contextlib.suppress(HilError):
                answer = self.client.control("ping", timeout_s=0.2)
                if answer["board"] and board_link(self.hil_dir).is_symlink():
                    return
            if time.monotonic() > deadline_s:
                raise HilError(f"the HIL car in {self.hil_dir} was not ready within {timeout_s:g} s")
            time.sleep(POLL_S)

    def pulse_log(self) -> PulseLog:
        """Return the board's diary so far."""
        if self.settings.lockstep:
            self.client.control("pulses")  # a lockstep world writes it down when asked
        return read_pulse_log(pulse_log(self.hil_dir))

    def wait_end(self, is_stopping: StopSignal) -> None:
        """Return when told to stop; raises HilError when a process ends by itself."""
        while not is_stopping():
            try:
                self._check_alive()
            except HilError:
                time.sleep(POLL_S)  # Ctrl-C reaches the children too, and may reach them first
                if not is_stopping():
                    raise
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End both processes."""
        self.client.close()
        processes = [process for process in (self.world, self.board) if process is not None]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(GOODBYE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _check_alive(self) -> None:
        for name, process in (("world", self.world), ("board", self.board)):
            if process is not None and process.poll() is not None:
                raise HilError(
                    f"the HIL {name}'s process ended (status {process.returncode}); see its words above"
                )


@contextlib.contextmanager
def start_hil(
    settings: HilSettings | None = None, start: Callable[[str, HilSettings], Process] = start_module
) -> Iterator[RunningHil]:
    """Start a HIL car, yield it when it is ready, and end it; without settings in a directory of its own.

    `start` makes processes of modules, for tests that start very many.
    """
    with contextlib.ExitStack() as opened:
        if settings is None:
            hil_dir = opened.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp"))
            settings = HilSettings(Path(hil_dir))
        check(settings)
        prepare_hil_dir(settings.hil_dir)
        if not settings.lockstep and not settings.start_ns:
            settings = msgspec.structs.replace(settings, start_ns=time.monotonic_ns())
        hil = RunningHil(settings, start)
        opened.callback(hil.stop)
        hil.start_world()
        if not settings.lockstep:
            hil.start_board()
        hil.wait_ready()
        yield hil


def check(settings: HilSettings) -> None:
    """Raise HilError, naming what is wrong, for settings that no process could use."""
    from_json(to_json(settings))
    for text in settings.faults:
        refuse_host_part(parse_fault(text))


def serve(settings: HilSettings) -> None:
    """Run a HIL car until SIGTERM or SIGINT; raises HilError when it cannot start, or ends by itself."""
    stopping = StopSignal()
    with start_hil(settings) as hil:
        hil.wait_end(stopping)
