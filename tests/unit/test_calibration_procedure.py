"""The walk as data: in an order that is safe, every number asked for once, every pulse bounded."""

import math

import msgspec
import pytest

from calibration.car import HIL_AWS, HIL_STANDARD, PULSE_MAX_US, PULSE_MIN_US, CarCalibration
from calibration.procedure import KINDS, STEPS, Answer, answered, mark_us, reach_us, trial_us, walk
from calibration.store import from_document

BY_ID = {step.id: step for step in STEPS}
MOVING = [step for step in STEPS if step.actuator]


def order(part: str, *, fresh: bool) -> list[str]:
    return [step.id for step in walk(part, fresh=fresh)]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("part", ["all", "steering", "throttle"])
def test_nothing_moves_before_somebody_held_down_that_the_wheels_are_up(part, fresh):
    steps = walk(part, fresh=fresh)
    stand = steps.index(BY_ID["stand"])
    assert BY_ID["stand"].answer is Answer.HOLD
    assert all(not step.actuator for step in steps[: stand + 1])
    assert steps[-1].id == "review"


@pytest.mark.parametrize("part", ["all", "throttle"])
def test_neutral_is_found_before_any_other_throttle_pulse(part):
    steps = order(part, fresh=False)
    throttle = [step.id for step in walk(part, fresh=False) if step.actuator == "throttle"]
    assert throttle[0] == "neutral"
    assert steps.index("forward") < steps.index("esc") < steps.index("reverse")


def test_a_fresh_car_is_steered_first_with_its_speed_controller_off():
    for part in ("all", "steering", "throttle"):
        steps = order(part, fresh=True)
        assert steps == [step.id for step in STEPS]  # never half of it
        assert steps.index("kind") < steps.index("esc_off") < steps.index("center")
        assert steps.index("right") < steps.index("esc_on") < steps.index("neutral")


def test_a_calibrated_car_is_asked_only_what_was_chosen():
    assert order("steering", fresh=False) == ["stand", "center", "left", "right", "review"]
    assert "center" not in order("throttle", fresh=False)
    assert "kind" not in order("all", fresh=False)


def test_every_number_of_a_car_is_asked_for_once():
    asked = [name for step in STEPS for name in (step.field, step.angle_field) if name]
    assert len(asked) == len(set(asked))
    document = msgspec.to_builtins(HIL_AWS)
    fields = {f"{part}.{name}" for part in ("steering", "throttle") for name in document[part]}
    assert set(asked) == fields


@pytest.mark.parametrize("neutral_us", [810.0, 1446.0, 1500.0, 2190.0])
@pytest.mark.parametrize("step", MOVING, ids=lambda step: step.id)
def test_every_pulse_has_bounds_within_which_it_can_still_be_found(step, neutral_us):
    low_us, high_us = reach_us(step, neutral_us)
    assert PULSE_MIN_US <= low_us < high_us <= PULSE_MAX_US
    if step.actuator == "throttle":
        assert low_us <= neutral_us <= high_us
        assert high_us - low_us <= 1000.0


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("car", [HIL_AWS, HIL_STANDARD], ids=lambda car: car.name)
def test_both_kinds_of_car_can_be_found_from_either_beginning(kind, car):
    """A guess of the wrong kind must not hide the right numbers."""
    guess_us = KINDS[kind].throttle.neutral_us
    low_us, high_us = reach_us(BY_ID["neutral"], guess_us)
    assert low_us <= car.throttle.neutral_us <= high_us
    for step, wanted_us in (("forward", car.throttle.forward_us), ("reverse", car.throttle.reverse_us)):
        low_us, high_us = reach_us(BY_ID[step], car.throttle.neutral_us)
        assert low_us <= wanted_us <= high_us


def test_a_step_that_moves_nothing_has_no_reach():
    with pytest.raises(ValueError, match="moves nothing"):
        reach_us(BY_ID["stand"], 1500.0)


def walked(start: CarCalibration, wanted: CarCalibration) -> CarCalibration:
    """Answer every step as somebody does whose car is `wanted`."""
    document = msgspec.to_builtins(start)
    steering, throttle = wanted.steering, wanted.throttle
    sign = math.copysign(1.0, throttle.forward_us - throttle.neutral_us)
    answers = {
        "center": steering.center_us,
        "left": steering.left_us,
        "right": steering.right_us,
        "neutral": throttle.neutral_us,
        "forward_dead_band": throttle.neutral_us + sign * throttle.forward_dead_band_us,
        "forward": throttle.forward_us,
        "esc": msgspec.to_builtins(throttle.esc),
        "reverse_dead_band": throttle.neutral_us - sign * throttle.reverse_dead_band_us,
        "reverse": throttle.reverse_us,
    }
    for step in STEPS:
        if step.field:
            document = answered(document, step, answers[step.id], angle_deg=30.0)
    return from_document(document, "the draft")


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("car", [HIL_AWS, HIL_STANDARD], ids=lambda car: car.name)
def test_a_walk_ends_with_the_numbers_of_the_car_whatever_it_began_with(kind, car):
    found = walked(KINDS[kind], car)
    assert found.steering == car.steering
    assert found.throttle == car.throttle


def test_an_answer_leaves_everything_else_as_it_was():
    document = answered(msgspec.to_builtins(HIL_AWS), BY_ID["center"], 1461.0)
    assert from_document(document, "the draft") == msgspec.structs.replace(
        HIL_AWS, steering=msgspec.structs.replace(HIL_AWS.steering, center_us=1461.0)
    )


@pytest.mark.parametrize("car", [HIL_AWS, HIL_STANDARD], ids=lambda car: car.name)
def test_every_mark_stands_where_an_answer_would_change_nothing(car):
    document = msgspec.to_builtins(car)
    for step in STEPS:
        if step.answer is Answer.PULSE:
            low_us, high_us = reach_us(step, car.throttle.neutral_us)
            assert low_us <= mark_us(step, document) <= high_us
            assert answered(document, step, mark_us(step, document)) == document


def test_left_found_on_the_other_side_takes_right_along():
    document = msgspec.to_builtins(KINDS["deepracer"])
    assert answered(document, BY_ID["left"], 1690.0)["steering"]["right_us"] == 1200.0
    found = answered(document, BY_ID["left"], 1230.0)
    assert (found["steering"]["left_us"], found["steering"]["right_us"]) == (1230.0, 1670.0)
    far = answered(document, BY_ID["left"], 800.0)
    assert far["steering"]["right_us"] == 2100.0
    document["steering"]["center_us"] = 1600.0
    assert answered(document, BY_ID["left"], 810.0)["steering"]["right_us"] == PULSE_MAX_US


def test_forward_found_on_the_other_side_takes_reverse_along():
    document = msgspec.to_builtins(KINDS["deepracer"])
    found = answered(document, BY_ID["forward_dead_band"], 1446.0 + 20.0)
    assert found["throttle"]["forward_us"] == 1446.0 + 135.0
    assert found["throttle"]["reverse_us"] == 1446.0 - 135.0
    assert found["throttle"]["forward_dead_band_us"] == 20.0
    found = answered(found, BY_ID["forward"], 1700.0)
    assert found["throttle"]["reverse_us"] == 1446.0 - 135.0  # it is on the right side already
    from_document(found, "the draft")


@pytest.mark.parametrize("car", [HIL_AWS, HIL_STANDARD], ids=lambda car: car.name)
def test_the_reverse_trials_pull_beyond_the_dead_band_and_not_beyond_the_ends(car):
    forward_us, back_us = trial_us(msgspec.to_builtins(car))
    throttle = car.throttle
    for pulse_us, end_us, dead_band_us in (
        (forward_us, throttle.forward_us, throttle.forward_dead_band_us),
        (back_us, throttle.reverse_us, throttle.reverse_dead_band_us),
    ):
        assert (pulse_us - throttle.neutral_us) * (end_us - throttle.neutral_us) > 0
        assert dead_band_us < abs(pulse_us - throttle.neutral_us) < abs(end_us - throttle.neutral_us)
