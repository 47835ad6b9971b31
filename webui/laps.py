"""Laps of this drive: the HIL world's, or marked by hand; and the target that ends a drive."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable

import msgspec
from werkzeug.exceptions import Conflict

from vehicle.errors import VehicleSilentError
from vehicle.messages import GUARDED_STATES, RequestKind, Status
from vehicle.truth import Crossing
from webui.car import Vehicle, World

LAPS_SHOWN = 12
LOOK_S = 0.05
START_LIMIT_S = 10.0  # arming takes 2 s; a car that has not started by then will not
SHORTEST_LAP_S = 1.0  # a second press within it is a slip of the finger


class LapsDocument(msgspec.Struct, frozen=True):
    """What the page shows."""

    lap_time_s: float | None
    """Of the lap under way."""
    lap_count: int
    laps: tuple[Crossing, ...]
    """The last ones."""
    best: Crossing | None
    by_hand: bool
    """Marked by a person, because nothing sees the line."""
    target_laps: int | None
    time_limit_s: float | None
    note: str
    """That the target ended the drive, or empty."""


class Laps:
    """Keeps one drive's laps; safe in any thread."""

    def __init__(self, vehicle: Vehicle, world: World | None, clock_ns: Callable[[], int]) -> None:
        self._vehicle = vehicle
        self._world = world
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._drive = 0
        self._marks_ns: list[int] = []
        self._target: int | None = None
        self._time_limit_s: float | None = None
        self._skipped = 0
        self._note = ""

    def begin(self, target_laps: int | None, time_limit_s: float | None) -> None:
        """Forget the drive before; watch for the target while this one lasts."""
        truth = None if self._world is None else self._world.truth()
        with self._lock:
            self._drive += 1
            self._marks_ns = []
            self._target, self._time_limit_s = target_laps, time_limit_s
            self._skipped = len(truth.laps) if truth else 0
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
            marks_ns, skipped = tuple(self._marks_ns), self._skipped
            target, limit_s, note = self._target, self._time_limit_s, self._note
        if self._world is None:
            laps = _laps_of(marks_ns)
            lap_time_s = (self._clock_ns() - marks_ns[-1]) / 1e9 if marks_ns else None
        else:
            truth = self._world.truth()
            of_world = truth.laps if truth else ()
            kept = of_world[skipped:] if len(of_world) >= skipped else of_world  # the world was reset
            laps = tuple(Crossing(number, lap.time_s) for number, lap in enumerate(kept, 1))
            started_ns = truth.lap_started_ns if truth else 0
            lap_time_s = (truth.now_ns - started_ns) / 1e9 if truth and started_ns else None
        best = min(laps, key=lambda lap: lap.time_s, default=None)
        by_hand = self._world is None
        return LapsDocument(lap_time_s, len(laps), laps[-LAPS_SHOWN:], best, by_hand, target, limit_s, note)

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


def _laps_of(marks_ns: tuple[int, ...]) -> tuple[Crossing, ...]:
    pairs = itertools.pairwise(marks_ns)
    return tuple(Crossing(lap, (end - start) / 1e9) for lap, (start, end) in enumerate(pairs, 1))
