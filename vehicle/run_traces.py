"""A run's curves and events, kept while it is recorded and attached to its file.

With them a run of hours is drawn at any zoom without its ticks and pictures being read: eighteen bytes a
tick, twenty-five a truth of the world, eight a picture, before they are compressed.
"""

import enum
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import zstandard

from vehicle.messages import DriveState, TickRecord
from vehicle.run_file import Entry, RunFileError, read
from vehicle.run_schemas import LogLine, Topic
from vehicle.run_seek import RunIndex
from vehicle.truth import TrackLayout, WorldTruth

TRACES = "lapwing.traces.zst"
"""Name of the attachment."""
TRACES_VERSION = 1
SIZE_LIMIT_BYTES = 1 << 30  # unpacked; a week of driving

TICK = struct.Struct("<qffH")
TICKS = np.dtype([("t_ns", "<i8"), ("steering", "<f4"), ("throttle", "<f4"), ("state", "<u2")])
TRUTH = struct.Struct("<qffff?")
TRUTHS = np.dtype(
    [
        ("t_ns", "<i8"),
        ("x_m", "<f4"),
        ("y_m", "<f4"),
        ("heading_rad", "<f4"),
        ("speed_mps", "<f4"),
        ("off_track", "?"),
    ]
)
HELD_NS = 200_000_000  # a curve goes on so long after a tick; then it has a gap
LINE_STEP_NS = 250_000_000  # half a metre at two metres a second: still a line
STRETCH_NS = 10_000_000_000  # of a line too long for that, about a lap
STRETCH_POINTS = 100
STATES = tuple(DriveState)
NUMBERS = {state: number for number, state in enumerate(STATES)}

Array = npt.NDArray[Any]


class EventKind(enum.StrEnum):
    """What may happen in a run."""

    FAULT = "fault"
    FAULT_OVER = "fault over"
    LAP = "lap"
    REQUEST = "request"


class RunEvent(msgspec.Struct, frozen=True):
    """Something that happened at one instant of a run."""

    t_s: float
    """Since the run's first tick."""
    kind: EventKind
    words: str
    source: str = ""
    """Who asked, of a request."""


EVENT_KINDS = frozenset(kind.value for kind in EventKind)


class Span(msgspec.Struct, frozen=True):
    """How long the car was in one state."""

    state: DriveState
    since_s: float
    until_s: float


class Moment(msgspec.Struct, frozen=True):
    """A run at one instant."""

    t_s: float
    state: DriveState
    steering_frac: float
    throttle_frac: float
    speed_mps: float | None
    """Of a HIL car, as everything that follows."""
    x_m: float | None
    y_m: float | None
    heading_rad: float | None


class Curve(msgspec.Struct, frozen=True):
    """The least and the most of each piece of time; null where nothing was recorded."""

    low: list[float | None]
    high: list[float | None]


class CurveSet(msgspec.Struct, frozen=True):
    """What a part of a run looks like, drawn over time."""

    t_s: list[float]
    """Middle of each piece."""
    steering: Curve
    """-1 (full right lock) to 1 (full left lock)."""
    throttle: Curve
    """-1 to 1."""
    speed_mps: Curve | None
    """Of a HIL car."""


class DrivenLine(msgspec.Struct, frozen=True):
    """Where a HIL car drove, from above."""

    t_s: list[float]
    """A leap of more than a second is a gap: of a long part only stretches are told."""
    x_m: list[float]
    y_m: list[float]
    speed_mps: list[float]


class _Packed(msgspec.Struct):
    """As attached; stamps are int64 ns of the car's clock."""

    version: int
    started_ns: int
    """Of the first tick."""
    states: tuple[str, ...]
    """Names of the numbers in `ticks`."""
    ticks: bytes
    truths: bytes
    pictures: bytes
    """Stamps of the front camera's."""
    events: tuple[tuple[int, EventKind, str, str], ...]
    track: TrackLayout | None = None
    """The last one that a HIL car was on; older runs have none."""


class TraceKeeper:
    """Keeps the curves of the run that is being recorded; a few MB an hour."""

    def __init__(self) -> None:
        self._started_ns: int | None = None
        self._ticks = bytearray()
        self._truths = bytearray()
        self._pictures = bytearray()
        self._events: list[tuple[int, EventKind, str, str]] = []
        self._track: TrackLayout | None = None

    def tick(self, record: TickRecord) -> None:
        """Keep one tick."""
        if self._started_ns is None:
            self._started_ns = record.now_ns
        sent = record.sent_frac
        self._ticks += TICK.pack(record.now_ns, sent.steering_frac, sent.throttle_frac, NUMBERS[record.state])

    def truth(self, truth: WorldTruth) -> None:
        """Keep where a HIL car was."""
        self._truths += TRUTH.pack(
            truth.now_ns, truth.x_m, truth.y_m, truth.heading_rad, truth.speed_mps, truth.off_track
        )

    def track(self, layout: TrackLayout) -> None:
        """Keep the lines of the track that a HIL car is on."""
        self._track = layout

    def picture(self, stamp_ns: int) -> None:
        """Keep when a picture was taken."""
        self._pictures += stamp_ns.to_bytes(8, "little", signed=True)

    def event(self, now_ns: int, kind: EventKind, words: str, source: str = "") -> None:
        """Keep what happened."""
        self._events.append((now_ns, kind, words, source))

    def entry(self, entry: Entry) -> None:
        """Keep what stands in a run's file, if it is one of these."""
        match entry.topic:
            case Topic.EXACT_TICK:
                self.tick(msgspec.msgpack.decode(entry.data, type=TickRecord))
            case Topic.TRUTH:
                self.truth(msgspec.json.decode(entry.data, type=WorldTruth))
            case Topic.TRACK:
                self.track(msgspec.json.decode(entry.data, type=TrackLayout))
            case Topic.CAMERA:
                self.picture(entry.time_ns)
            case Topic.LOG:
                line = msgspec.json.decode(entry.data, type=LogLine)
                if line.file in EVENT_KINDS:
                    self.event(entry.time_ns, EventKind(line.file), line.message, line.name)

    def packed(self) -> bytes:
        """Return everything as it is attached to the run's file."""
        document = _Packed(
            TRACES_VERSION,
            self._started_ns or 0,
            tuple(state.value for state in STATES),
            bytes(self._ticks),
            bytes(self._truths),
            bytes(self._pictures),
            tuple(self._events),
            self._track,
        )
        return zstandard.compress(msgspec.msgpack.encode(document), 3)


class Traces:
    """The curves and events of one recorded run."""

    def __init__(self, packed: bytes) -> None:
        """Unpack an attachment; raises RunFileError for what is none."""
        try:
            data = zstandard.decompress(packed, max_output_size=SIZE_LIMIT_BYTES)
            document = msgspec.msgpack.decode(data, type=_Packed)
            states = tuple(DriveState(name) for name in document.states)
            self.ticks = np.frombuffer(document.ticks, TICKS)
            self.truths = np.frombuffer(document.truths, TRUTHS)
            self.pictures_ns = np.sort(np.frombuffer(document.pictures, "<i8"))
            if document.version != TRACES_VERSION or self.ticks["state"].max(initial=0) >= len(states):
                raise ValueError("of another version")
        except (zstandard.ZstdError, msgspec.MsgspecError, ValueError) as error:
            raise RunFileError(f"the run's curves cannot be read ({error})") from error
        self._ticks_ns, self._truths_ns = (  # apart: a search in a column of rows copies all of it
            np.ascontiguousarray(rows["t_ns"]) for rows in (self.ticks, self.truths)
        )
        self.started_ns = document.started_ns
        self.track = document.track
        self.events = tuple(
            RunEvent(self._since_start_s(now_ns), kind, words, source)
            for now_ns, kind, words, source in document.events
        )
        self._states = states

    @property
    def duration_s(self) -> float:
        """From the first tick to the last."""
        return self._since_start_s(int(self.ticks["t_ns"][-1])) if self.ticks.size else 0.0

    def _since_start_s(self, now_ns: int) -> float:
        return (now_ns - self.started_ns) / 1e9

    def _ns(self, t_s: float) -> int:
        return self.started_ns + round(t_s * 1e9)

    def _newest(self, t_ns: Array, t_s: float) -> int:
        return max(0, int(np.searchsorted(t_ns, self._ns(t_s), side="right")) - 1)

    def spans(self) -> list[Span]:
        """Return the states that the car went through."""
        if not self.ticks.size:
            return []
        states, t_ns = self.ticks["state"], self.ticks["t_ns"].tolist()
        starts = np.concatenate(([0], np.flatnonzero(np.diff(states)) + 1))
        ends = np.append(starts[1:], states.size - 1)
        return [
            Span(
                self._states[states[start]], self._since_start_s(t_ns[start]), self._since_start_s(t_ns[end])
            )
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]

    def laps_end_s(self) -> list[float]:
        """Return when each lap was completed."""
        return [event.t_s for event in self.events if event.kind is EventKind.LAP]

    def at(self, t_s: float) -> Moment | None:
        """Return the newest tick at an instant, or the first; None for a run without any."""
        if not self.ticks.size:
            return None
        tick = self.ticks[self._newest(self._ticks_ns, t_s)]
        truth = self.truths[self._newest(self._truths_ns, t_s)] if self.truths.size else None
        return Moment(
            t_s=self._since_start_s(int(tick["t_ns"])),
            state=self._states[tick["state"]],
            steering_frac=float(tick["steering"]),
            throttle_frac=float(tick["throttle"]),
            speed_mps=None if truth is None else float(truth["speed_mps"]),
            x_m=None if truth is None else float(truth["x_m"]),
            y_m=None if truth is None else float(truth["y_m"]),
            heading_rad=None if truth is None else float(truth["heading_rad"]),
        )

    def picture_ns(self, t_s: float) -> int | None:
        """Return the stamp of the newest picture at an instant, or the first; None without pictures."""
        if not self.pictures_ns.size:
            return None
        return int(self.pictures_ns[self._newest(self.pictures_ns, t_s)])

    def curves(self, since_s: float, until_s: float, buckets: int) -> CurveSet:
        """Return steering, throttle and speed of a part of the run, in so many pieces of time."""
        edges_s = np.linspace(since_s, until_s, buckets + 1)
        edges_ns = self.started_ns + np.rint(edges_s * 1e9).astype(np.int64)
        ticks, truths = (
            _Buckets(rows, t_ns, edges_ns)
            for rows, t_ns in ((self.ticks, self._ticks_ns), (self.truths, self._truths_ns))
        )
        return CurveSet(
            t_s=np.round((edges_s[:-1] + edges_s[1:]) / 2, 3).tolist(),
            steering=ticks.bounds("steering"),
            throttle=ticks.bounds("throttle"),
            speed_mps=truths.bounds("speed_mps") if self.truths.size else None,
        )

    def line(self, since_s: float, until_s: float, points: int) -> DrivenLine | None:
        """Return where a HIL car drove in a part of the run; None for another car.

        Thinned evenly, as long as it stays a line. Of a longer part, stretches of ten seconds are told,
        evenly spread: a point every few seconds would draw chords across the track, where no car drove.
        """
        if not self.truths.size:
            return None
        ends_ns = [self._ns(since_s), self._ns(until_s)]
        first, last = np.searchsorted(self._truths_ns, ends_ns).tolist()
        kept = self.truths[first : last + 1]
        if kept.size > points:
            kept = kept[_thinned(self._truths_ns[first : last + 1], points)]
        x_m, y_m, speed_mps = (
            np.round(kept[name].astype(np.float64), 3).tolist() for name in ("x_m", "y_m", "speed_mps")
        )
        t_s = np.round((kept["t_ns"] - self.started_ns) / 1e9, 3).tolist()
        return DrivenLine(t_s, x_m, y_m, speed_mps)


def _thinned(t_ns: Array, points: int) -> npt.NDArray[np.int64]:
    """Return which rows are drawn, at most so many."""
    count = max(1, points // STRETCH_POINTS)
    length_ns = int(t_ns[-1] - t_ns[0])
    if length_ns <= points * LINE_STEP_NS or length_ns <= count * STRETCH_NS:
        return np.linspace(0, t_ns.size - 1, points).round().astype(np.int64)
    starts_ns = np.linspace(t_ns[0], t_ns[-1] - STRETCH_NS, count)
    wanted_ns = starts_ns[:, np.newaxis] + np.linspace(0, STRETCH_NS, STRETCH_POINTS)
    return np.unique(np.searchsorted(t_ns, wanted_ns.ravel()).clip(0, t_ns.size - 1))


class _Buckets:
    """Rows as they fall into equal pieces of time."""

    def __init__(self, rows: Array, t_ns: Array, edges_ns: npt.NDArray[np.int64]) -> None:
        """Find which of the rows, stamped so, stand in which bucket."""
        places = np.searchsorted(t_ns, edges_ns)
        first = max(int(places[0]) - 1, 0)  # with the one that holds until the next
        self._rows = rows[first : places[-1]]  # and no other is touched, however long the run is
        self._starts, ends = places[:-1] - first, places[1:] - first
        self._filled = np.flatnonzero(self._starts < ends)
        held = np.flatnonzero((self._starts == ends) & (places[:-1] > 0))  # between two ticks
        self._held = held[edges_ns[held] - t_ns[places[held] - 1] <= HELD_NS]

    def bounds(self, name: str) -> Curve:
        """Return the least and the most of each bucket; None where nothing was recorded."""
        values = self._rows[name].astype(np.float64)
        low = np.full(self._starts.size, np.nan)
        low[self._held] = values[self._starts[self._held] - 1]
        high = low.copy()
        if self._filled.size:
            low[self._filled] = np.minimum.reduceat(values, self._starts[self._filled])
            high[self._filled] = np.maximum.reduceat(values, self._starts[self._filled])
        return Curve(_rounded(low), _rounded(high))


def _rounded(values: npt.NDArray[np.float64]) -> list[float | None]:
    rounded: list[float | None] = np.round(values, 4).tolist()
    for place in np.flatnonzero(np.isnan(values)).tolist():
        rounded[place] = None
    return rounded


GATHERED = (Topic.EXACT_TICK, Topic.TRUTH, Topic.TRACK, Topic.CAMERA, Topic.LOG)


def traces_of(path: Path, index: RunIndex) -> Traces:
    """Return a run's curves, gathered from its messages where none are attached; raises RunFileError."""
    packed = index.attachment(TRACES)
    if packed is None:
        keeper = TraceKeeper()
        for entry in read(path, GATHERED):
            keeper.entry(entry)
        packed = keeper.packed()
    return Traces(packed)
