"""What docs/safety.md claims is what is proved: its tables are made, and its tests exist."""

import re
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

from vehicle.errors import LapwingError
from vehicle.proof.safety_page import BEGIN, END, renewed, with_soak
from vehicle.proof.soak import Stretch
from vehicle.proof.software import software

PAGE = Path("docs/safety.md")


def test_the_page_holds_the_tables_that_the_matrix_proves():
    text = PAGE.read_text()
    assert renewed(text) == text, "run: python -m vehicle.proof.safety_page docs/safety.md"


def test_a_page_without_a_place_for_them_is_refused():
    with pytest.raises(LookupError, match="one line"):
        renewed(f"{BEGIN} {END} {END}")


def test_what_a_soak_saw_takes_the_place_of_what_the_one_before_saw(tmp_path):
    kept = tmp_path / "soak.jsonl"
    stretches = [
        Stretch(7, 3600.0, 1500.0, 3, software="commit 1d596dc"),
        Stretch(8, 1800.0, 600.0, 4, broken=["armed while disarmed"]),
    ]
    kept.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in stretches))
    text = with_soak(PAGE.read_text(), kept)

    assert "Seeds 7 to 8, by `lapwing soak` at a commit that was not kept, commit 1d596dc:" in text
    assert "| driven | 2.10 km |" in text
    assert "| invariants broken | 1 |" in text
    assert renewed(text) == text
    assert with_soak(text, kept) == text


def test_a_soak_in_real_time_has_a_place_of_its_own(tmp_path):
    kept = tmp_path / "soak.jsonl"
    kept.write_bytes(msgspec.json.encode(Stretch(3, 1800.0, 50.0, 20, is_live=True, inconclusive=2)) + b"\n")
    before = PAGE.read_text()
    text = with_soak(before, kept)

    assert "| on the real clock | 0.50 h |" in text
    assert "by `lapwing soak --real-time` at" in text
    assert "| stops whose time the busy computer spoilt | 2 |" in text
    assert (
        text.split("<!-- made from the file of a soak in real time")[0]
        == (before.split("<!-- made from the file of a soak in real time")[0])
    )


def test_a_soak_that_has_seen_nothing_is_no_summary(tmp_path):
    with pytest.raises(LapwingError, match="no finished stretch"):
        with_soak(PAGE.read_text(), tmp_path / "missing.jsonl")


def test_every_test_that_the_page_names_is_there():
    named = set(re.findall(r"tests/[a-z_/]+\.py", PAGE.read_text()))
    assert named
    assert all(Path(path).exists() for path in named)


def test_every_claim_of_the_page_names_its_test():
    page = PAGE.read_text()
    sections = dict(zip(*[iter(re.split(r"^## (.*)$", page, flags=re.MULTILINE)[1:])] * 2, strict=True))
    claims = [text for title, text in sections.items() if title != "What nobody has proved"]
    stops = re.split(r"^- ", sections["How the car stops"], flags=re.MULTILINE)[1:]
    tables = [sections[title] for title in ("Processes that die", "What comes from outside")]
    rows = [row for table in tables for row in re.findall(r"^\| .*$", table, re.MULTILINE)]
    claims += [*stops, *(row for row in rows if not row.endswith("shown by |"))]

    assert len(claims) > 25
    assert [claim for claim in claims if not re.search(r"`tests/[a-z_/]+\.py`", claim)] == []


def test_what_is_measured_says_of_which_software(monkeypatch):
    assert re.fullmatch(r"commit [0-9a-f]{7,40}(-dirty)?|version [0-9.]+", software())
    monkeypatch.setenv("PATH", "")  # no git
    assert software() == f"version {version('lapwing')}"
