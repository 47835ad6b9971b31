"""Calibrating through the real bytes: what moves, what rests, and that what was saved is driven with."""

import msgspec
import pytest

from calibration import store
from calibration.car import AWS_DEFAULTS, HIL_AWS, HIL_STANDARD, STANDARD_1500
from tests.hil.nursery import nursery
from tests.hil.policies import write_policy
from tests.hil.rig import Rig, lockstep_rig
from vehicle.hil.faults import Part, order_fault
from vehicle.messages import Actuator, DriveState, Fault, RequestKind
from vehicle.proof.stepped_car import stepped_car

CARS = {"aws": HIL_AWS, "standard": HIL_STANDARD}
GUESSES = {"aws": AWS_DEFAULTS, "standard": STANDARD_1500}
NOTHING = pytest.approx(0.0, abs=1.0)  # a microsecond is held on purpose: the board wants min < rest < max


def prepared(rig: Rig, actuator: Actuator, **changes: float) -> None:
    car = CARS[rig.wiring]
    rests = {"center_us": car.steering.center_us, "neutral_us": car.throttle.neutral_us, **changes}
    rig.load_policy()
    rig.run(1.0)
    rig.calibrate(actuator, **rests)


def nudge(rig: Rig, actuator: Actuator, pulse_us: float, hold_s: float = 1.6) -> None:
    assert rig.ask(RequestKind.CALIBRATION_PULSE, **{f"{actuator.value}_us": pulse_us}).ok
    rig.run(hold_s)


@pytest.mark.parametrize("wiring", ["aws", "standard"])
def test_only_the_calibrated_actuator_moves_even_where_the_board_is_asked_otherwise(wiring):
    with lockstep_rig(wiring=wiring) as rig:
        car = CARS[wiring]
        prepared(rig, Actuator.STEERING)
        since_ns = rig.now_ns
        for end_us in (car.steering.left_us + 50.0, car.steering.right_us - 50.0):
            nudge(rig, Actuator.STEERING, end_us)
            assert rig.pulses(since_ns)[-1][1] == end_us  # beyond the locks: the ends can be found
        assert {pulse[2] for pulse in rig.pulses(since_ns)} == {car.throttle.neutral_us}
        rig.stop()

        prepared(rig, Actuator.THROTTLE)
        since_ns = rig.now_ns
        for end_us in (car.throttle.forward_us, car.throttle.reverse_us):
            nudge(rig, Actuator.THROTTLE, end_us)
            assert rig.pulses(since_ns)[-1][2] == pytest.approx(end_us, abs=1.0)
        assert {pulse[1] for pulse in rig.pulses(since_ns)} == {car.steering.center_us}

        # The board itself holds what rests: a mistake of ours in the loop would change nothing.
        stored = rig.vehicle.board._hello.stored
        assert stored.steering_max_us - stored.steering_min_us == 2
        rig.stop()
        rig.run(1.0)
        assert rig.vehicle.board.poll(rig.now_ns).problem == ""
        rig.world.control("reset")  # it stood on no stand, and drove off
        rig.drive()
        rig.stop()
        rig.run(1.0)


@pytest.mark.parametrize("wiring", ["aws", "standard"])
def test_a_page_that_leaves_has_the_motor_neutral_within_300_ms(wiring):
    with lockstep_rig(wiring=wiring) as rig:
        prepared(rig, Actuator.THROTTLE)
        nudge(rig, Actuator.THROTTLE, rig.forward_us)
        assert not rig.is_neutral(rig.pulses()[-1])

        assert rig.ask(RequestKind.RENEW_LEASE).ok  # the worst moment to be gone is right after a renewal
        rig.renewing = False  # lid closed, network gone, page closed without a word
        silent_ns = rig.now_ns
        rig.run(1.0)
        assert 0.0 < rig.neutral_after_s(silent_ns) <= 0.3
        assert rig.state is DriveState.FAILSAFE
        assert rig.latched_fault is Fault.LEASE_LOST


def test_stopping_while_the_motor_turns_is_neutral_with_the_next_pulse():
    with lockstep_rig() as rig:
        prepared(rig, Actuator.THROTTLE)
        nudge(rig, Actuator.THROTTLE, rig.forward_us)
        since_ns = rig.now_ns
        rig.stop()
        rig.run(0.5)
        assert rig.neutral_after_s(since_ns) <= 0.045


def test_a_nudge_is_on_the_wire_within_a_tenth_of_a_second():
    with lockstep_rig() as rig:
        prepared(rig, Actuator.THROTTLE)
        since_ns = rig.now_ns
        nudge(rig, Actuator.THROTTLE, rig.neutral_us - 25.0, hold_s=0.3)
        followed = [pulse for pulse in rig.pulses(since_ns) if pulse[2] == rig.neutral_us - 25.0]
        assert followed[0][0] - since_ns < 100_000_000


@pytest.mark.parametrize("wiring", ["aws", "standard"])
def test_a_fresh_board_in_a_car_that_nobody_calibrated_comes_from_nothing_to_driving(wiring):
    with lockstep_rig(wiring=wiring, faults=("board=not_stored",), is_calibrated=False) as rig:
        car, guess = CARS[wiring], GUESSES[wiring]
        rig.load_policy()
        rig.run(2.0)
        assert "has no calibration" in rig.request_start().reason
        assert {pulse[1:] for pulse in rig.pulses()} == {(0.0, 0.0)}  # no pulse at all

        guessed_us = guess.throttle.neutral_us + 4.0  # nobody hits it at first
        prepared(rig, Actuator.STEERING, neutral_us=guessed_us)
        nudge(rig, Actuator.STEERING, car.steering.left_us)
        rig.stop()
        prepared(rig, Actuator.THROTTLE, neutral_us=guessed_us)
        nudge(rig, Actuator.THROTTLE, car.throttle.neutral_us)
        rig.stop()
        prepared(rig, Actuator.THROTTLE)  # neutral was found, and is told to the board before the motor turns
        since_ns = rig.now_ns
        rig.run(0.5)
        assert all(rig.is_neutral(pulse) for pulse in rig.pulses(since_ns))
        nudge(rig, Actuator.THROTTLE, car.throttle.forward_us)
        rig.stop()
        rig.run(0.5)
        assert "has no calibration" in rig.request_start().reason

        saved = store.save(rig.vehicle.calibrations.path, car, saved_by="Anna")
        rig.reload_calibration()
        assert rig.status.is_calibrated
        assert rig.status.calibration_version == saved.version == 1
        rig.world.control("reset")  # it stood on no stand, and drove off
        rig.drive()
        rig.stop()
        rig.run(1.0)


@pytest.mark.parametrize("wiring", ["aws", "standard"])
def test_a_vehicle_that_dies_while_calibrating_comes_back_and_puts_its_board_right(wiring, tmp_path):
    with stepped_car(write_policy(tmp_path / "straight"), wiring=wiring, start=nursery().start) as car:
        assert car.start(DriveState.CALIBRATING) == ""
        car.run(0.4)
        assert car.vehicle.host_faults is not None
        car.vehicle.host_faults.order(order_fault(Part.CLOCK, "off"))
        car.run(0.5)
        assert isinstance(car.crash, OSError)
        assert car.pulses(0)[-1][2] == car.neutral_us

        died_ns = car.now_ns
        car.restart()
        car.run(0.5)
        assert car.status.board_note == ""
        assert car.start(DriveState.MANUAL) == ""
        car.run(0.5)
        assert abs(car.truth().speed_mps) > 0.05
        assert all(pulse[2] for pulse in car.pulses(died_ns))


def test_undoing_is_taken_over_as_saving_is():
    with lockstep_rig() as rig:
        path = rig.vehicle.calibrations.path
        store.save(path, HIL_AWS)
        off = msgspec.structs.replace(HIL_AWS.steering, center_us=1475.0)
        store.save(path, msgspec.structs.replace(HIL_AWS, steering=off))
        rig.load_policy()
        rig.run(1.0)
        rig.reload_calibration()
        rig.run(0.1)
        assert rig.pulses()[-1][1] == 1475.0
        store.undo(path)
        rig.reload_calibration()
        rig.run(0.1)
        assert rig.pulses()[-1][1] == 1450.0
        assert rig.status.calibration_version == 1


def test_a_kill_between_file_and_board_leaves_a_car_that_refuses_and_says_what_to_do():
    with lockstep_rig(calibration_of="standard") as rig:  # the file says one car, the board another
        rig.load_policy()
        rig.run(2.0)
        reply = rig.request_start()
        assert not reply.ok
        assert "as this car was calibrated; store the calibration" in reply.reason
        assert all(rig.is_neutral(pulse) for pulse in rig.pulses())

        store.save(rig.vehicle.calibrations.path, HIL_AWS)
        rig.reload_calibration()
        rig.world.control("reset")  # it stood on no stand, and drove off
        rig.drive()
        rig.stop()
        rig.run(1.0)


def test_a_board_whose_memory_fails_is_named_and_the_car_does_not_arm():
    with lockstep_rig() as rig:
        rig.load_policy()
        rig.run(1.0)
        rig.world.control("fault", part="board", fault="not_stored", on=True)
        store.save(rig.vehicle.calibrations.path, HIL_AWS)
        rig.run(0.5)
        assert "no pulses stored" in rig.request_start().reason
        rig.world.control("fault", part="board", fault="not_stored", on=False)


def test_calibrating_a_maestro_moves_one_channel_too():
    with lockstep_rig(board="maestro") as rig:
        rig.load_policy()
        rig.run(1.0)
        if rig.vehicle.board.poll(rig.now_ns).problem:
            rig.vehicle.board.prove_failsafe()
        prepared(rig, Actuator.STEERING)
        since_ns = rig.now_ns
        nudge(rig, Actuator.STEERING, 1600.0)
        assert rig.pulses(since_ns)[-1][1:] == (1600.0, 1446.0)
        rig.stop()
        rig.run(1.0)
