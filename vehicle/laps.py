"""Start marker to laps: sightings in pictures become passes of the line, passes become laps. No I/O.

The moment of a pass is where a straight line through the nearest sightings meets the line on the floor:
between two pictures, or a little after the last, when the marker left the view before.
"""

import itertools
import math
import statistics
from collections import deque

import msgspec
import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1

LEAST_SIGHTINGS = 3
FIT_SIGHTINGS = 10  # those nearest to the line; a car's speed changes little meanwhile
SEEN_BEFORE_M = 0.1  # a pass begins where the car has the line before it
SEEN_BEHIND_M = 0.05  # and is sure where it was seen behind it
LONGEST_REACH_M = 1.0  # from the last sighting to the line
SLOWEST_MPS = 0.1
FASTEST_MPS = 12.0
GONE_S = 0.15  # out of view; some pictures of a passage cannot be read
FORGOTTEN_S = 1.5  # what was seen before belongs to another passage
OUTLIER_M = 0.03  # from the fitted line, beyond three times the usual
SHORTEST_LAP_S = 2.0  # no track is so short; what comes sooner is the same pass seen twice
MISSED_SHARE = 0.25  # a lap within this of a multiple of the usual one, 2 at least, lacks passes
LAPS_TOLD = 500

LAPS = "laps"
"""Name of the socket in the run directory on which the timekeeper tells `MarkerLaps`, the newest alone."""


class Sighting(msgspec.Struct, frozen=True):
    """The marker in one picture."""

    stamp_ns: int
    to_line_m: float
    """From the camera to the line; below 0 behind it."""
    aside_m: float
    """Of the marker, positive left."""
    side_px: float
    """How large it is in the full picture."""


class Pass(msgspec.Struct, frozen=True):
    """The car has passed the line."""

    at_ns: int
    """On the clock of the pictures' stamps."""
    speed_mps: float
    reach_m: float
    """From the last sighting to the line; 0 where the marker was seen on both sides of it."""
    sigma_s: float = 0.0
    """How sure the moment is: a standard deviation, by how the sightings scatter."""


class LineWatch:
    """Finds the passes in what is seen, picture by picture."""

    def __init__(self) -> None:
        self._seen: deque[Sighting] = deque(maxlen=300)
        self._is_timed = False  # what is in view was counted already
        self.untimed = 0
        """Times the marker came near and the pass could not be told."""

    def look(self, stamp_ns: int, sighting: Sighting | None) -> Pass | None:
        """Take one picture's outcome; return the pass that it makes sure."""
        if self._seen and stamp_ns - self._seen[-1].stamp_ns > FORGOTTEN_S * 1e9:
            self._forget()
        if sighting is not None:
            self._seen.append(sighting)
        if not self._seen or self._is_timed:
            return None
        behind = sum(one.to_line_m < -SEEN_BEHIND_M for one in self._seen)
        is_gone = stamp_ns - self._seen[-1].stamp_ns > GONE_S * 1e9
        if behind < LEAST_SIGHTINGS and not is_gone:
            return None
        found = self._passed(stamp_ns)
        self._is_timed = found is not None
        return found

    def _passed(self, now_ns: int) -> Pass | None:
        if self._seen[0].to_line_m < SEEN_BEFORE_M or len(self._seen) < LEAST_SIGHTINGS:
            return None  # it came into view behind the line
        fitted = _fit(list(self._seen))
        if fitted is None:
            return None
        at_ns, speed_mps, sigma_s = fitted
        reach_m = max(0.0, self._seen[-1].to_line_m)
        if at_ns > now_ns or reach_m > LONGEST_REACH_M or not SLOWEST_MPS <= speed_mps <= FASTEST_MPS:
            return None
        return Pass(at_ns, speed_mps, reach_m, sigma_s)

    def _forget(self) -> None:
        came_near = len(self._seen) >= LEAST_SIGHTINGS and self._seen[-1].to_line_m < LONGEST_REACH_M
        if not self._is_timed and came_near and self._seen[0].to_line_m >= SEEN_BEFORE_M:
            self.untimed += 1
        self._seen.clear()
        self._is_timed = False


def _fit(seen: list[Sighting]) -> tuple[int, float, float] | None:
    """Return when the line was met, how fast, and how sure that is, by the sightings nearest to it."""
    nearest = sorted(seen, key=lambda one: abs(one.to_line_m))[:FIT_SIGHTINGS]
    start_ns = nearest[0].stamp_ns
    times_s = np.array([(one.stamp_ns - start_ns) / 1e9 for one in nearest])
    to_line_m = np.array([one.to_line_m for one in nearest])
    slope, offset_m = _straight(times_s, to_line_m)
    off_m = np.abs(slope * times_s + offset_m - to_line_m)
    kept = off_m <= max(OUTLIER_M, 3 * float(np.median(off_m)))
    if kept.sum() < LEAST_SIGHTINGS:
        return None
    times_s, to_line_m = times_s[kept], to_line_m[kept]
    slope, offset_m = _straight(times_s, to_line_m)
    if slope >= 0:
        return None  # it went away from the line, or stood
    met_s = -offset_m / slope
    off_m = slope * times_s + offset_m - to_line_m
    scatter = float(off_m @ off_m) / max(len(times_s) - 2, 1)
    from_mean_s = times_s - times_s.mean()
    leverage = 1 / len(times_s) + (met_s - times_s.mean()) ** 2 / float(from_mean_s @ from_mean_s)
    return start_ns + round(met_s * 1e9), -slope, math.sqrt(scatter * leverage) / -slope


def _straight(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and offset of the straight line through the points, by least squares."""
    from_mean = x - x.mean()
    spread = float(from_mean @ from_mean)
    slope = float(from_mean @ y) / spread if spread > 0 else 0.0
    return slope, float(y.mean()) - slope * float(x.mean())


class TimedLap(msgspec.Struct, frozen=True, omit_defaults=True):
    """One lap between two passes."""

    lap: int
    """Counts from 1."""
    time_s: float
    sigma_s: float = 0.0
    """How sure the time is: a standard deviation."""
    missed: int = 0
    """Passes that were probably missed within it: it took a multiple of the usual time."""


class MarkerLaps(msgspec.Struct, frozen=True):
    """What the start marker says of one drive; published by the timekeeper."""

    now_ns: int
    """Stamp of the newest picture; of the vehicle's clock."""
    began_ns: int
    """When this drive began, by the vehicle's clock; 0 before the first."""
    is_driving: bool
    laps: tuple[TimedLap, ...]
    """The last ones."""
    lap_count: int
    lap_started_ns: int
    """0 before the first pass."""
    passes: int
    doubles: int
    """Passes thrown away because they came too soon after the last."""
    untimed: int
    """Times the marker came near without a pass that could be told."""
    in_sight_m: float | None
    """How far away it is seen now."""
    pictures: int
    """Looked at in this drive."""
    skipped: int
    """Not looked at, because a newer one was there already."""
    version: int = SCHEMA_VERSION


class LapBook:
    """Laps of one drive."""

    def __init__(self) -> None:
        self.passes: list[Pass] = []
        self.doubles = 0

    def add(self, one: Pass) -> None:
        """Take a pass; one that comes too soon is thrown away."""
        if self.passes and one.at_ns - self.passes[-1].at_ns < SHORTEST_LAP_S * 1e9:
            self.doubles += 1
        else:
            self.passes.append(one)

    def laps(self) -> tuple[TimedLap, ...]:
        """Return the laps so far; which of them lacks passes is judged by all that are known now."""
        pairs = list(itertools.pairwise(self.passes))
        if not pairs:
            return ()
        times_s = [(end.at_ns - start.at_ns) / 1e9 for start, end in pairs]
        usual_s = statistics.median_low(times_s)
        return tuple(
            TimedLap(lap, time_s, math.hypot(start.sigma_s, end.sigma_s), _missed(time_s / usual_s))
            for lap, (time_s, (start, end)) in enumerate(zip(times_s, pairs, strict=True), 1)
        )


def _missed(share: float) -> int:
    """Return how many passes a lap lacks that took this share of the usual time."""
    multiple = round(share)
    return multiple - 1 if multiple >= 2 and abs(share - multiple) <= MISSED_SHARE else 0
