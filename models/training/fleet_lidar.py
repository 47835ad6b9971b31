"""The LIDARs of many cars: one turn each, measured where the car's newest picture was taken.

That the driving car's LIDAR turns at a rate of its own, so that its scan may be older than the picture, is
left out here; the HIL car has it.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from models.lidar import Scan
from vehicle.hil.lidar_rays import cast, spread_rad, walls
from vehicle.hil.settings import LidarSettings
from vehicle.hil.track import Track
from vehicle.hil.world import BARRIER_M

Floats: TypeAlias = npt.NDArray[np.float64]


class FleetLidar:
    """What each car's LIDAR measured last."""

    def __init__(self, tracks: list[Track], count: int, seed: int) -> None:
        self._settings = LidarSettings()
        self._walls = [walls(track, BARRIER_M) for track in tracks]
        self._rays_rad = spread_rad(self._settings.rays, self._settings.field_deg)
        self._angles_rad = self._rays_rad.astype(np.float32)
        self._ranges_m = np.full((count, self._settings.rays), np.inf, np.float32)
        self._seed = seed

    def measure(self, car: int, track: int, pose: tuple[float, float, float], number: int) -> None:
        """Measure from a car's rear axle and direction; the noise depends on seed, car and number alone."""
        x_m, y_m, yaw_rad = pose
        ahead_m = self._settings.forward_m
        place = np.array([[x_m + ahead_m * math.cos(yaw_rad), y_m + ahead_m * math.sin(yaw_rad), yaw_rad]])
        true_m: Floats = np.asarray(cast(place, self._rays_rad, self._walls[track])[0])
        noise = np.random.default_rng([self._seed, car, number]).normal(0.0, 1.0, true_m.shape)
        measured_m = true_m + self._settings.noise_m * noise
        is_seen = (measured_m >= self._settings.min_m) & (measured_m <= self._settings.max_m)
        self._ranges_m[car] = np.where(is_seen, measured_m, np.inf)

    def scan(self, car: int) -> Scan:
        """Return a car's newest scan, in memory of its own."""
        return Scan(self._angles_rad, self._ranges_m[car].copy())
