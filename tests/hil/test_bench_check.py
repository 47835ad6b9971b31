"""`lapwing bench-check` from its first question to its last, with a HIL car on the stand, in lockstep."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.hil.threaded_car import ThreadedCar, threaded_car
from vehicle.messages import DriveState, Reply, RequestKind, Status
from vehicle.proof.bench_check import STEPS, WHEELS_UP, BenchCheck

CABLES = {"board cable": ("board", "unplugged"), "camera cable": ("camera", "off")}
UNDRIVEN_S = 0.25
"""On the car's clock: within it the wheels must have lost their drive."""


class Link:
    """The command's connection to the car."""

    def __init__(self, car: ThreadedCar) -> None:
        self._car = car

    def request(self, kind: RequestKind, timeout_s: float = 1.0, **fields: Any) -> Reply:
        return self._car.request(kind, timeout_s, source="bench-check", **fields)

    def wait_status(self, accept: Callable[[Status], bool], timeout_s: float) -> Status | None:
        return self._car.wait_status(accept, timeout_s)


class Owner:
    """Reads what is said, pulls the cables, and answers by what the car on the stand does."""

    def __init__(self, car: ThreadedCar) -> None:
        self._car = car
        self._step = STEPS[0]
        self._pulled: tuple[str, str] | None = None
        self.asked: list[str] = []
        self.said: list[str] = []

    def hear(self, text: str) -> None:
        self.said.append(text)
        for step in STEPS:
            if f", {step.name}. " in text:
                self._step = step
                if step.name in CABLES:
                    threading.Thread(target=self._pull, args=CABLES[step.name]).start()

    def _pull(self, part: str, fault: str) -> None:
        assert self._car.wait_status(lambda status: abs(status.throttle_frac) > 0.05, 10.0)
        self._pulled = (part, fault)
        self._plug(part, fault, is_in=False)

    def _plug(self, part: str, fault: str, *, is_in: bool) -> None:
        with self._car.paused():
            self._car.rig.world.control("fault", part=part, fault=fault, on=not is_in)

    def answer(self, question: str) -> str:
        self.asked.append(question)
        if len(self.asked) == 1:
            return WHEELS_UP
        if len(self.asked) == 2:
            return "yes"
        if self._step.steering_share:
            is_so = self._car.truth().steering_rad * self._step.steering_share > 0.02
        elif self._step.throttle_share and not self._step.stops_by:
            is_so = self._car.truth().speed_mps > 0.05
        else:
            until_ns = self._car.now_ns() + round(UNDRIVEN_S * 1e9)
            while self._car.now_ns() < until_ns:
                time.sleep(0.005)
            is_so = not self._car.is_driven()
        if self._pulled is not None:
            self._plug(*self._pulled, is_in=True)
            self._pulled = None
        return "yes" if is_so else "no"


@pytest.mark.timeout(240)
def test_an_owner_is_walked_through_every_step_and_each_shows_what_it_must():
    with threaded_car() as car:
        assert car.wait_status(lambda status: not (status.not_ready or status.driver), 60.0)
        owner = Owner(car)
        BenchCheck(Link(car), owner.answer, owner.hear).run()

        assert owner.said[-1] == "Every step was as it must be."
        assert len(owner.asked) == 2 + len(STEPS)
        status = car.status()
        assert status is not None
        assert status.state is DriveState.DISARMED
        assert not car.is_driven()
