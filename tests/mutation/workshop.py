"""Tries the mutants of one module's functions in forks of one process that has collected the tests once.

A fork gives the live function the mutant's code and runs the tests that call it, the likeliest and quickest
first. What cannot be tried so (tables, classes, defaults, what runs while modules are loaded) is left to the
caller, and so is what no test noticed here: it is tried once more from the beginning, by every test.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from tests.mutation.mutants import Mutant, changed

NOTICED, SURVIVED = 0, 1


@dataclass
class Called:
    """What of the module one test runs."""

    item: pytest.Item
    functions: set[str] = field(default_factory=set)
    lines: set[int] = field(default_factory=set)
    took_s: float = 0.0


class Watch:
    """Notes which functions and lines of one file are run while it is on."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.functions: set[str] = set()
        self.lines: set[int] = set()

    def __enter__(self) -> "Watch":
        self.functions, self.lines = set(), set()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != self._file:
            return None
        self.functions.add(frame.f_code.co_qualname)
        self.lines.add(frame.f_lineno)
        return self._line

    def _line(self, frame: FrameType, _event: str, _argument: object) -> Any:
        self.lines.add(frame.f_lineno)
        return self._line


class Workshop:
    """A pytest plugin in whose place of running tests the mutants are tried."""

    def __init__(
        self,
        path: str,
        module: str,
        mutants: Sequence[Mutant],
        *,
        processes: int,
        limits_s: tuple[int, float],
        say: Callable[[str, bool], None],
    ) -> None:
        """`limits_s`: of a mutant's processor and of the clock; `say` is told what became of each key."""
        self._path, self._module_name = path, module
        self._source = Path(path).read_text()
        self._code = compile(self._source, path, "exec")
        self._mutants = list(mutants)
        self._processes = processes
        self._processor_limit_s, self._limit_s = limits_s
        self._say = say
        self._file = str(Path(path).resolve())
        self._watch = Watch(self._file)
        self._called_early: set[str] = set()
        self.on_ready: Callable[[], object] = lambda: None
        """Called when everything is loaded and the tests have passed without a change."""
        self._has_failed = False

    def open(self, tests: Sequence[str], options: Sequence[str]) -> int:
        """Collect the tests and try the mutants; return pytest's status, 0 where all were tried."""
        self._watch.__enter__()  # also while files are loaded: what runs then has its effect for good
        return int(pytest.main([*options, *tests], plugins=[self]))

    # --- hooks of pytest

    def pytest_collection_finish(self) -> None:
        self._watch.__exit__()
        self._called_early = set(self._watch.functions)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._has_failed = self._has_failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        called = [self._measured(item) for item in session.items]
        if self._has_failed or session.testsfailed:
            raise pytest.UsageError(f"{self._path}: its tests fail without any change")
        module = sys.modules[self._module_name]
        self.on_ready()
        self._try_all(module, called)
        return True

    # --- the work

    def _measured(self, item: pytest.Item) -> Called:
        began_s = time.monotonic()
        with self._watch:
            _run(item)
        took_s = time.monotonic() - began_s
        return Called(item, set(self._watch.functions), set(self._watch.lines), took_s)

    def _try_all(self, module: ModuleType, called: list[Called]) -> None:
        running: dict[int, tuple[Mutant, float]] = {}
        waiting = list(reversed(self._mutants))
        while waiting or running:
            while waiting and len(running) < self._processes:
                mutant = waiting.pop()
                swap = self._swap(module, mutant)
                if swap is not None:
                    running[self._start(mutant, swap, called)] = (mutant, time.monotonic())
            if not running:
                continue
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in running:
                mutant, _ = running.pop(pid)
                self._say(mutant.key, os.waitstatus_to_exitcode(status) != SURVIVED)
                continue
            for late, (_, since_s) in running.items():
                if time.monotonic() - since_s > self._limit_s:
                    os.kill(late, signal.SIGKILL)
            time.sleep(0.002)

    def _swap(self, module: ModuleType, mutant: Mutant) -> tuple[FunctionType, CodeType] | None:
        """Return the live function and the code to give it; None where that is not all that would change."""
        scope = mutant.key.split(" | ", 1)[0]
        function = live_function(module, scope)
        if function is None or function.__qualname__ in self._called_early:
            return None
        code = compile(changed(self._source, mutant), self._file, "exec")
        if not same_but_for(code, self._code, function.__qualname__):
            return None
        found = [one for one in codes(code) if one.co_qualname == function.__qualname__]
        if len(found) != 1 or found[0].co_freevars != function.__code__.co_freevars:
            return None
        return function, found[0]

    def _start(self, mutant: Mutant, swap: tuple[FunctionType, CodeType], called: list[Called]) -> int:
        pid = os.fork()
        if pid:
            return pid
        resource.setrlimit(resource.RLIMIT_CPU, (self._processor_limit_s, self._processor_limit_s))
        code = NOTICED
        try:
            function, mutated = swap
            function.__code__ = mutated
            name = function.__qualname__
            callers = [one for one in called if any(_within(each, name) for each in one.functions)]
            callers.sort(key=lambda one: (mutant.line not in one.lines, one.took_s))
            code = SURVIVED
            for one in callers:
                _run(one.item)
                if self._has_failed:
                    code = NOTICED
                    break
        except BaseException:  # noqa: BLE001 - also this was noticed
            code = NOTICED
        finally:
            os._exit(code)


def _run(item: pytest.Item) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


def _within(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")


def live_function(module: ModuleType, scope: str) -> FunctionType | None:
    """Return the outermost function on the way to `scope`, None where there is none to be given code."""
    place: Any = module
    for name in scope.split("."):
        place = vars(place).get(name) if isinstance(place, ModuleType | type) else None
        if isinstance(place, property):
            place = place.fget
        elif isinstance(place, staticmethod | classmethod):
            place = place.__func__
        if isinstance(place, FunctionType):
            return place if place.__module__ == module.__name__ else None
    return None


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code and every one within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def same_but_for(one: CodeType, other: CodeType, name: str) -> bool:
    """Return whether two codes do the same, whatever the function of this name does."""
    if one.co_qualname == name == other.co_qualname:
        return True
    if (one.co_code, one.co_names, len(one.co_consts)) != (
        other.co_code,
        other.co_names,
        len(other.co_consts),
    ):
        return False
    for a, b in zip(one.co_consts, other.co_consts, strict=True):
        if isinstance(a, CodeType) and isinstance(b, CodeType):
            if not same_but_for(a, b, name):
                return False
        elif type(a) is not type(b) or repr(a) != repr(b):  # 0.0 is equal to -0.0 and to 0
            return False
    return True
