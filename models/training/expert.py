"""A pure-pursuit driver that knows the truth: what a policy's lap times are compared with.

It follows the centre line, knows this car's grip, battery and servo, and lets off in time for each bend. It
sees nothing and waits for no camera; its commands take the same way to the wheels as a policy's.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from calibration import steering, throttle
from models.training.fleet import Fleet
from vehicle.hil.dynamics import GRAVITY_MPS2, CarParameters
from vehicle.hil.track import SPACING_M, Track

Floats: TypeAlias = npt.NDArray[np.float64]

GRIP_SHARE = 0.75  # of what the tyres can give sideways; more leaves some starts in the grass
SLOWING_SHARE = 0.85  # of the deceleration of a rolling car
ANTICIPATION_S = 0.12  # from a command to the wheels: pulse, motor and servo
DELAY_S = 0.09  # it steers from where the car will be when its servo has moved
NEAREST_M, NEAREST_S = 0.28, 0.20  # how far ahead it aims: a distance, and a time at the present speed
FULL_SPEED_MPS = 4.0


def speed_profile(track: Track, car: CarParameters) -> Floats:
    """Return the fastest sensible speed at each centre-line point for this car."""
    bend = np.maximum(np.abs(track.curvature_per_m), 1e-3)
    fastest = np.sqrt(GRIP_SHARE * car.grip * GRAVITY_MPS2 / bend)
    fastest = np.minimum(fastest, FULL_SPEED_MPS * car.battery_gain)
    squares = (fastest**2).tolist()
    gain = 2 * SLOWING_SHARE * car.coast_mps2 * SPACING_M
    count = len(squares)
    for index in range(2 * count - 1, -1, -1):  # twice round: the bend after the line counts before it too
        here, after = index % count, (index + 1) % count
        squares[here] = min(squares[here], squares[after] + gain)
    return np.sqrt(np.array(squares, dtype=np.float64))


class Expert:
    """Drives every car of a fleet from its true state."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        tracks = fleet.tracks.tracks
        self._profiles = [
            speed_profile(tracks[int(fleet.track[car])], fleet.parameters(car))
            for car in range(len(fleet.track))
        ]

    def decide(self) -> tuple[Floats, Floats]:
        """Return the shares of steering and throttle for every car."""
        pairs = [self._decide_one(car) for car in range(len(self._profiles))]
        turn, push = zip(*pairs, strict=True)
        return np.array(turn), np.array(push)

    def _decide_one(self, car: int) -> tuple[float, float]:
        fleet, profile = self._fleet, self._profiles[car]
        parameters = fleet.parameters(car)
        track = fleet.tracks.tracks[int(fleet.track[car])]
        speed = float(fleet.speed_mps[car])
        x, y, yaw = (
            float(np.atleast_1d(v)[car]) for v in (fleet.state.x_m, fleet.state.y_m, fleet.state.yaw_rad)
        )
        turning = float(np.atleast_1d(fleet.state.yaw_rate_radps)[car])
        x += speed * math.cos(yaw + turning * DELAY_S / 2) * DELAY_S
        y += speed * math.sin(yaw + turning * DELAY_S / 2) * DELAY_S
        yaw += turning * DELAY_S
        aim_x, aim_y, _ = track.pose_at(
            float(fleet.s_m[car]) + speed * DELAY_S + max(NEAREST_M, NEAREST_S * speed)
        )
        away = math.hypot(aim_x - x, aim_y - y)
        bearing = math.atan2(aim_y - y, aim_x - x) - yaw
        curvature = 2 * math.sin(bearing) / away

        # The tyres give lateral acceleration through a tanh; turn further by what they will not follow.
        limit = parameters.grip * GRAVITY_MPS2
        share = min(0.95, speed * speed * abs(curvature) / limit)
        demand = math.atanh(share) / share if share > 1e-3 else 1.0
        angle = math.atan(parameters.wheelbase_m * curvature * demand)
        angle = (angle - parameters.trim_rad) / parameters.steering_gain
        turn = steering.frac_from_angle(fleet.settings.calibration.steering, angle)

        ahead = (int(fleet.index[car]) + round(ANTICIPATION_S * speed / SPACING_M)) % len(profile)
        wanted = float(profile[ahead])
        asked = FULL_SPEED_MPS if speed < wanted - 0.1 else wanted / parameters.battery_gain
        table = fleet.settings.calibration.speed_table
        assert table is not None, "a fleet's calibration has a speed table"
        return turn, throttle.frac_from_speed(table, asked if speed < wanted + 0.15 else 0.0)
