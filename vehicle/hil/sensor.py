"""A sensor of the HIL car in the time it is told: when it looks, when it hands over, and how it is broken.

What it sees is its child's business: a picture, a scan. The stamp is when a driver would hand it over.
"""

import random
from abc import ABC, abstractmethod
from collections import deque
from typing import NamedTuple

import numpy as np

from vehicle.hil.faults import FaultSchedule, Part

SHORTEST_GAP_NS = 100_000  # between two hand-overs; readings never overtake each other


class Reading(NamedTuple):
    """One reading as it is handed over."""

    part: Part
    """Whose it is."""
    number: int
    stamp_ns: int
    content: bytes
    head: bytes = b""
    """What the socket's bytes begin with; a child's business."""

    def packed(self) -> bytes:
        """Return the reading as it goes through the socket."""
        return self.head + self.content


class Timing(NamedTuple):
    """When a sensor looks and hands over."""

    rate_hz: float
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """The delay differs by up to this much either way."""
    drop_frac: float = 0.0


class _Waiting(NamedTuple):
    handed_over_ns: int
    number: int
    content: bytes


class HilSensor(ABC):
    """Looks on the grid of its rate, hands over later, and can be broken; in the time it is told."""

    def __init__(
        self, part: Part, timing: Timing, faults: FaultSchedule, *, seed: int, start_ns: int
    ) -> None:
        self.part = part
        self._timing = timing
        self._faults = faults
        self._random = random.Random(f"{seed}/{part}")  # noqa: S311 # repeatable, not secret
        self._noise = np.random.default_rng(seed)
        self._start_ns = start_ns
        self._number = 0
        self._waiting: deque[_Waiting] = deque()
        self._last_hand_over_ns = 0
        self._last_content = b""
        self._slow_share = 0.0
        self.next_exposure_ns = start_ns

    def next_event_ns(self) -> int:
        """Return when it next looks or hands over."""
        if self._waiting:
            return min(self.next_exposure_ns, self._waiting[0].handed_over_ns)
        return self.next_exposure_ns

    def expose(self, now_ns: int, *, watched: bool = True) -> int | None:
        """Look if it is time to; return the reading's number. Unwatched, nothing is computed."""
        if now_ns < self.next_exposure_ns:
            return None
        number, exposed_ns = self._number, self.next_exposure_ns
        jitter_s, is_dropped = self._turn_over()
        if is_dropped or self._is_lost() or not watched:
            return number
        delay_s = self._timing.delay_s + jitter_s + (self._faults.amount(self.part, "delayed") or 0.0)
        handed_over_ns = exposed_ns + max(0, round(delay_s * 1e9))
        handed_over_ns = max(handed_over_ns, self._last_hand_over_ns + SHORTEST_GAP_NS)
        self._last_hand_over_ns = handed_over_ns
        self._waiting.append(_Waiting(handed_over_ns, number, self._content(number, exposed_ns)))
        return number

    def rest(self, now_ns: int) -> None:
        """Leave out every look up to now: nobody watches."""
        while self.next_exposure_ns <= now_ns:
            self._turn_over()

    def skip(self, now_ns: int) -> None:
        """Leave out the looks that are a whole period late: the computer could not keep up."""
        period_ns = 1e9 / self._timing.rate_hz
        late = int((now_ns - self.next_exposure_ns) / period_ns)
        if late > 0:
            self._number += late
            self.next_exposure_ns = self._start_ns + round(self._number * period_ns)

    def hand_over(self, now_ns: int) -> list[Reading]:
        """Return the readings that are handed over now, stamped so."""
        readings = []
        stamp_ns = now_ns + round((self._faults.amount(self.part, "future") or 0.0) * 1e9)
        while self._waiting and self._waiting[0].handed_over_ns <= now_ns:
            waiting = self._waiting.popleft()
            head = self._head(waiting.number, stamp_ns, waiting.content)
            readings.append(Reading(self.part, waiting.number, stamp_ns, waiting.content, head))
        return readings

    def _turn_over(self) -> tuple[float, bool]:
        """Go on to the next reading; return the jitter of the last and whether it is dropped.

        Both are drawn for every reading, so that a fault, or nobody watching, shifts none of later ones.
        """
        self._number += 1
        self.next_exposure_ns = self._start_ns + round(self._number * 1e9 / self._timing.rate_hz)
        jitter_s = self._random.uniform(-1.0, 1.0) * self._timing.jitter_s
        return jitter_s, self._random.random() < self._timing.drop_frac

    @abstractmethod
    def _look(self, number: int, exposed_ns: int) -> bytes:
        """Return what it sees at this moment, faults of the sight itself included."""

    @abstractmethod
    def _head(self, number: int, stamp_ns: int, content: bytes) -> bytes:
        """Return what the socket's bytes begin with."""

    def _is_lost(self) -> bool:
        faults = self._faults
        if not faults.any_on(self.part):
            return False
        if faults.is_on(self.part, "off") or faults.is_on(self.part, "silent"):
            return True
        if (share := faults.amount(self.part, "slow")) is not None:
            self._slow_share += share
            if self._slow_share < 1.0:
                return True
            self._slow_share -= 1.0
        lost_share = faults.amount(self.part, "intermittent") or 0.0
        return faults.random(self.part, "intermittent").random() < lost_share

    def _content(self, number: int, exposed_ns: int) -> bytes:
        faults = self._faults
        if faults.is_on(self.part, "stuck") and self._last_content:
            return self._last_content
        content = self._look(number, exposed_ns)
        if faults.is_on(self.part, "garbage"):
            content = faults.random(self.part, "garbage").randbytes(len(content))
        self._last_content = content
        return content
