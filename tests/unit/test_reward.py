"""The default reward, and rewards that users bring."""

from pathlib import Path

import pytest

from models.training.reward import OFF_TRACK_PENALTY, load_reward, reward_function
from vehicle.errors import LapwingError

PARAMS = {
    "is_offtrack": False,
    "waypoints": [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)],
    "closest_waypoints": [0, 1],
    "heading": 0.0,
    "distance_from_center": 0.0,
    "track_width": 1.0,
    "speed": 2.0,
}


def test_faster_along_the_track_pays_more() -> None:
    assert reward_function(PARAMS | {"speed": 3.0}) > reward_function(PARAMS) > 0


def test_driving_across_or_back_pays_nothing_or_less() -> None:
    assert reward_function(PARAMS | {"heading": 90.0}) == pytest.approx(0.0)
    assert reward_function(PARAMS | {"heading": 180.0}) < 0


def test_the_middle_of_the_track_pays_a_little_more() -> None:
    assert reward_function(PARAMS) > reward_function(PARAMS | {"distance_from_center": 0.4}) > 0.3


def test_nearness_to_the_edge_costs_what_is_asked_and_the_middle_nothing() -> None:
    priced = load_reward(None, edge_penalty=1.0)
    for distance_m in (0.0, 0.25):  # of the half metre from the middle to the edge
        params = PARAMS | {"distance_from_center": distance_m}
        assert priced(params) == reward_function(params)
    cost = [
        reward_function(params) - priced(params)
        for params in (PARAMS | {"distance_from_center": distance_m} for distance_m in (0.375, 0.5))
    ]
    assert cost == pytest.approx([0.25, 1.0])


def test_leaving_the_track_costs_a_lot() -> None:
    assert reward_function(PARAMS | {"is_offtrack": True}) == -OFF_TRACK_PENALTY
    assert load_reward(None, 3.0)(PARAMS | {"is_offtrack": True}) == -3.0


def test_a_user_s_reward_function_is_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def reward_function(params):\n    return params['speed'] ** 2\n")

    assert load_reward(path)(PARAMS) == 4.0


def test_a_file_without_a_reward_function_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def reward(params):\n    return 1\n")

    with pytest.raises(LapwingError, match="defines no reward_function"):
        load_reward(path)
    with pytest.raises(LapwingError, match="is no Python file"):
        load_reward(tmp_path / "absent.py")
