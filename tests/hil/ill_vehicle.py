"""A vehicle process that can fall ill: `python -m tests.hil.ill_vehicle FILE drive ...`.

On SIGUSR1 it gets the illness that FILE names:

hungry     takes memory in its policy until the system gives no more
endless    its policy never answers; signals still reach it
deaf       its policy never answers and holds the interpreter: no thread, no signal handler runs again
hog        another thread holds the interpreter in long pieces, with a moment between them
mute       it logs into a pipe that nobody reads, as onto a disk that does not answer
"""

import logging
import os
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.policy import Policy
from vehicle.cli import main

SPARE_BYTES = 64 << 20
PIECE_BYTES = 1 << 20
WITHOUT_END = (re.compile(r"(a+)+$"), "a" * 64 + "b")
SOME_TIME = (re.compile(r"(a+)+$"), "a" * 22 + "b")
"""Matching holds the interpreter from its beginning to its end: a third of a second and more."""


def eat() -> None:
    with open("/proc/self/statm", encoding="ascii") as statm:
        size_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    limit_bytes = size_bytes + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    eaten = []
    while True:
        eaten.append(bytearray(PIECE_BYTES))


def turn() -> None:
    while True:
        pass


def ponder() -> None:
    pattern, text = WITHOUT_END
    pattern.match(text)


def hog() -> None:
    def work() -> None:
        pattern, text = SOME_TIME
        while True:
            pattern.match(text)

    threading.Thread(target=work, daemon=True).start()


def fill_the_log() -> None:
    """Write until the pipe behind standard error takes no more."""
    _unread, log = os.pipe()
    os.dup2(log, sys.stderr.fileno())
    while True:
        logging.getLogger("vehicle").warning("x" * 4000)


ILLNESSES: dict[str, Callable[[], None]] = {
    "hungry": eat,
    "endless": turn,
    "deaf": ponder,
    "hog": hog,
    "mute": fill_the_log,
}


def can_fall_ill(named_in: Path) -> None:
    """Have the next decision after SIGUSR1 bring the illness that a file names."""
    is_ill, decide = [False], Policy.decide

    def notice(*_: object) -> None:
        is_ill[0] = True

    def ill_decide(policy: Policy, *given: Any) -> Any:
        if is_ill[0]:
            is_ill[0] = False
            ILLNESSES[named_in.read_text()]()
        return decide(policy, *given)

    Policy.decide = ill_decide  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, notice)


if __name__ == "__main__":
    can_fall_ill(Path(sys.argv.pop(1)))
    main()
