"""Laps of this drive: the HIL world's, the start marker's, or marked by hand; and the target that ends it."""

import contextlib
import enum
import itertools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from werkzeug.exceptions import Conflict

from vehicle.errors import VehicleSilentError
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.messages import GUARDED_STATES, RequestKind, Status
from vehicle.truth import laps_begun_since
from webui.car import Vehicle, World
from webui.marker import Marker

LAPS_SHOWN = 12
LOOK_S = 0.05
START_LIMIT_S = 10.0  # arming takes 2 s; a car that has not started by then will not
ROUGH_S = 1 / 30  # one picture
SHORTEST_LAP_S = 1.0  # a second press within it is a slip of the finger


class LapSource(enum.StrEnum):
    """What counts the laps."""

    WORLD = "world"  # the truth of a HIL world
    MARKER = "marker"  # the printed start marker
    HAND = "hand"  # a person


class LapsDocument(msgspec.Struct, frozen=True):
    """What the page shows."""

    lap_time_s: float | None
    """Of the lap under way."""
    lap_count: int
    laps: tuple[TimedLap, ...]
    """The last ones."""
    best: TimedLap | None
    source: LapSource
    by_hand: bool
    """Marked by a person, because nothing sees the line."""
    target_laps: int | None
    time_limit_s: float | None
    note: str
    """That the target ended the drive, or empty."""
    remarks: tuple[str, ...] = ()
    """What to know of how they were timed, in words."""


class AllLaps(NamedTuple):
    """Every lap of a drive, and what timed them."""

    laps: tuple[TimedLap, ...]
    source: LapSource


class _Timed(NamedTuple):
    """The laps of one source."""

    laps: tuple[TimedLap, ...]
    lap_count: int
    lap_time_s: float | None
    source: LapSource
    remarks: tuple[str, ...] = ()


class Laps:
    """Keeps one drive's laps; safe in any thread."""

    def __init__(
        self,
        vehicle: Vehicle,
        world: World | None,
        clock_ns: Callable[[], int],
        marker: Marker | None = None,
    ) -> None:
        self._vehicle = vehicle
        self._world = world
        self._marker = marker
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._drive = 0
        self._marks_ns: list[int] = []
        self._target: int | None = None
        self._time_limit_s: float | None = None
        self._begun_ns = 0
        self._note = ""

    def begin(self, target_laps: int | None, time_limit_s: float | None) -> None:
        """Forget the drive before; watch for the target while this one lasts."""
        with self._lock:
            self._drive += 1
            self._marks_ns = []
            self._target, self._time_limit_s = target_laps, time_limit_s
            self._begun_ns = self._clock_ns()
            self._note = ""
            drive = self._drive
        if target_laps is not None:
            threading.Thread(
                target=self._watch, args=(drive, target_laps), name="target-laps", daemon=True
            ).start()

    def mark(self, car: Status | None) -> None:
        """Count a crossing of the line now; raises Conflict where that makes no sense."""
        if self._world is not None:
            raise Conflict("The simulated world counts the laps by itself.")
        marker = self._of_marker()
        if marker is not None and marker.passes:
            raise Conflict("The start marker counts the laps by itself.")
        if car is None or car.state not in GUARDED_STATES:
            raise Conflict("The car does not drive, so there is no lap to mark.")
        now_ns = self._clock_ns()
        with self._lock:
            if self._marks_ns and now_ns - self._marks_ns[-1] < SHORTEST_LAP_S * 1e9:
                raise Conflict(f"The last mark is less than {SHORTEST_LAP_S:g} s ago.")
            self._marks_ns.append(now_ns)

    def document(self) -> LapsDocument:
        """Return the laps of this drive."""
        with self._lock:
            target, limit_s, note = self._target, self._time_limit_s, self._note
        timed = self._timed()
        return LapsDocument(
            lap_time_s=timed.lap_time_s,
            lap_count=timed.lap_count,
            laps=timed.laps[-LAPS_SHOWN:],
            best=min(timed.laps, key=lambda lap: lap.time_s, default=None),
            source=timed.source,
            by_hand=timed.source is LapSource.HAND,
            target_laps=target,
            time_limit_s=limit_s,
            note=note,
            remarks=timed.remarks,
        )

    def all_laps(self, since_ns: int = 0) -> AllLaps:
        """Return every lap of this drive that is known.

        For a drive that nobody began by `begin`, `since_ns` tells when: a lap that began before does not
        count. The start marker's laps are always of a drive of their own.
        """
        timed = self._timed(since_ns)
        return AllLaps(timed.laps, timed.source)

    def _timed(self, since_ns: int = 0) -> _Timed:
        """Return the laps of the source that knows best."""
        if self._world is not None:
            return self._of_world(self._world, since_ns)
        marker = self._of_marker()
        if marker is not None and marker.passes:
            started_ns = marker.lap_started_ns if marker.is_driving else 0
            lap_time_s = max(0.0, (self._clock_ns() - started_ns) / 1e9) if started_ns else None
            return _Timed(marker.laps, marker.lap_count, lap_time_s, LapSource.MARKER, _remarks(marker))
        with self._lock:
            marks_ns = tuple(mark_ns for mark_ns in self._marks_ns if mark_ns >= since_ns)
        laps = _laps_of(marks_ns)
        lap_time_s = (self._clock_ns() - marks_ns[-1]) / 1e9 if marks_ns else None
        return _Timed(laps, len(laps), lap_time_s, LapSource.HAND)

    def _of_world(self, world: World, since_ns: int) -> _Timed:
        truth = world.truth()
        if truth is None:
            return _Timed((), 0, None, LapSource.WORLD)
        with self._lock:
            begun_ns = max(self._begun_ns, since_ns)
        kept = laps_begun_since(truth, begun_ns)
        laps = tuple(TimedLap(number, lap.time_s) for number, lap in enumerate(kept, 1))
        started_ns = truth.lap_started_ns
        lap_time_s = (truth.now_ns - started_ns) / 1e9 if started_ns and started_ns >= begun_ns else None
        return _Timed(laps, len(laps), lap_time_s, LapSource.WORLD)

    def _of_marker(self) -> MarkerLaps | None:
        """Return what the marker says of this drive, None where it says nothing of it yet."""
        laps = self._marker.laps() if self._marker is not None else None
        with self._lock:
            begun_ns = self._begun_ns
        return laps if laps is not None and laps.began_ns >= begun_ns else None

    def _watch(self, drive: int, target_laps: int) -> None:
        """Disarm the car when the laps are done; end with the drive."""
        deadline_s = time.monotonic() + START_LIMIT_S
        has_driven = False
        while True:
            time.sleep(LOOK_S)
            car = self._vehicle.status()
            moves = car is not None and car.state in GUARDED_STATES
            has_driven = has_driven or moves
            ended = not moves if has_driven else time.monotonic() > deadline_s
            with self._lock:
                ended = ended or drive != self._drive
            if ended:
                return
            if moves and self.document().lap_count >= target_laps:
                with contextlib.suppress(VehicleSilentError):  # asked again until it stops
                    if self._vehicle.request(RequestKind.DISARM, source="target of laps").ok:
                        with self._lock:
                            self._note = f"{target_laps} laps are done, so the car has stopped."
                        return


def _laps_of(marks_ns: tuple[int, ...]) -> tuple[TimedLap, ...]:
    pairs = itertools.pairwise(marks_ns)
    return tuple(TimedLap(lap, (end - start) / 1e9) for lap, (start, end) in enumerate(pairs, 1))


def _remarks(marker: MarkerLaps) -> tuple[str, ...]:
    """Return what people should know of laps by the start marker."""
    remarks = [
        f"Lap {lap.lap} took about {lap.missed + 1} times as long as usual: the marker may have been missed."
        for lap in marker.laps
        if lap.missed
    ]
    remarks += [
        f"Lap {lap.lap} is only good to {2 * lap.sigma_s:.2f} s: the marker was hard to see."
        for lap in marker.laps
        if 2 * lap.sigma_s > ROUGH_S
    ]
    if marker.doubles:
        many = "passes of the marker" if marker.doubles > 1 else "pass of the marker"
        remarks.append(f"{marker.doubles} {many} came too soon after another and did not count.")
    if marker.untimed:
        times = f"{marker.untimed} times" if marker.untimed > 1 else "Once"
        remarks.append(f"{times} the marker was seen and the moment of passing could not be told.")
    return tuple(remarks)
