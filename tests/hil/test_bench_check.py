"""`lapwing bench-check` from its first question to its last, with a HIL car on the stand."""

import threading
import time

import pytest

from tests.hil.live import LiveCar, conclusive
from vehicle.messages import DriveState
from vehicle.proof import bench_check
from vehicle.proof.bench_check import STEPS, WHEELS_UP, BenchCheck

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(240)]

CABLES = {"board cable": ("board", "unplugged"), "camera cable": ("camera", "off")}


class Owner:
    """Reads what is said, pulls the cables, and answers by what the car on the stand does."""

    def __init__(self, car: LiveCar) -> None:
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
        self._car.client.wait_status(lambda status: abs(status.throttle_frac) > 0.05, 10.0)
        self._pulled = (part, fault)
        self._car.hil.client.control("fault", part=part, fault=fault)

    def answer(self, question: str) -> str:
        self.asked.append(question)
        if len(self.asked) == 1:
            return WHEELS_UP
        if len(self.asked) == 2:
            return "yes"
        truth = self._car.hil.client.truth_now()
        if self._step.steering_share:
            is_so = truth.steering_rad * self._step.steering_share > 0.02
        elif self._step.throttle_share and not self._step.stops_by:
            is_so = truth.speed_mps > 0.05
        else:
            time.sleep(0.25)
            is_so = not self._car.is_driven()
        if self._pulled is not None:
            part, fault = self._pulled
            self._car.hil.client.control("fault", part=part, fault=fault, on=False)
            self._pulled = None
        return "yes" if is_so else "no"


def test_an_owner_is_walked_through_every_step_and_each_shows_what_it_must(monkeypatch):
    monkeypatch.setattr(bench_check, "SPIN_S", 0.5)

    def check(car: LiveCar) -> None:
        car.wait(lambda status: not status.not_ready)
        owner = Owner(car)
        BenchCheck(car.client, owner.answer, owner.hear).run()

        assert owner.said[-1] == "Every step was as it must be."
        assert len(owner.asked) == 2 + len(STEPS)
        assert car.wait(lambda status: True).state is DriveState.DISARMED
        assert not car.is_driven()

    conclusive(check)
