"""The recorder: a process of its own that writes every run down and never delays the one that drives.

It listens to the vehicle's streams; the
truth of a HIL world is the only thing it knows that the vehicle does not.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from vehicle.car_clock import CarClock
from vehicle.config import followed_quota
from vehicle.errors import UNREADABLE, HilError
from vehicle.hil_client import HilClient
from vehicle.laps import LAPS, MarkerLaps
from vehicle.messages import TickRecord
from vehicle.realtime import die_with_parent
from vehicle.recorder_status import STATUS, RecorderStatus
from vehicle.remote import RECORD_QUEUE
from vehicle.run_dir import prepare_run_dir
from vehicle.run_mender import Mender
from vehicle.run_recording import Moment, RunRecording
from vehicle.run_schemas import Topic
from vehicle.run_stream import (
    FRAMES,
    RIGHT_FRAMES,
    RUN,
    SCANS,
    SENSOR_QUEUE,
    LidarTurn,
    Picture,
    RunMessage,
    RunStart,
)
from vehicle.runs import RESERVE_BYTES, RunShelf
from vehicle.supervisor import StopSignal
from vehicle.truth import TrackLayout, WorldTruth

NICE = 10  # what drives and what people look at come first
POLL_MS = 100
STATUS_PERIOD_S = 0.5
SILENT_S = 2.0  # of records: the vehicle process is gone
QUIET_TURNS = 10  # in a row: a recorder that is late itself finds what was said meanwhile before that
LAYOUT_S = 0.5  # a world answers between two pictures; pictures wait two seconds
ASK_AGAIN_S = 5.0
BATCH = 200  # messages taken from one socket before the others get their turn
RECORD_BATCH = 30  # half a second: what they speak of is looked for in between, however late this process is
GOODBYE_S = 0.5  # for what a run that is over still lacks, when the recorder is stopped


class Recorder:
    """Sockets in, runs out."""

    def __init__(self, run_dir: Path, shelf: RunShelf, hil_dir: Path | None) -> None:
        prepare_run_dir(run_dir)
        self._shelf = shelf
        self.recording = RunRecording(shelf.folder, lambda: _moment(shelf.clock), self._room_bytes)
        self._context: zmq.Context[Any] = zmq.Context()
        self._world = HilClient(hil_dir) if hil_dir is not None else None
        self._track = ""
        self._not_asked_before_s = 0.0
        self._mender = Mender(shelf)
        self._poller = zmq.Poller()
        self._takers: dict[zmq.Socket[Any], Callable[[bytes], None]] = {}
        self._heard_s = time.monotonic()
        self._quiet_turns = 0
        """Without a record."""
        self._told_s = 0.0
        self._records = msgspec.msgpack.Decoder(TickRecord)
        run = msgspec.msgpack.Decoder(RunMessage)
        pictures = msgspec.msgpack.Decoder(Picture)
        turns = msgspec.msgpack.Decoder(LidarTurn)
        recording = self.recording
        self._listen(run_dir / RUN, lambda data: self._take_run(run.decode(data)), RECORD_QUEUE)
        self._listen(run_dir / "records", self._take_record, RECORD_QUEUE)
        self._listen(run_dir / FRAMES, lambda data: recording.picture(Topic.CAMERA, pictures.decode(data)))
        self._listen(
            run_dir / RIGHT_FRAMES, lambda data: recording.picture(Topic.RIGHT_CAMERA, pictures.decode(data))
        )
        marker = msgspec.msgpack.Decoder(MarkerLaps)
        self._listen(run_dir / LAPS, lambda data: recording.marker(marker.decode(data)))
        self._listen(run_dir / SCANS, lambda data: recording.scan(turns.decode(data)))
        self._status: zmq.Socket[Any] = self._context.socket(zmq.PUB)
        self._status.setsockopt(zmq.LINGER, 0)
        self._status.bind(f"ipc://{run_dir / STATUS}")

    def _listen(self, path: Path, take: Callable[[bytes], None], queue_length: int = SENSOR_QUEUE) -> None:
        socket: zmq.Socket[Any] = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, queue_length)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        socket.subscribe(b"")
        socket.connect(f"ipc://{path}")
        self._poller.register(socket, zmq.POLLIN)
        self._takers[socket] = take

    def run(self, stopping: Callable[[], bool]) -> None:
        """Record until told to stop, then finish the run that is being written."""
        try:
            while not stopping():
                self.turn()
        finally:
            self.close()

    def turn(self, timeout_ms: int = POLL_MS) -> None:
        """Take what has come, within a moment."""
        self._poller.poll(timeout_ms)
        self._quiet_turns += 1
        for socket, take in self._takers.items():
            for _ in range(RECORD_BATCH if take == self._take_record else BATCH):
                try:
                    data = socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                with contextlib.suppress(*UNREADABLE):  # of another version: seen as a gap
                    take(data)
        if self._world is not None:
            with contextlib.suppress(*UNREADABLE):
                for truth in self._world.truths():
                    self._take_truth(self._world, truth)
        now_s = time.monotonic()
        is_silent = now_s - self._heard_s > SILENT_S and self._quiet_turns >= QUIET_TURNS
        if self.recording.run and is_silent:
            self.recording.end("" if self.recording.is_closing else "the vehicle process fell silent")
        while self.recording.finished:
            self._shelf.put(self.recording.finished.popleft())
        if now_s - self._told_s > STATUS_PERIOD_S:
            self._told_s = now_s
            self._tell()
            self._shelf.forget()
            self._mender.look()

    def _take_truth(self, world: HilClient, truth: WorldTruth) -> None:
        now_s = time.monotonic()
        if truth.track != self._track and now_s >= self._not_asked_before_s:
            self._not_asked_before_s = now_s + ASK_AGAIN_S
            with contextlib.suppress(HilError):  # it is busy
                layout = msgspec.convert(world.control("layout", LAYOUT_S), TrackLayout)
                self._track = layout.track
                self.recording.track(layout)
        self.recording.truth(truth)

    def _room_bytes(self) -> int:
        """Return how much of the disk is free, once old runs have made room where it was too little."""
        if self._shelf.room_bytes() < RESERVE_BYTES:
            self._shelf.make_room()
        return self._shelf.room_bytes()

    def _take_run(self, message: RunMessage) -> None:
        if isinstance(message, RunStart):
            self.recording.start(message)
        else:
            self.recording.inputs(message)

    def _take_record(self, data: bytes) -> None:
        self.take_tick(self._records.decode(data))

    def take_tick(self, record: TickRecord) -> None:
        """Take one tick's record, as it comes or from a test that steps the vehicle itself."""
        self._heard_s, self._quiet_turns = time.monotonic(), 0
        self.recording.tick(record)

    def _tell(self) -> None:
        status = RecorderStatus(self.recording.run, self.recording.size_bytes, self.recording.problem)
        with contextlib.suppress(zmq.Again):
            self._status.send(msgspec.msgpack.encode(status), zmq.NOBLOCK)

    def close(self) -> None:
        """Finish the run that is being written and let go of everything."""
        deadline_s = time.monotonic() + GOODBYE_S
        while self.recording.is_closing and not self.recording.has_all and time.monotonic() < deadline_s:
            self.turn(20)
        self.recording.end("" if self.recording.is_closing else "the recorder was stopped")
        while self.recording.finished:
            self._shelf.put(self.recording.finished.popleft())
        self._mender.close()
        if self._world is not None:
            self._world.close()
        self._context.destroy(linger=0)


def _moment(clock: CarClock) -> Moment:
    wall_ns, clock_known = clock.now()
    return Moment(wall_ns, clock.boot_id(), clock_known)


def record(run_dir: Path, runs_dir: Path | None, hil_dir: Path | None, config: Path | None = None) -> None:
    """Record every run of the vehicle in `run_dir` until SIGTERM; raises LapwingError."""
    die_with_parent()
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    Recorder(run_dir, RunShelf(runs_dir, followed_quota(config)), hil_dir).run(StopSignal())
