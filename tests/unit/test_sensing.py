"""Pairs of pictures by their stamps, and which sensors are read at all."""

import types

import numpy as np
import pytest

from models.lidar import Scan
from vehicle.clock import Bell
from vehicle.lidar_source import TimedScan
from vehicle.messages import CameraLocks, Frame
from vehicle.sensing import PAIR_JITTER_S, Sensing

RATE_HZ = 30.0
PERIOD_NS = round(1e9 / RATE_HZ)
LIMIT_NS = round((0.5 / RATE_HZ + PAIR_JITTER_S) * 1e9)


def frame(number: int, stamp_ns: int, ready_ns: int | None = None) -> Frame:
    image = np.full((4, 4, 3), number, np.uint8)
    return Frame(number, stamp_ns, stamp_ns if ready_ns is None else ready_ns, image)


class Eye:
    """A camera that has what the test puts there, and writes down what it is asked."""

    is_static = False
    lost = False
    note = "a note"
    rate_hz = RATE_HZ

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self.coming: list[Frame] = []
        self.wanted: list[bool] = []
        self.fitted: list[tuple[int, int]] = []
        self.waits = 0
        self.tuned: list[CameraLocks] = []
        self.bell = Bell()

    def tune(self, locks: CameraLocks) -> None:
        self.tuned.append(locks)

    def latest(self) -> Frame | None:
        return self.frame

    def fit(self, width_px: int, height_px: int) -> None:
        self.fitted.append((width_px, height_px))

    def want(self, wanted: bool) -> None:
        self.wanted.append(wanted)

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        return self._wait()

    def wait_stamped(self, stamp_ns: int, timeout_s: float) -> bool:
        return self._wait()

    def _wait(self) -> bool:
        self.waits += 1
        assert self.waits < 50, "it waits in a circle"
        if not self.coming:
            return False
        self.frame = self.coming.pop(0)
        return True


class Laser:
    lost = False
    note = "laser"
    period_s = 0.1

    def __init__(self) -> None:
        self.wanted: list[bool] = []
        angles_rad = np.array([0.0, 1.0], np.float32)
        self.scan = TimedScan(5, 77, Scan(angles_rad, np.ones(2, np.float32)))

    def latest(self) -> TimedScan:
        return self.scan

    def want(self, wanted: bool) -> None:
        self.wanted.append(wanted)


def policy(*, right: bool = False, lidar: bool = False) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        picture_px=(160, 120),
        needs_right_camera=right,
        needs_lidar=lidar,
        bundle=types.SimpleNamespace(name="bold"),
    )


def stereo() -> tuple[Sensing, Eye, Eye]:
    left, right = Eye(), Eye()
    sensing = Sensing(left, right, None)
    sensing.serve(policy(right=True))
    return sensing, left, right


def test_only_what_the_policy_looks_at_is_read() -> None:
    left, right, laser = Eye(), Eye(), Laser()
    sensing = Sensing(left, right, laser)
    left.frame = right.frame = frame(1, 10)
    for needs in ({}, {"right": True}, {"lidar": True}, {"right": True, "lidar": True}):
        sensing.serve(policy(**needs))
        seen = sensing.look(RATE_HZ)
        assert (seen.right is not None) == needs.get("right", False)
        assert (seen.scan is not None) == needs.get("lidar", False)
        assert right.wanted[-1] == needs.get("right", False)
        assert laser.wanted[-1] == needs.get("lidar", False)
        assert (sensing.right_eye(seen) is not None) == needs.get("right", False)
        assert (sensing.lidar(seen) is not None) == needs.get("lidar", False)
        assert sensing.notes == (
            "a note" if needs.get("right") else "",
            "laser" if needs.get("lidar") else "",
        )
    assert left.wanted == []
    assert left.fitted == right.fitted == [(160, 120)] * 4


@pytest.mark.parametrize(("right", "lidar", "count"), [(True, False, 1), (False, True, 1), (True, True, 2)])
def test_a_car_says_what_it_lacks_for_a_policy(right: bool, lidar: bool, count: int) -> None:
    sensing = Sensing(Eye())
    wish = policy(right=right, lidar=lidar)
    sensing.serve(wish)

    assert len(sensing.missing(wish)) == count
    assert all("bold" in reason and "car.toml" in reason for reason in sensing.missing(wish))
    assert Sensing(Eye(), Eye(), Laser()).missing(wish) == ()
    assert sensing.look(RATE_HZ).scan is None


@pytest.mark.parametrize(
    ("apart_ns", "is_pair"),
    [(0, True), (LIMIT_NS, True), (-LIMIT_NS, True), (LIMIT_NS + 1, False), (-LIMIT_NS - 1, False)],
)
def test_two_pictures_are_a_pair_up_to_half_a_period_and_the_jitter_apart(
    apart_ns: int, is_pair: bool
) -> None:
    sensing, left, right = stereo()
    left.frame, right.frame = frame(1, 10**9), frame(1, 10**9 + apart_ns, 10**9 + 5 * 10**6)
    seen = sensing.look(RATE_HZ)

    assert (seen.frame is not None) == is_pair
    assert seen.newest is left.frame
    assert seen.right_newest is right.frame
    if is_pair:
        assert seen.frame.ready_ns == 10**9 + 5 * 10**6  # when its later picture was
        assert sensing.sight(seen).right_image is right.frame.image


def test_the_last_pair_stays_until_the_next_is_whole() -> None:
    sensing, left, right = stereo()
    left.frame, right.frame = frame(1, 10**9), frame(8, 10**9)
    sensing.look(RATE_HZ)
    left.frame = frame(2, 10**9 + PERIOD_NS)
    seen = sensing.look(RATE_HZ)

    assert (seen.frame.number, seen.right.number, seen.newest.number) == (1, 8, 2)
    assert sensing.right_eye(seen).paired_ns == 10**9
    right.frame = frame(9, 10**9 + PERIOD_NS)
    assert sensing.look(RATE_HZ).frame.number == 2


def test_without_a_picture_there_is_no_sight() -> None:
    sensing, left, _ = stereo()
    assert sensing.sight(sensing.look(RATE_HZ)) is None
    left.frame = frame(1, 5)
    assert sensing.sight(sensing.look(RATE_HZ)) is None


@pytest.mark.parametrize("right_first", [True, False])
def test_waiting_ends_when_both_pictures_are_there(right_first: bool) -> None:
    sensing, left, right = stereo()
    left.frame, right.frame = frame(1, 10**9), frame(1, 10**9)
    left.coming, right.coming = [frame(2, 10**9 + PERIOD_NS)], [frame(2, 10**9 + PERIOD_NS)]
    if right_first:
        right.frame = right.coming.pop()

    assert sensing.wait_newer(1, 5.0)
    assert sensing.look(RATE_HZ).right.number == 2


def test_waiting_does_not_spin_when_the_right_eye_is_ahead() -> None:
    sensing, left, right = stereo()
    left.frame, right.frame = frame(2, 10**9), frame(3, 10**9 + PERIOD_NS)
    left.coming = [frame(3, 10**9 + PERIOD_NS)]

    assert sensing.wait_newer(1, 5.0)
    assert (left.waits, right.waits) == (1, 0)


def test_waiting_gives_up_in_time() -> None:
    sensing, left, right = stereo()
    left.frame = right.frame = frame(1, 10**9)

    assert sensing.wait_newer(0, 0.0)
    assert not sensing.wait_newer(1, 0.0)
    assert left.waits == right.waits == 0


def test_the_bells_are_those_of_the_eyes_that_are_waited_for() -> None:
    sensing, left, right = stereo()
    assert sensing.bells() == (left.bell, right.bell)
    sensing.serve(policy())
    assert sensing.bells() == (left.bell,)


def test_a_single_eye_is_waited_for_alone() -> None:
    sensing = Sensing(camera := Eye(), Eye(), None)
    sensing.serve(policy())
    camera.coming = [frame(4, 5)]

    assert sensing.wait_newer(3, 1.0)


def test_both_eyes_are_tuned_alike_also_while_one_alone_is_read() -> None:
    left, right = Eye(), Eye()
    locks = CameraLocks(exposure_ms=4.0)
    Sensing(left, right, None).tune(locks)
    Sensing(left, None, None).tune(locks)
    assert (left.tuned, right.tuned) == ([locks, locks], [locks])
