"""The timekeeper: a process of its own that looks for the start marker in every picture and tells the laps.

It takes the newest picture as it comes from the camera, one that is late is left out, and what it costs
is nobody else's time. The vehicle never hears of it.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import zmq

from vehicle.config import CarConfig, read_config
from vehicle.errors import UNREADABLE
from vehicle.laps import LAPS, LAPS_TOLD, LapBook, LineWatch, MarkerLaps, Pass, Sighting
from vehicle.marker_sight import CameraView, MarkerSight
from vehicle.messages import GUARDED_STATES, DriveState
from vehicle.realtime import die_with_parent
from vehicle.run_dir import prepare_run_dir
from vehicle.run_stream import FRAMES, Picture
from vehicle.supervisor import StopSignal

NICE = 5  # after what drives and what people look at, before what records
POLL_MS = 100
TELL_PERIOD_S = 0.25
IDLE_PERIOD_S = 0.2  # between two looks while nothing drives: enough to place a marker by
LOOK_EVERY = 2  # pictures while no marker is in sight: it is in view for ten or more
IN_SIGHT_S = 1.5


class Timing:
    """What the pictures of one drive say; no sockets and no clock of its own."""

    def __init__(self, view: CameraView) -> None:
        self._sight = MarkerSight(view)
        self._watch = LineWatch()
        self._book = LapBook()
        self._is_driving = False
        self._began_ns = 0
        self._newest: Sighting | None = None
        self._now_ns = 0
        self._seen_ns = -math.inf
        self._number = -1
        self._pictures = 0
        self._skipped = 0

    @property
    def number(self) -> int:
        """Of the newest picture; -1 before the first."""
        return self._number

    @property
    def is_driving(self) -> bool:
        """Whether laps are timed now."""
        return self._is_driving

    def follow(self, is_driving: bool, now_ns: int) -> None:
        """Take whether the car drives now; laps count anew from where it begins to."""
        if is_driving and not self._is_driving:
            self._began_ns = now_ns
            self._watch, self._book = LineWatch(), LapBook()
            self._pictures = self._skipped = 0
        self._is_driving = is_driving

    def look(self, picture: Picture) -> Pass | None:
        """Look at a picture; return the pass of the line that it makes sure."""
        if self._pictures and picture.number > self._number + 1:
            self._skipped += picture.number - self._number - 1
        if picture.number <= self._number:  # another vehicle process
            self._watch = LineWatch()
            self._seen_ns = -math.inf
        self._number, self._now_ns = picture.number, picture.stamp_ns
        self._pictures += self._is_driving
        is_in_sight = picture.stamp_ns - self._seen_ns < IN_SIGHT_S * 1e9
        if self._is_driving and not is_in_sight and picture.number % LOOK_EVERY:
            return None
        self._newest = self._sight.look(picture.stamp_ns, picture.jpeg)
        if self._newest is not None:
            self._seen_ns = picture.stamp_ns
        if not self._is_driving:
            return None
        found = self._watch.look(picture.stamp_ns, self._newest)
        if found is not None:
            self._book.add(found)
        return found

    def laps(self) -> MarkerLaps:
        """Return what is known."""
        laps, passes = self._book.laps(), self._book.passes
        return MarkerLaps(
            now_ns=self._now_ns,
            began_ns=self._began_ns,
            is_driving=self._is_driving,
            laps=laps[-LAPS_TOLD:],
            lap_count=len(laps),
            lap_started_ns=passes[-1].at_ns if passes else 0,
            passes=len(passes),
            doubles=self._book.doubles,
            untimed=self._watch.untimed,
            in_sight_m=self._newest.to_line_m if self._newest is not None else None,
            pictures=self._pictures,
            skipped=self._skipped,
        )


class _State(msgspec.Struct):
    """What is needed of a `Status`."""

    now_ns: int
    state: DriveState


class Timekeeper:
    """Sockets around a `Timing`; used by one thread."""

    def __init__(self, run_dir: Path, view: CameraView) -> None:
        prepare_run_dir(run_dir)
        cv2.setNumThreads(1)
        self.timing = Timing(view)
        self._context: zmq.Context[Any] = zmq.Context()
        self._frames = self._listen(run_dir / FRAMES)
        self._status = self._listen(run_dir / "status")
        self._teller: zmq.Socket[Any] = self._context.socket(zmq.PUB)
        self._teller.setsockopt(zmq.LINGER, 0)
        self._teller.setsockopt(zmq.SNDHWM, 2)
        self._teller.bind(f"ipc://{run_dir / LAPS}")
        self._poller = zmq.Poller()
        for socket in (self._frames, self._status):
            self._poller.register(socket, zmq.POLLIN)
        self._pictures = msgspec.msgpack.Decoder(Picture)
        self._states = msgspec.msgpack.Decoder(_State)
        self._told_s = self._looked_s = 0.0

    def _listen(self, path: Path) -> "zmq.Socket[Any]":
        socket: zmq.Socket[Any] = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.CONFLATE, 1)  # the newest alone: a late lap is better than late pictures
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        socket.subscribe(b"")
        socket.connect(f"ipc://{path}")
        return socket

    def run(self, stopping: Callable[[], bool]) -> None:
        """Keep time until told to stop."""
        try:
            while not stopping():
                self.turn()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the sockets."""
        self._context.destroy(linger=0)

    def turn(self, timeout_ms: int = POLL_MS) -> None:
        """Look at the newest picture, if one has come within the time-out."""
        ready = dict(self._poller.poll(timeout_ms))
        has_news = False
        with contextlib.suppress(*UNREADABLE, zmq.Again):  # of another version
            if self._status in ready:
                status = self._states.decode(self._status.recv(zmq.NOBLOCK))
                self.timing.follow(status.state in GUARDED_STATES, status.now_ns)
        with contextlib.suppress(*UNREADABLE, zmq.Again):
            if self._frames in ready:
                has_news = self._look(self._pictures.decode(self._frames.recv(zmq.NOBLOCK)))
        now_s = time.monotonic()
        if has_news or now_s - self._told_s >= TELL_PERIOD_S:
            self._told_s = now_s
            with contextlib.suppress(zmq.Again):
                self._teller.send(msgspec.msgpack.encode(self.timing.laps()), zmq.NOBLOCK)

    def _look(self, picture: Picture) -> bool:
        now_s = time.monotonic()
        if not self.timing.is_driving and now_s - self._looked_s < IDLE_PERIOD_S:
            return False
        self._looked_s = now_s
        return bool(picture.jpeg) and self.timing.look(picture) is not None


def camera_view(config: CarConfig) -> CameraView:
    """Return what the car's file says of its camera."""
    camera = config.camera
    return CameraView(math.radians(camera.field_deg), math.radians(camera.pitch_deg), camera.rotate_180)


def keep_time(run_dir: Path, config: Path | None) -> None:
    """Tell the laps of the vehicle in `run_dir` until SIGTERM; raises LapwingError."""
    die_with_parent()
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    view = camera_view(read_config(config) if config else CarConfig())
    Timekeeper(run_dir, view).run(StopSignal())
