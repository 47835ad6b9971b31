"""An owner measures a checked policy again, or has its int8 judged: in a process of its own."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from models import check_process
from models.bundle import load_bundle
from models.check_report import CheckRefusedError
from models.checked_policy import load_checked
from models.errors import PolicyError
from models.int8 import INT8_NAME, Int8Report
from models.int8_accept import FRAMES_MIN
from models.int8_command import int8_command
from models.int8_frames import BLOCK_FRAMES
from models.int8_summary import REPORT_NAME
from models.machine import this_machine
from models.recheck import judge_int8, measure
from models.store import Entry, PolicyStore
from models.store_builtin import built_in_folders
from tests.unit.policy_files import write_small_standard_policy
from tests.unit.store_files import make_report

BLOCKS = 9  # of ten seconds: enough to judge by
NOBODY = Path("/nonexistent/run")


def add_standard(store: PolicyStore) -> Entry:
    """Add a policy as if it had been checked."""
    with store.begin() as incoming:
        folder = incoming.bundle
        write_small_standard_policy(folder)
        (folder / "original").write_bytes(b"as it came")
        report = make_report(folder, "standard", sha256=load_bundle(folder).sha256)
        return store.add(report, folder)[0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> PolicyStore:
    store = PolicyStore(tmp_path_factory.mktemp("store"))
    add_standard(store)
    return store


@pytest.fixture
def store(tmp_path: Path) -> PolicyStore:
    return PolicyStore(tmp_path / "models")


def record(folder: Path, count: int) -> Path:
    """A drive of bright spots on dark, which the standard network answers differently."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        picture = np.full((60, 80, 3), 20, np.uint8)
        centre, radius = (int(rng.integers(80)), int(rng.integers(60))), int(rng.integers(5, 30))
        cv2.circle(picture, centre, radius, (int(rng.integers(80, 255)),) * 3, -1)
        cv2.imwrite(str(folder / f"{number:05}.bmp"), picture)
    return folder


def test_int8_is_accepted_by_this_computers_clock_chosen_and_driven_with(
    shared: PolicyStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = record(tmp_path / "drive", BLOCKS * BLOCK_FRAMES)

    status = int8_command(shared, "standard", NOBODY, frames=[drive], as_json=True)

    document = json.loads(capsys.readouterr().out)
    trial = document["trials"][-1]
    print(trial)
    assert (status, document["accepted"]) == (0, True), trial
    assert trial["agreement"]["frames"] >= FRAMES_MIN
    assert trial["speed"]["int8_p50_ms"] < trial["speed"]["float_p50_ms"]
    entry = shared.find("standard")
    assert load_checked(entry.folder).bundle.model.name == "model.onnx"
    assert int8_command(shared, "standard", NOBODY, use=True) == 0
    assert load_checked(entry.folder).bundle.model.name == INT8_NAME
    assert int8_command(shared, "standard", NOBODY, use=False) == 0
    assert load_checked(entry.folder).bundle.model.name == "model.onnx"
    assert list((shared.root / "incoming").iterdir()) == []


def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run this shell script in place of the process that works; it leaves a half-written network."""
    path = tmp_path / "child"
    path.write_text(f'#!/bin/sh\nmkdir "$5"; touch "$5/{INT8_NAME}"; {script}\n')
    path.chmod(0o755)
    monkeypatch.setattr(check_process.sys, "executable", str(path))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGXCPU])
def test_a_death_on_the_way_is_a_sentence_and_leaves_the_policy_as_it_was(
    store: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    entry = add_standard(store)
    (entry.folder / REPORT_NAME).write_text("{}")
    before = {path.name: path.read_bytes() for path in entry.folder.iterdir()}
    child(tmp_path, monkeypatch, f"kill -{number:d} $$")

    for work in (lambda: judge_int8(store, entry, hil=True), lambda: measure(store, entry)):
        with pytest.raises(CheckRefusedError) as caught:
            work()
        assert "mistake of ours" not in str(caught.value)
        assert {path.name: path.read_bytes() for path in entry.folder.iterdir()} == before
        assert list((store.root / "incoming").iterdir()) == []


def test_nothing_is_measured_while_the_car_is_armed(
    store: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = add_standard(store)
    child(tmp_path, monkeypatch, f'echo run >> {tmp_path}/runs; sleep 0.5; echo \'{{"refused": "Seen."}}\'')
    is_still = iter([False, True, False])  # armed, disarmed, and armed again while it works
    told: list[str] = []

    with pytest.raises(CheckRefusedError, match="Seen"):
        judge_int8(
            store,
            entry,
            hil=True,
            progress=lambda stage, _: told.append(stage),
            may_run=lambda: next(is_still, True),
        )

    assert told[0] == "the check starts when the car stops"
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


WORK = """
import os, resource, sys, types
from models import check

def say(*_arguments, **_fields):
    print(os.nice(0), *(resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_CPU, resource.RLIMIT_DATA)))
    return "done"

sys.modules["models.recheck"] = types.SimpleNamespace(int8_here=say, measure_here=say)
for option in ("--int8", "--measure"):
    check.main([sys.argv[1], "--into", sys.argv[1] + option, option])
"""


def test_the_kernel_holds_its_limits(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, str(tmp_path / "into")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (niceness, *int8), (_, *measuring) = ([*map(int, line.split())] for line in said if line[0].isdigit())
    assert niceness >= 10
    assert int8 == [1800, 1000 << 20]
    assert measuring == [240, 1000 << 20]


def test_a_policy_that_ships_is_judged_and_nothing_is_written_beside_it(
    store: PolicyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built_in_folders()["plover"]
    before = sorted(path.name for path in folder.iterdir())
    refused = Int8Report(
        accepted=False,
        policy_sha256="0" * 64,
        machine=this_machine(),
        frames_from="blobs",
        calibration_frames=100,
        period_s=0.1,
        trials=(),
    )
    (tmp_path / REPORT_NAME).write_bytes(msgspec.json.encode(refused))
    child(tmp_path, monkeypatch, f'cp {tmp_path}/{REPORT_NAME} "$5"; echo \'{{"done": true}}\'')

    report = judge_int8(store, store.get("plover"), hil=True)

    assert report == refused
    assert sorted(path.name for path in folder.iterdir()) == before
    with pytest.raises(PolicyError, match="plover ships with Lapwing and drives as it came"):
        int8_command(store, "plover", NOBODY, use=True)


def test_frames_come_from_one_place(store: PolicyStore, tmp_path: Path) -> None:
    for given in ({}, {"hil": True, "frames": [tmp_path]}):
        with pytest.raises(PolicyError, match="give either recordings of this car"):
            judge_int8(store, store.get("plover"), **given)
