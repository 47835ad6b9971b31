"""Waiting on the computer's own clock: for a deadline, for a frame, for a stop, and not at all."""

import os
import threading
import time

import pytest

from vehicle.clock import Bell, MonotonicClock

LONG_NS = 60_000_000_000
HANDED_OVER_S = 0.02


class Camera:
    """Records what is waited for, and answers at once."""

    def __init__(self) -> None:
        self.waits: list[tuple[int, float]] = []
        self.bell = Bell()

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        self.waits.append((number, timeout_s))
        return True

    def bells(self) -> tuple[Bell, ...]:
        return (self.bell,)


class SlowCamera(Camera):
    """Has no newer frame before it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.has_come = False

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        super().wait_newer(number, timeout_s)
        return self.has_come

    def deliver(self) -> None:
        self.has_come = True
        self.bell.ring()


class StopBell(Bell):
    """Rings from `press` on."""

    def __init__(self) -> None:
        super().__init__()
        self.is_pressed = False
        self.looks = 0

    def press(self) -> None:
        self.is_pressed = True
        self.ring()

    def rings(self) -> bool:
        self.looks += 1
        self.silence()
        return self.is_pressed


def test_a_stop_that_waits_already_ends_the_wait_at_once():
    stop_bell = StopBell()
    stop_bell.press()
    assert MonotonicClock(stop_bell).wait(time.monotonic_ns() + LONG_NS, Camera(), None, hears=True)


@pytest.mark.parametrize("after_frame", [None, 3])
def test_a_stop_ends_a_wait_that_has_begun(after_frame):
    stop_bell = StopBell()
    threading.Timer(HANDED_OVER_S, stop_bell.press).start()
    clock, camera = MonotonicClock(stop_bell), SlowCamera()
    assert clock.wait(time.monotonic_ns() + LONG_NS, camera, after_frame, hears=True)


def test_a_frame_ends_a_wait_that_hears_too_and_says_that_it_was_no_stop():
    clock, camera = MonotonicClock(StopBell()), SlowCamera()
    threading.Timer(HANDED_OVER_S, camera.deliver).start()
    assert not clock.wait(time.monotonic_ns() + LONG_NS, camera, 3, hears=True)
    assert {number for number, _ in camera.waits} == {3}
    assert len(camera.waits) <= 3


def test_what_is_due_comes_before_a_stop_which_its_tick_will_read():
    stop_bell, camera = StopBell(), SlowCamera()
    stop_bell.press()
    camera.deliver()
    clock = MonotonicClock(stop_bell)
    assert not clock.wait(time.monotonic_ns() + LONG_NS, camera, 3, hears=True)
    assert not clock.wait(time.monotonic_ns() - 1, camera, None, hears=True)


def test_a_wait_that_does_not_hear_lasts_until_its_deadline_whoever_rings():
    stop_bell = StopBell()
    stop_bell.press()
    deadline_ns = time.monotonic_ns() + 5_000_000
    assert not MonotonicClock(stop_bell).wait(deadline_ns, Camera(), None, hears=False)
    assert time.monotonic_ns() >= deadline_ns


def test_rings_that_mean_nothing_neither_end_a_wait_nor_make_it_spin():
    stop_bell, camera = StopBell(), SlowCamera()
    stop_bell.ring()
    camera.bell.ring()
    deadline_ns = time.monotonic_ns() + 30_000_000
    assert not MonotonicClock(stop_bell).wait(deadline_ns, camera, 3, hears=True)
    assert time.monotonic_ns() >= deadline_ns
    assert stop_bell.looks <= 4
    assert len(camera.waits) <= 4


def test_an_old_frames_ring_is_silenced_and_a_bell_gives_its_descriptor_back():
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.silence()
    bell.silence()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(bell.fileno())
    number = bell.fileno()
    del bell
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_now_is_the_monotonic_time():
    clock = MonotonicClock()
    before, now, after = time.monotonic_ns(), clock.now_ns(), time.monotonic_ns()

    assert before <= now <= after


def test_time_asleep_is_the_difference_of_two_clocks_that_both_run():
    clock = MonotonicClock()
    first, second = clock.suspended_ns(), clock.suspended_ns()

    assert first >= -1_000_000  # read one after the other
    assert abs(second - first) < 50_000_000


def test_without_a_frame_to_wait_for_the_deadline_alone_ends_the_wait():
    clock, camera = MonotonicClock(), Camera()
    deadline_ns = time.monotonic_ns() + 2_000_000

    clock.wait(deadline_ns, camera, None, hears=True)

    assert time.monotonic_ns() >= deadline_ns
    assert camera.waits == []


def test_a_frame_ends_the_wait_before_the_deadline():
    clock, camera = MonotonicClock(), Camera()

    clock.wait(time.monotonic_ns() + 60_000_000_000, camera, 7, hears=True)

    ((number, timeout_s),) = camera.waits
    assert number == 7
    assert 55 < timeout_s <= 60


@pytest.mark.parametrize("after_frame", [None, 3])
def test_a_deadline_that_has_passed_waits_for_nothing(after_frame):
    clock, camera = MonotonicClock(), Camera()

    clock.wait(time.monotonic_ns() - 1, camera, after_frame, hears=True)

    assert camera.waits == []
