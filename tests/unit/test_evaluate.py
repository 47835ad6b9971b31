"""Evaluation: what is counted, that it repeats, and that it needs no training packages."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import PolicyError
from models.training import evaluate as evaluation
from models.training import report
from models.training.commands import evaluate_command
from models.training.evaluate import Control, TrackResult, evaluate
from models.training.fleet import Fleet, FleetSettings, Start
from tests.hil.policies import write_policy
from tests.hil.sensing_policies import write_sensing_policy
from vehicle.errors import HilError
from vehicle.hil.track import load_track


@pytest.fixture
def straight_on(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "straight-on", speed_mps=2.0, control_rate_hz=15.0)


def test_a_policy_that_never_steers_leaves_every_track(straight_on: Path) -> None:
    result = evaluate(straight_on, ["oval", "ell"], starts=3, laps=1)

    assert [row.track for row in result.tracks] == ["oval", "ell"]
    for row in result.tracks:
        assert (row.finished, row.laps_completed, row.laps_wanted) == (0, 0, 3)
        assert 0.0 < row.completion < 0.5
        assert row.lap_median_s is None
        assert row.ratio is None
        assert row.expert_finished == 3
        assert row.expert_lap_median_s is not None
    assert result.finished_share == 0.0


def test_each_start_that_fails_is_told_with_its_car_and_its_place(straight_on: Path) -> None:
    result = evaluate(straight_on, ["oval"], starts=3, laps=1, randomise=True, seed=4)
    row = result.tracks[0]

    assert sorted(failure.start for failure in row.failures) == [0, 1, 2]
    for failure in row.failures:
        assert failure.left_track
        assert abs(failure.offset_m) > 0.4  # the oval's half width
        assert failure.laps < 0.5
        assert 0.0 <= failure.delay_ms <= 140.0
        assert 0.5 <= failure.grip <= 1.1
    assert len({failure.grip for failure in row.failures}) > 1  # each its own car
    assert result.failures_as_table().row_count == 3
    assert json.loads(result.as_json())["tracks"][0]["failures"][0]["left_track"] is True


def test_a_car_that_stands_is_given_up_and_told(tmp_path: Path) -> None:
    standing = write_policy(tmp_path / "standing", speed_mps=0.0, control_rate_hz=15.0)
    row = evaluate(standing, ["oval"], starts=2, laps=1).tracks[0]

    assert [failure.left_track for failure in row.failures] == [False, False]
    assert {failure.laps for failure in row.failures} == {0.0}


def test_an_evaluation_repeats_to_the_digit_and_the_seed_matters(straight_on: Path) -> None:
    one, same, other = (
        evaluate(straight_on, ["oval"], starts=3, laps=1, randomise=True, seed=seed).tracks
        for seed in (4, 4, 5)
    )

    assert one == same
    assert one != other


def test_other_tracks_change_nothing_about_one(straight_on: Path) -> None:
    alone = evaluate(straight_on, ["ell"], starts=2, laps=1, randomise=True)
    beside = evaluate(straight_on, ["oval", "ell"], starts=2, laps=1, randomise=True)

    assert beside.tracks[1] == alone.tracks[0]


@pytest.mark.parametrize("control", list(Control))
def test_every_control_can_be_driven(straight_on: Path, control: Control) -> None:
    result = evaluate(straight_on, ["oval"], starts=2, laps=1, control=control)

    assert result.control == control.value


def test_the_document_and_the_table_say_the_same(straight_on: Path) -> None:
    result = evaluate(straight_on, ["oval"], starts=2, laps=1, randomise=True, seed=9)
    document = json.loads(result.as_json())

    assert document["tracks"][0]["track"] == "oval"
    assert document["seed"] == 9
    assert document["finished_share"] == 0.0
    assert result.as_table().row_count == 1


@pytest.mark.parametrize("lidar", [None, "LIDAR"])
def test_policies_with_two_eyes_and_a_lidar_are_evaluated_and_drive_by_what_they_sense(
    tmp_path: Path, lidar: str | None
) -> None:
    """These policies steer away from a near wall, or towards the road: blinded, they leave the track."""
    policy = write_sensing_policy(tmp_path / "sensing", "STEREO_CAMERAS", lidar)
    seeing, blind = (
        evaluate(policy, ["oval"], starts=1, laps=1, seed=3, control=control).tracks[0]
        for control in (Control.NONE, Control.BLANK)
    )

    assert seeing.completion > blind.completion + 0.2
    assert blind.laps_completed == 0


def test_the_right_eye_sees_from_further_right_and_takes_nothing_from_the_left(straight_on: Path) -> None:
    settings = FleetSettings(count=2, colour=True, rooms_per_track=1, seed=5)
    one_eyed, two_eyed = (
        Fleet([load_track("oval")], dataclasses.replace(settings, right_eye=more, lidar=more))
        for more in (False, True)
    )
    for fleet in (one_eyed, two_eyed):
        for car in range(2):
            fleet.place(car, Start(track=0, s_m=3.0 * car))
        for _ in range(5):
            fleet.drive(np.zeros(2), np.full(2, 0.3))

    assert np.array_equal(one_eyed.pictures, two_eyed.pictures)  # more sensors change no drive
    assert one_eyed.sight(0).right_image is None
    left, right, scan = two_eyed.sight(0)
    assert right is not None
    assert scan is not None
    assert 0.5 < np.abs(left.astype(float) - right).mean() < 60.0
    assert np.isfinite(scan.ranges_m).mean() > 0.5
    half_m = float(two_eyed.half_width_m[0])
    assert float(scan.ranges_m.min()) == pytest.approx(half_m + 0.6 - abs(two_eyed.offset_m[0]), abs=0.15)


def test_wrong_tracks_and_policies_are_refused_in_words(straight_on: Path) -> None:
    with pytest.raises(HilError, match="no track named 'monza'"):
        evaluate(straight_on, ["monza"])
    with pytest.raises(PolicyError, match="does not exist"):
        evaluate("no-such-policy", ["oval"])


def test_a_report_keeps_one_table_for_each_command(tmp_path: Path, straight_on: Path) -> None:
    result = json.loads(evaluate(straight_on, ["oval"], starts=2, laps=1).as_json())
    report.write_training(tmp_path, {"command": "lapwing train", "seed": 3})
    for command in ("first", "second", "first"):
        report.add_evaluation(tmp_path, command, result)

    assert [entry["command"] for entry in report.read_report(tmp_path)["evaluations"]] == ["second", "first"]
    text = (tmp_path / "REPORT.md").read_text()
    assert "lapwing train" in text
    assert "| oval | 16.17 | 0/2 |" in text


MANY_TRACKS = ("oval", *["ell"] * 40)


def hear_ctrl_c() -> None:
    """Hear it as at a terminal: what a shell starts in its background has it ignored, its children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted_evaluation(policy: Path, *options: str) -> tuple[int, str, str]:
    """Return exit status and output of a `lapwing evaluate` that got Ctrl-C after its first track."""
    words = [sys.executable, "-m", "vehicle.cli", "evaluate", "--policy", str(policy), "--starts", "1"]
    words += ["--laps", "1", *(word for track in MANY_TRACKS for word in ("--track", track)), *options]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,  # noqa: PLW1509 - no other thread runs in these tests
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate()
    assert first == "oval: 0/1\n"
    return process.returncode, out, errors


def test_ctrl_c_ends_an_evaluation_with_the_table_of_what_was_driven(straight_on: Path) -> None:
    code, out, errors = interrupted_evaluation(straight_on)

    assert code == 130
    *told, last = errors.splitlines()
    assert set(told) <= {"ell: 0/1"}
    driven = 1 + len(told)
    assert last == f"interrupted: {driven} of 41 tracks were driven"
    assert f"interrupted after {driven} of 41 tracks" in " ".join(out.split())
    assert "oval" in out


def test_ctrl_c_ends_an_evaluation_with_a_document_and_leaves_its_report(straight_on: Path) -> None:
    code, out, errors = interrupted_evaluation(straight_on, "--json", "--report")

    assert code == 130
    document = json.loads(out)
    assert document["interrupted"] is True
    assert document["tracks"][0]["track"] == "oval"
    assert len(document["tracks"]) < document["tracks_wanted"] == 41
    assert "the report stays as it was" in errors
    assert not (straight_on / "report.json").exists()


def test_ctrl_c_before_the_first_track_was_driven_is_told_too(
    straight_on: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> TrackResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate_track", interrupted)
    evaluate_command(straight_on, ["oval"])
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "interrupted: 0 of 1 tracks were driven\n")

    evaluate_command(straight_on, ["oval"], as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["interrupted"], document["tracks"], document["finished_share"]) == (True, [], None)


def test_evaluating_imports_neither_torch_nor_gymnasium() -> None:
    code = (
        "import sys, models.training.commands\n"
        "heavy = {'torch', 'gymnasium', 'stable_baselines3', 'matplotlib', 'onnx'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.returncode == 0
