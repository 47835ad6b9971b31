"""No module imports itself by way of others: each can be read, moved and tested without its users."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

OURS = ("vehicle", "webui", "calibration", "models")


def circle(imports: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a way from a module back to itself; nothing where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        way: list[str] = error.args[1]
        return way
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports inside functions and for types alone count too: they are how a circle is hidden."""
    graph = grimp.build_graph(*OURS)
    found = circle({name: graph.find_modules_directly_imported_by(name) for name in graph.modules})

    assert not found, "move what both need to a module of its own: " + " <- ".join(found)


@pytest.mark.parametrize(
    ("imports", "is_seen"),
    [
        ({"a": ["b"], "b": ["a"]}, True),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, True),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, False),
    ],
)
def test_a_circle_is_seen(imports: dict[str, list[str]], is_seen: bool) -> None:
    assert bool(circle(imports)) is is_seen
