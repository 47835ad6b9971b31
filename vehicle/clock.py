"""The one clock of the driving loop, and waiting on it."""

import time
from typing import Protocol


class FrameArrival(Protocol):
    """What the clock needs from a camera: to wait until a newer frame is there."""

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as a frame with a higher number is there, False after the time-out."""
        ...


class Clock(Protocol):
    """Time for the loop; a stepped one replaces it in lockstep."""

    def now_ns(self) -> int:
        """Return the monotonic time."""
        ...

    def suspended_ns(self) -> int:
        """Return how long the computer has been suspended since its boot."""
        ...

    def wait(self, deadline_ns: int, camera: FrameArrival, after_frame: int | None) -> None:
        """Return at the deadline, or as soon as a frame numbered higher than `after_frame` is there.

        None means that no frame ends the wait.
        """
        ...


class MonotonicClock:
    """The computer's own clock."""

    def now_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def suspended_ns(self) -> int:
        """Return CLOCK_BOOTTIME minus CLOCK_MONOTONIC, which grows only while the computer sleeps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()

    def wait(self, deadline_ns: int, camera: FrameArrival, after_frame: int | None) -> None:
        """Sleep until the deadline or the frame, whichever is first."""
        left_s = (deadline_ns - time.monotonic_ns()) / 1e9
        if left_s <= 0:
            return
        if after_frame is None:
            time.sleep(left_s)
        else:
            camera.wait_newer(after_frame, left_s)
