"""What stands and drives beside the car: boxes on the track, parked cars and moving ones, as upright boxes.

Where each is depends on the world's time alone, so that whoever asks, in whatever order, gets the same.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from vehicle.hil.settings import MarkerSettings, Obstacle, OtherCar
from vehicle.hil.track import Track
from vehicle.start_marker import PAPERS, sheet_image

Floats: TypeAlias = npt.NDArray[np.float64]
Bgr: TypeAlias = tuple[float, float, float]

OBSTACLE_COLOUR: Bgr = (60.0, 150.0, 200.0)  # cardboard
CAR_COLOUR: Bgr = (70.0, 45.0, 40.0)
SHEET_PX_PER_MM = 2.0
INK_LEVEL, PAPER_LEVEL, BACK_LEVEL = 30, 232, 220  # gray, in the room's own light
SHEET_M = 0.004  # thick: for a LIDAR

# Our own measure of a 1/18 car with its bumpers; the wheels of an AWS DeepRacer stand 0.164 m apart
# lengthways and 0.162 m sideways (deepracer_stereo_cam_lidar.urdf of its simulation).
CAR_LENGTH_M = 0.36
CAR_WIDTH_M = 0.20
CAR_HEIGHT_M = 0.20
CAR_REAR_M = 0.09  # behind the rear axle


class Box(NamedTuple):
    """An upright box standing on the floor."""

    x_m: float
    """Of its middle."""
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    height_m: float
    colour: Bgr


class Sign(NamedTuple):
    """A sheet standing on the floor."""

    x_m: float
    """Of the middle of its lower edge."""
    y_m: float
    yaw_rad: float
    """Where its face looks."""
    width_m: float
    height_m: float
    face: npt.NDArray[np.uint8]
    """Gray, upright as seen from the front."""
    back_level: int


class Things:
    """Everything that is in the way in one world."""

    def __init__(
        self,
        track: Track,
        obstacles: Sequence[Obstacle] = (),
        cars: Sequence[OtherCar] = (),
        marker: MarkerSettings | None = None,
        *,
        start_ns: int = 0,
    ) -> None:
        """`start_ns` is when the moving cars were where their settings say."""
        self._track = track
        self._obstacles = tuple(obstacles)
        self._cars = tuple(cars)
        self._start_ns = start_ns
        self._standing = tuple(self._obstacle(one) for one in self._obstacles)
        self._marker = marker
        self.signs = () if marker is None else (self._sheet(marker),)
        """Paper: it is seen, and hurts nobody."""

    def on(self, track: Track) -> "Things":
        """Return the same things as far along another track."""
        return Things(track, self._obstacles, self._cars, self._marker, start_ns=self._start_ns)

    def boxes_at(self, now_ns: int) -> tuple[Box, ...]:
        """Return where everything is at this time."""
        if not self._cars:
            return self._standing
        elapsed_s = (now_ns - self._start_ns) / 1e9
        return (*self._standing, *(self._car(one, elapsed_s) for one in self._cars))

    def sheets(self) -> tuple[Box, ...]:
        """Return the sheets as a LIDAR sees them."""
        return tuple(
            Box(sign.x_m, sign.y_m, sign.yaw_rad, SHEET_M, sign.width_m, sign.height_m, OBSTACLE_COLOUR)
            for sign in self.signs
        )

    def _sheet(self, marker: MarkerSettings) -> Sign:
        on_line = self._track.project(*self._track.pose_at(marker.s_m)[:2])
        half_width_m = float(self._track.half_width_m[on_line.nearest])
        aside_m = (half_width_m + marker.beside_m) * (1 if marker.is_left else -1)
        x_m, y_m, heading_rad = self._track.pose_at(marker.s_m, aside_m)
        paper = PAPERS[marker.paper]
        return Sign(
            x_m,
            y_m,
            heading_rad + math.pi + math.radians(marker.turned_deg),
            paper.width_mm / 1000,
            paper.height_mm / 1000,
            sheet_image(paper, SHEET_PX_PER_MM, INK_LEVEL, PAPER_LEVEL),
            BACK_LEVEL,
        )

    def _obstacle(self, one: Obstacle) -> Box:
        x_m, y_m, heading_rad = self._track.pose_at(one.s_m, one.offset_m)
        yaw_rad = heading_rad + math.radians(one.turned_deg)
        return Box(x_m, y_m, yaw_rad, one.length_m, one.width_m, one.height_m, OBSTACLE_COLOUR)

    def _car(self, one: OtherCar, elapsed_s: float) -> Box:
        x_m, y_m, yaw_rad = self._track.pose_at(one.s_m + one.speed_mps * elapsed_s, one.offset_m)
        return Box(x_m, y_m, yaw_rad, CAR_LENGTH_M, CAR_WIDTH_M, CAR_HEIGHT_M, CAR_COLOUR)


def own_box(x_m: float, y_m: float, yaw_rad: float) -> Box:
    """Return the room that the car itself takes, from the pose of its rear axle."""
    ahead_m = CAR_LENGTH_M / 2 - CAR_REAR_M
    middle_x_m, middle_y_m = x_m + ahead_m * math.cos(yaw_rad), y_m + ahead_m * math.sin(yaw_rad)
    return Box(middle_x_m, middle_y_m, yaw_rad, CAR_LENGTH_M, CAR_WIDTH_M, CAR_HEIGHT_M, CAR_COLOUR)


def corners(box: Box) -> Floats:
    """Return the four corners on the floor, 4 x 2 in m: front left, then counter-clockwise."""
    cos, sin = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
    along = np.array([1.0, -1.0, -1.0, 1.0]) * box.length_m / 2
    aside = np.array([1.0, 1.0, -1.0, -1.0]) * box.width_m / 2
    return np.stack([box.x_m + along * cos - aside * sin, box.y_m + along * sin + aside * cos], axis=1)


def touch(one: Box, other: Box) -> bool:
    """Return whether two boxes overlap on the floor: no side of either has the other beyond it."""
    reach_m = (math.hypot(one.length_m, one.width_m) + math.hypot(other.length_m, other.width_m)) / 2
    if math.hypot(one.x_m - other.x_m, one.y_m - other.y_m) > reach_m:
        return False
    mine, theirs = corners(one), corners(other)
    for yaw_rad in (one.yaw_rad, one.yaw_rad + math.pi / 2, other.yaw_rad, other.yaw_rad + math.pi / 2):
        axis = np.array([math.cos(yaw_rad), math.sin(yaw_rad)])
        a, b = mine @ axis, theirs @ axis
        if a.max() < b.min() or b.max() < a.min():
            return False
    return True
