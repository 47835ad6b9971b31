"""The safety core, and all that it imports, can only count: no file, no clock, no thread, no printing."""

import ast
import tomllib
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

from tests.mutation.core import CORE, module_name

BESIDE_THE_CORE = {"vehicle.memory", "vehicle.messages"}
"""What it says and remembers: data, without a line to mutate."""
OURS = ("vehicle", "calibration", "models")
HARMLESS = {
    *("abc", "binascii", "collections", "enum", "math", "msgspec", "numpy", "re", "struct", "typing"),
    "datetime",  # a date that is read from a text; the names below see that none is taken from a clock
    "random",  # of the emulated line's noise, from a seed
}
FORBIDDEN_NAMES = {
    *("open", "print", "input", "eval", "exec", "__import__", "breakpoint"),
    *("now", "utcnow", "today", "fromfile", "tofile", "memmap", "load", "save", "loadtxt", "savetxt"),
}


def core() -> set[str]:
    return {module_name(path) for path in CORE} | BESIDE_THE_CORE


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """Everything that the core imports, and what that imports, down to other people's packages."""
    graph = grimp.build_graph(*OURS, include_external_packages=True)
    return core().union(*(graph.find_upstream_modules(module) for module in core()))


def names_used(source: str) -> set[str]:
    """Every name and attribute of a module that is used, not set."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name | ast.Attribute)]
    used = [node for node in nodes if isinstance(node.ctx, ast.Load)]
    return {node.id if isinstance(node, ast.Name) else node.attr for node in used}


def test_the_import_contract_is_about_the_modules_that_the_gates_guard():
    contracts = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (ours,) = (one for one in contracts if "does no input or output" in one["name"])

    assert set(ours["source_modules"]) == core()


def test_the_core_stands_on_arithmetic_alone(imported):
    foreign = {name for name in imported if name.partition(".")[0] not in OURS}

    assert foreign <= HARMLESS, f"the safety core imports {sorted(foreign - HARMLESS)}"


def test_nothing_in_the_core_opens_prints_or_asks_for_the_time(imported):
    for name in sorted(imported):
        if name.partition(".")[0] in OURS:
            spec = find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            found = names_used(Path(spec.origin).read_text()) & FORBIDDEN_NAMES
            assert not found, f"{name} uses {sorted(found)}"


@pytest.mark.parametrize(
    "line", ["open('x')", "print(1)", "datetime.datetime.now()", "np.load('x')", "reader = open"]
)
def test_a_module_that_does_is_seen(line):
    assert names_used(line) & FORBIDDEN_NAMES
