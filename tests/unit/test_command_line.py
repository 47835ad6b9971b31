"""What the command line refuses, at once and in words, and what of it goes to standard output."""

import json
import socket
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from models.errors import PolicyError
from models.training.evaluate import Control
from vehicle import cli, run_command, training_cli
from vehicle.errors import HilError, LapwingError
from vehicle.laps_command import NOT_STARTED
from vehicle.proof.faults_command import run_faults
from vehicle.proof.live_soak import run_live_soak
from vehicle.proof.soak import run_soak
from vehicle.run_command import RunOptions


@pytest.fixture
def called(monkeypatch, capsys):
    """Call `lapwing` with these words; return its exit status, standard output and standard error."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["lapwing", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capsys.readouterr())

    return call


def test_with_json_a_refusal_is_one_document_too(called, tmp_path):
    words = ("runs", "show", "nosuch", "--runs", str(tmp_path))
    code, out, error = called(*words, "--json")
    assert code == 2
    assert "no run 'nosuch'" in json.loads(out)["error"]
    assert error == f"lapwing: {json.loads(out)['error']}\n"

    assert called(*words)[:2] == (2, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("doctor", "--odd"), "No such option: --odd"),
        (("runs", "show", "one", "two"), "unexpected extra argument"),
        (("evaluate", "--track", "oval"), "Missing option '--policy'"),
        (("laps", "--laps", "none"), "Invalid value for '--laps'"),
        (("bench", "--quick", "--long"), "--quick and --long exclude each other"),
    ],
)
def test_with_json_a_command_that_is_not_one_is_refused_in_one_document_too(called, words, told):
    code, out, error = called(*words, "--json")
    assert code == 2
    assert told in json.loads(out)["error"]
    assert "Usage: " in error

    assert called(*words)[:2] == (2, "")


def test_with_json_a_command_that_is_interrupted_leaves_one_document_too(called, monkeypatch):
    def interrupted(**_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vehicle.doctor.run_doctor", interrupted)
    assert called("doctor", "--json") == (130, '{"error":"interrupted"}\n', "")
    assert called("doctor") == (130, "", "")


def test_what_ends_well_prints_no_refusal(called):
    code, out, _ = called("doctor", "--help", "--json")
    assert code == 0
    assert "error" not in out


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("drive", "--wiring", "odd"), "'standard'"),
        (("hil", "--board", "odd"), "'maestro'"),
        (("run", "--hil", "--board", "odd"), "'maestro'"),
        (("train", "--out", "nowhere", "--network", "odd"), "'deepracer'"),
        (("evaluate", "--policy", "plover", "--track", "oval", "--control", "odd"), "'mirrored'"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_right_ones(called, words, allowed):
    code, out, error = called(*words)
    assert (code, out) == (2, "")
    assert "'odd'" in error
    assert allowed in error


def test_the_command_line_knows_every_way_to_blind_a_policy():
    assert get_args(training_cli.ControlName) == tuple(Control)


def test_a_part_that_is_not_proved_here_is_refused_with_those_that_are():
    with pytest.raises(HilError, match="the part is 'lidar', allowed are camera, serial_out"):
        run_faults("plover", ["lidar"])


def test_a_mistyped_policy_ends_a_proof_before_it_begins(tmp_path):
    kept = tmp_path / "soak.jsonl"
    with pytest.raises(PolicyError, match="policy 'nosuch' does not exist"):
        run_faults("nosuch")
    for soak in (run_soak, run_live_soak):
        with pytest.raises(PolicyError, match="policy 'nosuch' does not exist"):
            soak("nosuch", 0.1, seed=1, kept=kept)
    assert not kept.exists()


# --- the demo


class Children:
    """A supervisor whose children are never started."""

    def __init__(self, *_):
        self.calls = []
        made.append(self)

    def tend(self):
        self.calls.append("tend")

    def stop(self):
        self.calls.append("stop")


made: list[Children] = []


@pytest.fixture(autouse=True)
def no_children(monkeypatch):
    made.clear()
    monkeypatch.setattr(run_command, "Supervisor", Children)


def demo(out: Path, **changes) -> int:
    options = RunOptions(**{"hil": True, "is_private": True, "policy": "plover", **changes})
    return run_command.run_demo(
        options, lambda *_: pytest.fail("the car was said to be ready"), laps=1, out_dir=out, keep=False
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"policy": "nosuch"}, "policy 'nosuch' does not exist"),
        ({"track": "nosuch"}, "no track named 'nosuch'"),
    ],
)
def test_a_demo_of_what_there_is_not_ends_at_once(tmp_path, changes, why):
    with pytest.raises(LapwingError, match=why):
        demo(tmp_path, **changes)
    assert [children.calls[-1] for children in made] in ([], ["stop"])


def test_a_demo_that_cannot_keep_its_results_is_not_begun(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(LapwingError, match="the results cannot be written to"):
        demo(tmp_path / "out")
    assert made == []


@pytest.fixture
def impatient(monkeypatch):
    """Wait for no port that is taken to get free."""
    monkeypatch.setattr("vehicle.listening.TAKEN_LIMIT_S", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_port_that_somebody_listens_at_is_refused_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LapwingError, match=rf"at port {port} \(Address already in use\).*--port"):
            demo(tmp_path, port=port)
    assert made == []


@pytest.mark.usefixtures("impatient")
def test_a_port_is_tried_at_the_addresses_where_the_page_will_listen(tmp_path):
    """A real car's page listens at all of them, a simulated car's at one that nobody uses here."""
    config = tmp_path / "car.toml"
    config.touch()
    with socket.create_server(("127.0.0.2", 0)) as taken:
        options = RunOptions(is_private=True, config=config, port=taken.getsockname()[1])
        refused = pytest.raises(LapwingError, match=r"\(Address already in use\).*--port")
        with refused, run_command.running_car(options, print):
            pass
        assert made == []
        with run_command.running_car(msgspec.structs.replace(options, hil=True), print):
            assert len(made) == 1


def test_a_demo_can_be_ended_while_its_car_gets_ready(tmp_path, monkeypatch):
    monkeypatch.setattr(run_command, "StopSignal", lambda: lambda: True)
    monkeypatch.setattr(run_command, "START_TIMEOUT_S", 5.0)
    assert demo(tmp_path) == NOT_STARTED
    assert made[0].calls[-1] == "stop"
