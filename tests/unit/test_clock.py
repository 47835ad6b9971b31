"""Waiting on the computer's own clock: for a deadline, for a frame, and not at all."""

import time

import pytest

from vehicle.clock import MonotonicClock


class Camera:
    """Records what is waited for, and answers at once."""

    def __init__(self) -> None:
        self.waits: list[tuple[int, float]] = []

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        self.waits.append((number, timeout_s))
        return True


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

    clock.wait(deadline_ns, camera, None)

    assert time.monotonic_ns() >= deadline_ns
    assert camera.waits == []


def test_a_frame_ends_the_wait_before_the_deadline():
    clock, camera = MonotonicClock(), Camera()

    clock.wait(time.monotonic_ns() + 60_000_000_000, camera, 7)

    ((number, timeout_s),) = camera.waits
    assert number == 7
    assert 55 < timeout_s <= 60


@pytest.mark.parametrize("after_frame", [None, 3])
def test_a_deadline_that_has_passed_waits_for_nothing(after_frame):
    clock, camera = MonotonicClock(), Camera()

    clock.wait(time.monotonic_ns() - 1, camera, after_frame)

    assert camera.waits == []
