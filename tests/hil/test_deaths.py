"""Processes die in real time, and the motor gets neutral: by the board's own diary of pulses."""

import os
import signal
import time

import pytest

from tests.hil.live import LiveCar, conclusive
from vehicle.messages import DriveState, Fault, RequestKind

DEAD_HOST_BOUND_S = 0.220
LEASE_BOUND_S = 1.5 + 0.25 + 0.25
"""The lease, a renewal that was on its way, and the page's own period of looking."""

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    ("killer", "wiring"),
    [
        (signal.SIGKILL, "aws"),
        (signal.SIGSTOP, "standard"),
        (signal.SIGTERM, "aws"),
        (signal.SIGSEGV, "standard"),
    ],
)
def test_a_dead_or_stopped_vehicle_leaves_neutral_pulses_within_220_ms(wiring, killer):
    def check(car: LiveCar) -> None:
        car.drive()
        os.kill(car.vehicle.pid, killer)
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S

    conclusive(check, wiring)


@pytest.mark.parametrize(
    ("illness", "wiring"),
    [("hungry", "aws"), ("endless", "standard"), ("deaf", "aws"), ("mute", "standard")],
)
def test_a_vehicle_without_memory_answer_or_disk_leaves_neutral_pulses_within_220_ms(illness, wiring):
    def check(car: LiveCar) -> None:
        car.drive()
        os.kill(car.vehicle.pid, signal.SIGUSR1)
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S
        assert (car.vehicle.poll() is None) == (illness != "hungry")  # without memory it crashes
        assert_neutral_pulses_go_on(car)

    conclusive(check, wiring, illness=illness)


def test_a_thread_that_hogs_the_interpreter_is_a_stalled_host():
    def check(car: LiveCar) -> None:
        car.drive()
        os.kill(car.vehicle.pid, signal.SIGUSR1)
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)

        assert status.latched_fault is Fault.HOST_STALLED
        assert car.neutral_after_last_command_s() <= DEAD_HOST_BOUND_S

    conclusive(check, illness="hog")


def test_a_vehicle_that_was_stopped_and_continues_says_neutral_and_stays_in_failsafe():
    def check(car: LiveCar) -> None:
        car.drive()
        os.kill(car.vehicle.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(car.vehicle.pid, signal.SIGCONT)
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)
        time.sleep(0.5)

        assert status.latched_fault is Fault.HOST_STALLED
        assert not car.is_driven()

    conclusive(check)


def test_a_dying_world_stops_the_car():
    def check(car: LiveCar) -> None:
        car.drive()
        assert car.hil.world is not None
        car.hil.world.kill()
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)

        assert status.latched_fault in {Fault.CAMERA_LOST, Fault.CAMERA_OVERDUE}
        assert_neutral_pulses_go_on(car)

    conclusive(check)


def test_a_dying_board_is_a_lost_board():
    def check(car: LiveCar) -> None:
        car.drive()
        assert car.hil.board is not None
        car.hil.board.kill()
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)
        time.sleep(0.3)

        assert status.latched_fault in {Fault.BOARD_LOST, Fault.BOARD_SILENT}
        assert car.hil.client.truth_now().esc_pulse_us == 0.0  # without pulses the ESC lets the motor go

    conclusive(check)


def test_a_driver_who_dies_stops_the_car_when_the_lease_runs_out():
    def check(car: LiveCar) -> None:
        car.drive()
        began_s = time.monotonic()
        car.let_go()
        status = car.wait(lambda status: status.state is DriveState.FAILSAFE)

        assert status.latched_fault is Fault.LEASE_LOST
        assert time.monotonic() - began_s < LEASE_BOUND_S
        assert_neutral_pulses_go_on(car)

    conclusive(check)


def test_an_emergency_stop_by_a_watcher_stops_the_car_at_once():
    def check(car: LiveCar) -> None:
        car.drive()
        began_ns = time.monotonic_ns()
        assert car.client.emergency_stop().ok
        time.sleep(0.3)

        neutral_s = car.hil.pulse_log().time_to_neutral_s(car.neutral_us, since_ns=began_ns)
        assert neutral_s < 0.100
        car.wait(lambda status: status.latched_fault is Fault.EMERGENCY_STOP)
        car.ask(RequestKind.DISARM)

    conclusive(check)


def assert_neutral_pulses_go_on(car: LiveCar) -> None:
    time.sleep(0.4)
    last = car.hil.pulse_log().pulses[-1]
    assert abs(last.throttle_us - car.neutral_us) <= 2
    assert time.monotonic_ns() - last.t_ns < 200_000_000
