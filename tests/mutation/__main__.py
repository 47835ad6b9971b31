"""`make mutation`: changes the safety core one spot at a time; a change that no test notices is a survivor.

Each mutant lives in a fork of a process that has loaded everything but our own code, so that a run of its
tests costs little more than the tests. A survivor must be explained in survivors.toml, or the gate fails.

An own tool, because the maintained ones change the bodies of functions alone, and half of what keeps this
car safe is tables and limits beside them.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import signal
import sys
import time
import tomllib
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import pytest

from tests.mutation.core import CORE, module_name
from tests.mutation.mutants import Mutant, changed, mutants

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
NOTICED, SURVIVED = 0, 1
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
    sys.meta_path.insert(0, MutantFinder(module_name(path), path, tree))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", "-o", "addopts=", "--no-header"]
    options += ["--assert=plain"]  # rewriting and loading what is installed take longer than the tests
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis was loaded before pytest ran
    quick = pytest.main([*options, "-k", QUICK, *CORE[path]])
    return quick != 0 or pytest.main([*options, *CORE[path]]) != 0


def start(path: str, mutant: Mutant | None) -> int:
    """Fork, and try a mutant there; return the process."""
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_LIMIT_S, PROCESSOR_LIMIT_S))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    code = 2
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        code = NOTICED if try_mutant(path, mutant) else SURVIVED
    except BaseException:  # noqa: BLE001 - whatever it is, this process must end here and say so
        traceback.print_exc()
    finally:
        os._exit(code)


def check_unchanged(paths: list[str]) -> None:
    """Exit unless every module's tests pass while nothing is changed: else they would notice anything."""
    for path in paths:
        pid = start(path, None)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != SURVIVED:
            sys.exit(f"{path}: its tests fail without any change: pytest {' '.join(CORE[path])}")


def run(paths: list[str], processes: int) -> dict[str, list[str]]:
    """Try every mutant of these modules; return the survivors' keys by module."""
    waiting = [(path, mutant) for path in paths for mutant in mutants(Path(path).read_text())]
    waiting.reverse()
    total, done = len(waiting), 0
    survivors: dict[str, list[str]] = {path: [] for path in paths}
    running: dict[int, Running] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            path, mutant = waiting.pop()
            running[start(path, mutant)] = Running(path, mutant, time.monotonic())
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            kill_the_endless(running)
            time.sleep(0.01)
            continue
        one = running.pop(pid)
        done += 1
        if os.waitstatus_to_exitcode(status) == SURVIVED:
            survivors[one.path].append(one.mutant.key)
            print(f"survived: {one.path}:{one.mutant.line}: {one.mutant.key}", flush=True)
        if done % 100 == 0:
            print(f"{done} of {total}", flush=True)
    print(f"{total} mutants of {len(paths)} modules")
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
    check_unchanged(paths)
    wrong = judge(run(paths, given.processes), tomllib.loads(SURVIVORS.read_text()))
    print("\n".join(wrong) or "every mutant was noticed, or is explained in survivors.toml")
    print(f"{time.monotonic() - began_s:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
