"""`make mutation`: changes the safety core one spot at a time; a change that no test notices is a survivor.

Most mutants get their code in a fork of a process that has collected the tests (`workshop.py`), and meet
only the tests that call it. The others, and whatever survived there, live in a fork of a process that has
loaded everything but our own code, and meet every test. A survivor must be explained in survivors.toml, or
the gate fails. What was found is kept in .cache/mutation until a file changes that the module or its tests
load, so that a run that was ended goes on where it was.

An own tool, because the maintained ones change the bodies of functions alone, and half of what keeps this
car safe is tables and limits beside them.
"""

import argparse
import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import pytest

from tests.mutation.core import CORE, module_name
from tests.mutation.mutants import Mutant, changed, mutants
from tests.mutation.workshop import NOTICED, SURVIVED, Workshop

SURVIVORS = Path(__file__).with_name("survivors.toml")
PRELOADED = (
    "numpy",
    "cv2",
    "msgspec",
    "hypothesis",
    "hypothesis.stateful",
    "hypothesis.strategies",
    "onnxruntime",
)
PROCESSOR_LIMIT_S = 60
"""Of the processor's time: a mutant that hangs has been noticed; one that only waits for others has not."""
LIMIT_S = 900.0
"""By the clock on the wall, for one that hangs and does nothing."""
BROKEN = 3
"""What a fork ends with where not the tests failed but this tool did."""
KEPT = Path(".cache/mutation")
OPTIONS = (
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "pytest_timeout",
    "-o",
    "addopts=",
    "-o",
    "timeout=0",  # of the clock on the wall: a busy computer runs out of it; PROCESSOR_LIMIT_S does not
    "--no-header",
    "--assert=plain",
)
"""Rewriting assertions and loading what is installed take longer than the tests."""
QUICK = "not TestAny and not ten_minutes"
"""The long random walks come second, and only for what the others have not noticed."""


class MutantLoader(importlib.machinery.SourceFileLoader):
    """Loads a changed module in the place of the one in the file."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, self.path, "exec")


class MutantFinder(importlib.abc.MetaPathFinder):
    """Finds the changed module."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = MutantLoader(self._name, self._path, self._tree)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


class Running(NamedTuple):
    """A mutant that is being tried."""

    path: str
    mutant: Mutant
    since_s: float


def try_mutant(path: str, mutant: Mutant | None) -> bool:
    """Return whether a test noticed it (None: nothing is changed); spoils the process it is called in."""
    source = Path(path).read_text()
    tree = ast.parse(source) if mutant is None else changed(source, mutant)
    compile(
        tree, path, "exec"
    )  # what cannot be loaded is a mistake of this tool, and no change that was noticed
    sys.meta_path.insert(0, MutantFinder(module_name(path), path, tree))
    options = ["-x", *OPTIONS]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis was loaded before pytest ran
    quick = pytest.main([*options, "-k", QUICK, *CORE[path]])
    return quick != 0 or pytest.main([*options, *CORE[path]]) != 0


def start(path: str, mutant: Mutant | None) -> int:
    """Fork, and try a mutant there; return the process."""
    return forked(lambda: NOTICED if try_mutant(path, mutant) else SURVIVED, PROCESSOR_LIMIT_S)


def forked(work: Callable[[], int], processor_limit_s: int | None = None) -> int:
    """Do something in a fork that says nothing and ends with the status it returns; return the process."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    if processor_limit_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (processor_limit_s, processor_limit_s))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    code = BROKEN
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        code = work()
    except BaseException:  # noqa: BLE001 - whatever it is, this process must end here and say so
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for(pid: int) -> int:
    """Return the status a fork ended with, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Verdicts:
    """What is known of one module's mutants, kept in a file that says of which sources it speaks."""

    def __init__(self, path: str) -> None:
        self._file = KEPT / f"{module_name(path)}.json"
        self.files: dict[str, str] = {}
        """What module and tests load, with its digest; empty before the first run."""
        self.was_noticed: dict[str, bool] = {}
        """By key: by some test, or, False, by none of those that call it; what is missing was not tried."""
        self.survived: set[str] = set()
        """Tried from the beginning, by every test, and noticed by none."""
        self._read()

    def _read(self) -> None:
        if not self._file.exists():
            return
        lines = [json.loads(line) for line in self._file.read_text().splitlines() if line.endswith("]")]
        self.files = dict(pair for kind, pair in lines if kind == "file")
        if self.files != digests(self.files):
            self.files = {}
            self._file.unlink()
            return
        for kind, what in lines:
            if kind == "noticed":
                self.was_noticed[what] = True
            elif kind == "quiet":
                self.was_noticed.setdefault(what, False)
            elif kind == "survived":
                self.survived.add(what)

    def note(self, kind: str, what: object) -> None:
        """Write one thing down at once, for a run that may be ended at any time."""
        KEPT.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps([kind, what]) + "\n")


def digests(files: Iterable[str]) -> dict[str, str]:
    """Return the digest of each file that is there."""
    return {one: hashlib.sha256(Path(one).read_bytes()).hexdigest() for one in files if Path(one).exists()}


def loaded_files() -> list[str]:
    """Return the files of this repository that this process has loaded."""
    here = Path.cwd()
    found = [
        Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)
    ]
    inside = [file.relative_to(here) for file in found if file.is_relative_to(here)]
    return sorted(str(file) for file in inside if file.suffix == ".py" and file.parts[0] != ".venv")


def run_workshop(path: str, waiting: list[Mutant], processes: int) -> int:
    """Try what can be tried on loaded functions, and write it down; spoils the process it is called in."""
    verdicts = Verdicts(path)

    def say(key: str, noticed: bool) -> None:
        verdicts.note("noticed" if noticed else "quiet", key)

    limits_s = (PROCESSOR_LIMIT_S, LIMIT_S)
    workshop = Workshop(path, module_name(path), waiting, processes=processes, limits_s=limits_s, say=say)
    workshop.on_ready = lambda: [verdicts.note("file", pair) for pair in digests(loaded_files()).items()]
    return workshop.open(CORE[path], ["-s", *OPTIONS])


def run(path: str, processes: int) -> list[str]:
    """Try every mutant of a module; return the survivors' keys."""
    every = mutants(Path(path).read_text())
    known = Verdicts(path)
    untried = [mutant for mutant in every if mutant.key not in known.was_noticed]
    if untried:
        check_unchanged(path)
        if wait_for(forked(lambda: run_workshop(path, untried, processes))) != 0:
            sys.exit(f"{path}: its tests fail without any change: pytest {' '.join(CORE[path])}")
        known = Verdicts(path)
    left = [one for one in every if not known.was_noticed.get(one.key) and one.key not in known.survived]
    print(f"{path}: {len(every)} mutants, {len(left)} are left for every test", flush=True)
    return sorted(known.survived | from_the_start(path, left, processes, known))


def check_unchanged(path: str) -> None:
    """Exit unless the tests pass while nothing is changed: else they would notice anything."""
    if wait_for(start(path, None)) != SURVIVED:
        sys.exit(f"{path}: its tests fail without any change: pytest {' '.join(CORE[path])}")


def from_the_start(path: str, left: list[Mutant], processes: int, verdicts: Verdicts) -> set[str]:
    """Try each mutant in a process that loads the changed module and runs every test; return who survived."""
    waiting, survivors = list(reversed(left)), set()
    running: dict[int, Running] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            running[start(path, mutant)] = Running(path, mutant, time.monotonic())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            kill_the_endless(running)
            time.sleep(0.01)
            continue
        one = running.pop(pid).mutant
        if os.waitstatus_to_exitcode(status) == BROKEN:
            sys.exit(f"{path}: this mutant could not be tried: {one.key}")
        if os.waitstatus_to_exitcode(status) == SURVIVED:
            survivors.add(one.key)
            print(f"survived: {path}:{one.line}: {one.key}", flush=True)
        verdicts.note("survived" if one.key in survivors else "noticed", one.key)
    return survivors


def kill_the_endless(running: dict[int, Running]) -> None:
    """Kill what takes too long: a mutant that hangs has been noticed."""
    for pid, one in running.items():
        if time.monotonic() - one.since_s > LIMIT_S:
            os.killpg(pid, signal.SIGKILL)


def judge(survivors: dict[str, list[str]], explained: dict[str, dict[str, str]]) -> list[str]:
    """Return what is wrong: survivors without a reason, reasons without a survivor."""
    wrong = []
    for path, keys in survivors.items():
        reasons = explained.get(path, {})
        wrong += [f"{path}: survived and is not explained: {key}" for key in keys if key not in reasons]
        wrong += [f"{path}: is explained and did not survive: {key}" for key in reasons if key not in keys]
        wrong += [f"{path}: no reason is given: {key}" for key, why in reasons.items() if not why.strip()]
    return wrong


def main() -> int:
    """Run the gate over the whole core, or over the modules that are named."""
    parser = argparse.ArgumentParser(description="Change the safety core, and see the tests notice.")
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(CORE)}")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    paths = given.modules or list(CORE)
    for name in PRELOADED:
        importlib.import_module(name)
    began_s = time.monotonic()
    survivors = {path: run(path, given.processes) for path in paths}
    wrong = judge(survivors, tomllib.loads(SURVIVORS.read_text()))
    print("\n".join(wrong) or "every mutant was noticed, or is explained in survivors.toml")
    print(f"{time.monotonic() - began_s:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
