"""Boxes in a camera's picture: obstacles and other cars, seen through the same lens as the floor."""

import math
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from vehicle.hil.scenery import Image
from vehicle.hil.things import Box, corners

if TYPE_CHECKING:
    from vehicle.hil.render import CameraParameters

Floats: TypeAlias = npt.NDArray[np.float64]

NEAR_M = 0.02  # before the lens; what is nearer is cut off
UNSTRETCH_ROUNDS = 8
SUBPIXEL_BITS = 4
FARTHEST_PX = 1 << 20  # OpenCV's own arithmetic ends some way beyond
LIGHT_FROM_RAD = 0.6
TOP_LIGHT, LEAST_LIGHT = 1.1, 0.65


class Projection:
    """Where a point in space lies in the picture of one camera: the way back of `render.Lens`."""

    def __init__(self, camera: "CameraParameters", size: tuple[int, int]) -> None:
        self._camera = camera
        self._size = size
        self._focal_px = size[0] / 2 / math.tan(camera.fov_rad / 2)

    def from_camera(self, points: Floats) -> Floats:
        """Return points (N x 3: m ahead of the rear axle, left, up) in the camera's own three directions."""
        camera = self._camera
        forward = points[:, 0] - camera.forward_m
        left, up = points[:, 1] - camera.left_m, points[:, 2] - camera.height_m
        cos, sin = math.cos(camera.yaw_rad), math.sin(camera.yaw_rad)
        forward, left = forward * cos + left * sin, left * cos - forward * sin
        cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
        forward, up = forward * cos - up * sin, forward * sin + up * cos
        cos, sin = math.cos(camera.roll_rad), math.sin(camera.roll_rad)
        left, up = left * cos + up * sin, up * cos - left * sin
        return np.stack([forward, left, up], axis=1)

    def pixels(self, seen: Floats) -> Floats:
        """Return column and row (N x 2) of points ahead of the camera, as `from_camera` gives them."""
        place = -seen[:, 1:] / seen[:, :1]
        if self._camera.k1:
            place = _unstretched(place, self._camera.k1)
        width, height = self._size
        return place * self._focal_px + np.array([width - 1, height - 1]) / 2


def _unstretched(place: Floats, k1: float) -> Floats:
    """Return what the lens stretches to these places: r with r + k1 r^3 = their distance, by Newton's way.

    A pincushion reaches no further than where it begins to fold back; what lies beyond comes to its edge.
    """
    wanted = np.hypot(place[:, :1], place[:, 1:])
    edge = 0.99 / math.sqrt(-3.0 * k1) if k1 < 0 else math.inf
    radius = np.minimum(wanted, edge)
    for _ in range(UNSTRETCH_ROUNDS):
        radius -= (radius + k1 * radius**3 - wanted) / (1 + 3 * k1 * radius**2)
        radius = np.clip(radius, 0.0, edge)
    return np.asarray(place * (radius / np.maximum(wanted, 1e-12)))


def draw_box(image: Image, box: Box, pose: tuple[float, float, float], projection: Projection) -> None:
    """Draw a box into the picture; `pose` is that of the rear axle."""
    floor = from_pose(np.column_stack([corners(box), np.zeros(4)]), pose)
    roof = floor + np.array([0.0, 0.0, box.height_m])
    faces = [(floor[[i, (i + 1) % 4]], roof[[(i + 1) % 4, i]]) for i in range(4)]
    quads = [(np.concatenate(face), _side_light(box, index)) for index, face in enumerate(faces)]
    for quad, light in [*quads, (roof, TOP_LIGHT)]:
        seen = _before_the_lens(projection.from_camera(quad))
        # Corners run counter-clockwise as seen from outside, and so do those of a face that is turned here.
        if len(seen) >= 3 and _faces_the_lens(seen):
            _fill(image, projection.pixels(seen), box, light)


def from_pose(points: Floats, pose: tuple[float, float, float]) -> Floats:
    """Return points of the room (N x 3, m) as m ahead of the rear axle at this pose, left, up."""
    x_m, y_m, yaw_rad = pose
    east, north, up = (points - np.array([x_m, y_m, 0.0])).T
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.stack([east * cos + north * sin, north * cos - east * sin, up], axis=1)


def _side_light(box: Box, index: int) -> float:
    """Return how bright a side is: that of the corners `index` and the next, front left first."""
    outward_rad = box.yaw_rad + math.pi / 2 * (index + 1)
    return LEAST_LIGHT + (1 - LEAST_LIGHT) * (1 + math.cos(outward_rad - LIGHT_FROM_RAD)) / 2


def _faces_the_lens(seen: Floats) -> bool:
    normal = np.cross(seen[1] - seen[0], seen[2] - seen[1])
    return float(normal @ seen[0]) < 0.0


def _before_the_lens(seen: Floats) -> Floats:
    """Cut off the part of a polygon that lies behind the lens."""
    kept = []
    for here, following in zip(seen, np.roll(seen, -1, axis=0), strict=True):
        if here[0] >= NEAR_M:
            kept.append(here)
        if (here[0] >= NEAR_M) != (following[0] >= NEAR_M):
            share = (NEAR_M - here[0]) / (following[0] - here[0])
            kept.append(here + share * (following - here))
    return np.array(kept).reshape(-1, 3)


def _fill(image: Image, pixels: Floats, box: Box, light: float) -> None:
    colour = [min(255.0, part * light) for part in box.colour]
    if image.ndim == 2:
        colour = [0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2]]
    places = np.clip(np.rint(pixels * (1 << SUBPIXEL_BITS)), -FARTHEST_PX, FARTHEST_PX).astype(np.int32)
    cv2.fillConvexPoly(image, places, colour, cv2.LINE_AA, SUBPIXEL_BITS)
