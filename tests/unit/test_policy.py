"""A picture in, a decision out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from policy_files import mean_network, write_policy

from calibration.car import AWS_DEFAULTS, HIL_AWS
from models.bundle import zoo_names
from models.errors import OutputProblem, PolicyOutputError
from models.observation import CameraOptions, Sight
from models.policy import load_policy
from models.sensors import Sensor
from vehicle.messages import DriveAction


def picture(level: int) -> Sight:
    return Sight(np.full((480, 640, 3), level, np.uint8))


def test_the_picture_decides_the_action(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path / "policy"))

    dark, middle, bright = (policy.decide(picture(level), AWS_DEFAULTS) for level in (20, 120, 220))

    assert (dark.index, dark.action) == (0, DriveAction(1.0, pytest.approx(0.8)))  # type: ignore[arg-type]
    assert (middle.index, middle.action) == (1, DriveAction(0.0, 1.0))
    assert (bright.index, bright.action) == (2, DriveAction(-1.0, pytest.approx(0.8)))  # type: ignore[arg-type]
    assert dark.output == pytest.approx((80.0, 0.0, -130.0))


def bright_pixel() -> npt.NDArray[np.uint8]:
    image = np.zeros((480, 640, 3), np.uint8)
    image[240, 320] = 255
    return image


NEXT_TO_NOTHING = {
    "black": np.zeros((480, 640, 3), np.uint8),
    "white": np.full((480, 640, 3), 255, np.uint8),
    "grey": np.full((480, 640, 3), 128, np.uint8),
    "one bright pixel": bright_pixel(),
    "noise of one level": np.random.default_rng(1).integers(127, 129, (480, 640, 3), np.uint8),
}


@pytest.mark.parametrize("seen", NEXT_TO_NOTHING)
@pytest.mark.parametrize("name", zoo_names())
def test_a_shipped_policy_gives_a_finite_action_and_the_same_again_whatever_it_sees(
    name: str, seen: str
) -> None:
    policy = load_policy(name)
    sight = Sight(NEXT_TO_NOTHING[seen])
    decision = policy.decide(sight, HIL_AWS)
    policy.reset()
    again = policy.decide(sight, HIL_AWS)

    assert sum(decision.output) == pytest.approx(1.0, abs=1e-5)  # shares, none of them NaN
    assert min(decision.output) >= 0.0
    assert abs(decision.action.steering_frac) <= 1.0
    assert 0.0 < decision.action.throttle_frac <= 1.0
    assert (again.output, again.action) == (decision.output, decision.action)


def test_the_time_of_both_stages_is_told(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path / "policy"))

    decision = policy.decide(picture(20), AWS_DEFAULTS)

    assert decision.observe_ns > 0
    assert decision.infer_ns > 0


def test_a_wish_to_reverse_is_neutral_and_told(tmp_path: Path) -> None:
    backward = [{"steering_angle": 0, "speed": -1}, {"steering_angle": 0, "speed": 1}]
    network = mean_network(slopes=(-1.0, 1.0), offsets=(100.0, -100.0))
    policy = load_policy(write_policy(tmp_path / "policy", network, action_space=backward))

    decision = policy.decide(picture(0), AWS_DEFAULTS)

    assert decision.wants_reverse
    assert decision.action == DriveAction(0.0, 0.0)
    assert not policy.decide(picture(255), AWS_DEFAULTS).wants_reverse


def test_an_answer_that_turns_nan_while_driving_is_an_error_and_never_an_action(tmp_path: Path) -> None:
    network = mean_network(nan_between=(60.0, 100.0))
    policy = load_policy(write_policy(tmp_path / "policy", network))

    assert policy.decide(picture(20), AWS_DEFAULTS).index == 0
    with pytest.raises(PolicyOutputError) as caught:
        policy.decide(picture(80), AWS_DEFAULTS)

    assert caught.value.kind is OutputProblem.NOT_FINITE


def test_reset_forgets_the_pictures_of_the_last_drive(tmp_path: Path) -> None:
    network = mean_network(shape=(1, 120, 160, 2))
    policy = load_policy(write_policy(tmp_path / "policy", network, input={"frame_stack": 2}))
    policy.decide(picture(0), AWS_DEFAULTS)
    mixed = policy.decide(picture(240), AWS_DEFAULTS)

    policy.decide(picture(0), AWS_DEFAULTS)
    policy.reset()
    fresh = policy.decide(picture(240), AWS_DEFAULTS)

    assert mixed.index == 1
    assert fresh.index == 2


def test_metres_per_second_without_a_speed_table_are_told_to_the_owner(tmp_path: Path) -> None:
    physical = load_policy(write_policy(tmp_path / "physical", action_units="physical"))
    aws = load_policy(write_policy(tmp_path / "aws"))

    assert "this car has no speed table" in physical.note(AWS_DEFAULTS)
    assert physical.note(HIL_AWS) == ""
    assert aws.note(AWS_DEFAULTS) == ""


def test_a_policy_says_what_it_looks_at(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path / "policy"))

    assert policy.sensors == {Sensor.FRONT_FACING_CAMERA}
    assert not policy.needs_right_camera
    assert not policy.needs_lidar


def test_what_this_cars_camera_cuts_off_reaches_no_policy(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy")
    half_bright = np.zeros((480, 640, 3), np.uint8)
    half_bright[240:] = 220
    plain = load_policy(folder)
    cropped = load_policy(folder, camera_options=CameraOptions(crop=(0.5, 0.0, 0.0, 0.0)))

    assert plain.decide(Sight(half_bright), AWS_DEFAULTS).index == 1
    assert cropped.decide(Sight(half_bright), AWS_DEFAULTS).index == 2
    assert plain.picture_px == (160, 120)
    assert cropped.picture_px == (160, 240)
    assert plain.input_px == cropped.input_px == (160, 120, 1)
