"""A vehicle process that falls ill on SIGUSR1: `python -m tests.hil.ill_vehicle ILLNESS drive ...`.

hungry     takes memory in its policy until the system gives no more
endless    its policy never answers; signals still reach it
deaf       its policy never answers and holds the interpreter: no thread, no signal handler runs again
hog        another thread holds the interpreter in long pieces, with a moment between them
mute       it logs onto a disk that does not answer
"""

import logging
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable
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
    """Write until the pipe behind standard error, which nobody reads, takes no more."""
    while True:
        logging.getLogger("vehicle").warning("x" * 4000)


ILLNESSES: dict[str, Callable[[], None]] = {
    "hungry": eat,
    "endless": turn,
    "deaf": ponder,
    "hog": hog,
    "mute": fill_the_log,
}


def fall_ill(illness: Callable[[], None]) -> None:
    """Have the next decision after SIGUSR1 bring the illness."""
    is_ill, decide = [False], Policy.decide

    def notice(*_: object) -> None:
        is_ill[0] = True

    def ill_decide(policy: Policy, *given: Any) -> Any:
        if is_ill[0]:
            is_ill[0] = False
            illness()
        return decide(policy, *given)

    Policy.decide = ill_decide  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, notice)


if __name__ == "__main__":
    fall_ill(ILLNESSES[sys.argv.pop(1)])
    main()
