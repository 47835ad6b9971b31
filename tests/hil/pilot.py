"""A driver for tests who sees the world's truth: keeps to a track's middle as fast as it is told."""

import math

from tests.hil.rig import Rig
from vehicle.hil.track import load_track
from vehicle.messages import RequestKind

AHEAD_M = 0.55
AHEAD_S = 0.12
SIDEWAYS_MPS2 = 4.5
BRAKING_MPS2 = 1.8
WHEELBASE_M = 0.165
TOP_SPEED_MPS = 4.0
GAIN_PER_MPS = 0.6


class Pilot:
    """Steers by hand, through the vehicle's own operator, limits and board."""

    def __init__(self, rig: Rig, track: str, top_mps: float) -> None:
        self._rig = rig
        self._track = load_track(track)
        self._top_mps = top_mps
        self._lock_rad = rig.calibration.steering.left_rad

    def tick(self) -> None:
        """Ask for steering and throttle for this moment, and let it pass."""
        truth = self._rig.world.truth_now()
        place = self._track.project(truth.x_m, truth.y_m)
        x, y, _ = self._track.pose_at(place.s_m + AHEAD_M + AHEAD_S * truth.speed_mps)
        turn = math.atan2(y - truth.y_m, x - truth.x_m) - truth.heading_rad
        away_m = math.hypot(x - truth.x_m, y - truth.y_m)
        angle = math.atan(2 * WHEELBASE_M * math.sin(turn) / away_m)
        wanted_mps = self._allowed_mps(place.s_m)
        throttle = wanted_mps / TOP_SPEED_MPS + GAIN_PER_MPS * (wanted_mps - truth.speed_mps)
        self._rig.send(
            RequestKind.DRIVE,
            steering_frac=max(-1.0, min(1.0, angle / self._lock_rad)),
            throttle_frac=max(0.0, min(1.0, throttle)),
        )
        self._rig.tick()

    def _allowed_mps(self, s_m: float) -> float:
        """Return how fast the car may be here, so that it can still slow down for what lies ahead."""
        allowed = self._top_mps
        for ahead_m in (0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0, 2.5):
            x, y, _ = self._track.pose_at(s_m + ahead_m)
            curvature = abs(self._track.project(x, y).curvature_per_m)
            corner_mps = math.sqrt(SIDEWAYS_MPS2 / max(curvature, 0.05))
            allowed = min(allowed, math.sqrt(corner_mps**2 + 2 * BRAKING_MPS2 * ahead_m))
        return allowed
