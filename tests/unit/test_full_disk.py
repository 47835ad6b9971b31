"""A disk that is really full, by the kernel's word: a sentence, the old policy, nothing half."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_killed_writers import WRITERS

SCRIPT = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -m "$3" "$1"'
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def may_mount(place: Path) -> bool:
    try:
        mounted = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "none", str(place)], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return mounted.returncode == 0


def within_a_megabyte(place: Path, module: str) -> Any:
    """Run a module with a disk of that size, and return what it prints."""
    if not may_mount(place):
        pytest.skip("this system lets nobody mount a small file system of their own")
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", SCRIPT, "sh", str(place), sys.executable, module],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_uploads_to_a_full_disk_keep_the_old_policy_and_leave_nothing(tmp_path: Path) -> None:
    outcomes = within_a_megabyte(tmp_path, "tests.unit.full_disk")

    sentences = [row["sentence"] for row in outcomes]
    assert "" in sentences  # with the most room it fits
    assert sum("disk is full" in sentence for sentence in sentences) >= 4
    assert all("disk is full" in sentence for sentence in sentences[-2:])
    for row in outcomes:
        print(row)
        assert row["sentence"] == "" or "the disk is full" in row["sentence"]
        assert "old" in row["names"]
        assert row["left"] == []
        assert row["active"] in row["names"]
        assert row["active"] == ("late" if row["sentence"] == "" else "old")


def test_a_run_that_lacks_room_to_be_made_whole_says_what_it_needs_and_gets_it_by_itself(
    tmp_path: Path,
) -> None:
    told = within_a_megabyte(tmp_path, "tests.unit.full_run_disk")
    print(told)
    assert told["first"] == ""  # it is tried before it is given up
    assert re.search(
        r"there is no room to make it whole: 0\.[1-9] MB of the disk must be free, 0\.0 MB are; "
        r"remove some runs\.$",
        told["lacks"],
    )
    assert told["is_untouched"]
    assert told["is_patient"]
    assert told["ticks"] == 400
    assert told["note"].startswith("cut off")


def test_a_run_whose_disk_fills_exactly_while_it_is_closed_is_kept_to_its_last_second(tmp_path: Path) -> None:
    told = within_a_megabyte(tmp_path, "tests.unit.full_while_closing")
    for run in told:
        print(run)
        assert run["busy_s"] < 3.0
        assert run["lost_s"] < 0.9
        assert run["mended_ticks"] >= run["newest"]  # what can be read is kept
        assert run["problem"] == "" or "No space left on device" in run["problem"]
        assert (run["note"].startswith("cut off")) == bool(run["problem"])
    assert {(bool(run["problem"]), run["way"]) for run in told} == {
        (is_full, way) for is_full in (True, False) for way in ("stopped", "ended")
    }


def test_whatever_a_car_keeps_is_the_old_on_a_full_disk_and_can_be_changed_when_there_is_room(
    tmp_path: Path,
) -> None:
    *kept, run = within_a_megabyte(tmp_path, "tests.unit.full_disk_writers")
    print(*kept, run, sep="\n")

    assert len(kept) == len(WRITERS)
    for row in kept:
        assert row["full"] == row["old"]
        assert row["new"] != row["old"]
        assert row["said"] == "" or re.search("No space left|disk is full", row["said"])
    silent = {row["name"] for row in kept if not row["said"]}
    assert silent == {"speed cap", "run's summary"}  # a line in the log for each
    assert run["full"] == 0
    assert run["new"] > 20
