"""What happens in a race, as events and as results: one thread looks, everybody else is told.

An event is a start, a lap, a change of state or a finish. The newest are remembered, so that who was away
for a moment misses none.
"""

import datetime
import enum
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from vehicle.laps import TimedLap
from vehicle.messages import GUARDED_STATES, DriveState
from webui.car import Vehicle
from webui.laps import Laps, LapSource

LOOK_S = 0.05
REMEMBERED = 500
DRIVES_KEPT = 200
SETTLE_S = 0.3  # after a drive: its last lap may still be on its way


class RaceEventKind(enum.StrEnum):
    """What can happen."""

    START = "start"  # the car left standing still
    LAP = "lap"
    STATE = "state"  # what the car is allowed to do changed
    FINISH = "finish"  # the car is disarmed, or has failed safe


class RaceEvent(msgspec.Struct, frozen=True):
    """One thing that happened."""

    id: str
    """Names this event, and its place among the others of one server."""
    kind: RaceEventKind
    at: str
    """By the clock of the car's computer, UTC; which may be wrong."""
    now_ns: int
    """By the vehicle's clock, which only goes forward."""
    drive: int
    """Counts the drives since the server started; 0 before the first."""
    state: DriveState | None
    """None: the vehicle is silent."""
    model: str
    driver: str
    lap: int | None = None
    """Of a lap, and of a finish the number of laps."""
    time_s: float | None = None
    best_s: float | None = None
    is_best: bool = False
    possibly_missed: int = 0
    """Passes of the start marker that this lap probably lacks."""
    source: LapSource | None = None
    """What timed it: the simulated world, the start marker, or a person."""
    reason: str = ""
    """Of a failsafe, in words."""


class RaceDrive(msgspec.Struct):
    """One drive and its laps."""

    number: int
    started: str
    model: str
    driver: str
    source: LapSource
    laps: tuple[TimedLap, ...] = ()
    ended: str = ""
    """`finished` or `failsafe`; empty while it lasts."""

    @property
    def best_s(self) -> float | None:
        """Time of the best lap."""
        return min((lap.time_s for lap in self.laps), default=None)


class RaceWatch:
    """Keeps events and drives; safe in any thread. `listen` before `start`."""

    def __init__(self, vehicle: Vehicle, laps: Laps, clock_ns: Callable[[], int]) -> None:
        self._vehicle = vehicle
        self._laps = laps
        self._clock_ns = clock_ns
        self._server = secrets.token_hex(3)
        self._changed = threading.Condition()
        self._events: deque[RaceEvent] = deque(maxlen=REMEMBERED)
        self._count = 0
        self._drives: deque[RaceDrive] = deque(maxlen=DRIVES_KEPT)
        self._state: DriveState | None = None
        self._begun_ns = 0
        self._skipped = 0  # laps that the start marker had timed before
        self._ended_s: float | None = None
        self._listeners: list[Callable[[RaceEvent], object]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="race-watch", daemon=True)

    def listen(self, listener: Callable[[RaceEvent], object]) -> None:
        """Tell this one every event, from the watching thread; it must not wait."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Look, in a thread of its own, until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def drives(self) -> list[RaceDrive]:
        """Return the drives, oldest first."""
        with self._changed:
            return [msgspec.structs.replace(drive) for drive in self._drives]

    @property
    def newest_id(self) -> str:
        """Of the newest event; to be followed from."""
        with self._changed:
            return self._id(self._count)

    def events_after(self, event_id: str, timeout_s: float) -> list[RaceEvent]:
        """Return what came after this event, after waiting for some; for a strange id all that is kept."""
        server, _, number = event_id.partition("-")
        known = int(number) if server == self._server and number.isdecimal() else 0
        with self._changed:
            self._changed.wait_for(lambda: self._count > known, timeout_s)
            first = self._count - len(self._events)
            return list(self._events)[max(0, known - first) :]

    def look(self, now_s: float) -> None:
        """Look once; what is new becomes events."""
        car = self._vehicle.status()
        before, self._state = self._state, car.state if car is not None else None
        is_driving, was_driving = self._state in GUARDED_STATES, before in GUARDED_STATES
        if is_driving and not was_driving:
            self._end(before)
            self._begin()
        laps = self._laps.all_laps(self._begun_ns)
        self._take_laps(laps.laps, laps.source)
        if self._state is not before:
            self._happen(RaceEventKind.STATE, reason=self._reason())
        if was_driving and not is_driving:
            self._ended_s = now_s
        if self._ended_s is not None and now_s - self._ended_s >= SETTLE_S:
            self._end(self._state)

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_S):
            self.look(time.monotonic())

    def _begin(self) -> None:
        car = self._vehicle.status()
        self._begun_ns = self._clock_ns()
        self._skipped = len(self._laps.all_laps(self._begun_ns).laps)
        number = self._drives[-1].number + 1 if self._drives else 1
        drive = RaceDrive(
            number, _wall(), car.policy if car else "", car.driver_name if car else "", LapSource.HAND
        )
        with self._changed:
            self._drives.append(drive)
        self._happen(RaceEventKind.START)

    def _end(self, state: DriveState | None) -> None:
        self._ended_s = None
        drive = self._drives[-1] if self._drives else None
        if drive is None or drive.ended:
            return
        drive.ended = "failsafe" if state is DriveState.FAILSAFE else "finished"
        self._happen(
            RaceEventKind.FINISH,
            lap=len(drive.laps),
            best_s=drive.best_s,
            source=drive.source,
            reason=self._reason(),
        )

    def _take_laps(self, laps: tuple[TimedLap, ...], source: LapSource) -> None:
        drive = self._drives[-1] if self._drives else None
        if drive is None or drive.ended:
            return
        if len(laps) < self._skipped:
            self._skipped = 0  # the world was reset, or the marker's drive began after the car's
        mine = tuple(
            msgspec.structs.replace(lap, lap=number) for number, lap in enumerate(laps[self._skipped :], 1)
        )
        if len(mine) < len(drive.laps):
            return  # its counter has gone on to the next drive, or away
        fresh = mine[len(drive.laps) :]
        with self._changed:
            drive.laps, drive.source = mine, source
        for lap in fresh:
            best_s = min(one.time_s for one in mine[: lap.lap])
            self._happen(
                RaceEventKind.LAP,
                lap=lap.lap,
                time_s=lap.time_s,
                best_s=best_s,
                is_best=lap.time_s <= best_s,
                possibly_missed=lap.missed,
                source=source,
            )

    def _reason(self) -> str:
        car = self._vehicle.status()
        return car.sentence if car is not None and car.state is DriveState.FAILSAFE else ""

    def _happen(self, kind: RaceEventKind, **fields: object) -> None:
        drive = self._drives[-1] if self._drives else None
        car = self._vehicle.status()
        with self._changed:
            self._count += 1
            event = RaceEvent(
                self._id(self._count),
                kind,
                _wall(),
                self._clock_ns(),
                drive.number if drive else 0,
                self._state,
                car.policy if car else "",
                car.driver_name if car else "",
                **fields,  # type: ignore[arg-type]  # each call names fields of the event
            )
            self._events.append(event)
            self._changed.notify_all()
        for listener in self._listeners:
            listener(event)

    def _id(self, number: int) -> str:
        return f"{self._server}-{number}"


def _wall() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
