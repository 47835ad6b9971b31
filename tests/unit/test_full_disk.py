"""A disk that is really full, by the kernel's word: a sentence, the old policy, nothing half."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -m tests.unit.full_disk "$1"'
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def may_mount(place: Path) -> bool:
    try:
        mounted = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "none", str(place)], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return mounted.returncode == 0


def test_uploads_to_a_full_disk_keep_the_old_policy_and_leave_nothing(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("this system lets nobody mount a small file system of their own")
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", SCRIPT, "sh", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)

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
