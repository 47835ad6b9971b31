"""What a policy's `model_metadata.json` can say, as checked values."""

import enum
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from models.lidar_config import LidarConfig
from models.sensors import LIDAR_SENSORS, Sensor
from models.timetable import Timetable

DEFAULT_CONTROL_RATE_HZ = 15.0  # the simulator that trains DeepRacer policies acts at its camera's 15 Hz
DEFAULT_NETWORK = "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW"


class ActionSpaceType(enum.StrEnum):
    """What the network's output means."""

    DISCRETE = "discrete"
    CONTINUOUS = "continuous"


class TrainingAlgorithm(enum.StrEnum):
    """What trained the network; decides how a continuous output is squashed."""

    CLIPPED_PPO = "clipped_ppo"
    SAC = "sac"


class SacSquash(enum.StrEnum):
    """How the unbounded answer of a SAC network gets into -1..1."""

    TANH = "tanh"  # as in training: 1.0 means 0.76 of the range
    CLIP = "clip"  # as the AWS car does it: 1.0 means full lock


class ActionUnits(enum.StrEnum):
    """What steering and speed of the action space are measured in."""

    PHYSICAL = "physical"  # wheel angle and m/s, through this car's angles and speed table
    AWS_SHARE = "aws_share"  # shares of this car's lock and throttle, by the AWS car's mathematics


class Layout(enum.StrEnum):
    """Order of the axes of an image input."""

    NHWC = "NHWC"
    NCHW = "NCHW"


class ValueRange(enum.StrEnum):
    """What the network expects of black and white."""

    BYTE = "0..255"  # the graph divides by itself, as every DeepRacer export does
    UNIT = "0..1"


class Color(enum.StrEnum):
    """What one picture of the input consists of."""

    GRAY = "gray"
    RGB = "rgb"


class Action(msgspec.Struct, frozen=True):
    """One entry of a discrete action space, in the file's units."""

    steering_deg: float
    """Positive turns left."""
    speed_mps: float


class ActionRange(msgspec.Struct, frozen=True):
    """A continuous action space, in the file's units; low < high for both."""

    steering_low_deg: float
    steering_high_deg: float
    speed_low_mps: float
    speed_high_mps: float


class InputFormat(msgspec.Struct, frozen=True):
    """How the network wants its picture."""

    layout: Layout | None = None
    """None: told by the input's shape."""
    range: ValueRange | None = None
    """None: not stated; a DeepRacer graph takes 0..255, of any other network the owner is asked."""
    color: Color = Color.GRAY
    frame_stack: int = 1
    """Pictures side by side on the channel axis, oldest first."""


class PolicyMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy's file says of it, checked."""

    action_space: tuple[Action, ...] | ActionRange
    training_algorithm: TrainingAlgorithm = TrainingAlgorithm.CLIPPED_PPO
    sac_squash: SacSquash = SacSquash.TANH
    """Means nothing for other algorithms than SAC."""
    sensors: tuple[Sensor, ...] = (Sensor.OBSERVATION,)
    """Exactly one camera and at most one LIDAR; the order means nothing."""
    neural_network: str = DEFAULT_NETWORK
    """A name for people; the graph itself is what runs."""
    version: float = 2.0
    lidar_config: Mapping[str, Any] | None = None
    """As in the file; `lidar` is what it means."""
    action_units: ActionUnits = ActionUnits.AWS_SHARE
    control_rate_hz: float = DEFAULT_CONTROL_RATE_HZ
    """The rate it was trained at."""
    input: InputFormat = InputFormat()
    timetable: Timetable | None = None
    """Of a calibration drive: which action is taken when, whatever the network answers."""
    unknown: Mapping[str, Any] = {}
    """Every other key of the file, untouched."""
    notes: tuple[str, ...] = ()
    """What was contradictory or noteworthy and how it was read, in sentences."""

    @property
    def action_space_type(self) -> ActionSpaceType:
        """Discrete for a list of actions, continuous for a range."""
        if isinstance(self.action_space, ActionRange):
            return ActionSpaceType.CONTINUOUS
        return ActionSpaceType.DISCRETE

    @property
    def output_count(self) -> int:
        """How many numbers the network must answer with."""
        return 2 if isinstance(self.action_space, ActionRange) else len(self.action_space)

    @property
    def camera(self) -> Sensor:
        """The one camera entry; of a stereo pair both eyes."""
        return next(sensor for sensor in self.sensors if sensor not in LIDAR_SENSORS)

    @property
    def lidar(self) -> LidarConfig | None:
        """What the LIDAR input consists of; None for a policy without one."""
        for sensor in self.sensors:
            if sensor in LIDAR_SENSORS:
                return LidarConfig.from_metadata(self.lidar_config, sensor)
        return None

    def understood(self) -> dict[str, Any]:
        """Return what the car makes of the file, in values that JSON has; angles in degrees."""
        is_sac = self.training_algorithm is TrainingAlgorithm.SAC
        return {
            "action_space_type": self.action_space_type.value,
            "output_count": self.output_count,
            "action_space": _space_understood(self.action_space),
            "action_units": self.action_units.value,
            "training_algorithm": self.training_algorithm.value,
            "sac_squash": self.sac_squash.value if is_sac else None,
            "sensors": sorted(sensor.value for sensor in self.sensors),
            "lidar": None if self.lidar is None else _lidar_understood(self.lidar),
            "input": msgspec.to_builtins(self.input),
            "control_rate_hz": self.control_rate_hz,
            "timetable": None if self.timetable is None else msgspec.to_builtins(self.timetable.entries),
            "neural_network": self.neural_network,
            "version": self.version,
            "unknown": dict(self.unknown),
            "notes": list(self.notes),
        }


def _space_understood(space: tuple[Action, ...] | ActionRange) -> Any:
    if isinstance(space, ActionRange):
        return {
            "steering_deg": {"low": space.steering_low_deg, "high": space.steering_high_deg},
            "speed_mps": {"low": space.speed_low_mps, "high": space.speed_high_mps},
        }
    return [
        {"output": index, "steering_deg": action.steering_deg, "speed_mps": action.speed_mps}
        for index, action in enumerate(space)
    ]


def _lidar_understood(lidar: LidarConfig) -> dict[str, Any]:
    has_sectors = lidar.sensor is not Sensor.LIDAR
    return {
        "sensor": lidar.sensor.value,
        "input_size": lidar.input_size,
        "num_rays": lidar.num_rays,
        "num_sectors": lidar.num_sectors if has_sectors else None,
        "values_per_sector": lidar.values_per_sector if has_sectors else None,
        "angle_deg": {
            "low": round(math.degrees(lidar.angle_low_rad), 6),
            "high": round(math.degrees(lidar.angle_high_rad), 6),
        },
        "min_m": lidar.min_m,
        "clip_m": lidar.clip_m,
    }
