"""`lapwing board` as far as it comes without a board."""

import pytest

from calibration import store
from calibration.car import AWS_DEFAULTS
from calibration.errors import CalibrationError
from vehicle.board_command import prove_failsafe, store_in_board
from vehicle.errors import BoardConfigError, BoardError, BoardNotFoundError, ConfigError


@pytest.fixture
def car(tmp_path):
    """Write `car.toml` with this section for the board, beside a calibration."""

    def write(board, calibration="calibration = 'blue.json'"):
        store.save(tmp_path / "blue.json", AWS_DEFAULTS)
        path = tmp_path / "car.toml"
        path.write_text(f"{calibration}\n[board]\nport = '{tmp_path}/nothing'\n{board}\n")
        return path

    return write


def prove_on_a_stand(path):
    return prove_failsafe(path, wheels_up=True)


@pytest.mark.parametrize("command", [store_in_board, prove_on_a_stand])
def test_the_channels_of_car_toml_reach_the_maestro(car, command):
    path = car("driver = 'maestro'\nsteering_channel = 5\nthrottle_channel = 5")
    with pytest.raises(BoardConfigError, match="both 5"):
        command(path)


@pytest.mark.parametrize("command", [store_in_board, prove_on_a_stand])
def test_channels_that_differ_are_taken_and_the_port_is_looked_for(car, command):
    path = car("driver = 'maestro'\nsteering_channel = 5\nthrottle_channel = 4")
    with pytest.raises(BoardNotFoundError, match="does not exist"):
        command(path)


@pytest.mark.parametrize("command", [store_in_board, prove_on_a_stand])
@pytest.mark.parametrize(
    ("board", "calibration", "seen"),
    [
        ("", "", "does not exist; calibrate the car"),
        ("port = ''", "calibration = 'blue.json'", "board.port is"),
    ],
)
def test_what_car_toml_does_not_say_is_named(car, command, board, calibration, seen):
    path = car("", calibration)
    path.write_text(f"{calibration}\n[board]\n{board}\n")
    with pytest.raises((ConfigError, CalibrationError), match=seen):
        command(path)


def test_a_proof_moves_nothing_unless_the_wheels_are_said_to_be_up(car):
    with pytest.raises(BoardError, match="add --wheels-up"):
        prove_failsafe(car("driver = 'maestro'"), wheels_up=False)


def test_only_a_maestro_is_proved(car):
    with pytest.raises(BoardError, match="only 'maestro' needs a proof"):
        prove_on_a_stand(car("driver = 'board'"))
