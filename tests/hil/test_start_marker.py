"""Laps by the printed start marker against the world's own: from the sheet to the timekeeper's process.

In lockstep: the world stands still until that process has told what it thinks of the newest picture, so
that a busy computer leaves out none.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import msgspec
import pytest
import zmq

from tests.hil.pilot import Pilot
from tests.hil.rig import Rig, lockstep_rig
from vehicle.hil.settings import CameraSettings, MarkerSettings
from vehicle.laps import MarkerLaps, TimedLap
from vehicle.laps_client import MarkerFollower
from vehicle.messages import GUARDED_STATES, DriveState, TickRecord
from vehicle.truth import Crossing

FPS = 30.0
SMALL = CameraSettings(fps=FPS, width_px=320, height_px=240)  # a quarter of the work of a full picture
FULL = CameraSettings(fps=FPS, width_px=640, height_px=480)
ANSWER_S = 20.0  # of a process on a computer that has much else to do
KEEPER = """
import sys
from pathlib import Path
import zmq
from vehicle import laps, timekeeper
from vehicle.run_stream import FRAMES
laps.SHORTEST_LAP_S = 4.0  # these cars drive none in less than five
timekeeper.TELL_PERIOD_S = 0.0  # after each picture, for the world waits
newest_alone = timekeeper.Timekeeper._listen
def listen(keeper, path):
    # ZeroMQ may hold the newest of a conflating socket back until another comes, for which the world waits.
    if path.name != FRAMES:
        return newest_alone(keeper, path)
    socket = keeper._context.socket(zmq.SUB)
    socket.subscribe(b"")
    socket.connect(f"ipc://{path}")
    return socket
timekeeper.Timekeeper._listen = listen
timekeeper.keep_time(Path(sys.argv[1]), None)
"""


class Told:
    """A timekeeper in a process of its own, beside a stepped vehicle, and what it tells."""

    def __init__(self, rig: Rig, follower: MarkerFollower, status: "zmq.Socket[bytes]") -> None:
        self._rig = rig
        self._follower = follower
        self._status = status
        self._number = -1
        self._drives = False
        rig.after_tick = self._follow

    @property
    def laps(self) -> MarkerLaps:
        self.until(lambda laps: True)
        laps = self._follower.laps()
        assert laps is not None
        return laps

    def _follow(self, record: TickRecord) -> None:
        """Publish the status, which the rig keeps to itself, and wait for what comes of a new picture."""
        frame = self._rig.vehicle.camera.latest()
        drove, self._drives = self._drives, record.state in GUARDED_STATES
        if drove != self._drives:
            self.until(lambda laps: laps.is_driving == self._drives)
        if frame is None or frame.number <= self._number:
            return
        self._number = frame.number
        if drove and self._drives:  # while it stands, few are looked at
            self.until(lambda laps: laps.now_ns >= frame.stamp_ns)

    def until(self, is_so: Callable[[MarkerLaps], bool]) -> None:
        deadline_s = time.monotonic() + ANSWER_S
        while not ((laps := self._follower.laps()) and is_so(laps)):
            assert time.monotonic() < deadline_s, f"the timekeeper does not come along: {laps}"
            if self._rig.publisher.status is not None:
                self._status.send(msgspec.msgpack.encode(self._rig.publisher.status))
            time.sleep(0.001)


@contextmanager
def keeping_time(rig: Rig) -> Iterator[Told]:
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        status = stack.enter_context(context.socket(zmq.PUB))
        status.setsockopt(zmq.LINGER, 0)
        status.bind(f"ipc://{rig.vehicle.run_dir / 'status'}")
        process = subprocess.Popen([sys.executable, "-c", KEEPER, str(rig.vehicle.run_dir)])
        stack.callback(process.wait)
        stack.callback(process.terminate)
        follower = stack.enter_context(closing(MarkerFollower(rig.vehicle.run_dir)))
        yield Told(rig, follower, status)
        rig.after_tick = lambda record: None


def assert_timed(by_marker: Sequence[TimedLap], by_world: Sequence[Crossing]) -> None:
    """Every lap of the world, none more, each to one picture."""
    assert [lap.missed for lap in by_marker] == [0] * len(by_world)
    for marker, world in zip(by_marker, by_world, strict=True):
        assert marker.time_s == pytest.approx(world.time_s, abs=1 / FPS)


def drive_laps(rig: Rig, pilot: Pilot, count: int, limit_s: float = 40.0) -> float:
    """Drive until so many laps are done and the marker of the last is out of view; return the top speed."""
    end_ns, top_mps = rig.now_ns + round(limit_s * 1e9), 0.0
    while True:
        truth = rig.world.truth_now()
        top_mps = max(top_mps, truth.speed_mps)
        if len(truth.laps) >= count and 0.15 < truth.progress_frac < 0.5:
            return top_mps
        assert rig.now_ns < end_ns
        assert not truth.off_track
        assert rig.state is DriveState.MANUAL, rig.status.sentence
        pilot.tick()


def test_plover_laps_with_the_marker_beside_its_track_and_the_marker_times_its_laps_to_one_picture():
    with (
        lockstep_rig(track="oval", policy="plover", camera=SMALL, marker=MarkerSettings(), seed=4) as rig,
        keeping_time(rig) as told,
    ):
        rig.start()
        assert rig.run_until(lambda: told.laps.lap_count >= 1, 40.0)
        truth, laps = rig.world.truth_now(), told.laps

    assert not truth.off_track
    assert_timed(laps.laps, truth.laps)
    assert (laps.passes, laps.doubles, laps.untimed, laps.skipped) == (2, 0, 0, 0)


def test_laps_are_timed_to_one_picture_at_speed_in_bad_light():
    with (
        lockstep_rig(track="oval", camera=FULL, marker=MarkerSettings(), light="dim") as rig,
        keeping_time(rig) as told,
    ):
        rig.start(DriveState.MANUAL)
        top_mps = drive_laps(rig, Pilot(rig, "oval", 3.8), 2)
        truth, laps = rig.world.truth_now(), told.laps
        rig.stop()

    assert top_mps > 3.5
    assert_timed(laps.laps, truth.laps)
    assert (laps.passes, laps.doubles, laps.untimed, laps.skipped) == (3, 0, 0, 0)


def test_a_pass_that_nobody_could_see_is_told_and_one_seen_twice_does_not_count():
    with (
        lockstep_rig(track="oval", camera=SMALL, marker=MarkerSettings()) as rig,
        keeping_time(rig) as told,
    ):
        rig.start(DriveState.MANUAL)
        pilot = Pilot(rig, "oval", 3.8)
        drive_laps(rig, pilot, 1)
        rig.world.control("fault", part="camera", fault="covered")
        drive_laps(rig, pilot, 2)
        rig.world.control("fault", part="camera", fault="covered", on=False)
        drive_laps(rig, pilot, 3)
        truth, laps = rig.world.truth_now(), told.laps
        assert [lap.missed for lap in laps.laps] == [0, 1]
        assert laps.laps[1].time_s == pytest.approx(sum(lap.time_s for lap in truth.laps[1:]), abs=1 / FPS)
        assert laps.laps[0].time_s == pytest.approx(truth.laps[0].time_s, abs=1 / FPS)
        assert (laps.passes, laps.doubles) == (3, 0)

        passed_ns = laps.lap_started_ns
        while rig.now_ns - passed_ns < 2e9:
            pilot.tick()
        rig.world.control("reset")  # somebody carries it back, and it passes again at once
        drive_laps(rig, pilot, 0)
        laps = told.laps
        rig.stop()
    assert (laps.passes, laps.doubles, laps.lap_count) == (3, 1, 2)
