"""The car that browser tests drive: every process real, and time that a starved computer only slows."""

import signal
import time
from collections.abc import Callable

import pytest
from paced_car import READY_S, PacedCar, paced_car

from vehicle.messages import DriveState, RequestKind, Status

pytestmark = pytest.mark.browser  # alone on the machine, like the pages

STARVED_S = 0.5  # in real time the loop bears 0.1 s of it, the board 0.18 s, the camera 0.11 s


def renewed_until(car: PacedCar, accept: Callable[[Status], bool]) -> Status:
    """Keep the lease until a status is accepted."""
    deadline_s = time.monotonic() + READY_S
    while True:
        car.client.request(RequestKind.RENEW_LEASE)
        status = car.client.wait_status(accept, 0.1)
        if status is not None:
            return status
        assert time.monotonic() < deadline_s, f"it did not come to be: {car.client.status()}"


def test_a_starved_car_loses_time_and_nothing_else():
    with paced_car() as car:
        client = car.client
        client.request(RequestKind.TAKE_LEASE)
        assert client.request(RequestKind.SET_SPEED_CAP, speed_cap_frac=1.0).ok
        began_s, began_ns = time.monotonic(), client.now_ns()
        reply = client.request(RequestKind.START, target=DriveState.AUTONOMOUS, time_limit_s=2.0)
        assert reply.ok, reply.reason
        renewed_until(car, lambda status: status.state is DriveState.AUTONOMOUS)

        for process in (car.hil.world, car.vehicle):
            process.send_signal(signal.SIGSTOP)
            time.sleep(STARVED_S)
            process.send_signal(signal.SIGCONT)
            assert client.request(RequestKind.RENEW_LEASE).ok
        renewed_until(car, lambda status: status.throttle_frac > 0.1)
        ended = renewed_until(car, lambda status: status.state is not DriveState.AUTONOMOUS)

        assert ended.sentence == "Standing still, disarmed: the time limit of 2 s was reached."
        passed_s = time.monotonic() - began_s
        assert (ended.now_ns - began_ns) / 1e9 <= passed_s - 1.5 * STARVED_S
