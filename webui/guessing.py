"""Slows down whoever guesses a password or a code, address by address, on a clock that no step moves.

An address that fails waits longer each time. So that many addresses are no way round it, strangers
together may fail only so often; an address that has signed in before is no stranger, so that a crowd
of guessers does not keep the owner out.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from webui.computers import computer_of

FREE_FAILURES = 5
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
FORGIVEN_AFTER_S = 900.0
STRANGERS_FAILURES = 30  # of all strangers together, in
STRANGERS_WINDOW_S = 60.0
ADDRESSES_KEPT = 2048
KNOWN_KEPT = 64


@dataclass
class _Record:
    failures: int = 0
    last_s: float = 0.0
    blocked_until_s: float = 0.0


class GuessLimiter:
    """Counts failures. Safe in any thread; knows nothing of what is guessed."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._strangers: deque[float] = deque(maxlen=STRANGERS_FAILURES)

    def begin(self, address: str) -> float:
        """Count one attempt as failed until `succeeded` says otherwise; return the seconds to wait first.

        Counted before it is judged, so that many attempts at once are not one.
        """
        who = computer_of(address)
        with self._lock:
            now_s = self._clock_s()
            record = self._records.pop(who, None)
            if record is None or now_s - record.last_s > FORGIVEN_AFTER_S:
                record = _Record()
            self._records[who] = record
            while len(self._records) > ADDRESSES_KEPT:
                self._records.popitem(last=False)

            wait_s = record.blocked_until_s - now_s
            if who not in self._known and len(self._strangers) == STRANGERS_FAILURES:
                wait_s = max(wait_s, self._strangers[0] + STRANGERS_WINDOW_S - now_s)
            if wait_s > 0:
                return wait_s
            record.failures += 1
            record.last_s = now_s
            beyond = record.failures - FREE_FAILURES
            if beyond >= 0:
                record.blocked_until_s = now_s + min(FIRST_WAIT_S * 2.0**beyond, LONGEST_WAIT_S)
            if who not in self._known:
                self._strangers.append(now_s)
            return 0.0

    def succeeded(self, address: str) -> None:
        """Forgive this address; it is known from now on."""
        who = computer_of(address)
        with self._lock:
            self._records.pop(who, None)
            if who not in self._known and self._strangers:
                self._strangers.pop()
            self._known[who] = None
            self._known.move_to_end(who)
            while len(self._known) > KNOWN_KEPT:
                self._known.popitem(last=False)
