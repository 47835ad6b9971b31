"""What a LIDAR measures: rays against walls and boxes, for one place or many at once.

The walls stand `BARRIER_M` beyond the borders of the track, where a car crashes. Where two stretches of
track lie so near each other that their walls would stand inside the other's room, there is none between.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vehicle.hil.things import Box, corners
from vehicle.hil.track import Track

Floats: TypeAlias = npt.NDArray[np.float64]

JOINED_M = 0.4  # where a corner is cut out, its two ends are joined over up to this
WALL_PIECE_POINTS = 4  # of the centre line in one straight piece of wall, about 0.12 m
INSIDE_M = 0.02  # a wall this far within the room of another stretch of track is not there
BATCH_CELLS = 2_000_000  # of rays times pieces at once, some 50 MB


def walls(track: Track, beyond_border_m: float) -> Floats:
    """Return the track's walls as M pieces, M x 4: x and y of one end, x and y of the other, in m."""
    side_m = track.half_width_m + beyond_border_m
    normal = np.stack([-np.sin(track.heading_rad), np.cos(track.heading_rad)], axis=1)
    pieces = []
    for sign in (1.0, -1.0):
        line = (track.center + sign * side_m[:, None] * normal)[::WALL_PIECE_POINTS]
        kept = np.flatnonzero(_depth_m(line, track.center, side_m) < INSIDE_M)
        following = np.roll(kept, -1)
        begins, ends = line[kept], line[following]
        is_next = (kept + 1) % len(line) == following
        is_joined = is_next | (np.hypot(*(ends - begins).T) < JOINED_M)
        pieces.append(np.concatenate([begins, ends], axis=1)[is_joined])
    return np.concatenate(pieces)


def _depth_m(points: Floats, center: Floats, side_m: Floats) -> Floats:
    """Return how deep each point lies in the room around the centre line; negative outside."""
    deepest = np.full(len(points), -np.inf)
    for start in range(0, len(center), 256):  # in parts: long tracks have thousands of points
        part = slice(start, start + 256)
        apart = np.hypot(*(points[:, None] - center[None, part]).transpose(2, 0, 1))
        deepest = np.maximum(deepest, (side_m[part] - apart).max(axis=1))
    return deepest


def box_sides(boxes: Sequence[Box], height_m: float = 0.0) -> Floats:
    """Return the sides of the boxes that reach up to this height, as pieces of wall."""
    tall = [corners(box) for box in boxes if box.height_m >= height_m]
    if not tall:
        return np.empty((0, 4))
    return np.concatenate([np.concatenate([c, np.roll(c, -1, axis=0)], axis=1) for c in tall])


def cast(places: Floats, angles_rad: Floats, pieces: Floats) -> Floats:
    """Return the distance along each ray to the nearest piece of wall: B x N in m, inf where there is none.

    Args:
        places: B x 3, x and y in m and direction in rad of each LIDAR.
        angles_rad: N, of the rays, from that direction, positive left.
        pieces: M x 4, the two ends of each piece.

    """
    rays = len(angles_rad)
    if not len(pieces):
        return np.full((len(places), rays), np.inf)
    at_once = max(1, BATCH_CELLS // (rays * len(pieces)))
    parts = [_cast(places[i : i + at_once], angles_rad, pieces) for i in range(0, len(places), at_once)]
    return np.concatenate(parts)


def _cast(places: Floats, angles_rad: Floats, pieces: Floats) -> Floats:
    """Solve place + t * ray = end + u * side for every ray and piece; t is the distance, u within 0 to 1."""
    direction = places[:, 2, None] + angles_rad
    ray_x, ray_y = np.cos(direction)[:, :, None], np.sin(direction)[:, :, None]  # B x N x 1
    end_x, end_y = pieces[:, 0] - places[:, :1], pieces[:, 1] - places[:, 1:2]  # B x M
    side_x, side_y = pieces[:, 2] - pieces[:, 0], pieces[:, 3] - pieces[:, 1]  # M
    across = ray_x * side_y - ray_y * side_x
    with np.errstate(divide="ignore", invalid="ignore"):  # parallel: inf or NaN, which no bound holds
        distance = (end_x * side_y - end_y * side_x)[:, None] / across
        share = (end_x[:, None] * ray_y - end_y[:, None] * ray_x) / across
    hits = (distance >= 0.0) & (share >= 0.0) & (share <= 1.0)
    return np.asarray(np.where(hits, distance, np.inf).min(axis=2))


def spread_rad(rays: int, field_deg: float) -> Floats:
    """Return the angles of evenly spaced rays, right to left; all round, the last is not the first again."""
    half_rad = math.radians(field_deg) / 2
    if field_deg >= 360.0:
        return np.linspace(-half_rad, half_rad, rays, endpoint=False)
    return np.linspace(-half_rad, half_rad, rays)
