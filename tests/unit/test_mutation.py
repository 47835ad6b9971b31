"""The mutation gate: what it changes, what it leaves alone, and what it calls wrong."""

import ast
from pathlib import Path

import pytest

from tests.mutation.__main__ import judge
from tests.mutation.core import CORE
from tests.mutation.mutants import changed, mutants

SOURCE = '''
"""Words."""
import math

LIMIT_S: float = 0.5


class Judge:
    """More words."""

    def speaks(self, age_s: float, on: bool) -> bool:
        """Say."""
        if not on and age_s > LIMIT_S:
            raise ValueError(f"{age_s + 1} is more than {LIMIT_S}")
        self.count += 1
        self.last = min(age_s, -age_s)
        return True
'''


def changes(source: str) -> set[str]:
    return {mutant.key.split(" | ", 2)[2] for mutant in mutants(source)}


def test_what_can_slip_is_changed_and_words_are_not():
    assert changes(SOURCE) == {
        "0.5 -> 0.625",
        "not on and age_s > LIMIT_S -> not on or age_s > LIMIT_S",
        "not on and age_s > LIMIT_S -> age_s > LIMIT_S",
        "not on and age_s > LIMIT_S -> not on",
        "if not on and age_s > LIMIT_S -> if True",
        "if not on and age_s > LIMIT_S -> if False",
        "not on -> on",
        "age_s > LIMIT_S -> age_s >= LIMIT_S",
        "age_s > LIMIT_S -> age_s <= LIMIT_S",
        "self.count += 1 -> self.count -= 1",
        "self.count += 1 -> pass",
        "1 -> 2",
        "self.last = min(age_s, -age_s) -> pass",
        "min(age_s, -age_s) -> max(age_s, -age_s)",
        "-age_s -> age_s",
        "-> return None",
        "True -> False",
    }


def test_each_mutant_differs_in_one_spot_and_leaves_the_original_alone():
    original = ast.unparse(ast.parse(SOURCE)).splitlines()
    found = mutants(SOURCE)
    assert len({mutant.key for mutant in found}) == len(found)
    for mutant in found:
        compile(changed(SOURCE, mutant), "a.py", "exec")  # or it would be noticed whatever it does
        lines = ast.unparse(changed(SOURCE, mutant)).splitlines()
        assert sum(a != b for a, b in zip(lines, original, strict=True)) == 1, mutant.key


def test_a_key_says_where_and_outlives_a_moved_line():
    moved = {mutant.key for mutant in mutants("\n\n\n" + SOURCE)}
    assert moved == {mutant.key for mutant in mutants(SOURCE)}
    assert "Judge.speaks | self.count += 1 | 1 -> 2" in moved


def test_a_survivor_must_be_explained_and_an_explanation_must_have_its_survivor():
    explained = {"a.py": {"known": "changes nothing", "gone": "was there once", "empty": " "}}
    assert judge({"a.py": ["known", "new", "empty"]}, explained) == [
        "a.py: survived and is not explained: new",
        "a.py: is explained and did not survive: gone",
        "a.py: no reason is given: empty",
    ]


@pytest.mark.parametrize("path", CORE)
def test_every_module_of_the_core_and_each_of_its_guards_is_there(path):
    assert mutants(Path(path).read_text())
    assert all(Path(test).exists() for test in CORE[path])
