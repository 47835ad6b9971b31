"""HIL frames for int8: what the policy sees as it drives, other drives for calibration than for the test."""

import functools
from pathlib import Path

import numpy as np
import pytest

from models import int8, int8_accept
from models.int8 import make_int8
from models.int8_accept import Speed
from models.int8_frames import Role
from models.training import hil_frames
from models.training.hil_frames import HilFrames, drive_laps_in_hil
from tests.hil.sensing_policies import write_sensing_policy


def test_drives_of_the_two_roles_have_no_picture_in_common(monkeypatch):
    monkeypatch.setattr(hil_frames, "CARS", 2)
    monkeypatch.setattr(hil_frames, "DECISIONS", {Role.CALIBRATION: 4, Role.TEST: 6})
    source = HilFrames("plover", tracks=("oval",))

    drives = {role: [[sight.image for sight in drive] for drive in source.drives(role)] for role in Role}
    pictures = {role: {image.tobytes() for drive in drives[role] for image in drive} for role in Role}

    counts = {role: [len(drive) for drive in drives[role]] for role in Role}

    assert len(counts[Role.CALIBRATION]) == 4
    assert len(counts[Role.TEST]) == 8
    assert 2 <= min(counts[Role.CALIBRATION]) <= max(counts[Role.CALIBRATION]) <= 4
    assert 3 <= min(counts[Role.TEST]) <= max(counts[Role.TEST]) <= 6
    assert pictures[Role.CALIBRATION].isdisjoint(pictures[Role.TEST])
    assert len(pictures[Role.TEST]) == sum(counts[Role.TEST])  # none twice
    assert all(np.ptp(image) > 50 for image in drives[Role.TEST][0])
    assert "oval-reversed" in source.description


def test_frames_of_a_policy_with_two_eyes_and_a_lidar_hold_all_it_senses(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(hil_frames, "CARS", 1)
    monkeypatch.setattr(hil_frames, "DECISIONS", {Role.CALIBRATION: 3, Role.TEST: 3})
    policy = write_sensing_policy(tmp_path / "sensing", "STEREO_CAMERAS", "LIDAR")

    sights = [sight for drive in HilFrames(policy, tracks=("oval",)).drives(Role.TEST) for sight in drive]

    for left, right, scan in sights:
        assert right is not None
        assert scan is not None
        assert not np.array_equal(left, right)
        assert np.isfinite(scan.ranges_m).any()


@pytest.fixture
def few_frames(monkeypatch):
    """Few frames, and a clock that does not decide: the shipped network is too small to gain."""
    monkeypatch.setattr(hil_frames, "CARS", 1)
    monkeypatch.setattr(hil_frames, "DECISIONS", {Role.CALIBRATION: 65, Role.TEST: 40})
    monkeypatch.setattr(hil_frames, "ROUNDS", {Role.CALIBRATION: range(1), Role.TEST: range(1, 2)})
    monkeypatch.setattr(int8, "RECIPES", int8.RECIPES[1:])
    monkeypatch.setattr(int8, "CALIBRATION_FRAMES_MIN", 50)
    monkeypatch.setattr(int8_accept, "FRAMES_MIN", 50)
    monkeypatch.setattr(int8, "_measure", lambda *_arguments: Speed(2.0, 3.0, 1.0, 1.5))


def test_laps_of_a_real_policy_decide_about_its_int8(few_frames, tmp_path: Path):
    """Which way they decide is the processor's: it multiplies whole numbers in its own way."""
    laps = functools.partial(drive_laps_in_hil, tracks=("oval",), starts=1)

    report = make_int8("plover", HilFrames("plover", tracks=("oval",)), into=tmp_path, drive_laps=laps)

    trial = report.trials[-1]
    assert trial.agreement.objections == ()
    assert report.float_laps is not None
    assert trial.laps is not None
    print(f"float {report.float_laps}, int8 {trial.laps}: {trial.objections}")
    assert report.float_laps.completed_on == {"oval": 2}
    assert trial.objections == int8_accept.lap_objections(report.float_laps, trial.laps)
    assert report.accepted is not bool(trial.objections)
