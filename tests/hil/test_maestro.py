"""A Pololu Maestro in the place of the own board, in lockstep over its own bytes."""

import pytest

from tests.hil.rig import lockstep_rig
from vehicle.__main__ import Vehicle
from vehicle.board.maestro import MaestroBoard
from vehicle.messages import DriveState, Fault

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
