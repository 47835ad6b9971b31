"""The page's view of a HIL world that comes and goes."""

import collections
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from vehicle.truth import WorldTruth, truth_endpoint
from webui import world as world_module
from webui.world import WorldFollower

TRUTH = WorldTruth(
    now_ns=1,
    frame_number=0,
    track="oval",
    x_m=0.0,
    y_m=0.0,
    heading_rad=0.0,
    speed_mps=0.0,
    steering_rad=0.0,
    progress_frac=0.0,
    offset_m=0.0,
    off_track=False,
    crashed=False,
    laps=(),
    lap_started_ns=0,
    servo_pulse_us=0.0,
    esc_pulse_us=0.0,
)


@pytest.fixture
def hil_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="lw", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def follower(hil_dir: Path) -> Iterator[WorldFollower]:
    follower = WorldFollower(hil_dir)
    yield follower
    follower.close()


@pytest.fixture
def tell(hil_dir: Path) -> Iterator[Callable[[bytes], None]]:
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.bind(truth_endpoint(hil_dir))
        yield publisher.send


def tell_until(fact: Callable[[], bool], tell: Callable[[bytes], None], message: bytes) -> None:
    """Repeat a message, as the world does, until it has been heard."""
    deadline_s = time.monotonic() + 5
    while not fact():
        assert time.monotonic() < deadline_s
        tell(message)
        time.sleep(0.01)


def test_a_world_that_never_spoke_has_no_truth(follower: WorldFollower) -> None:
    assert follower.truth() is None


def test_the_newest_truth_is_kept_and_forgotten_when_the_world_falls_silent(
    follower: WorldFollower, tell: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_until(lambda: follower.truth() is not None, tell, msgspec.msgpack.encode(TRUTH))
    later = msgspec.structs.replace(TRUTH, now_ns=2)
    tell_until(lambda: follower.truth() == later, tell, msgspec.msgpack.encode(later))
    monkeypatch.setattr(world_module, "AGE_LIMIT_S", 0.0)
    assert follower.truth() is None


def test_the_driven_line_grows_where_the_car_moves_and_forgets_its_oldest_points(
    follower: WorldFollower, tell: Callable[[bytes], None]
) -> None:
    def drive_to(x_m: float) -> None:
        truth = msgspec.structs.replace(TRUTH, x_m=x_m)
        tell_until(lambda: follower.truth() == truth, tell, msgspec.msgpack.encode(truth))

    for x_m in (0.0, 0.01, 0.06, 0.12):  # the second is nearer than the step
        drive_to(x_m)
    tell_until(lambda: follower.trail(0).end == 3, tell, b"")
    assert [point.x_m for point in follower.trail(0).points] == [0.0, 0.06, 0.12]
    assert [point.x_m for point in follower.trail(2).points] == [0.12]
    assert follower.trail(3).points == []
    assert len(follower.trail(99).points) == 3  # of a server before this one

    follower._trail = collections.deque(follower._trail, maxlen=2)
    assert [point.x_m for point in follower.trail(0).points] == [0.06, 0.12]


def test_a_message_of_another_version_is_dropped(
    follower: WorldFollower, tell: Callable[[bytes], None]
) -> None:
    tell_until(lambda: follower.truth() is not None, tell, msgspec.msgpack.encode(TRUTH))
    tell(b"\xc1 not msgpack")
    tell(msgspec.msgpack.encode({"speed": 3}))
    later = msgspec.structs.replace(TRUTH, now_ns=2)
    tell_until(lambda: follower.truth() == later, tell, msgspec.msgpack.encode(later))


def test_the_line_begins_anew_on_another_track_and_whoever_has_the_old_one_can_tell(
    follower: WorldFollower, tell: Callable[[bytes], None]
) -> None:
    def drive_to(x_m: float, track: str) -> None:
        truth = msgspec.structs.replace(TRUTH, x_m=x_m, track=track)
        tell_until(lambda: follower.truth() == truth, tell, msgspec.msgpack.encode(truth))

    for x_m in (0.0, 1.0, 2.0):
        drive_to(x_m, "oval")
    tell_until(lambda: len(follower.trail(0).points) == 3, tell, b"")
    known = follower.trail(0).end

    drive_to(5.0, "kidney")
    tell_until(lambda: len(follower.trail(0).points) == 1, tell, b"")

    assert [point.x_m for point in follower.trail(known).points] == [5.0]
    assert follower.trail(known).end - known != 1, "a page would draw the new point onto the old line"
