"""What docs/safety.md claims is what is proved: its tables are made, and its tests exist."""

import re
from pathlib import Path

import pytest

from vehicle.proof.safety_page import BEGIN, END, renewed

PAGE = Path("docs/safety.md")


def test_the_page_holds_the_tables_that_the_matrix_proves():
    text = PAGE.read_text()
    assert renewed(text) == text, "run: python -m vehicle.proof.safety_page docs/safety.md"


def test_a_page_without_a_place_for_them_is_refused():
    with pytest.raises(LookupError, match="one line"):
        renewed(f"{BEGIN} {END} {END}")


def test_every_test_that_the_page_names_is_there():
    named = set(re.findall(r"tests/[a-z_/]+\.py", PAGE.read_text()))
    assert named
    assert all(Path(path).exists() for path in named)
