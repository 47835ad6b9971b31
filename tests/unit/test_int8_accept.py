"""The rule by which int8 is accepted, at both sides of every edge."""

import numpy as np
import pytest

from models.int8_accept import (
    FRAMES_MIN,
    Laps,
    Speed,
    continuous_agreement,
    discrete_agreement,
    lap_objections,
)

ACTIONS = 4


def scores(losses: np.ndarray, used: int = ACTIONS) -> tuple[np.ndarray, np.ndarray]:
    """Return float probabilities, and int8's, whose choice costs as much as `losses` says on each frame."""
    rows = np.arange(len(losses))
    best = rows % used
    other = (best + 1) % ACTIONS
    floats = np.full((len(losses), ACTIONS), 0.05)
    floats[rows, best] = 0.45 + losses / 2
    floats[rows, other] = 0.45 - losses / 2
    ints = floats.copy()
    wrong = losses > 0
    ints[rows[wrong], other[wrong]] = 0.9
    return floats, ints


def losses(count: int, **at: float) -> np.ndarray:
    values = np.zeros(count)
    for place, loss in at.items():
        values[int(place[1:])] = loss
    return values


def judged(values: np.ndarray, drives: list[int] | None = None, used: int = ACTIONS):
    return discrete_agreement(*scores(values, used), drives or [len(values)])


def spread(misses: int, loss: float, count: int = FRAMES_MIN) -> np.ndarray:
    values = np.zeros(count)
    values[np.arange(misses) * (count // max(misses, 1))] = loss
    return values


def test_equal_networks_agree():
    agreement = judged(np.zeros(FRAMES_MIN))

    assert agreement.objections == ()
    assert (agreement.within_frac, agreement.worst, agreement.misses_in_a_row) == (1.0, 0.0, 0)


@pytest.mark.parametrize(
    ("values", "objects"),
    [
        (spread(10, 0.03), ""),  # 99.5 %
        (spread(11, 0.03), "99.45%"),
        (spread(400, 0.019), ""),  # no misses: within 0.02
        (spread(1, 0.099), ""),
        (spread(1, 0.101), "worst frame is off by 0.101"),
        (losses(FRAMES_MIN, _5=0.03, _6=0.03), ""),
        (losses(FRAMES_MIN, _5=0.03, _6=0.03, _7=0.03), "3 misses in a row"),
        (np.zeros(FRAMES_MIN - 1), f"{FRAMES_MIN - 1} different frames"),
        (np.zeros(0), "0 different frames"),
    ],
)
def test_every_limit_of_a_discrete_policy(values, objects):
    objections = judged(values).objections

    assert bool(objections) is bool(objects)
    assert objects in " ".join(objections)


def test_misses_of_two_drives_are_not_in_a_row():
    values = losses(FRAMES_MIN, _998=0.03, _999=0.03, _1000=0.03)

    assert judged(values).misses_in_a_row == 3
    assert judged(values, [1000, FRAMES_MIN - 1000]).objections == ()


@pytest.mark.parametrize(("used", "is_enough"), [(3, True), (2, False), (1, False)])
def test_frames_must_make_the_float_policy_use_three_actions(used, is_enough):
    agreement = judged(np.zeros(FRAMES_MIN), used=used)

    assert agreement.actions_used == used
    assert bool(agreement.objections) is not is_enough


def test_scores_that_are_no_probabilities_are_made_such():
    logits = np.zeros((FRAMES_MIN, ACTIONS))
    logits[np.arange(FRAMES_MIN), np.arange(FRAMES_MIN) % ACTIONS] = 20.0
    swapped = logits.copy()
    swapped[0] = logits[1]

    assert discrete_agreement(logits, logits, [FRAMES_MIN]).objections == ()
    assert discrete_agreement(logits, swapped, [FRAMES_MIN]).worst == pytest.approx(1.0)


def shares(difference: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    floats = np.stack([np.linspace(0, 0.8, len(difference)), np.full(len(difference), 0.5)], axis=1)
    ints = floats.copy()
    ints[:, axis] += difference
    return floats, ints


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("difference", "objects"),
    [
        (np.full(FRAMES_MIN, 0.0199), ""),
        (np.full(FRAMES_MIN, 0.0201), "0.00% of the frames"),
        (spread(10, -0.0999), ""),
        (spread(11, 0.03), "99.45%"),
        (spread(1, 0.1001), "worst frame"),
        (losses(FRAMES_MIN, _5=0.03, _6=0.03, _7=0.03), ""),  # the rule of rows is for lists of actions
        (np.full(FRAMES_MIN, np.nan), "0.00% of the frames"),
    ],
)
def test_every_limit_of_a_continuous_policy(difference, axis, objects):
    objections = continuous_agreement(*shares(difference, axis), [FRAMES_MIN]).objections

    assert bool(objections) is bool(objects)
    assert objects in " ".join(objections)


def test_a_continuous_policy_that_always_steers_alike_proves_nothing():
    floats = np.full((FRAMES_MIN, 2), 0.5)

    assert "use 1 actions" in continuous_agreement(floats, floats, [FRAMES_MIN]).objections[0]


def test_int8_must_be_faster_by_more_than_noise():
    assert Speed(2.0, 3.0, 1.9, 9.0).objection == ""
    assert "keep float" in Speed(2.0, 3.0, 1.91, 2.0).objection


def drove(completed: int, median_s: dict[str, float | None]) -> Laps:
    return Laps(wanted=8, completed_on={"oval": completed}, median_s=median_s)


@pytest.mark.parametrize(
    ("int8", "objects"),
    [
        (drove(8, {"oval": 10.2}), ""),
        (drove(8, {"oval": 10.21}), "a lap in 10.21 s"),
        (drove(8, {"oval": 9.79}), "a lap in 9.79 s"),
        (drove(7, {"oval": 10.0}), "on oval int8 drove 7 laps and float 8"),
        (drove(8, {"oval": None}), "no lap"),
    ],
)
def test_laps_must_be_the_same_within_two_percent(int8, objects):
    assert objects in " ".join(lap_objections(drove(8, {"oval": 10.0}), int8))
    assert bool(lap_objections(drove(8, {"oval": 10.0}), int8)) is bool(objects)


def test_a_lap_lost_on_one_track_is_not_made_up_for_on_another():
    median_s = {"oval": 10.0, "ell": 12.0}
    before = Laps(wanted=16, completed_on={"oval": 8, "ell": 7}, median_s=median_s)
    after = Laps(wanted=16, completed_on={"oval": 7, "ell": 8}, median_s=median_s)

    assert before.completed == after.completed
    assert len(lap_objections(before, after)) == 2
