"""Faults reach the side that makes them: from a scenario file, from the command line."""

import pytest
from typer.testing import CliRunner

from vehicle.cli import app
from vehicle.errors import ConfigError, HilError
from vehicle.hil.launch import check
from vehicle.hil.scenario import read_scenario, split_by_side
from vehicle.hil.settings import HilSettings, from_json
from vehicle.run_command import RunOptions, _children, running_car


def test_a_scenario_names_its_faults(tmp_path):
    path = tmp_path / "rain.toml"
    path.write_text('faults = ["camera=stuck@12s..20s", "operator_link=off@30s"]\n')
    assert read_scenario(path) == ("camera=stuck@12s..20s", "operator_link=off@30s")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("faults = [", "no list of faults"),
        ("fault = []", "unknown field"),
        ('faults = "camera=off"', "no list of faults"),
        ('faults = ["camera=lost"]', "camera has no fault 'lost'"),
        ('faults = ["\\ud800"]', "no list of faults"),
    ],
)
def test_a_scenario_that_cannot_be_read_says_why(text, says, tmp_path):
    path = tmp_path / "rain.toml"
    path.write_text(text)
    with pytest.raises(HilError, match=says):
        read_scenario(path)


def test_a_scenario_that_is_not_there_says_so(tmp_path):
    with pytest.raises(
        HilError, match=r"cannot be read \(No such file or directory\); name another with --scenario"
    ):
        read_scenario(tmp_path / "rain.toml")


def test_each_side_gets_its_faults_and_one_clock(tmp_path):
    faults = ("camera=stuck@12s", "policy=slow:0.2@3s", "board=hang", "disk=full")
    assert split_by_side(faults) == (faults[::2], faults[1::2])

    children = _children(RunOptions(hil=True, faults=faults, seed=4), tmp_path / "run", tmp_path / "hil")
    commands = {child.name: child.command for child in children}
    world = from_json(commands["world"][-1])
    drive = commands["vehicle"]
    assert world.faults == faults[::2]
    assert world.start_ns > 0
    assert [drive[at + 1] for at, word in enumerate(drive) if word == "--fault"] == list(faults[1::2])
    assert drive[drive.index("--faults-since-ns") + 1] == str(world.start_ns)
    assert drive[drive.index("--seed") + 1] == "4"


def test_a_car_with_nothing_to_break_is_started_as_ever(tmp_path):
    children = _children(RunOptions(hil=True), tmp_path / "run", tmp_path / "hil")
    assert "--fault" not in children[2].command
    assert from_json(children[1].command[-1]).start_ns == 0


def test_the_world_refuses_what_is_not_its_to_break(tmp_path):
    with pytest.raises(HilError, match="lapwing drive"):
        check(HilSettings(tmp_path, faults=("policy=off",)))


def test_a_real_car_is_never_broken_on_purpose(tmp_path):
    config = tmp_path / "car.toml"
    config.write_text("")
    with (
        pytest.raises(ConfigError, match="never broken on purpose"),
        running_car(RunOptions(config=config, faults=("policy=off",)), print),
    ):
        pass
    result = CliRunner().invoke(app, ["drive", "--fault", "policy=off"])
    assert isinstance(result.exception, ConfigError)
