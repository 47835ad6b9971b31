"""The parts around the loop that play a recorded run: they show and say what the car's own did.

Each has the signature of the part it stands for, whatever it makes of the arguments.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from calibration.car import CarCalibration
from models.lidar import Scan
from models.policy import Policy
from models.runtime import Feeds
from vehicle.camera import decode_jpeg, reduction
from vehicle.clock import Bell
from vehicle.lidar_source import TimedScan
from vehicle.memory import RunBegin
from vehicle.messages import (
    BoardPulses,
    BoardStatus,
    CameraLocks,
    DriveCommand,
    Frame,
    OperatorRequest,
    Reply,
    Status,
    TickRecord,
)
from vehicle.rate import Trigger
from vehicle.run_file import RunFileError, read
from vehicle.run_inputs import unpacked
from vehicle.run_recording import PictureMeta
from vehicle.run_schemas import Topic, protobuf_class
from vehicle.run_stream import LidarTurn, PolicyInputs, RunStart


class Recording:
    """One run, read from its file into memory."""

    def __init__(self, path: Path) -> None:
        """Read it; raises RunFileError where it cannot be replayed."""
        self.start: RunStart | None = None
        self.ticks: list[TickRecord] = []
        self.inputs: dict[int, PolicyInputs] = {}
        self.pictures: dict[tuple[str, int], PictureMeta] = {}
        self.jpegs: dict[tuple[str, int], bytes] = {}
        self.scans: dict[int, LidarTurn] = {}
        image = protobuf_class("CompressedImage")
        by_stamp: dict[tuple[str, int], bytes] = {}
        for entry in read(path, Topic):
            match entry.topic:
                case Topic.START:
                    self.start = msgspec.msgpack.decode(entry.data, type=RunStart)
                case Topic.EXACT_TICK:
                    self.ticks.append(msgspec.msgpack.decode(entry.data, type=TickRecord))
                case Topic.INPUTS:
                    inputs = msgspec.msgpack.decode(entry.data, type=PolicyInputs)
                    self.inputs[inputs.sequence] = inputs
                case Topic.PICTURE:
                    meta = msgspec.msgpack.decode(entry.data, type=PictureMeta)
                    self.pictures[meta.side, meta.number] = meta
                case Topic.CAMERA | Topic.RIGHT_CAMERA:
                    side = "right" if entry.topic is Topic.RIGHT_CAMERA else "front"
                    by_stamp[side, entry.time_ns] = image.FromString(entry.data).data
                case Topic.TURN:
                    turn = msgspec.msgpack.decode(entry.data, type=LidarTurn)
                    self.scans[turn.number] = turn
        if self.start is None or not self.ticks or self.ticks[0].now_ns != self.start.begin.now_ns:
            raise RunFileError(
                f"{path.stem} has no beginning: the recorder came when the car was driving already; "
                "replay another run"
            )
        for key, meta in self.pictures.items():
            if (key[0], meta.stamp_ns) in by_stamp:
                self.jpegs[key] = by_stamp[key[0], meta.stamp_ns]


class Cursor:
    """The tick that is being replayed; all the parts look at it."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.tick = recording.ticks[0]


class PlayedClock:
    """Says at each question of a tick what the car's clock said."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._answers: Iterator[int] = iter(())
        self._slept: Iterator[int] = iter(())

    def rewind(self) -> None:
        tick = self._cursor.tick
        sensed = tick.sensed
        self._answers = iter((sensed.checked_ns, tick.now_ns + tick.times.step_ns))
        self._slept = iter((sensed.suspended_ns, sensed.suspended_ns + sensed.slept_ns))

    def now_ns(self) -> int:
        return next(self._answers, self._cursor.tick.now_ns + self._cursor.tick.times.step_ns)

    def suspended_ns(self) -> int:
        return next(self._slept)

    def wait(self, deadline_ns: int, camera: object, after_frame: int | None, *, hears: bool) -> bool:
        return self._cursor.tick.trigger == Trigger.STOP


class PlayedCamera:
    """Shows the pictures that the loop had."""

    note = ""

    def __init__(self, cursor: Cursor, side: str, start: RunStart) -> None:
        self._cursor, self._side, self._car = cursor, side, start.car
        self._wanted_px: tuple[int, int] | None = None
        self.bell = Bell()  # never rings
        self._frame: Frame | None = None

    @property
    def _number(self) -> int:
        sensed = self._cursor.tick.sensed
        return sensed.newest_right_frame if self._side == "right" else sensed.newest_frame

    @property
    def lost(self) -> bool:
        sensed = self._cursor.tick.sensed
        return sensed.right_camera_lost if self._side == "right" else sensed.camera_lost

    @property
    def is_static(self) -> bool:
        return self._car.camera_is_static

    @property
    def rate_hz(self) -> float:
        return self._car.camera_rate_hz

    def fit(self, width_px: int, height_px: int) -> None:
        self._wanted_px = (width_px, height_px)

    def tune(self, locks: CameraLocks) -> None:
        """What was tuned is in the pictures."""

    def want(self, wanted: bool) -> None:
        """A recording costs nothing."""

    def latest(self) -> Frame | None:
        number = self._number
        if number < 0:
            return None
        if self._frame is None or self._frame.number != number:
            self._frame = self._load(number)
        return self._frame

    def _load(self, number: int) -> Frame:
        recording = self._cursor.recording
        meta = recording.pictures.get((self._side, number))
        jpeg = recording.jpegs.get((self._side, number), b"")
        if meta is None or not jpeg:
            raise RunFileError(
                f"picture {number} of the {self._side} camera is missing from the run; "
                "a run with gaps cannot be replayed"
            )
        scale = self._car.decode_scale
        if scale is None:
            full = decode_jpeg(jpeg)
            if full is not None:
                scale = reduction((full.shape[1], full.shape[0]), self._wanted_px)
        image = decode_jpeg(jpeg, scale or 1)
        if image is None:
            raise RunFileError(f"picture {number} of the run cannot be decoded; the file is damaged")
        return Frame(number, meta.stamp_ns, meta.ready_ns, image, jpeg)

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        return self._number > number

    def wait_stamped(self, stamp_ns: int, timeout_s: float) -> bool:
        return False


class PlayedLidar:
    """Shows the scans that the loop had."""

    note = ""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def latest(self) -> TimedScan | None:
        turn = self._cursor.recording.scans.get(self._cursor.tick.scan_number)
        if turn is None:
            return None
        angles = np.frombuffer(turn.angles_rad, np.float32)
        return TimedScan(turn.number, turn.stamp_ns, Scan(angles, np.frombuffer(turn.ranges_m, np.float32)))

    def want(self, wanted: bool) -> None:
        """A recording costs nothing."""

    @property
    def lost(self) -> bool:
        return self._cursor.tick.sensed.lidar_lost

    @property
    def period_s(self) -> float:
        return self._cursor.tick.sensed.lidar_period_s


class PlayedBoard:
    """Says what the board said; takes what the loop sends."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def poll(self, now_ns: int) -> BoardStatus:
        return self._cursor.tick.board

    def write(self, command: DriveCommand, now_ns: int) -> None:
        """The record has it."""

    def begin_store(self, pulses: BoardPulses, now_ns: int) -> None:
        """Nothing is stored while a run goes on."""

    def allow_reopen(self, allowed: bool) -> None:
        """There is no port."""

    def close(self) -> None:
        """There is no port."""


class PlayedPolicies:
    """The policy is there from the beginning."""

    note = ""
    is_loading = False
    activation = ("", "")

    def begin(self, source: str) -> None:
        """A request to load another is answered by the loop; it loads nothing here."""

    def take(self) -> Policy | None:
        return None


class PlayedCalibrations:
    """The numbers of the run are there from the beginning."""

    is_reading = False
    path = Path()

    def begin(self) -> None:
        """Nothing is read again while a run goes on."""

    def take(self) -> CarCalibration | None:
        return None


class PlayedPublisher:
    """Asks what operators asked; keeps what the loop publishes."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.record: TickRecord | None = None

    def drain(self, answer: Callable[[OperatorRequest], Reply]) -> None:
        for request in self._cursor.tick.requests:
            answer(request)

    def publish_status(self, status: Status) -> None:
        """Nobody looks."""

    def publish_record(self, record: TickRecord) -> None:
        self.record = record


class PlayedTeller:
    """Compares what the network is shown now with what it was shown in the drive."""

    is_heard = True

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.compared = 0
        self.equal = 0

    def started(self, start: RunBegin) -> None:
        """The recording knows."""

    def showed(self, sequence: int, frame_number: int, inputs: Feeds) -> None:
        recorded = self._cursor.recording.inputs.get(self._cursor.tick.sequence)
        if recorded is not None:
            self.compared += 1
            self.equal += all(np.array_equal(unpacked(one), inputs[one.name]) for one in recorded.arrays)
