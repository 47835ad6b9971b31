"""A Pololu Maestro in the place of the own board, in lockstep over its own bytes."""

import pytest

from tests.hil.rig import lockstep_rig, ring_stops
from vehicle.__main__ import Vehicle
from vehicle.board.maestro import MaestroBoard
from vehicle.errors import BoardConfigError
from vehicle.hil.settings import LOCKSTEP_START_NS
from vehicle.messages import DriveState, Fault, RequestKind

PULSE_NS, TICK_NS = 20_000_000, 16_666_667
TIMEOUT_BOUND_S = 0.320
"""A Maestro's time-out counts in hundredths of a second and is set to 200 ms; a pulse, and our own look."""


def prove(vehicle: Vehicle) -> None:
    assert isinstance(vehicle.board, MaestroBoard)
    vehicle.board.prove_failsafe()


def test_a_maestro_whose_failsafe_was_not_proved_refuses_to_arm():
    with lockstep_rig(board="maestro") as rig:
        rig.load_policy()
        rig.run(3.0)
        reply = rig.request_start()

        assert not reply.ok
        assert "prove" in reply.reason
        assert rig.state is DriveState.DISARMED


@pytest.mark.parametrize("wiring", ["aws", "standard"])
def test_a_proved_maestro_drives_and_stops(wiring):
    with lockstep_rig(board="maestro", wiring=wiring, prepare=prove) as rig:
        rig.drive()
        stop_ns = rig.now_ns
        rig.stop()
        rig.run(2.0)

        assert rig.neutral_after_s(stop_ns) <= 0.060
        assert rig.world.truth_now().speed_mps == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("board", ["own", "maestro"])
@pytest.mark.parametrize("gap_ns", [150_000, 8_000_000])
def test_boards_take_ticks_that_stops_have_called_however_soon_after_the_last(board, gap_ns, monkeypatch):
    with lockstep_rig(board=board, prepare=prove if board == "maestro" else lambda vehicle: None) as rig:
        rung_ns = ring_stops(monkeypatch, gap_ns)
        rig.drive(duration_s=2.0)
        assert len(rung_ns) > 50
        stop_ns = rig.now_ns
        rig.stop()
        rig.run(1.0)
        assert rig.neutral_after_s(stop_ns) <= 0.060


@pytest.mark.parametrize("wiring", ["aws", "standard"])
@pytest.mark.parametrize("fault", ["off", "garbage"])
def test_a_maestro_that_hears_nothing_more_goes_neutral_by_itself(wiring, fault):
    with lockstep_rig(board="maestro", wiring=wiring, prepare=prove) as rig:
        rig.drive()
        began_ns = rig.now_ns
        rig.world.control("fault", part="serial_out", fault=fault)
        rig.assert_stops(
            {Fault.BOARD_SILENT, Fault.BOARD_REFUSED, Fault.BOARD_LOST}, TIMEOUT_BOUND_S, began_ns
        )


@pytest.mark.parametrize("fault", ["watchdog_slow", "watchdog_off", "not_stored"])
def test_a_maestro_that_is_not_set_up_to_stop_by_itself_proves_nothing_and_never_arms(fault):
    def fail_to_prove(vehicle: Vehicle) -> None:
        assert isinstance(vehicle.board, MaestroBoard)
        with pytest.raises(BoardConfigError, match=r"did not notice|stopped its pulses"):
            vehicle.board.prove_failsafe()

    with lockstep_rig(board="maestro", faults=(f"board={fault}",), prepare=fail_to_prove) as rig:
        rig.load_policy()
        rig.run(3.0)

        assert "prove" in rig.request_start().reason
        assert rig.state is DriveState.DISARMED


@pytest.fixture(scope="module")
def proved():
    with lockstep_rig(board="maestro", prepare=prove) as rig:
        yield rig


@pytest.mark.parametrize("bit", [3, 4, 5])
def test_a_latched_error_of_a_maestro_stops_the_car_and_is_named(proved, bit):
    rig = proved
    rig.drive()
    began_ns = rig.now_ns
    rig.world.control("fault", part="board", fault="latched", amount=bit)
    rig.assert_stops({Fault.BOARD_REFUSED}, 0.060, began_ns)
    said = [record.board.problem for record in rig.publisher.records if record.now_ns > began_ns]
    assert any("the Maestro saw" in problem for problem in said)
    assert rig.ask(RequestKind.DISARM).ok


def test_a_script_that_somebody_starts_in_a_maestro_is_ended_before_it_moves_the_car(proved):
    rig = proved
    rig.drive()
    began_ns = rig.now_ns
    pulses_ns = (began_ns // PULSE_NS * PULSE_NS + number * PULSE_NS for number in range(3, 9))
    pulse_ns = next(at for at in pulses_ns if 3_000_000 < (at - began_ns) % TICK_NS < 14_000_000)
    moves_s = (pulse_ns - 1_000_000 - LOCKSTEP_START_NS) / 1e9  # again and again: 100 ms are six ticks
    rig.world.control("fault", part="board", fault="script", at_s=moves_s)
    rig.run(1.0)
    rig.stop()
    stopped_ns = rig.now_ns
    rig.run(1.0)

    by_script = [pulse for pulse in rig.pulses(began_ns) if pulse[2] == rig.forward_us]
    assert len(by_script) <= 1
    assert rig.world.control("ping")["faults"] == {"board=script": 0.0}
    rig.world.control("fault", part="board", fault="script", on=False)
    assert rig.neutral_after_s(stopped_ns) <= 0.060
