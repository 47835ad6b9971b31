"""Boxes in a camera's picture: obstacles and other cars, seen through the same lens as the floor."""

import math

import cv2
import numpy as np

from vehicle.hil.lens import NEAR_M, Floats, Projection, from_pose
from vehicle.hil.scenery import Image
from vehicle.hil.things import Box, corners

SUBPIXEL_BITS = 4
FARTHEST_PX = 1 << 20  # OpenCV's own arithmetic ends some way beyond
LIGHT_FROM_RAD = 0.6
TOP_LIGHT, LEAST_LIGHT = 1.1, 0.65


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
