"""Network output to what the policy wants, and that to shares of this car's range.

Discrete: one number per action, the largest wins, the first of equals.

    index  meaning                  unit           min  max
    0..N-1 score of action k        probability    0    1   (any finite score will do)

Continuous: two numbers, brought into -1..1 and stretched over the range. PPO answers with the means of
a distribution whose training clips them. SAC answers before its own tanh, which is applied here as in
training; the AWS car clips SAC's answers too, so that there 1.0 is full lock instead of 0.76 of it, and
`"sac_squash": "clip"` in model_metadata.json does as that car does, for a policy that was tuned on one.

    index  meaning                  unit           min  max
    0      steering, + is left      share of range -1   1
    1      speed                    share of range -1   1

The mathematics of `aws_share` are the AWS car's, with its faults mended: the divisor is the larger of
both ends (a range of -20..10 degrees would reach -2 there), results stay within -1..1, and nothing that
is not finite or has the wrong size gets past `decode`.
"""

import math
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from calibration import steering, throttle
from calibration.car import CarCalibration
from models.errors import OutputProblem, PolicyOutputError
from models.metadata import (
    Action,
    ActionRange,
    ActionUnits,
    PolicyMetadata,
    SacSquash,
    TrainingAlgorithm,
)
from vehicle.messages import DriveAction

AWS_CURVE_SQUARE = -1.2  # the AWS curve goes through 80 % at half speed and 100 % at full speed
AWS_CURVE_LINEAR = 2.2


class PolicyAction(msgspec.Struct, frozen=True):
    """What the network chose, in the units of its action space."""

    index: int
    """Of a discrete action; -1 in a continuous space."""
    steering_rad: float
    speed_mps: float
    """Negative where the policy wants to reverse, which the car does not do for a policy."""


class ActionSpace(Protocol):
    """The table or the ranges that a network's output chooses from."""

    @property
    def output_count(self) -> int:
        """How many numbers the network answers with."""

    @property
    def steering_max_rad(self) -> float:
        """Largest steering either way; what the AWS car calls full lock."""

    @property
    def speed_max_mps(self) -> float:
        """Largest speed either way; what the AWS car calls full throttle."""

    @property
    def names(self) -> tuple[str, ...]:
        """One per action for people; empty for a continuous space."""

    def decode(self, output: npt.NDArray[np.generic]) -> PolicyAction:
        """Return the action the output means; raises PolicyOutputError if it is unusable."""


class DiscreteActionSpace:
    """A list of actions; the position in the list is the network's class."""

    def __init__(self, actions: tuple[Action, ...]) -> None:
        self.output_count = len(actions)
        self.steering_max_rad = max(abs(math.radians(action.steering_deg)) for action in actions)
        self.speed_max_mps = max(abs(action.speed_mps) for action in actions)
        self.names = tuple(_name(action) for action in actions)
        self._actions = tuple(
            PolicyAction(index, math.radians(action.steering_deg), action.speed_mps)
            for index, action in enumerate(actions)
        )

    def decode(self, output: npt.NDArray[np.generic]) -> PolicyAction:
        """Return the action with the largest output, the first of equals."""
        scores = checked_output(output, self.output_count)
        return self._actions[int(scores.argmax())]


class ContinuousActionSpace:
    """A range of steering and a range of speed."""

    def __init__(self, action_range: ActionRange, *, tanh: bool = False) -> None:
        self.output_count = 2
        self.names: tuple[str, ...] = ()
        self._low = (math.radians(action_range.steering_low_deg), action_range.speed_low_mps)
        self._high = (math.radians(action_range.steering_high_deg), action_range.speed_high_mps)
        self.steering_max_rad = max(abs(self._low[0]), abs(self._high[0]))
        self.speed_max_mps = max(abs(self._low[1]), abs(self._high[1]))
        self._tanh = tanh

    def decode(self, output: npt.NDArray[np.generic]) -> PolicyAction:
        """Return the point of both ranges that the output names."""
        steering_share, speed_share = checked_output(output, self.output_count).tolist()
        return PolicyAction(-1, self._stretched(0, steering_share), self._stretched(1, speed_share))

    def _stretched(self, axis: int, share: float) -> float:
        bounded = math.tanh(share) if self._tanh else min(1.0, max(-1.0, share))
        return self._low[axis] + (self._high[axis] - self._low[axis]) * (bounded + 1.0) / 2.0


def action_space(metadata: PolicyMetadata) -> ActionSpace:
    """Return the action space that a policy's metadata describes."""
    if isinstance(metadata.action_space, ActionRange):
        is_sac = metadata.training_algorithm is TrainingAlgorithm.SAC
        tanh = is_sac and metadata.sac_squash is SacSquash.TANH
        return ContinuousActionSpace(metadata.action_space, tanh=tanh)
    return DiscreteActionSpace(metadata.action_space)


def checked_output(output: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.float64]:
    """Return the output as `count` finite numbers; raises PolicyOutputError otherwise."""
    if output.shape not in ((1, count), (count,)) or output.dtype.kind != "f":
        raise PolicyOutputError(
            OutputProblem.WRONG_SHAPE,
            f"the network answered {output.dtype} of shape {output.shape}, not {count} floating-point "
            "numbers; use the network and the model_metadata.json of the same training",
        )
    values = output.reshape(count).astype(np.float64)
    if not np.isfinite(values).all():
        raise PolicyOutputError(
            OutputProblem.NOT_FINITE,
            f"the network answered {values.tolist()}, which is not finite; train again or use another policy",
        )
    return values


def to_drive_action(
    action: PolicyAction, space: ActionSpace, units: ActionUnits, calibration: CarCalibration
) -> DriveAction:
    """Return the action in shares of this car's range; a negative speed becomes neutral.

    A car without a measured speed table takes `physical` speeds by the AWS curve, as shares of the
    fastest speed in the action space: the order of its actions stays, their m/s do not.
    """
    if units is ActionUnits.PHYSICAL:
        steering_frac = steering.frac_from_angle(calibration.steering, action.steering_rad)
    else:
        steering_frac = aws_steering_frac(action.steering_rad, space.steering_max_rad)

    if action.speed_mps <= 0.0:
        throttle_frac = 0.0
    elif units is ActionUnits.PHYSICAL and calibration.speed_table is not None:
        throttle_frac = throttle.frac_from_speed(calibration.speed_table, action.speed_mps)
    else:
        throttle_frac = aws_throttle_frac(action.speed_mps, space.speed_max_mps)
    return DriveAction(steering_frac, throttle_frac)


def aws_steering_frac(steering_rad: float, steering_max_rad: float) -> float:
    """Return the AWS car's share of lock: angle by largest angle; 0 where the space has no steering."""
    if steering_max_rad <= 0.0:
        return 0.0
    return min(1.0, max(-1.0, steering_rad / steering_max_rad))


def aws_throttle_frac(speed_mps: float, speed_max_mps: float) -> float:
    """Return the AWS car's throttle share: a parabola of speed by largest speed, clamped."""
    if speed_max_mps <= 0.0:
        return 0.0
    share = speed_mps / speed_max_mps
    return min(1.0, max(-1.0, AWS_CURVE_SQUARE * share * share + AWS_CURVE_LINEAR * share))


def _name(action: Action) -> str:
    if action.steering_deg == 0.0:
        direction = "straight"
    else:
        direction = f"{abs(action.steering_deg):g}° {'left' if action.steering_deg > 0.0 else 'right'}"
    return f"{direction}, {action.speed_mps:g} m/s"
