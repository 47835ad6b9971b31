"""Network outputs become actions, and actions become shares of this car's range."""

import math

import numpy as np
import pytest

from calibration.car import AWS_DEFAULTS, HIL_AWS, CarCalibration
from models.action_space import (
    ActionSpace,
    ContinuousActionSpace,
    DiscreteActionSpace,
    PolicyAction,
    action_space,
    aws_steering_frac,
    aws_throttle_frac,
    to_drive_action,
)
from models.errors import OutputProblem, PolicyOutputError
from models.metadata import (
    Action,
    ActionRange,
    ActionUnits,
    PolicyMetadata,
    SacSquash,
    TrainingAlgorithm,
)

THREE = DiscreteActionSpace((Action(30.0, 1.0), Action(0.0, 4.0), Action(-15.0, 2.0)))
SYMMETRIC = ActionRange(-30.0, 30.0, 1.0, 4.0)
ASYMMETRIC = ActionRange(-20.0, 10.0, 0.5, 2.0)


def driven(
    space: ActionSpace,
    output: list[float],
    units: ActionUnits = ActionUnits.AWS_SHARE,
    calibration: CarCalibration = AWS_DEFAULTS,
) -> tuple[float, float]:
    action = space.decode(np.array([output], np.float32))
    drive = to_drive_action(action, space, units, calibration)
    return drive.steering_frac, drive.throttle_frac


def test_the_largest_output_chooses_the_action_at_its_position() -> None:
    action = THREE.decode(np.array([[0.1, 0.2, 0.7]], np.float32))

    assert action == PolicyAction(2, math.radians(-15.0), 2.0)


def test_the_first_of_equal_outputs_wins() -> None:
    assert THREE.decode(np.array([[0.2, 0.4, 0.4]], np.float32)).index == 1
    assert THREE.decode(np.array([[0.0, 0.0, 0.0]], np.float32)).index == 0


@pytest.mark.parametrize("space", [THREE, ContinuousActionSpace(SYMMETRIC)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_output_that_is_not_finite_is_never_an_action(space: ActionSpace, bad: float) -> None:
    for position in range(space.output_count):
        output = np.full((1, space.output_count), 0.5, np.float32)
        output[0, position] = bad

        with pytest.raises(PolicyOutputError) as caught:
            space.decode(output)

        assert caught.value.kind is OutputProblem.NOT_FINITE


@pytest.mark.parametrize("space", [THREE, ContinuousActionSpace(SYMMETRIC)])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (1, 1), (4,), (1, 4), (2, 3), (2, 2), (1, 3, 1), (3, 1)])
def test_an_output_of_another_shape_is_never_an_action(space: ActionSpace, shape: tuple[int, ...]) -> None:
    with pytest.raises(PolicyOutputError) as caught:
        space.decode(np.zeros(shape, np.float32))

    assert caught.value.kind is OutputProblem.WRONG_SHAPE


def test_whole_numbers_are_not_an_output() -> None:
    with pytest.raises(PolicyOutputError, match="int64 of shape"):
        THREE.decode(np.zeros(3, np.int64))


def test_a_continuous_output_stretches_over_its_range_and_is_clipped_outside() -> None:
    space = ContinuousActionSpace(ASYMMETRIC)

    for output, steering_deg, speed_mps in (
        ([-1.0, -1.0], -20.0, 0.5),
        ([0.0, 0.0], -5.0, 1.25),
        ([1.0, 1.0], 10.0, 2.0),
        ([9.0, -9.0], 10.0, 0.5),
    ):
        action = space.decode(np.array([output], np.float32))

        assert action.index == -1
        assert math.degrees(action.steering_rad) == pytest.approx(steering_deg)
        assert action.speed_mps == pytest.approx(speed_mps)


def test_a_sac_output_goes_through_tanh_as_in_its_training() -> None:
    metadata = PolicyMetadata(action_space=SYMMETRIC, training_algorithm=TrainingAlgorithm.SAC)

    action = action_space(metadata).decode(np.array([[1.0, -2.0]], np.float32))

    assert math.degrees(action.steering_rad) == pytest.approx(30.0 * math.tanh(1.0))
    assert action.speed_mps == pytest.approx(1.0 + 3.0 * (math.tanh(-2.0) + 1.0) / 2.0)


@pytest.mark.parametrize(
    ("output", "steering_deg", "speed_mps"),
    [([1.0, -2.0], 30.0, 1.0), ([0.5, 0.0], 15.0, 2.5), ([-9.0, 9.0], -30.0, 4.0)],
)
def test_a_sac_output_is_clipped_where_the_file_asks_for_the_aws_cars_way(
    output: list[float], steering_deg: float, speed_mps: float
) -> None:
    metadata = PolicyMetadata(
        action_space=SYMMETRIC, training_algorithm=TrainingAlgorithm.SAC, sac_squash=SacSquash.CLIP
    )

    action = action_space(metadata).decode(np.array([output], np.float32))

    assert math.degrees(action.steering_rad) == pytest.approx(steering_deg)
    assert action.speed_mps == pytest.approx(speed_mps)


@pytest.mark.parametrize("squash", SacSquash)
def test_a_ppo_output_is_clipped_whatever_the_file_says_of_sac(squash: SacSquash) -> None:
    metadata = PolicyMetadata(action_space=SYMMETRIC, sac_squash=squash)

    action = action_space(metadata).decode(np.array([[1.0, 0.5]], np.float32))

    assert math.degrees(action.steering_rad) == pytest.approx(30.0)
    assert action.speed_mps == pytest.approx(3.25)


def test_the_metadata_decides_between_a_list_and_a_range() -> None:
    assert isinstance(action_space(PolicyMetadata(action_space=SYMMETRIC)), ContinuousActionSpace)
    assert action_space(PolicyMetadata(action_space=(Action(1.0, 2.0),))).names == ("1° left, 2 m/s",)


@pytest.mark.parametrize(
    ("speed_mps", "speed_max_mps", "throttle_frac"),
    [
        (0.1, 1.0, 0.208),
        (0.25, 1.0, 0.475),
        (0.5, 1.0, 0.8),
        (0.6, 1.0, 0.888),
        (0.75, 1.0, 0.975),
        (1.0, 1.0, 1.0),
        (1.0, 4.0, 0.475),
        (1.3, 4.0, 0.58825),
        (2.0, 4.0, 0.8),
        (3.0, 4.0, 0.975),
        (4.0, 4.0, 1.0),
        (0.4, 0.8, 0.8),
        (0.2, 0.8, 0.475),
        (0.0, 4.0, 0.0),
        (0.9, 1.0, 1.0),  # the raw parabola is above 1 between five sixths and the end
        (0.9166, 1.0, 1.0),
        (-4.0, 4.0, -1.0),
        (1.0, 0.0, 0.0),
    ],
)
def test_throttle_follows_the_aws_curve(speed_mps: float, speed_max_mps: float, throttle_frac: float) -> None:
    assert aws_throttle_frac(speed_mps, speed_max_mps) == pytest.approx(throttle_frac, abs=1e-9)


def test_aws_steering_is_a_share_of_the_largest_angle() -> None:
    assert driven(THREE, [1.0, 0.0, 0.0]) == (1.0, pytest.approx(0.475))
    assert driven(THREE, [0.0, 0.0, 1.0]) == (pytest.approx(-0.5), pytest.approx(0.8))
    assert aws_steering_frac(0.1, 0.0) == 0.0


@pytest.mark.parametrize("steering_output", [-5.0, -1.0, -0.3, 0.0, 0.8, 1.0, 5.0])
def test_an_asymmetric_range_never_steers_beyond_full_lock(steering_output: float) -> None:
    """The AWS car divides by the upper end alone and reaches -2 here, which its servo ignores."""
    for ends, at_left, at_right in (
        (ASYMMETRIC, 0.5, -1.0),
        (ActionRange(-10.0, 20.0, 0.5, 2.0), 1.0, -0.5),
    ):
        space = ContinuousActionSpace(ends)
        steering_frac, _ = driven(space, [steering_output, 0.0])

        assert at_right - 1e-9 <= steering_frac <= at_left + 1e-9
        if steering_output <= -1.0:
            assert steering_frac == pytest.approx(at_right)


def test_a_range_whose_ends_are_both_negative_steers_right() -> None:
    space = ContinuousActionSpace(ActionRange(-30.0, -10.0, 0.5, 2.0))

    assert driven(space, [1.0, 0.0])[0] == pytest.approx(-1.0 / 3.0)


@pytest.mark.parametrize("units", ActionUnits)
def test_a_negative_speed_becomes_neutral(units: ActionUnits) -> None:
    space = DiscreteActionSpace((Action(0.0, -1.0), Action(0.0, 1.0)))

    assert driven(space, [1.0, 0.0], units, HIL_AWS) == (0.0, 0.0)


def test_a_list_without_any_movement_is_neutral_and_straight() -> None:
    assert driven(DiscreteActionSpace((Action(0.0, 0.0),)), [1.0]) == (0.0, 0.0)


def test_physical_units_go_through_the_cars_own_angles_and_speed_table() -> None:
    space = DiscreteActionSpace((Action(15.0, 1.0), Action(-45.0, 99.0)))
    table = HIL_AWS.speed_table
    assert table is not None
    throttles, speeds = zip(*table.points, strict=True)

    steering_frac, throttle_frac = driven(space, [1.0, 0.0], ActionUnits.PHYSICAL, HIL_AWS)

    assert steering_frac == pytest.approx(math.radians(15.0) / HIL_AWS.steering.left_rad)
    assert throttle_frac == pytest.approx(float(np.interp(1.0, speeds, throttles)))
    assert driven(space, [0.0, 1.0], ActionUnits.PHYSICAL, HIL_AWS) == (-1.0, throttles[-1])


def test_physical_units_without_a_speed_table_keep_the_order_of_speeds_by_the_aws_curve() -> None:
    space = DiscreteActionSpace((Action(15.0, 1.0), Action(0.0, 4.0)))

    assert driven(space, [1.0, 0.0], ActionUnits.PHYSICAL)[1] == pytest.approx(0.475)
    assert driven(space, [0.0, 1.0], ActionUnits.PHYSICAL)[1] == pytest.approx(1.0)


def test_actions_have_names_for_people() -> None:
    assert THREE.names == ("30° left, 1 m/s", "straight, 4 m/s", "15° right, 2 m/s")
