"""The timekeeper: the newest picture from a vehicle's sockets, laps on its own."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from tests.unit.test_marker_sight import Drive, room
from vehicle import run_command
from vehicle.errors import ConfigError
from vehicle.laps import MarkerLaps
from vehicle.laps_client import MarkerFollower
from vehicle.marker_sight import CameraView
from vehicle.run_command import RunOptions, running_car
from vehicle.run_stream import FRAMES, Picture, Stream
from vehicle.timekeeper import LOOK_EVERY, Timekeeper, Timing

__all__ = ["room"]  # a fixture
FRAME_NS = 33_333_333
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def passage(room) -> list[bytes]:
    """Pictures of one passage at 3 m/s; the line is met at number 12."""
    drive = Drive(room)
    return [drive.jpeg((number - 12) * 0.1) for number in range(16)]


def show(timing: Timing, passage: list[bytes], laps: int, lap_pictures: int = 90, blank: bytes = b"") -> None:
    """Show some laps of 3 s each."""
    for lap in range(laps):
        for number in range(lap_pictures):
            jpeg = passage[number] if number < len(passage) else blank
            stamp_ns = SECOND_NS + round((lap * lap_pictures + number) * 1e9 / 30)
            timing.look(Picture(lap * lap_pictures + number, stamp_ns, stamp_ns, jpeg))


def test_laps_are_timed_while_the_car_drives_and_count_anew_in_the_next_drive(passage):
    timing = Timing(CameraView())
    show(timing, passage, laps=1)
    assert timing.laps().passes == 0  # standing, or carried past

    timing.follow(True, 5)
    show(timing, passage, laps=3)
    laps = timing.laps()
    assert [lap.time_s for lap in laps.laps] == pytest.approx([3.0, 3.0], abs=0.002)
    assert (laps.began_ns, laps.passes, laps.doubles, laps.pictures) == (5, 3, 0, 270)

    timing.follow(False, 6)
    assert timing.laps().lap_count == 2  # still there to read
    timing.follow(True, 7)
    assert (timing.laps().lap_count, timing.laps().began_ns) == (0, 7)


def test_half_of_the_pictures_are_looked_at_while_nothing_is_in_sight(passage, monkeypatch):
    timing = Timing(CameraView())
    timing.follow(True, 0)
    looked = []
    sight = timing._sight.look
    monkeypatch.setattr(
        timing._sight, "look", lambda stamp_ns, jpeg: (looked.append(jpeg), sight(stamp_ns, jpeg))[1]
    )
    show(timing, passage, laps=2, lap_pictures=120)

    near = [jpeg for jpeg in looked if jpeg]
    assert len(near) >= 2 * len(passage) - LOOK_EVERY
    assert len(looked) < 240 * 0.8
    assert timing.laps().lap_count == 1


class FakeVehicle:
    """The two streams of a vehicle process."""

    def __init__(self, run_dir: Path) -> None:
        self.context = zmq.Context()
        self.frames = Stream(run_dir, FRAMES, self.context)
        self.status = self.context.socket(zmq.PUB)
        self.status.bind(f"ipc://{run_dir / 'status'}")
        self.number = 0

    def show(self, jpeg: bytes, stamp_ns: int) -> None:
        self.frames.send(Picture(self.number, stamp_ns, stamp_ns, jpeg))
        self.number += 1

    def say(self, state: str, now_ns: int) -> None:
        self.status.send(msgspec.msgpack.encode({"state": state, "now_ns": now_ns}))

    def close(self) -> None:
        self.frames.close()
        self.context.destroy(linger=0)


@contextlib.contextmanager
def parts() -> Iterator[tuple[FakeVehicle, Timekeeper, MarkerFollower]]:
    with contextlib.ExitStack() as stack:  # a short path: those of pytest's workers are too long for a socket
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lw", dir="/tmp")))
        vehicle = stack.enter_context(contextlib.closing(FakeVehicle(run_dir)))
        keeper = stack.enter_context(contextlib.closing(Timekeeper(run_dir, CameraView())))
        yield vehicle, keeper, stack.enter_context(contextlib.closing(MarkerFollower(run_dir)))


def test_the_page_hears_laps_that_the_timekeeper_saw_in_a_vehicles_pictures(passage):
    with parts() as (vehicle, keeper, follower):
        until(keeper, lambda: vehicle.frames.is_heard)
        until(keeper, lambda: keeper.timing.is_driving, lambda: vehicle.say("autonomous", 77))
        stamp_ns = 0
        for _ in range(3):
            for jpeg in [*passage, *[b"\0"] * 6]:
                stamp_ns += FRAME_NS
                number = vehicle.number
                vehicle.show(jpeg, stamp_ns)
                until(keeper, lambda number=number: keeper.timing.number >= number)
            stamp_ns += 2 * SECOND_NS

        until(keeper, lambda: (follower.laps() or nothing()).lap_count == 2)
        laps = follower.laps()
        assert laps is not None
        assert [lap.time_s for lap in laps.laps] == pytest.approx([2.733, 2.733], abs=0.002)
        assert laps.began_ns == 77


def test_of_pictures_that_come_too_fast_the_newest_alone_is_looked_at(passage):
    with parts() as (vehicle, keeper, _):
        until(keeper, lambda: vehicle.frames.is_heard)
        until(keeper, lambda: keeper.timing.is_driving, lambda: vehicle.say("manual", 1))
        vehicle.show(passage[0], FRAME_NS)
        until(keeper, lambda: keeper.timing.number == 0)
        for number in range(20):
            vehicle.show(passage[0], FRAME_NS * (2 + number))
        time.sleep(0.05)
        until(keeper, lambda: keeper.timing.number == 20)

        assert keeper.timing.laps().skipped >= 15


def test_what_cannot_be_read_is_passed_over(passage):
    with parts() as (vehicle, keeper, _):
        until(keeper, lambda: vehicle.frames.is_heard)
        vehicle.frames._socket.send(b"\xff garbage")
        vehicle.status.send(b"garbage")
        until(keeper, lambda: keeper.timing.is_driving, lambda: vehicle.say("arming", 1))
        vehicle.show(passage[3], FRAME_NS)
        until(keeper, lambda: keeper.timing.number == 0)

        assert keeper.timing.laps().in_sight_m == pytest.approx(0.9, abs=0.05)


def test_a_timekeeper_runs_with_every_real_car_and_with_a_simulated_one_that_has_a_marker(tmp_path):
    def names(**options) -> list[str]:
        hil_dir = tmp_path / "hil" if options.get("hil") else None
        children = run_command._children(RunOptions(**options), tmp_path / "run", hil_dir)
        return [child.name for child in children]

    assert "timekeeper" in names(config=tmp_path / "car.toml")
    assert "timekeeper" in names(hil=True, has_marker=True)
    assert "timekeeper" not in names(hil=True)


def test_a_marker_is_printed_for_a_real_car_and_not_asked_for():
    with (
        pytest.raises(ConfigError, match="lapwing marker"),
        running_car(RunOptions(has_marker=True), lambda line: None),
    ):
        pass


def nothing() -> MarkerLaps:
    return Timing(CameraView()).laps()


def until(keeper: Timekeeper, is_so, act=lambda: None) -> None:
    deadline_s = time.monotonic() + 10.0
    while not is_so():
        assert time.monotonic() < deadline_s
        act()
        keeper.turn(timeout_ms=10)
