"""Whatever fails, the motor gets neutral in time: wire, camera, board and policy, in lockstep.

The bounds are counted from the moment the fault begins; a host-detected fault must be answered within
100 ms of being observable (a frame 75 ms overdue after its period; a command unacknowledged for 80 ms;
a lease run out), and the board's watchdog ends every other within 220 ms.
"""

import random
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from models.policy import Policy, load_policy
from tests.hil.policies import write_policy
from tests.hil.rig import lockstep_rig
from vehicle.car_clock import CarClock
from vehicle.messages import DriveState, Fault, RequestKind

WIRINGS = ["aws", "standard"]
PULSE_S = 0.020  # a pulse that has started is not taken back
TICK_S = 0.017
FRAME_OVERDUE_BOUND_S = 0.033 + 0.033 + 0.075 + TICK_S + 2 * PULSE_S
"""A period until the next frame is due, its delivery, the overdue limit, a tick, the pulse on its way."""
BOARD_BOUND_S = 0.220
MOMENTARY = {"hang", "reset"}


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize(
    ("fault", "named", "bound_s"),
    [
        ("off", {Fault.CAMERA_LOST, Fault.CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S),
        ("stuck", {Fault.CAMERA_FROZEN}, 6 * 0.034 + 0.030 + TICK_S + 2 * PULSE_S),
        ("garbage", {Fault.CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S),
    ],
)
def test_a_broken_camera_stops_the_car(wiring, fault, named, bound_s):
    with lockstep_rig(wiring=wiring) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.world.control("fault", part="camera", fault=fault)
        rig.assert_stops(named, bound_s, began_ns)

        rig.world.control("fault", part="camera", fault=fault, on=False)
        rig.assert_stays_stopped_when_mended()
        rig.assert_drives_again()


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize(
    ("part", "fault", "named"),
    [
        ("serial_out", "off", {Fault.BOARD_SILENT, Fault.BOARD_REFUSED}),
        ("serial_in", "off", {Fault.BOARD_SILENT}),
        ("serial_out", "garbage", {Fault.BOARD_SILENT, Fault.BOARD_REFUSED}),
        ("serial_in", "garbage", {Fault.BOARD_SILENT}),
        ("board", "unplugged", {Fault.BOARD_LOST}),
        ("board", "hang", {Fault.BOARD_SILENT, Fault.BOARD_RESET, Fault.BOARD_REFUSED}),
        ("board", "reset", {Fault.BOARD_RESET, Fault.BOARD_SILENT, Fault.BOARD_REFUSED}),
        ("board", "stop_input", {Fault.STOP_INPUT}),
    ],
)
def test_a_broken_board_or_line_stops_the_car(wiring, part, fault, named):
    with lockstep_rig(wiring=wiring) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.world.control("fault", part=part, fault=fault)
        rig.assert_stops(named, BOARD_BOUND_S, began_ns)

        if fault not in MOMENTARY:
            rig.world.control("fault", part=part, fault=fault, on=False)
        rig.assert_stays_stopped_when_mended()
        rig.assert_drives_again()


@pytest.mark.parametrize("wiring", WIRINGS)
def test_a_silent_driver_stops_the_car_when_the_lease_runs_out(wiring):
    with lockstep_rig(wiring=wiring) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.renewing = False
        rig.assert_stops({Fault.LEASE_LOST}, 1.5 + TICK_S + 2 * PULSE_S, began_ns)

        rig.renewing = True
        rig.run(0.5)
        rig.assert_drives_again()


@pytest.mark.parametrize("wiring", WIRINGS)
def test_an_emergency_stop_is_at_the_motor_within_two_ticks_and_a_pulse(wiring):
    with lockstep_rig(wiring=wiring) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.send(RequestKind.EMERGENCY_STOP)
        rig.assert_stops({Fault.EMERGENCY_STOP}, 2 * TICK_S + 2 * PULSE_S, began_ns)
        rig.assert_drives_again()


class PoisonedPolicy(Policy):
    """Answers well until `poison` is set."""

    poison: np.ndarray | Exception | None = None

    @classmethod
    def around(cls, policy: Policy) -> "PoisonedPolicy":
        policy.__class__ = cls
        infer = policy._runtime.infer

        def poisoned(observation: np.ndarray) -> np.ndarray:
            if isinstance(cls.poison, Exception):
                raise cls.poison
            return infer(observation) if cls.poison is None else cls.poison

        policy._runtime.infer = poisoned  # type: ignore[method-assign]
        return policy  # type: ignore[return-value]


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize(
    ("poison", "named"),
    [
        (np.array([[np.nan, 0.0, 0.0]], np.float32), Fault.POLICY_NOT_FINITE),
        (np.array([[0.0, np.inf, 0.0]], np.float32), Fault.POLICY_NOT_FINITE),
        (np.zeros((1, 7), np.float32), Fault.POLICY_FAILED),
    ],
)
def test_an_unusable_answer_of_the_policy_stops_the_car(wiring, poison, named, monkeypatch):
    def load(source: str) -> Policy:
        return PoisonedPolicy.around(load_policy(source))

    with lockstep_rig(wiring=wiring, load=load) as rig:
        rig.drive()
        began_ns = rig.now_ns
        monkeypatch.setattr(PoisonedPolicy, "poison", poison)
        rig.assert_stops({named}, 0.034 + TICK_S + 2 * PULSE_S, began_ns)

        monkeypatch.setattr(PoisonedPolicy, "poison", None)
        rig.assert_drives_again()


def test_a_policy_file_that_is_missing_or_broken_refuses_the_start_in_words(tmp_path):
    with lockstep_rig() as rig:
        rig.load_policy()
        broken = write_policy(tmp_path / "broken")
        (broken / "model.onnx").write_bytes(b"not a network")
        for source, word in ((tmp_path / "nowhere", "nowhere"), (broken, "not an ONNX file")):
            assert rig.ask(RequestKind.ACTIVATE_POLICY, policy=str(source)).ok
            rig.load_policy()
            rig.run(0.5)
            reply = rig.request_start()
            assert rig.state is DriveState.DISARMED
            assert not reply.ok
            assert word in reply.reason


@pytest.mark.parametrize("wiring", WIRINGS)
def test_a_host_that_stood_still_wakes_up_disarmed(wiring):
    with lockstep_rig(wiring=wiring) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.stall(0.5)  # as after SIGSTOP and SIGCONT: the world went on, the loop did not

        first = rig.tick()
        assert first.faults[0] is Fault.HOST_STALLED
        assert not first.sent.armed
        rig.assert_stops({Fault.HOST_STALLED}, BOARD_BOUND_S, began_ns)
        rig.assert_drives_again()


def test_nothing_that_drives_looks_at_the_time_of_day(monkeypatch, tmp_path):
    """It may jump by years, when the network or a person sets it: in the loop it is never asked for."""
    loop_thread, rng = threading.current_thread(), random.Random(5)
    true_ns, asked = time.time_ns, set()

    def jumping_ns() -> int:
        frame = sys._getframe(1)
        while frame is not None and threading.current_thread() is loop_thread:
            asked.update({frame.f_code.co_filename} if "/vehicle/" in frame.f_code.co_filename else ())
            frame = frame.f_back
        return true_ns() + rng.randrange(-(10**18), 10**18)

    with lockstep_rig() as rig:
        monkeypatch.setattr(time, "time_ns", jumping_ns)
        monkeypatch.setattr(time, "time", lambda: jumping_ns() / 1e9)
        rig.drive()
        rig.run(2.0)
        assert rig.state is DriveState.AUTONOMOUS
        assert rig.world.truth_now().speed_mps > 0.2
        began_ns = rig.now_ns
        rig.world.control("fault", part="camera", fault="silent")
        rig.assert_stops({Fault.CAMERA_OVERDUE}, FRAME_OVERDUE_BOUND_S, began_ns)
        assert asked == set()
        CarClock(tmp_path).now()  # which pages ask
        assert [Path(file).name for file in asked] == ["car_clock.py"]


@pytest.mark.parametrize("wiring", WIRINGS)
def test_a_board_with_another_cars_pulses_refuses_to_arm(wiring):
    other = {"aws": "standard", "standard": "aws"}[wiring]
    with lockstep_rig(wiring=other, calibration_of=wiring) as rig:
        rig.load_policy()
        rig.run(3.0)
        reply = rig.request_start()
        assert not reply.ok
        assert "calibration" in reply.reason
        rig.run(1.0)
        assert all(rig.is_neutral(pulse) for pulse in rig.pulses())
