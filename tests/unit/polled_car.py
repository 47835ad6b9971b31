"""A car of a test that is asked for its status again and again, as nobody tells when it changes."""

import time
from collections.abc import Callable

from vehicle.messages import Status

LOOK_S = 0.005


class PolledCar:
    """What such a car has in common."""

    def status(self) -> Status | None:
        """Return the newest status, or None while the car is silent."""
        raise NotImplementedError

    def wait_status(self, accept: Callable[[Status], bool], timeout_s: float) -> Status | None:
        """Return the first status that is accepted, or None after the time-out."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            status = self.status()
            if status is not None and accept(status):
                return status
            time.sleep(LOOK_S)
        return None
