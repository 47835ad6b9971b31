"""Worlds in lockstep, born of a process that has imported what they need: `python -m tests.hil.nursery`.

Each is a process of its own that does from then on what `python -m vehicle.hil.server` does. Importing
costs more of a processor than the seconds that most tests let such a world go on.
"""

import atexit
import functools
import gc
import os
import select
import subprocess
import sys
import threading
import time
import traceback
from typing import IO

from vehicle.hil import server
from vehicle.hil.settings import HilSettings, to_json
from vehicle.realtime import die_with_parent

STILL_RUNNING = "-"


class Born:
    """A process of the nursery, used like a `subprocess.Popen`."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        self._end = os.pidfd_open(pid)  # readable when the process has ended

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        if self.returncode is None:
            answer = self._nursery.ask(f"look {self.pid}")
            if answer != STILL_RUNNING:
                self.returncode = int(answer)
                os.close(self._end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when there is one; raises subprocess.TimeoutExpired."""
        deadline_s = time.monotonic() + (timeout or float("inf"))
        while self.poll() is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0.0:
                raise subprocess.TimeoutExpired("a world of the nursery", timeout or 0.0)
            select.select([self._end], [], [], min(left_s, 1.0))
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(15)

    def kill(self) -> None:
        """End it."""
        self.send_signal(9)

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """The process that has imported everything; its worlds end with it, and it with whoever started it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hil.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        atexit.register(self.close)

    def start(self, module: str, settings: HilSettings) -> Born:
        """Start a world; what `vehicle.hil.launch.start_hil` calls."""
        assert module == server.__name__, "only worlds come from here"
        return Born(self, int(self.ask(f"start {to_json(settings)}")))

    def ask(self, question: str) -> str:
        """Return the answer to one line."""
        with self._lock:
            asked, answers = self._process.stdin, self._process.stdout
            assert asked is not None
            assert answers is not None
            asked.write(question + "\n")
            return answers.readline().strip()

    def close(self) -> None:
        """End it."""
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()
        self._process.wait()


@functools.cache
def nursery() -> Nursery:
    """Return this process's nursery."""
    return Nursery()


def serve(questions: IO[str]) -> None:
    """Answer until nobody is there to ask."""
    gc.freeze()
    for question in questions:
        what, _, about = question.strip().partition(" ")
        answer = str(bear(about)) if what == "start" else look(int(about))
        print(answer, flush=True)


def bear(settings: str) -> int:
    """Fork a world; return its process id."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        die_with_parent()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        sys.argv = [server.__file__ or "", settings]
        status = server.main()
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def look(pid: int) -> str:
    """Return the exit status of a world that has ended, as `subprocess` counts."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return str(os.waitstatus_to_exitcode(status)) if ended else STILL_RUNNING


if __name__ == "__main__":
    die_with_parent()
    serve(sys.stdin)
