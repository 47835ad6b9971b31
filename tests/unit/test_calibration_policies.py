"""The calibration drives: what ships is what the command writes, and each does what its name says."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from calibration.car import HIL_STANDARD
from models import metadata
from models.bundle import check_bundle
from models.bundle_files import METADATA_NAME
from models.calibration_policies import CIRCLE_S, RATE_HZ, main
from models.check_frames import blank_sight, seen_sights
from models.checked_policy import load_checked
from models.errors import PolicyError
from models.policy import Policy, load_policy
from models.store import PolicyStore
from models.store_builtin import CALIBRATION
from models.store_intake import export_tidy
from models.timetable import Entry, Timetable

SIGHTS = (blank_sight(), *seen_sights()[:4])


def test_what_ships_is_what_the_command_writes(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {path.relative_to(CALIBRATION) for path in CALIBRATION.rglob("*") if path.is_file()}
    for name in files:
        assert (tmp_path / name).read_bytes() == (CALIBRATION / name).read_bytes()
        assert (CALIBRATION / name).stat().st_size < 10_000


@pytest.mark.parametrize(("name", "steering"), [("straight", 0.0), ("full-left", 1.0), ("full-right", -1.0)])
def test_each_steers_as_it_is_called_whatever_it_sees_and_slowly(name: str, steering: float) -> None:
    policy = load_checked(name)
    for sight in SIGHTS:
        action = policy.decide(sight, HIL_STANDARD).action
        assert action.steering_frac == pytest.approx(steering)
        assert 0.0 < action.throttle_frac < 0.5


def steering_of_a_drive(policy: Policy, decisions: int) -> list[float]:
    policy.reset()
    return [policy.decide(SIGHTS[0], HIL_STANDARD).action.steering_frac for _ in range(decisions)]


@pytest.mark.parametrize(
    "load",
    [
        load_checked,
        load_policy,
        lambda name: Policy(*check_bundle(name)),
        lambda name: load_policy(CALIBRATION / name),
    ],
)
def test_the_figure_eight_turns_left_then_right_however_it_is_loaded(load: Callable[[str], Policy]) -> None:
    policy = load("figure-eight")
    circle = round(CIRCLE_S * RATE_HZ)
    steering = steering_of_a_drive(policy, 2 * circle + 5)
    assert steering == [1.0] * circle + [-1.0] * circle + [1.0] * 5
    assert steering_of_a_drive(policy, 2 * circle + 5) == steering  # it begins anew with a drive


def test_an_exported_figure_eight_is_one_on_the_car_that_takes_it(tmp_path: Path) -> None:
    export_tidy(PolicyStore(tmp_path / "store").get("figure-eight"), tmp_path / "eight.tar.gz")
    with tarfile.open(tmp_path / "eight.tar.gz") as archive:
        archive.extractall(tmp_path / "eight", filter="data")
    policy = load_policy(tmp_path / "eight")
    assert any("timetable" in note for note in policy.bundle.metadata.notes)
    circle = round(CIRCLE_S * RATE_HZ)
    assert steering_of_a_drive(policy, circle + 1) == [1.0] * circle + [-1.0]


@pytest.mark.parametrize(
    ("timetable", "sentence"),
    [
        ([], "a list of 1 to 100 entries"),
        ({"action": 0, "seconds": 1}, "a list of 1 to 100 entries"),
        ([{"action": 0, "seconds": 1}] * 101, "a list of 1 to 100 entries"),
        ([{"action": 3, "seconds": 1}], r"timetable\[0\].action is 3; allowed is 0 to 2"),
        ([{"action": 0.5, "seconds": 1}], "whole number"),
        ([{"action": 0, "seconds": 0}], r"timetable\[0\].seconds is 0; allowed is 0.1 to 600"),
        ([{"action": 0, "seconds": float("nan")}], "NaN"),
        ([{"action": 0, "seconds": 1, "speed": 9}], "exactly the keys action and seconds"),
        ([0], "exactly the keys action and seconds"),
    ],
)
def test_an_odd_timetable_is_refused_in_words(timetable: object, sentence: str) -> None:
    fields = json.loads((CALIBRATION / "straight" / METADATA_NAME).read_bytes())
    with pytest.raises(PolicyError, match=sentence):
        metadata.parse(json.dumps(fields | {"timetable": timetable}).encode())


def test_a_range_of_actions_cannot_have_a_timetable() -> None:
    fields = json.loads((CALIBRATION / "figure-eight" / METADATA_NAME).read_bytes())
    fields["action_space"] = {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 0.5, "high": 1}}
    with pytest.raises(PolicyError, match="timetable is given; it names actions of a list"):
        metadata.parse(json.dumps(fields).encode())


def test_a_timetable_goes_round() -> None:
    timetable = Timetable((Entry(2, 1.0), Entry(0, 0.5)))
    assert [timetable.action_at(time_s) for time_s in (0.0, 0.99, 1.0, 1.49, 1.5, 2.5)] == [2, 2, 0, 0, 2, 0]
