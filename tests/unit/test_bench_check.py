"""The walk on the bench: asks twice, expects each reading, and ends with the car disarmed."""

import threading

import msgspec
import pytest

from vehicle.messages import DriveState, Fault, Reply, RequestKind
from vehicle.proof import bench_check
from vehicle.proof.bench_check import STEPS, WHEELS_UP, BenchCheck, BenchCheckError


class Seen(msgspec.Struct):
    """As much of a status as the walk looks at."""

    state: DriveState
    latched_fault: Fault | None = None
    sentence: str = "Stopped."


class StandCar:
    """A car that does what it is told, and stops by whatever the step is about."""

    def __init__(self) -> None:
        self.told: list[RequestKind] = []
        self.state = DriveState.DISARMED
        self.fault = Fault.BOARD_LOST
        self.driven = threading.Event()

    def request(self, kind, timeout_s=1.0, **fields):
        self.told.append(kind)
        if kind is RequestKind.START:
            self.state = DriveState.MANUAL
        if kind is RequestKind.DISARM:
            self.state = DriveState.DISARMED
        if kind is RequestKind.EMERGENCY_STOP:
            self.fault = Fault.EMERGENCY_STOP
        if kind is RequestKind.DRIVE:
            self.driven.set()
        return Reply("1", ok=True)

    def wait_status(self, accept, timeout_s):
        for state in (self.state, DriveState.FAILSAFE):
            seen = Seen(state, self.fault if state is DriveState.FAILSAFE else None)
            if accept(seen):
                return seen
        return None


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bench_check, "SPIN_S", 0.01)
    monkeypatch.setattr(bench_check, "INPUT_EVERY_S", 0.001)
    monkeypatch.setattr(bench_check, "PLUGGED_IN_S", 0.05)


def walk(car, answers):
    said = []
    answers = iter(answers)
    BenchCheck(car, lambda question: next(answers), said.append).run()
    return said


@pytest.mark.parametrize("answers", [["yes"], [WHEELS_UP, "no"], [WHEELS_UP, "y"], [""]])
def test_nothing_is_done_before_it_was_asked_for_twice(answers):
    car = StandCar()
    with pytest.raises(BenchCheckError, match="nothing was done"):
        walk(car, answers)
    assert car.told == []


def test_a_car_that_shows_every_reading_passes(monkeypatch):
    car = StandCar()
    faults = {step.do: step.stops_by[0] for step in STEPS if step.stops_by}

    def say(text):
        said.append(text)
        car.fault = next((fault for do, fault in faults.items() if do in text), car.fault)

    said = []
    answers = iter([WHEELS_UP, "yes", *["yes"] * len(STEPS)])
    BenchCheck(car, lambda question: next(answers), say).run()

    assert said[-1] == "Every step was as it must be."
    assert car.driven.is_set()
    assert RequestKind.EMERGENCY_STOP in car.told
    assert car.state is DriveState.DISARMED


def test_a_no_ends_the_walk_with_the_car_disarmed():
    car = StandCar()
    with pytest.raises(BenchCheckError, match="step 2, left: seen was something else; do not drive"):
        walk(car, [WHEELS_UP, "yes", "yes", "no"])
    assert car.state is DriveState.DISARMED
    assert car.told[-1] is RequestKind.DISARM


def test_a_car_that_names_something_else_does_not_pass():
    car = StandCar()
    with pytest.raises(BenchCheckError, match="silence: the car named board lost, expected was lease lost"):
        walk(car, [WHEELS_UP, "yes", *["yes"] * 4])
    assert car.state is DriveState.DISARMED


def test_a_car_that_is_not_ready_yet_after_its_cable_was_plugged_in_is_waited_for():
    class Waking(StandCar):
        refusals = 3

        def request(self, kind, timeout_s=1.0, **fields):
            if kind is RequestKind.START and self.refusals:
                self.refusals -= 1
                return Reply("1", ok=False, reason="The board is gone.")
            return super().request(kind)

    car = Waking()
    with pytest.raises(BenchCheckError, match="step 2, left: seen was something else"):
        walk(car, [WHEELS_UP, "yes", "yes", "no"])
    assert car.refusals == 0


def test_a_car_that_refuses_or_does_not_answer_is_told():
    class Refusing(StandCar):
        def request(self, kind, timeout_s=1.0, **fields):
            super().request(kind)
            return Reply("1", ok=kind is not RequestKind.START, reason="No board.")

    with pytest.raises(BenchCheckError, match="refuses to start: No board"):
        walk(Refusing(), [WHEELS_UP, "yes", "yes"])

    class FallsSilent(StandCar):
        looks = 0

        def wait_status(self, accept, timeout_s):
            self.looks += 1
            return super().wait_status(accept, timeout_s) if self.looks == 1 else None

    with pytest.raises(BenchCheckError, match="did not come to it within 5 s"):
        walk(FallsSilent(), [WHEELS_UP, "yes"])


def test_nothing_is_asked_where_no_vehicle_runs():
    class Absent(StandCar):
        def wait_status(self, accept, timeout_s):
            return None

    with pytest.raises(
        BenchCheckError, match=r"no vehicle reported its state within 2 s; start one.*--run-dir"
    ):
        BenchCheck(Absent(), pytest.fail, pytest.fail).run()
