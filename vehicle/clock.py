"""The one clock of the driving loop, and waiting on it."""

import os
import select
import time
from collections.abc import Sequence
from typing import Protocol


class Ringing(Protocol):
    """Something that a wait can listen to."""

    def fileno(self) -> int:
        """Return a descriptor that is readable once it rings."""
        ...


class StopBell(Ringing, Protocol):
    """Rings when somebody stops the car."""

    def rings(self) -> bool:
        """Return whether a stop has come and was not read yet; its descriptor is worth nothing before."""
        ...


class Bell:
    """A bell for one listener; whoever rings it never waits.

    Its descriptor lives as long as anybody who could ring it: a number that was given back may be another
    file's.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        """Make it readable."""
        os.eventfd_write(self._fd, 1)

    def silence(self) -> None:
        """Make it unreadable until it is rung again."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._fd

    def __del__(self) -> None:
        os.close(self._fd)


class FrameArrival(Protocol):
    """What the clock needs from a camera: to wait until a newer frame is there."""

    def wait_newer(self, number: int, timeout_s: float) -> bool:
        """Return True as soon as a frame with a higher number is there, False after the time-out."""
        ...

    def bells(self) -> Sequence[Bell]:
        """Return what rings whenever a frame has come."""
        ...


class Clock(Protocol):
    """Time for the loop; a stepped one replaces it in lockstep."""

    def now_ns(self) -> int:
        """Return the monotonic time."""
        ...

    def suspended_ns(self) -> int:
        """Return how long the computer has been suspended since its boot."""
        ...

    def wait(self, deadline_ns: int, camera: FrameArrival, after_frame: int | None, *, hears: bool) -> bool:
        """Return at the deadline, or as soon as a frame numbered higher than `after_frame` is there.

        None means that no frame ends the wait. Where it `hears`, an emergency stop ends it too, and True
        is returned: it ended for nothing else.
        """
        ...


class MonotonicClock:
    """The computer's own clock."""

    def __init__(self, stop_bell: StopBell | None = None) -> None:
        """None: nothing is heard while it waits."""
        self._stop_bell = stop_bell

    def now_ns(self) -> int:
        """Return CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def suspended_ns(self) -> int:
        """Return CLOCK_BOOTTIME minus CLOCK_MONOTONIC, which grows only while the computer sleeps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()

    def wait(self, deadline_ns: int, camera: FrameArrival, after_frame: int | None, *, hears: bool) -> bool:
        """Sleep until the deadline, the frame, or the stop, whichever is first."""
        left_s = (deadline_ns - time.monotonic_ns()) / 1e9
        if left_s <= 0:
            return False
        if hears and self._stop_bell is not None:
            return self._wait_and_hear(self._stop_bell, deadline_ns, camera, after_frame)
        if after_frame is None:
            time.sleep(left_s)
        else:
            camera.wait_newer(after_frame, left_s)
        return False

    def _wait_and_hear(
        self, stop_bell: StopBell, deadline_ns: int, camera: FrameArrival, after_frame: int | None
    ) -> bool:
        bells = () if after_frame is None else camera.bells()
        listened: list[Ringing] = [stop_bell, *bells]
        while (left_s := (deadline_ns - time.monotonic_ns()) / 1e9) > 0:
            for bell in bells:  # before the look: what comes after it rings anew
                bell.silence()
            if after_frame is not None and camera.wait_newer(after_frame, 0.0):
                return False
            if stop_bell.rings():
                return True
            select.select(listened, [], [], left_s)
        return False
