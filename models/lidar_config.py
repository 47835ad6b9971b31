"""What a policy's LIDAR input consists of, from either key set of `lidar_config`.

Two programs write that object, with different keys:

    training   num_sectors, num_values_per_sector, clipping_dist; read for DISCRETIZED_SECTOR_LIDAR alone,
               the other two sensors are fixed
    the car    num_values, min_angle, max_angle, min_distance, max_distance, clipping_distance, num_sectors

Training's values are what the network has learned, so its defaults are the defaults here. Where the AWS
car differs, this car does as training does: the AWS car cuts a LIDAR off at its `max_distance` of 0.5 m,
training at 1.0 m; `clipping_distance` of the car's keys is training's meaning.

    sensor                     numbers               meaning of one            least  most
    LIDAR                      num_rays (64)         distance in m             min_m  clip_m (1.0)
    SECTOR_LIDAR               num_sectors (8)       1 if nearest < clip_m     0      1      (clip_m 0.5)
    DISCRETIZED_SECTOR_LIDAR   sectors x values (64) one-hot of nearest/clip_m 0      1      (clip_m 2.0)

In the discretised one, a sector is all zero where nothing is nearer than clip_m.
"""

import math
from collections.abc import Mapping
from typing import Any, Self

import msgspec

from models.field_checks import number, refuse, shown, whole_number
from models.sensors import LIDAR_SENSORS, Sensor

NUM_RAYS = 64
HALF_ANGLE_DEG = 150.0
MIN_M = 0.15  # the simulated LIDAR's reach, either end
MAX_M = 12.0

NUM_RAYS_MAX = 1024  # the largest scan of a LIDAR that fits such a car has about a thousand
NUM_SECTORS = 8
VALUES_PER_SECTOR = 8
VALUES_PER_SECTOR_MAX = 64
LIDAR_CLIP_M = 1.0
SECTOR_NEAR_M = 0.5
DISCRETIZED_CLIP_M = 2.0

TRAINING_KEYS = frozenset({"num_sectors", "num_values_per_sector", "clipping_dist"})
CAR_KEYS = frozenset(
    {
        "num_values",
        "min_angle",
        "max_angle",
        "min_distance",
        "max_distance",
        "clipping_distance",
        "num_sectors",
    }
)


class LidarConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a scan becomes one LIDAR sensor's input."""

    sensor: Sensor
    num_rays: int = NUM_RAYS
    """Evenly spaced from angle_low_rad to angle_high_rad, both ends included."""
    num_sectors: int = NUM_SECTORS
    """Blocks of neighbouring rays; divides num_rays. Means nothing for LIDAR."""
    values_per_sector: int = 1
    """Steps of distance in a sector; 1 where a sector is only near or not."""
    clip_m: float = LIDAR_CLIP_M
    """What lies at or beyond it counts as nothing there."""
    min_m: float = MIN_M
    max_m: float = MAX_M
    """How far the sensor sees that it was trained with; never less than clip_m."""
    angle_low_rad: float = -math.radians(HALF_ANGLE_DEG)
    angle_high_rad: float = math.radians(HALF_ANGLE_DEG)
    """Positive is left, 0 straight ahead."""

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any] | None, sensor: Sensor) -> Self:
        """Read `lidar_config` of a metadata file for one LIDAR; raises PolicyError with a sentence."""
        if sensor not in LIDAR_SENSORS:
            raise ValueError(f"{sensor} is no LIDAR")
        fields = config or {}
        if sensor is Sensor.DISCRETIZED_SECTOR_LIDAR:
            return cls._discretized(fields)
        if "num_values" in fields or fields.keys() & (CAR_KEYS - TRAINING_KEYS):
            return cls._from_car_keys(fields, sensor)
        return cls(sensor=sensor, clip_m=LIDAR_CLIP_M if sensor is Sensor.LIDAR else SECTOR_NEAR_M)

    @classmethod
    def _discretized(cls, fields: Mapping[str, Any]) -> Self:
        clip_key = "clipping_dist" if "clipping_dist" in fields else "clipping_distance"
        num_rays = _count(fields, "num_values", NUM_RAYS, NUM_RAYS_MAX)
        angle_low_rad, angle_high_rad = _angles(fields)
        return cls(
            sensor=Sensor.DISCRETIZED_SECTOR_LIDAR,
            num_rays=num_rays,
            num_sectors=_sectors(fields, num_rays),
            values_per_sector=_count(
                fields, "num_values_per_sector", VALUES_PER_SECTOR, VALUES_PER_SECTOR_MAX
            ),
            clip_m=_distance(fields, clip_key, DISCRETIZED_CLIP_M),
            angle_low_rad=angle_low_rad,
            angle_high_rad=angle_high_rad,
        )

    @classmethod
    def _from_car_keys(cls, fields: Mapping[str, Any], sensor: Sensor) -> Self:
        num_rays = _count(fields, "num_values", NUM_RAYS, NUM_RAYS_MAX)
        angle_low_rad, angle_high_rad = _angles(fields)
        min_m = number(fields.get("min_distance", MIN_M), "lidar_config.min_distance", 0.0, MAX_M)
        if sensor is Sensor.LIDAR:
            clip_m = _distance(fields, "clipping_distance", LIDAR_CLIP_M)
            num_sectors = NUM_SECTORS
        else:
            clip_m = _distance(fields, "max_distance", SECTOR_NEAR_M)
            num_sectors = _sectors(fields, num_rays)
        if not min_m < clip_m:
            refuse(
                f"lidar_config goes from {min_m:g} to {clip_m:g} m",
                "min_distance must be less than where the distances are cut off",
                "correct it",
            )
        return cls(
            sensor=sensor,
            num_rays=num_rays,
            num_sectors=num_sectors,
            clip_m=clip_m,
            min_m=min_m,
            angle_low_rad=angle_low_rad,
            angle_high_rad=angle_high_rad,
        )

    @property
    def input_size(self) -> int:
        """How many numbers the network's input takes."""
        if self.sensor is Sensor.LIDAR:
            return self.num_rays
        return self.num_sectors * self.values_per_sector

    @property
    def rays_per_sector(self) -> int:
        """How many neighbouring rays one sector holds."""
        return self.num_rays // self.num_sectors

    @property
    def step_m(self) -> float:
        """Depth of one of a sector's steps of distance."""
        return self.clip_m / self.values_per_sector


def ignored_keys(config: Mapping[str, Any], sensor: Sensor) -> tuple[str, ...]:
    """Return the keys of `lidar_config` that decide nothing for this sensor, sorted."""
    if sensor is Sensor.DISCRETIZED_SECTOR_LIDAR:
        read = TRAINING_KEYS | {"num_values", "min_angle", "max_angle"}
        if "clipping_dist" not in config:
            read |= {"clipping_distance"}
    elif config.keys() & (CAR_KEYS - TRAINING_KEYS):
        read = frozenset({"num_values", "min_angle", "max_angle", "min_distance"})
        read |= {"clipping_distance"} if sensor is Sensor.LIDAR else {"max_distance", "num_sectors"}
    else:
        read = frozenset()
    return tuple(sorted(config.keys() - read))


def _count(fields: Mapping[str, Any], key: str, default: int, high: int) -> int:
    value = fields.get(key, default)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= 8:
        value = int(value)  # training turns text into a number here, and only here
    return whole_number(value, f"lidar_config.{key}", 1, high)


def _sectors(fields: Mapping[str, Any], num_rays: int) -> int:
    num_sectors = _count(fields, "num_sectors", NUM_SECTORS, num_rays)
    if num_rays % num_sectors:
        divisors = ", ".join(str(size) for size in range(1, num_rays + 1) if num_rays % size == 0)
        refuse(
            f"lidar_config.num_sectors is {num_sectors}",
            f"it must divide the {num_rays} rays: {shown(divisors)[1:-1]}",
            "use the model_metadata.json that was trained with",
        )
    return num_sectors


def _distance(fields: Mapping[str, Any], key: str, default: float) -> float:
    return number(fields.get(key, default), f"lidar_config.{key}", MIN_M, MAX_M)


def _angles(fields: Mapping[str, Any]) -> tuple[float, float]:
    low_deg = number(fields.get("min_angle", -HALF_ANGLE_DEG), "lidar_config.min_angle", -180.0, 180.0)
    high_deg = number(fields.get("max_angle", HALF_ANGLE_DEG), "lidar_config.max_angle", -180.0, 180.0)
    if not low_deg < high_deg:
        refuse(
            f"lidar_config goes from {low_deg:g} to {high_deg:g} degrees",
            "min_angle must be less than max_angle",
            "correct it",
        )
    return math.radians(low_deg), math.radians(high_deg)
