"""A LIDAR's scan to the numbers that a network was trained on.

Whatever rays a LIDAR has, the network gets the angles of its training: a ray between two of the LIDAR's
own is interpolated linearly between them. A ray that came back from nothing counts as the training
sensor's full reach, and so does an angle that the LIDAR does not look at.

    sensor                     index                       meaning                          min    max
    LIDAR                      ray, right to left          distance in m, clipped           min_m  clip_m
    SECTOR_LIDAR               sector, right to left       1 if nearest < clip_m, else 0    0      1
    DISCRETIZED_SECTOR_LIDAR   sector, then step outwards  1 in the step of the nearest     0      1

In the discretised one, the step is floor(nearest / (clip_m / values_per_sector)), and a sector is all
zero where nothing is nearer than clip_m. `models.lidar_config` has the numbers and where they come from.
"""

import math

import msgspec
import numpy as np
import numpy.typing as npt

from models.lidar_config import LidarConfig
from models.sensors import Sensor

FULL_CIRCLE_RAD = 2.0 * math.pi
ANGLE_SLACK_RAD = 1e-5  # rounding to float32 moves an end by up to 2e-7
WHOLE_GAP_RAYS = 1.5  # a gap behind the first and last ray up to this many rays wide is none

Floats = npt.NDArray[np.float32]


class Scan(msgspec.Struct, frozen=True):
    """One turn of a LIDAR, seen from the car: x forward, angles counter-clockwise."""

    angles_rad: Floats
    """(N,), ascending, at most once round; 0 is straight ahead, positive is left.

    Where the turn begins does not matter: 3 pi / 2 is -pi / 2.
    """
    ranges_m: Floats
    """(N,), of each ray; inf where nothing is within reach, never NaN."""

    def __post_init__(self) -> None:
        angles, ranges = self.angles_rad, self.ranges_m
        if angles.ndim != 1 or angles.shape != ranges.shape or angles.size < 2:
            raise ValueError(
                f"a scan has angles of shape {angles.shape} and ranges of shape {ranges.shape}, "
                "not the same number of both, 2 or more"
            )
        if not (np.diff(angles) > 0.0).all():
            raise ValueError("a scan's angles do not ascend")
        if angles[-1] - angles[0] > FULL_CIRCLE_RAD + ANGLE_SLACK_RAD:
            raise ValueError("a scan goes round more than once")
        if not (ranges >= 0.0).all():
            raise ValueError("a scan has a range that is negative or not a number")


def lidar_values(scan: Scan, config: LidarConfig) -> Floats:
    """Return the network's numbers for a scan, of shape (config.input_size,), as the table above has them."""
    ranges_m = resampled(scan, config)
    if config.sensor is Sensor.LIDAR:
        clipped: Floats = np.clip(ranges_m, config.min_m, config.clip_m)
        return clipped

    nearest_m = ranges_m.reshape(config.num_sectors, config.rays_per_sector).min(axis=1)
    if config.sensor is Sensor.SECTOR_LIDAR:
        is_near: Floats = (nearest_m < config.clip_m).astype(np.float32)
        return is_near
    return _one_hot_steps(nearest_m, config)


def resampled(scan: Scan, config: LidarConfig) -> Floats:
    """Return the distance in m at each of the training's angles, right to left, at most max_m."""
    angles_rad = scan.angles_rad.astype(np.float64)
    ranges_m = np.minimum(scan.ranges_m, config.max_m).astype(np.float64)
    span_rad = angles_rad[-1] - angles_rad[0]
    ray_rad = span_rad / (angles_rad.size - 1)
    begin_rad, end_rad = angles_rad[0] - ANGLE_SLACK_RAD, angles_rad[-1] + ANGLE_SLACK_RAD
    wanted_rad = begin_rad + (training_angles_rad(config) - begin_rad) % FULL_CIRCLE_RAD
    # A LIDAR that sees all round has no end: its last ray is the neighbour of its first.
    sees_all_round = FULL_CIRCLE_RAD - span_rad <= WHOLE_GAP_RAYS * ray_rad
    if sees_all_round:
        angles_rad = np.concatenate(
            ([angles_rad[-1] - FULL_CIRCLE_RAD], angles_rad, [angles_rad[0] + FULL_CIRCLE_RAD])
        )
        ranges_m = np.concatenate((ranges_m[-1:], ranges_m, ranges_m[:1]))
    found_m = np.interp(wanted_rad, angles_rad, ranges_m)
    if not sees_all_round:
        found_m[wanted_rad > end_rad] = config.max_m
    ranges: Floats = found_m.astype(np.float32)
    return ranges


def training_angles_rad(config: LidarConfig) -> npt.NDArray[np.float64]:
    """Return the angles of the training's rays, both ends included, right to left."""
    return np.linspace(config.angle_low_rad, config.angle_high_rad, config.num_rays)


def _one_hot_steps(nearest_m: Floats, config: LidarConfig) -> Floats:
    values = np.zeros((config.num_sectors, config.values_per_sector), np.float32)
    is_near = nearest_m < config.clip_m
    steps = np.floor(nearest_m[is_near] / config.step_m).astype(np.intp)
    values[is_near, np.minimum(steps, config.values_per_sector - 1)] = 1.0  # a division may round up
    return values.reshape(-1)
