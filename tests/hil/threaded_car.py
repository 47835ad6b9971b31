"""The real vehicle against the HIL car in lockstep, stepped by a thread, for whoever must not know.

World and vehicle step together at the pace of the clock at most: a computer that has other things to do
slows time down instead of causing faults. Between them and the loop lies no mock but a short cut past
ZeroMQ, because requests must bear the world's stamps.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.hil.rig import Rig, lockstep_rig
from tests.unit.polled_car import PolledCar
from vehicle.errors import VehicleSilentError
from vehicle.messages import OperatorRequest, Preview, Reply, RequestKind, Status
from vehicle.truth import WorldTruth

ANSWER_S = 10.0  # of the real clock; a computer that is slower than this is no computer


class ThreadedCar(PolledCar):
    """What a page or a command sees of a vehicle; its loop is stepped until the end."""

    version_note = ""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        rig.renewing = False
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._count = 0
        self._thread = threading.Thread(target=self._run, name="stepped-car")
        self._thread.start()

    def _run(self) -> None:
        begun_s, begun_ns = time.monotonic(), self.rig.now_ns
        while not self._ending.is_set():
            with self._lock:
                self.rig.tick()
            ahead_s = (self.rig.now_ns - begun_ns) / 1e9 - (time.monotonic() - begun_s)
            if ahead_s < -0.1:  # behind: time is slowed down, not caught up with
                begun_s, begun_ns = time.monotonic(), self.rig.now_ns
            time.sleep(max(0.001, ahead_s))

    def end(self) -> None:
        """Stop stepping."""
        self._ending.set()
        self._thread.join()

    def paused(self) -> threading.Lock:
        """Return what holds time still while it is held, to look at the rig."""
        return self._lock

    def now_ns(self) -> int:
        """Return the world's time."""
        return self.rig.now_ns

    def truth(self) -> WorldTruth:
        """Return what is so in the world now."""
        with self._lock:
            return self.rig.world.truth_now()

    def is_driven(self) -> bool:
        """Whether the board's newest pulse drives the motor."""
        with self._lock:
            return not self.rig.is_neutral(self.rig.pulses(self.rig.now_ns - 100_000_000)[-1])

    def status(self) -> Status | None:
        """Return the newest status."""
        return self.rig.publisher.status

    def status_age_s(self) -> float:
        """Return how old the newest status is."""
        return 0.01

    def preview(self, newer_than: int = -1, timeout_s: float = 1.0) -> Preview | None:
        """Return no picture."""
        time.sleep(timeout_s)
        return None

    def emergency_stop(self, timeout_s: float = 0.5) -> Reply:
        """Stop the car."""
        return self.request(RequestKind.EMERGENCY_STOP)

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: Any) -> Reply:
        """Ask for something, and return the answer of the next tick."""
        with self._lock:
            self._count += 1
            name = f"page request {self._count}"
            publisher = self.rig.publisher
            publisher.waiting.append(OperatorRequest(name, kind=kind, sent_ns=self.rig.now_ns, **fields))
        deadline_s = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline_s:
            reply = next((one for one in reversed(publisher.replies) if one.id == name), None)
            if reply is not None:
                return reply
            time.sleep(0.001)
        raise VehicleSilentError("the vehicle did not answer in time; is it stepped?")


@contextmanager
def threaded_car(**options: Any) -> Iterator[ThreadedCar]:
    """Yield a car whose loop is stepped; `options` are those of `lockstep_rig`."""
    with lockstep_rig(**options) as rig:
        rig.load_policy()
        car = ThreadedCar(rig)
        try:
            yield car
        finally:
            car.end()
