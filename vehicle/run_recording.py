"""Decides what belongs to a run and puts it into the run's file; no sockets and no clock of its own.

A run begins with the tick that leaves DISARMED and ends with the one that is DISARMED again, a while after a
failsafe, or when the vehicle falls silent. Pictures of the last second are kept in memory all along: the
first tick of a run acts on one that came before it.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from vehicle.laps import MarkerLaps
from vehicle.messages import GUARDED_STATES, DriveState, Fault, TickRecord
from vehicle.run_file import Begun, RunWriter, as_json, pack
from vehicle.run_inputs import Array, compact, newest_picture
from vehicle.run_schemas import LogLevel, Topic, protobuf_bytes
from vehicle.run_stream import LidarTurn, Picture, PolicyInputs, RunStart
from vehicle.run_summary import RunSummary, run_name
from vehicle.run_tally import OF_THE_LEASE, RunTally
from vehicle.run_traces import TRACES, EventKind, TraceKeeper
from vehicle.runs import RESERVE_BYTES
from vehicle.truth import TrackLayout, WorldTruth

PRE_ROLL_READINGS = 40  # pictures, or scans: more than a second
FAILSAFE_LIMIT_S = 5.0  # what happens after a stop is soon told
CLOSING_S = 0.15
CLOSING_LIMIT_S = 2.0  # for what the run's ticks speak of and has not come yet
SYNC_PERIOD_S = 0.9  # a kill may cost the last second, not more


class Moment(NamedTuple):
    """What the recording has to be told of the computer when a run begins."""

    wall_ns: int
    boot_id: str
    clock_known: bool = True


class Awaited:
    """Which of the things that ticks speak of have not come yet: they travel apart, in any order."""

    def __init__(self) -> None:
        self.missing: set[int] = set()
        self.has_come = False
        """Whether any came since the run began."""
        self._here: deque[int] = deque(maxlen=PRE_ROLL_READINGS)
        self._newest = -1

    def begin(self) -> None:
        """Begin a run."""
        self.missing.clear()
        self.has_come, self._newest = False, -1

    def came(self, number: int) -> None:
        """Take note of one that has come."""
        self._here.append(number)
        self.has_come = True
        self.missing.discard(number)

    def spoken_of(self, number: int) -> None:
        """Take note of one that a tick speaks of; negative for none."""
        if number < 0 or number == self._newest:
            return
        self._newest = number
        if number not in self._here:
            self.missing.add(number)


class RunRecording:
    """Writes one run after another into a folder."""

    def __init__(
        self,
        folder: Path,
        moment: Callable[[], Moment],
        free_bytes: Callable[[], int],
        open_writer: Callable[[Path], RunWriter] = RunWriter,
    ) -> None:
        self._folder = folder
        self._moment = moment
        self._free_bytes = free_bytes
        self._open_writer = open_writer
        self._pictures: dict[Topic, deque[Picture]] = {
            topic: deque(maxlen=PRE_ROLL_READINGS) for topic in (Topic.CAMERA, Topic.RIGHT_CAMERA)
        }
        self._scans: deque[LidarTurn] = deque(maxlen=PRE_ROLL_READINGS)
        self._awaited = {topic: Awaited() for topic in (*self._pictures, Topic.TURN, Topic.INPUTS)}
        self._writer: RunWriter | None = None
        self._summary: RunSummary | None = None
        self._tally: RunTally | None = None
        self._start: RunStart | None = None
        self._last: TickRecord | None = None
        self._faults: tuple[Fault, ...] = ()
        self._request = ("", "")
        """Who asked for what last."""
        self._failsafe_ns = 0
        self._closing_ns = 0
        self._synced_ns = 0
        self._has_truth = False
        self._layout: TrackLayout | None = None
        self._marker_counts = (0, 0, 0, 0)  # when it began, passes, doubles, untimed
        self._traces = TraceKeeper()
        self.finished: deque[RunSummary] = deque()
        """Runs that are on the disk, for whoever looks after the folder."""
        self.problem = ""
        """Why nothing is recorded, in words; empty while all is well."""

    @property
    def run(self) -> str:
        """Name of the run that is being written, or empty."""
        return self._summary.name if self._summary is not None and self._writer is not None else ""

    @property
    def is_closing(self) -> bool:
        """Whether the run is over and only its last pictures are waited for."""
        return self._closing_ns > 0

    @property
    def has_all(self) -> bool:
        """Whether everything has come that the ticks of the run speak of."""
        inputs = self._awaited[Topic.INPUTS]
        return not any(
            awaited.missing for awaited in self._awaited.values() if awaited is not inputs or inputs.has_come
        )

    @property
    def size_bytes(self) -> int:
        """Of the run that is being written."""
        return self._writer.size_bytes if self._writer is not None else 0

    # --- what comes from the vehicle and the world

    def tick(self, record: TickRecord) -> None:
        """Take one tick's record."""
        before, self._last = self._last, record
        gap = before is not None and record.sequence != before.sequence + 1
        if gap and before is not None and record.sequence <= before.sequence:  # another vehicle process
            self.end("the vehicle process ended")
        if self._closing_ns:  # the run is over; its last pictures may still be on their way
            waited_s = (record.now_ns - self._closing_ns) / 1e9
            is_on_its_way = waited_s < CLOSING_S or (waited_s < CLOSING_LIMIT_S and not self.has_all)
            if is_on_its_way and record.state not in GUARDED_STATES:
                return
            self.end()
        if self._summary is None:
            if record.state not in GUARDED_STATES:
                return  # a failsafe where nothing moved is no run, nor what follows one that was closed
            was_disarmed = before is not None and before.state is DriveState.DISARMED
            self._begin(record, complete=was_disarmed)
        elif gap:
            self._mark_incomplete()
        self._put_tick(record)
        if record.state is DriveState.DISARMED:
            self._failsafe_ns = 0
            self._closing_ns = record.now_ns
            return
        if record.state is DriveState.FAILSAFE:
            self._failsafe_ns = self._failsafe_ns or record.now_ns
            if record.now_ns - self._failsafe_ns > FAILSAFE_LIMIT_S * 1e9:
                self._closing_ns = record.now_ns
                return
        else:
            self._failsafe_ns = 0
        self._sync(record.now_ns)

    def start(self, start: RunStart) -> None:
        """Take how a run began; it may come before or after that run's first tick."""
        self._start = start
        self._put_start()

    def inputs(self, inputs: PolicyInputs) -> None:
        """Take what the network was shown."""
        self._awaited[Topic.INPUTS].came(inputs.sequence)
        if self._summary is None or self._last is None:
            return
        now_ns = self._last.now_ns
        self._put(Topic.INPUTS, now_ns, pack(compact(inputs)))
        for array in inputs.arrays:
            image = newest_picture(array)
            if image is not None:
                self._put(Topic.POLICY_INPUT, now_ns, _raw_image(image, now_ns))
                break

    def picture(self, topic: Topic, picture: Picture) -> None:
        """Take one camera's picture."""
        kept = self._pictures[topic]
        if self._summary is not None:
            if kept and picture.number != kept[-1].number + 1:
                self._mark_incomplete()
            self._put_picture(topic, picture)
        kept.append(picture)
        self._awaited[topic].came(picture.number)

    def scan(self, scan: LidarTurn) -> None:
        """Take one turn of the LIDAR."""
        if self._summary is not None:
            self._put_scan(scan)
        self._scans.append(scan)
        self._awaited[Topic.TURN].came(scan.number)

    def truth(self, truth: WorldTruth) -> None:
        """Take what really happens in a HIL world."""
        self._has_truth = True
        if self._tally is None:
            return
        self._put(Topic.TRUTH, truth.now_ns, as_json(truth))
        self._traces.truth(truth)
        known = len(self._tally.summary.laps_s)
        for lap, time_s in enumerate(self._tally.truth(truth), known + 1):
            self._log(truth.now_ns, EventKind.LAP, f"lap {lap}: {time_s:.3f} s")

    def track(self, layout: TrackLayout) -> None:
        """Take the lines of the track that a HIL car is on from now on."""
        self._layout = layout
        if self._last is not None and self._summary is not None:
            self._put_layout(self._last.now_ns)

    def marker(self, told: MarkerLaps) -> None:
        """Take what the start marker says of this run; a HIL world knows better."""
        tally = self._tally
        if tally is None or told.began_ns < tally.summary.started_ns:
            return
        counts = (told.began_ns, told.passes, told.doubles, told.untimed)
        if counts != self._marker_counts:
            self._marker_counts = counts
            self._put(Topic.MARKER, told.now_ns, as_json(told))
        fresh = tally.marker(told)
        end_ns = told.lap_started_ns - round(sum(lap.time_s for lap in fresh) * 1e9)
        for lap in fresh:
            end_ns += round(lap.time_s * 1e9)
            doubt = "; the marker may have been missed" if lap.missed else ""
            words = f"lap {lap.lap}: {lap.time_s:.3f} s, by the start marker{doubt}"
            self._log(end_ns, EventKind.LAP, words)

    def end(self, note: str = "") -> None:
        """Finish the run that is being written, if any."""
        if not self.has_all:
            self._mark_incomplete()
        summary, writer = self._summary, self._writer
        self._summary = self._tally = self._writer = self._start = None
        self._closing_ns = 0
        if summary is None:
            return
        if note:
            summary.note = f"{summary.note}; {note}" if summary.note else note
            summary.is_complete = False
        if writer is None:
            return
        try:
            writer.sync()  # what was driven comes first: there may be no room for the rest
            summary.size_bytes = writer.size_bytes
            writer.attach(TRACES, self._traces.packed())
            writer.finish({"summary": as_json(summary).decode()})
            summary.size_bytes = writer.path.stat().st_size
        except OSError as error:
            writer.abandon()
            self.problem = f"the run could not be finished ({error.strerror}); free some space on the disk"
            return
        self.finished.append(summary)

    # --- how it is written

    def _begin(self, record: TickRecord, *, complete: bool) -> None:
        moment = self._moment()
        name = run_name(self._folder, moment.wall_ns)
        self._summary = RunSummary(
            name=name,
            started_wall_ns=moment.wall_ns,
            boot_id=moment.boot_id,
            clock_known=moment.clock_known,
            started_ns=record.now_ns,
            is_complete=complete,
            note="" if complete else "the recorder came when the car was driving already",
        )
        self._tally = RunTally(self._summary, has_truth=self._has_truth)
        self._faults = ()
        self._request = ("", "")
        self._failsafe_ns = 0
        self._synced_ns = record.now_ns
        self._traces = TraceKeeper()
        self._marker_counts = (0, 0, 0, 0)
        for awaited in self._awaited.values():
            awaited.begin()
        free_bytes = self._free_bytes()
        if free_bytes < RESERVE_BYTES:
            self.problem = (
                f"not recording: {free_bytes / 1e9:.1f} GB of the disk are free, "
                f"{RESERVE_BYTES / 1e9:.1f} GB must stay so; remove some runs"
            )
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = self._open_writer(self._folder / f"{name}.mcap")
            self._writer.begin(Begun(moment.wall_ns, moment.boot_id, moment.clock_known))
        except OSError as error:
            self._fail(error)
            return
        self.problem = ""
        self._put_start()
        self._put_layout(record.now_ns)
        for topic, kept in self._pictures.items():
            for picture in kept:
                self._put_picture(topic, picture)
        for scan in self._scans:
            self._put_scan(scan)

    def _put_start(self) -> None:
        start, summary = self._start, self._summary
        if start is None or summary is None or start.begin.now_ns != summary.started_ns:
            return
        if self._tally is not None:
            self._tally.start(start)
        self._put(Topic.START, start.begin.now_ns, pack(start))

    def _put_layout(self, now_ns: int) -> None:
        if self._layout is not None:
            self._put(Topic.TRACK, now_ns, as_json(self._layout))
            self._traces.track(self._layout)

    def _put_tick(self, record: TickRecord) -> None:
        assert self._tally is not None
        self._put(Topic.TICK, record.now_ns, as_json(record))
        self._put(Topic.EXACT_TICK, record.now_ns, pack(record))
        self._traces.tick(record)
        self._tally.tick(record)
        self._awaited[Topic.CAMERA].spoken_of(record.sensed.newest_frame)
        self._awaited[Topic.RIGHT_CAMERA].spoken_of(record.right_frame_number)
        self._awaited[Topic.TURN].spoken_of(record.scan_number)
        self._awaited[Topic.INPUTS].spoken_of(record.sequence if record.policy_output else -1)
        for request in record.requests:
            asked = (request.source, request.kind.value)
            if request.kind.value not in OF_THE_LEASE and asked != self._request:
                self._request = asked  # a lease that is taken again and again is told once
                self._log(record.now_ns, EventKind.REQUEST, request.kind.value, request.source)
        for fault in record.faults:
            if fault not in self._faults:
                self._log(record.now_ns, EventKind.FAULT, fault.value)
        for fault in self._faults:
            if fault not in record.faults:
                self._log(record.now_ns, EventKind.FAULT_OVER, fault.value)
        self._faults = record.faults

    def _put_picture(self, topic: Topic, picture: Picture) -> None:
        if self._tally is not None:
            self._tally.picture()
        if picture.jpeg:
            if topic is Topic.CAMERA:
                self._traces.picture(picture.stamp_ns)
            image = protobuf_bytes(
                "CompressedImage",
                picture.stamp_ns,
                data=picture.jpeg,
                format="jpeg",
                frame_id=topic.value[1:],
            )
            self._put(topic, picture.stamp_ns, image)
        side = "right" if topic is Topic.RIGHT_CAMERA else "front"
        meta = PictureMeta(side, picture.number, picture.stamp_ns, picture.ready_ns)
        self._put(Topic.PICTURE, picture.stamp_ns, pack(meta))

    def _put_scan(self, scan: LidarTurn) -> None:
        angles, ranges = np.frombuffer(scan.angles_rad, np.float32), np.frombuffer(scan.ranges_m, np.float32)
        message = protobuf_bytes(
            "LaserScan",
            scan.stamp_ns,
            frame_id="lidar",
            start_angle=float(angles[0]) if angles.size else 0.0,
            end_angle=float(angles[-1]) if angles.size else 0.0,
            ranges=ranges.astype(float).tolist(),
        )
        self._put(Topic.SCAN, scan.stamp_ns, message)
        self._put(Topic.TURN, scan.stamp_ns, pack(scan))

    def _log(self, now_ns: int, kind: EventKind, words: str, source: str = "") -> None:
        line = {
            "timestamp": {"sec": now_ns // 10**9, "nsec": now_ns % 10**9},
            "level": int(LogLevel.ERROR if kind is EventKind.FAULT else LogLevel.INFO),
            "message": words,
            "name": source,
            "file": kind.value,
            "line": 0,
        }
        self._put(Topic.LOG, now_ns, as_json(line))
        self._traces.event(now_ns, kind, words, source)

    def _put(self, topic: Topic, now_ns: int, data: bytes) -> None:
        if self._writer is None:
            return
        try:
            self._writer.add(topic, now_ns, data)
        except OSError as error:
            self._fail(error)

    def _sync(self, now_ns: int) -> None:
        if self._writer is None or now_ns - self._synced_ns < SYNC_PERIOD_S * 1e9:
            return
        self._synced_ns = now_ns
        try:
            self._writer.sync()
        except OSError as error:
            self._fail(error)
            return
        if self._free_bytes() < RESERVE_BYTES:
            self.end("the disk was nearly full")
            self.problem = "not recording: the disk is nearly full; remove some runs"

    def _fail(self, error: OSError) -> None:
        """Stop writing this run; what is on the disk stays, and the drive goes on."""
        self.problem = f"not recording: {error.strerror or error}; free some space on the disk"
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _mark_incomplete(self) -> None:
        if self._summary is not None and self._summary.is_complete:
            self._summary.is_complete = False
            self._summary.note = "recording incomplete: some ticks or pictures are missing"


class PictureMeta(msgspec.Struct, frozen=True):
    """What a picture's own message does not say."""

    side: str
    """`front` or `right`."""
    number: int
    stamp_ns: int
    ready_ns: int


def _raw_image(image: Array, now_ns: int) -> bytes:
    height, width = image.shape
    return protobuf_bytes(
        "RawImage",
        now_ns,
        width=width,
        height=height,
        encoding="mono8",
        step=width,
        data=image.tobytes(),
        frame_id="policy_input",
    )
