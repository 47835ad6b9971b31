"""What is missing or wrong before the start: the car stays disarmed and says in words what to do."""

import pytest

from tests.hil.rig import Rig, lockstep_rig
from vehicle.board import open_board
from vehicle.errors import BoardBusyError
from vehicle.messages import DriveState


def refusal(rig: Rig, settled_s: float = 4.0) -> str:
    """Return why the car would not start; require that no pulse ever drove the motor."""
    rig.load_policy()
    rig.run(settled_s)
    reply = rig.request_start()
    rig.run(0.5)
    assert not reply.ok
    assert rig.state is DriveState.DISARMED
    assert all(rig.is_neutral(pulse) for pulse in rig.pulses())
    return reply.reason


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("camera=off", "camera"),
        ("camera=silent", "camera"),
        ("camera=garbage", "camera"),
        ("board=unplugged@0.5s", "plug"),
        ("board=version", "version"),
        ("board=not_stored", "store"),
        ("board=watchdog_slow", "watchdog is 1000 ms, allowed"),
        ("board=another_device@0.5s", "none of them the answer of a lapwing board"),
        ("board=rc_takeover", "stop switch"),
        ("board=stop_input", "stop switch"),
        ("serial_in=off", "answer"),
        ("serial_in=garbage", "board"),
        ("serial_out=off", "answer"),
    ],
)
def test_a_car_that_is_broken_from_the_start_refuses_in_words(fault, words):
    with lockstep_rig(faults=(fault,)) as rig:
        assert words in refusal(rig).lower()


@pytest.mark.parametrize(
    "fault",
    ["camera=off", "board=unplugged@0.5s", "board=version", "board=another_device@0.5s", "serial_in=off"],
)
def test_a_car_that_is_mended_drives_without_a_restart(fault):
    with lockstep_rig(faults=(fault,)) as rig:
        rig.load_policy()
        rig.run(2.0)
        part, name = fault.split("@")[0].split("=")
        rig.world.control("fault", part=part, fault=name, on=False)
        rig.run_settled()

        rig.drive()


def test_a_second_process_cannot_open_the_board():
    with lockstep_rig() as rig:
        rig.run(1.0)
        port = str(rig.world_dir / "board")
        with pytest.raises(BoardBusyError, match="another process"):
            open_board("board", port, rig.calibration).open()
