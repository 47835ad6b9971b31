"""Keeps the processes of one car running on a laptop, as systemd does on the car.

A child that ends is started again, later each time; one that promised signs of life and falls silent
is killed first. A restarted vehicle is disarmed and has no driver: nothing here can make a car move.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from vehicle.errors import LapwingError
from vehicle.realtime import die_with_parent

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
STEADY_AFTER_S = 10.0  # a child that ran this long is started again quickly
GOODBYE_S = 3.0
POLL_S = 0.1
OUTLIVES_S = 1.0
"""How much longer than a supervisor that was killed emulated hardware stays; real hardware stays too."""


class ChildSpec(msgspec.Struct, frozen=True):
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    silent_limit_s: float | None = None
    """Killed when it says nothing for this long after its first sign of life; None: it need not speak."""
    is_hardware: bool = False
    """Stands for a thing that outlives the software: ended after everything else, and told by SIGHUP, not by
    SIGTERM, of the death of its parent."""


class Child:
    """One process and what is known of it."""

    def __init__(self, spec: ChildSpec, log: Callable[[str], None], log_path: Path | None) -> None:
        self.spec = spec
        self.restarts = 0
        self._log = log
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._heard_s = 0.0
        self._delay_s = FIRST_DELAY_S
        self._start_at_s = 0.0
        self._socket: socket.socket | None = None
        self._address = ""
        if spec.silent_limit_s is not None:
            self._address = f"@lapwing-{os.getpid()}-{spec.name}"
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.bind("\0" + self._address[1:])

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process is not None else None

    def tend(self, now_s: float) -> None:
        """Start it, notice its end, or kill it because it fell silent."""
        if self._process is None:
            if now_s >= self._start_at_s:
                self._start(now_s)
            return
        self._listen(now_s)
        code = self._process.poll()
        if code is not None:
            self._ended(code, now_s)
        elif self._is_silent(now_s):
            self._say(f"{self.spec.name} was silent for {now_s - self._heard_s:.1f} s; killing it")
            self._process.kill()

    def _start(self, now_s: float) -> None:
        environment = dict(os.environ)
        environment.pop("NOTIFY_SOCKET", None)
        if self._address:
            environment["NOTIFY_SOCKET"] = self._address
        with contextlib.ExitStack() as stack:
            output = None
            if self._log_path is not None:
                with contextlib.suppress(OSError):  # where no log can be opened, its words go where ours go
                    output = stack.enter_context(self._log_path.open("ab"))
            self._process = subprocess.Popen(
                self.spec.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=self._die_with_parent,  # noqa: PLW1509 - single-threaded here, and no other way exists
            )
        self._listen(now_s)  # what the one before said last is no sign of this one's life
        self._started_s, self._heard_s = now_s, 0.0

    def _die_with_parent(self) -> None:
        die_with_parent(signal.SIGHUP if self.spec.is_hardware else signal.SIGTERM)

    def _listen(self, now_s: float) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(256):
                self._heard_s = now_s

    def _is_silent(self, now_s: float) -> bool:
        limit_s = self.spec.silent_limit_s
        return limit_s is not None and self._heard_s > 0 and now_s - self._heard_s > limit_s

    def _ended(self, code: int, now_s: float) -> None:
        self._process = None
        self.restarts += 1
        if now_s - self._started_s > STEADY_AFTER_S:
            self._delay_s = FIRST_DELAY_S
        self._start_at_s = now_s + self._delay_s
        what = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        self._say(
            f"{self.spec.name} ended {what}; starting it again in {self._delay_s:g} s{self._last_words()}"
        )
        self._delay_s = min(2 * self._delay_s, LONGEST_DELAY_S)

    def _say(self, words: str) -> None:
        with contextlib.suppress(OSError):  # words that find no room on a full disk must not end a car
            self._log(words)

    def _last_words(self) -> str:
        """Return the last line of the log, which is where a refusal stands."""
        if self._log_path is None or not self._log_path.is_file():
            return ""
        lines = self._log_path.read_text(errors="replace").strip().splitlines()
        return f" (it said: {lines[-1]})" if lines else ""

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal_number)

    def wait(self, deadline_s: float) -> None:
        """Wait for its end, and kill it when that does not come."""
        if self._process is not None:
            try:
                self._process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Supervisor:
    """Starts children in order, tends them, and ends them in the opposite order."""

    def __init__(self, specs: Sequence[ChildSpec], log_dir: Path, log: Callable[[str], None]) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self.children = [Child(spec, log, log_dir / f"{spec.name}.log") for spec in specs]

    def tend(self) -> None:
        """Look after every child once."""
        now_s = time.monotonic()
        for child in self.children:
            child.tend(now_s)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Tend the children until told to stop, then end them."""
        try:
            while not stopping():
                self.tend()
                select.select([], [], [], POLL_S)
        finally:
            self.stop()

    def stop(self) -> None:
        """End every child: the software at once, so that neutral waits for nobody, then the hardware."""
        for is_hardware in (False, True):
            deadline_s = time.monotonic() + GOODBYE_S
            group = [child for child in self.children if child.spec.is_hardware is is_hardware]
            for child in group:
                child.stop()
            for child in group:
                child.wait(deadline_s)


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs one of our modules with this interpreter."""
    return (sys.executable, "-m", module, *arguments)


class StopSignal:
    """Turns SIGTERM and SIGINT into a question that a loop can ask; of hardware SIGHUP too, a while later."""

    def __init__(self, *, is_hardware: bool = False) -> None:
        self.received = False
        self._end_s = float("inf")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)
        if is_hardware:
            signal.signal(signal.SIGHUP, self._end_later)

    def _receive(self, *_: object) -> None:
        self.received = True

    def _end_later(self, *_: object) -> None:
        self._end_s = time.monotonic() + OUTLIVES_S

    def __call__(self) -> bool:
        """Return whether the process was asked to end."""
        return self.received or time.monotonic() > self._end_s


def exit_status(work: Callable[[], None]) -> int:
    """Do a process's work; return 0, or 2 after saying what went wrong on standard error, in a sentence."""
    try:
        work()
    except LapwingError as error:
        print(f"lapwing: {error}", file=sys.stderr)  # noqa: T201 - the last words of a command
        return 2
    return 0
