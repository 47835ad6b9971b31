"""Follows the truth of a HIL world, for all threads of the page's server."""

import collections
import contextlib
import itertools
import math
import threading
import time
from pathlib import Path

from vehicle.errors import UNREADABLE
from vehicle.hil_client import HilClient
from vehicle.truth import WorldTruth
from webui.car import Trail, TrailPoint

AGE_LIMIT_S = 1.0  # the world tells thirty times a second
TRAIL_STEP_M = 0.05
TRAIL_POINTS = 1200  # 60 m, two laps of a long track


class WorldFollower:
    """Keeps the newest truth. One background thread owns the sockets; the world may come and go."""

    def __init__(self, hil_dir: Path) -> None:
        self._hil_dir = hil_dir
        self._newest: tuple[WorldTruth, float] | None = None
        self._trail: collections.deque[TrailPoint] = collections.deque(maxlen=TRAIL_POINTS)
        self._trail_end = 0
        self._trail_lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="world-follower", daemon=True)
        self._thread.start()

    def truth(self) -> WorldTruth | None:
        """Return the newest truth, None when the world has been silent for a second."""
        newest = self._newest
        if newest is None:
            return None
        truth, heard_s = newest
        return truth if time.monotonic() - heard_s <= AGE_LIMIT_S else None

    def trail(self, after: int) -> Trail:
        """Return the driven line's points from number `after` on, as far as they are remembered."""
        with self._trail_lock:
            first = self._trail_end - len(self._trail)
            skipped = max(0, after - first) if after <= self._trail_end else 0  # a number from another server
            return Trail(list(itertools.islice(self._trail, skipped, None)), self._trail_end)

    def forget_trail(self) -> None:
        """Begin the driven line anew."""
        with self._trail_lock:
            self._trail.clear()
            self._trail_end += 1  # a gap in the numbers: whoever has the old points drops them

    def close(self) -> None:
        """End the background thread."""
        self._closing.set()
        self._thread.join()

    def _follow(self) -> None:
        client = HilClient(self._hil_dir)
        while not self._closing.is_set():
            with contextlib.suppress(*UNREADABLE):  # of another version: as good as silent
                truth = client.wait_truth(0.2)
                if truth is not None:
                    if self._newest is not None and self._newest[0].track != truth.track:
                        self.forget_trail()
                    self._newest = (truth, time.monotonic())
                    self._extend_trail(TrailPoint(truth.x_m, truth.y_m, truth.speed_mps))
        client.close()

    def _extend_trail(self, point: TrailPoint) -> None:
        last = self._trail[-1] if self._trail else None
        if last is not None and math.hypot(point.x_m - last.x_m, point.y_m - last.y_m) < TRAIL_STEP_M:
            return
        with self._trail_lock:
            self._trail.append(point)
            self._trail_end += 1
