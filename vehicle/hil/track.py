"""Tracks: closed centre lines with a width, drawn here from a few lines each or read from a DeepRacer route.

Distances run along the centre line from the start line, in the direction of driving; offsets are positive
left.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from vehicle.errors import HilError

SPACING_M = 0.03  # between two points of a resampled centre line
WINDOW_M = 1.0  # a projection with a hint looks this far either way; a car moves 0.27 m in a decision
SMOOTHING_M = 0.24  # curvature is a mean over this length: route files are polygons

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

LAYOUT_POINTS = 400  # of each line: a centimetre is not seen from above
MAX_LENGTH_M = 500.0
MAX_POINTS = 100_000


class Corner(NamedTuple):
    """One corner of a polygon whose corners are rounded into a track."""

    x_m: float
    y_m: float
    radius_m: float
    width_m: float


# Driven in the order listed; the start line lies in the middle of the last side.
LAYOUTS: dict[str, tuple[Corner, ...]] = {
    "oval": (
        Corner(6.4, 0.0, 1.3, 0.8),
        Corner(6.4, 2.8, 1.3, 0.8),
        Corner(0.0, 2.8, 1.3, 0.8),
        Corner(0.0, 0.0, 1.3, 0.8),
    ),
    "chicane": (
        Corner(7.0, 0.0, 1.1, 0.76),
        Corner(7.0, 3.9, 1.1, 0.76),
        Corner(4.6, 3.9, 0.7, 0.76),
        Corner(3.6, 2.3, 0.7, 0.76),
        Corner(2.4, 2.3, 0.7, 0.76),
        Corner(1.6, 3.9, 0.7, 0.76),
        Corner(-0.4, 3.9, 0.8, 0.76),
        Corner(-0.4, 0.0, 1.1, 0.76),
    ),
    "hairpins": (
        Corner(6.6, 0.0, 0.62, 0.8),
        Corner(6.6, 1.55, 0.62, 0.8),
        Corner(2.6, 1.55, 0.75, 0.8),
        Corner(2.6, 3.3, 0.75, 0.8),
        Corner(6.6, 3.3, 0.62, 0.8),
        Corner(6.6, 5.0, 0.62, 0.8),
        Corner(0.0, 5.0, 1.2, 0.8),
        Corner(0.0, 0.0, 0.9, 0.8),
    ),
    "kidney": (
        Corner(5.6, -0.6, 1.5, 1.0),
        Corner(7.4, 2.6, 1.2, 0.9),
        Corner(5.0, 4.4, 1.0, 0.75),
        Corner(3.2, 2.7, 1.3, 0.75),
        Corner(1.0, 4.6, 1.0, 0.9),
        Corner(-1.2, 2.4, 1.2, 1.0),
        Corner(0.6, -0.6, 1.3, 1.05),
    ),
    "narrow": (
        Corner(5.2, 0.3, 0.8, 0.62),
        Corner(6.6, 2.4, 0.9, 0.62),
        Corner(4.6, 4.3, 0.9, 0.62),
        Corner(2.6, 3.2, 0.9, 0.62),
        Corner(0.4, 4.2, 0.9, 0.62),
        Corner(-0.6, 1.8, 0.9, 0.62),
        Corner(0.8, -0.4, 0.9, 0.62),
    ),
    "wide": (
        Corner(8.6, -0.8, 1.2, 1.1),
        Corner(8.2, 4.2, 1.5, 1.1),
        Corner(5.4, 3.0, 1.2, 1.1),
        Corner(3.4, 5.6, 1.2, 1.1),
        Corner(-0.6, 5.0, 1.4, 1.1),
        Corner(1.2, 2.2, 1.0, 1.1),
        Corner(-0.8, -0.6, 0.9, 1.1),
    ),
    "ell": (
        Corner(6.2, 0.0, 0.8, 0.7),
        Corner(6.2, 2.1, 0.8, 0.7),
        Corner(3.0, 2.1, 0.8, 0.8),
        Corner(3.0, 5.0, 0.9, 0.9),
        Corner(0.0, 5.0, 0.9, 0.9),
        Corner(0.0, 0.0, 0.8, 0.8),
    ),
    "esses": (
        Corner(2.6, 0.7, 1.2, 0.85),
        Corner(4.6, -0.7, 1.2, 0.85),
        Corner(6.6, 0.7, 1.2, 0.85),
        Corner(9.0, -0.3, 1.0, 0.85),
        Corner(9.0, 2.9, 1.1, 0.95),
        Corner(5.2, 2.6, 1.6, 0.85),
        Corner(2.2, 4.2, 1.6, 0.85),
        Corner(-0.8, 3.2, 1.1, 0.95),
        Corner(-0.4, -0.6, 1.1, 0.95),
    ),
}
TRACKS: tuple[str, ...] = tuple(LAYOUTS)
RANDOM = "random-"  # beginning of a name: a track drawn from the number that follows
REVERSED = "-reversed"  # ending of a name: the same track, driven the other way


class Projection(NamedTuple):
    """Where a point lies along a track."""

    nearest: int
    """Nearest centre-line point; the hint for the next projection."""
    s_m: float
    offset_m: float
    heading_rad: float
    """Of the centre line there."""
    curvature_per_m: float
    """Positive turns left."""


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """A closed track, its points about `SPACING_M` apart; the last point is not the first again."""

    name: str
    center: Floats
    """N x 2, metres."""
    inner: Floats
    outer: Floats
    source: str = ""
    """What `load_track` was given to get this track."""

    @cached_property
    def _steps_m(self) -> Floats:
        return np.asarray(np.hypot(*(np.roll(self.center, -1, axis=0) - self.center).T))

    @cached_property
    def s_m(self) -> Floats:
        """Distance of each point from the start line."""
        return np.concatenate([[0.0], np.cumsum(self._steps_m)[:-1]])

    @cached_property
    def length_m(self) -> float:
        """Of one lap along the centre line."""
        return float(self._steps_m.sum())

    @cached_property
    def heading_rad(self) -> Floats:
        """Direction of driving at each point."""
        along = np.roll(self.center, -1, axis=0) - np.roll(self.center, 1, axis=0)
        return np.arctan2(along[:, 1], along[:, 0])

    @cached_property
    def curvature_per_m(self) -> Floats:
        """One over the radius at each point, positive where the track turns left."""
        turn = np.roll(self.heading_rad, -1) - self.heading_rad
        turn = (turn + math.pi) % (2 * math.pi) - math.pi
        count = max(1, round(SMOOTHING_M / (self.length_m / len(self.center)))) | 1
        kernel = np.full(count, 1.0 / count)
        around = np.concatenate([turn[-(count // 2) :], turn, turn[: count // 2]]) if count > 1 else turn
        return np.convolve(around, kernel, mode="valid") / self._steps_m

    @cached_property
    def half_width_m(self) -> Floats:
        """From the centre line to either border, at each point."""
        return np.asarray(np.hypot(*(self.outer - self.inner).T) / 2)

    def project(self, x_m: float, y_m: float, hint: int | None = None) -> Projection:
        """Return where (x, y) lies; with a hint only points within `WINDOW_M` of it are considered."""
        count, reach = len(self.center), self._reach
        if hint is None:
            first, end = reach, reach + count
        else:
            first = hint % count
            end = first + 2 * reach + 1
        near_x_m, near_y_m = self._around_m[:, first:end]
        nearest = (first - reach + int(np.argmin((near_x_m - x_m) ** 2 + (near_y_m - y_m) ** 2))) % count
        heading = float(self.heading_rad[nearest])
        dx, dy = x_m - float(self.center[nearest, 0]), y_m - float(self.center[nearest, 1])
        along = dx * math.cos(heading) + dy * math.sin(heading)
        offset = -dx * math.sin(heading) + dy * math.cos(heading)
        s_m = (float(self.s_m[nearest]) + along) % self.length_m
        return Projection(nearest, s_m, offset, heading, float(self.curvature_per_m[nearest]))

    @cached_property
    def _reach(self) -> int:
        """How many points on either side of a hint are considered."""
        return min(len(self.center) // 2 - 1, round(WINDOW_M / (self.length_m / len(self.center))))

    @cached_property
    def _around_m(self) -> Floats:
        """The points' x and y, going on past either end as far as a hint looks: every window is one slice."""
        reach, center = self._reach, self.center
        return np.concatenate([center[len(center) - reach :], center, center[:reach]]).T.copy()

    def pose_at(self, s_m: float, offset_m: float = 0.0) -> tuple[float, float, float]:
        """Return x, y and the direction of driving at a distance along the track."""
        index = int(np.searchsorted(self.s_m, s_m % self.length_m, side="right")) - 1
        heading = float(self.heading_rad[index])
        along = s_m % self.length_m - float(self.s_m[index])
        x = float(self.center[index, 0]) + along * math.cos(heading) - offset_m * math.sin(heading)
        y = float(self.center[index, 1]) + along * math.sin(heading) + offset_m * math.cos(heading)
        return x, y, heading

    def layout(self) -> dict[str, object]:
        """Return the lines from above, in metres, with as many points as an eye needs."""
        every = max(1, len(self.center) // LAYOUT_POINTS)
        lines = {"center": self.center, "inner": self.inner, "outer": self.outer}
        return {
            "track": self.source or self.name,
            "length_m": self.length_m,
            **{name: line[::every].round(3).tolist() for name, line in lines.items()},
        }

    def reversed(self) -> "Track":
        """Return the same track driven the other way, from the same start line."""
        order = np.concatenate([[0], np.arange(len(self.center) - 1, 0, -1)])
        ending = self.name.endswith(REVERSED)
        name = self.name.removesuffix(REVERSED) if ending else self.name + REVERSED
        return Track(name, self.center[order], self.outer[order], self.inner[order])


class TrackSet:
    """Several tracks in padded arrays, so that many cars on different tracks are projected at once."""

    def __init__(self, tracks: list[Track]) -> None:
        self.tracks = tracks
        self.counts = np.array([len(track.center) for track in tracks])
        self.lengths_m = np.array([track.length_m for track in tracks])
        longest = int(self.counts.max())

        def padded(columns: list[Floats]) -> Floats:
            return np.stack([np.pad(c, (0, longest - len(c))) for c in columns])

        self.x_m = padded([t.center[:, 0] for t in tracks])
        self.y_m = padded([t.center[:, 1] for t in tracks])
        self.s_m = padded([t.s_m for t in tracks])
        self.heading_rad = padded([t.heading_rad for t in tracks])
        self.curvature_per_m = padded([t.curvature_per_m for t in tracks])
        self.half_width_m = padded([t.half_width_m for t in tracks])
        reach = round(WINDOW_M / SPACING_M)
        self._window = np.arange(-reach, reach + 1)

    def project(
        self, track: Integers, x_m: Floats, y_m: Floats, hint: Integers
    ) -> tuple[Integers, Floats, Floats]:
        """Return nearest index, distance along the track and offset of each car, near its hint."""
        rows = track[:, None]
        nearby = (hint[:, None] + self._window) % self.counts[rows]
        square = (self.x_m[rows, nearby] - x_m[:, None]) ** 2 + (self.y_m[rows, nearby] - y_m[:, None]) ** 2
        nearest = nearby[np.arange(len(track)), np.argmin(square, axis=1)]
        heading = self.heading_rad[track, nearest]
        dx, dy = x_m - self.x_m[track, nearest], y_m - self.y_m[track, nearest]
        cos, sin = np.cos(heading), np.sin(heading)
        s_m = (self.s_m[track, nearest] + dx * cos + dy * sin) % self.lengths_m[track]
        return nearest, s_m, dy * cos - dx * sin

    def curvature_ahead_per_m(self, track: Integers, index: Integers, distances_m: Sequence[float]) -> Floats:
        """Return the curvature at each distance further along, a row for each car."""
        rows = track[:, None]
        points = np.array([round(distance_m / SPACING_M) for distance_m in distances_m])
        there = (index[:, None] + points) % self.counts[rows]
        return np.asarray(self.curvature_per_m[rows, there], dtype=np.float64)


def load_track(name_or_path: str | Path) -> Track:
    """Return one of `TRACKS` by name, `random-N`, or a DeepRacer route (`.npy`); `-reversed` turns it round.

    Raises HilError for anything else.
    """
    return dataclasses.replace(_load(str(name_or_path)), source=str(name_or_path))


def _load(wanted: str) -> Track:
    if wanted.endswith(REVERSED):
        return _load(wanted.removesuffix(REVERSED)).reversed()
    if wanted in LAYOUTS:
        return draw_track(wanted, LAYOUTS[wanted])
    if re.fullmatch(RANDOM + r"\d{1,9}", wanted):
        return draw_random_track(wanted, int(wanted.removeprefix(RANDOM)))
    path = Path(wanted)
    if path.suffix != ".npy":
        raise HilError(
            f"no track named {wanted!r}; ours are {', '.join(TRACKS)}, or give a route file (.npy)"
        )
    return read_route(path)


def draw_track(name: str, corners: tuple[Corner, ...]) -> Track:
    """Return the polygon with its corners rounded, sampled finely."""
    count = len(corners)
    center: list[tuple[float, float]] = []
    widths: list[float] = []
    for index, corner in enumerate(corners):
        before, after = corners[index - 1], corners[(index + 1) % count]
        incoming = math.atan2(corner.y_m - before.y_m, corner.x_m - before.x_m)
        outgoing = math.atan2(after.y_m - corner.y_m, after.x_m - corner.x_m)
        turn = (outgoing - incoming + math.pi) % (2 * math.pi) - math.pi
        cut = corner.radius_m * math.tan(abs(turn) / 2)
        entry = (corner.x_m - cut * math.cos(incoming), corner.y_m - cut * math.sin(incoming))
        side = math.copysign(1.0, turn)
        hub_x = entry[0] - side * corner.radius_m * math.sin(incoming)
        hub_y = entry[1] + side * corner.radius_m * math.cos(incoming)
        pieces = max(2, math.ceil(abs(turn) * corner.radius_m / SPACING_M))
        for piece in range(pieces + 1):
            heading = incoming + turn * piece / pieces
            center.append(
                (
                    hub_x + side * corner.radius_m * math.sin(heading),
                    hub_y - side * corner.radius_m * math.cos(heading),
                )
            )
            widths.append(corner.width_m)
    points = np.array(center)
    width = np.array(widths)
    middle = (points[-1] + points[0]) / 2
    points = np.vstack([middle, points])
    width = np.concatenate([[(width[-1] + width[0]) / 2], width])
    line, shares = _resample(points, straight=True)
    half = np.interp(shares, np.arange(len(points) + 1), np.append(width, width[0])) / 2
    return _with_borders(name, line, half)


def draw_random_track(name: str, seed: int) -> Track:
    """Return a track that depends on the seed alone: 5 to 9 corners around a ring, well apart."""
    rng = np.random.default_rng([seed, 7])
    while True:
        count = int(rng.integers(5, 10))
        angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * math.pi / count
        reach = rng.uniform(1.6, 4.2, count)
        stretch = rng.uniform(1.0, 1.5)
        points = np.stack([reach * np.cos(angles) * stretch, reach * np.sin(angles)], axis=1)
        sides = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
        headings = np.arctan2(*(np.roll(points, -1, axis=0) - points).T[::-1])
        turns = np.abs((headings - np.roll(headings, 1) + math.pi) % (2 * math.pi) - math.pi)
        room = 0.48 * np.minimum(sides, np.roll(sides, 1)) / np.tan(np.maximum(turns, 0.05) / 2)
        radii = np.minimum(room, rng.uniform(0.5, 1.8, count))
        width = float(rng.uniform(0.6, 1.1))
        if radii.min() < max(0.5, width / 2 + 0.12):
            continue
        widths = np.clip(width + rng.uniform(-0.1, 0.1, count), 0.6, 1.1)
        corners = [
            Corner(float(x), float(y), float(r), float(w))
            for (x, y), r, w in zip(points, radii, widths, strict=True)
        ]
        track = draw_track(name, tuple(corners))
        if 13.0 <= track.length_m <= 32.0 and _clearance_m(track) > width + 0.35:
            return track


def _clearance_m(track: Track) -> float:
    """Return how near two parts of the centre line come that lie more than 2.2 m apart along it."""
    points, s_m = track.center[::4], track.s_m[::4]
    apart = np.abs(s_m[:, None] - s_m[None, :])
    far = np.minimum(apart, track.length_m - apart) > 2.2
    between = np.hypot(*(points[:, None] - points[None, :]).transpose(2, 0, 1))
    return float(between[far].min())


def _with_borders(name: str, line: Floats, half_m: Floats) -> Track:
    along = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0)
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    left = np.stack([-along[:, 1], along[:, 0]], axis=1) * half_m[:, None]
    x, y = line.T
    counterclockwise = float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) > 0
    if counterclockwise:
        return Track(name, line, line + left, line - left)
    return Track(name, line, line - left, line + left)


def read_route(path: Path) -> Track:
    """Return the track of a DeepRacer route file: N rows of centre, inner and outer x and y, in metres."""
    try:
        rows = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise HilError(f"no route file at {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise HilError(f"{path.name} is not a NumPy route file: {error}") from None
    if (
        not isinstance(rows, np.ndarray)
        or rows.ndim != 2
        or rows.shape[1] != 6
        or rows.dtype.kind not in "fiu"
    ):
        shape = getattr(rows, "shape", None)
        raise HilError(f"{path.name} has shape {shape}; a route is N x 6 numbers (centre, inner, outer)")
    if len(rows) > MAX_POINTS:
        raise HilError(f"{path.name} has {len(rows)} points, at most {MAX_POINTS} are read")
    rows = rows.astype(np.float64)
    if not np.isfinite(rows).all():
        raise HilError(f"{path.name} contains numbers that are not finite")
    middle = (rows[:, 2:4] + rows[:, 4:6]) / 2  # the file's own centre lies up to some centimetres off
    fresh = np.hypot(*(middle - np.roll(middle, 1, axis=0)).T) > 1e-6
    rows, middle = rows[fresh], middle[fresh]
    if len(rows) < 8:
        raise HilError(f"{path.name} has {len(rows)} different points; a closed track needs at least 8")
    line, shares = _resample(middle, straight=False)
    length = float(np.hypot(*(np.roll(line, -1, axis=0) - line).T).sum())
    if not 3.0 <= length <= MAX_LENGTH_M:
        raise HilError(
            f"{path.name} is {length:.1f} m long; 3 to {MAX_LENGTH_M:.0f} m is allowed (is it in metres?)"
        )
    widths = np.hypot(*(rows[:, 4:6] - rows[:, 2:4]).T)
    if widths.min() < 0.2 or widths.max() > 10.0:
        raise HilError(
            f"{path.name} is {widths.min():.2f} to {widths.max():.2f} m wide; 0.2 to 10 m is allowed"
        )
    inner, outer = _periodic_spline(rows[:, 2:4], shares), _periodic_spline(rows[:, 4:6], shares)
    return Track(path.stem, line, inner, outer)


def _resample(points: Floats, *, straight: bool) -> tuple[Floats, Floats]:
    """Return the closed line through the points at even spacing, and each sample's place among them."""
    places = np.linspace(0, len(points), len(points) * 32, endpoint=False)
    fine = _periodic_linear(points, places) if straight else _periodic_spline(points, places)
    lengths = np.hypot(*(np.roll(fine, -1, axis=0) - fine).T)
    travelled = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(8, round(travelled[-1] / SPACING_M))
    wanted = np.linspace(0, travelled[-1], count, endpoint=False)
    shares = np.interp(wanted, travelled, np.append(places, len(points)))
    return (_periodic_linear(points, shares) if straight else _periodic_spline(points, shares)), shares


def _periodic_linear(points: Floats, places: Floats) -> Floats:
    closed = np.vstack([points, points[:1]])
    ticks = np.arange(len(closed))
    return np.stack([np.interp(places, ticks, closed[:, axis]) for axis in (0, 1)], axis=1)


def _periodic_spline(points: Floats, places: Floats) -> Floats:
    """Catmull-Rom through the points: smooth where a polygon has kinks."""
    count = len(points)
    base = np.floor(places).astype(np.int64)
    t = (places - base)[:, None]
    p0, p1, p2, p3 = (points[(base + shift) % count] for shift in (-1, 0, 1, 2))
    return 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
