"""The calibration drives: what ships is what the command writes, and each does what its name says."""

from pathlib import Path

import pytest

from calibration.car import HIL_STANDARD
from models.calibration_policies import CIRCLE_S, RATE_HZ, Entry, Timetable, main
from models.check_frames import blank_sight, seen_sights
from models.checked_policy import load_checked
from models.store_builtin import CALIBRATION

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


def test_the_figure_eight_turns_left_then_right_and_begins_anew_with_a_drive() -> None:
    policy = load_checked("figure-eight")
    circle = round(CIRCLE_S * RATE_HZ)

    def drive() -> list[float]:
        policy.reset()
        return [policy.decide(SIGHTS[0], HIL_STANDARD).action.steering_frac for _ in range(2 * circle + 5)]

    steering = drive()
    assert steering == [1.0] * circle + [-1.0] * circle + [1.0] * 5
    assert drive() == steering


def test_a_timetable_goes_round() -> None:
    timetable = Timetable((Entry(2, 1.0), Entry(0, 0.5)))
    assert [timetable.action_at(time_s) for time_s in (0.0, 0.99, 1.0, 1.49, 1.5, 2.5)] == [2, 2, 0, 0, 2, 0]
