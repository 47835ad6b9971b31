"""The session is chosen by measurement, and plain unless something else is clearly better."""

import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from policy_files import mean_network

from models import session_choice
from models.errors import PolicyError, PolicyOutputError
from models.machine import this_machine
from models.paced import block_turns, measure_paced, shuffled_turns
from models.processor import processor_name
from models.runtime import PolicyRuntime, SessionSettings
from models.session_choice import CandidateTimes, SessionChoice, choose, decide

FEEDS = {"picture": np.full((1, 120, 160, 1), 30.0, np.float32)}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(mean_network())
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_choice, "MEASURING_S", 0.3)


def row(threads: int, p50_ms: float, p99_ms: float, *, bind: bool = False) -> CandidateTimes:
    return CandidateTimes(SessionSettings(threads=threads, bind=bind), p50_ms, p99_ms, 40)


@pytest.mark.parametrize(
    ("others", "threads", "bind"),
    [
        ([], 1, False),
        ([row(2, 9.1, 5.0)], 1, False),  # not by the margin
        ([row(2, 9.0, 20.0)], 2, False),
        ([row(2, 5.0, 20.1)], 1, False),  # a worse 99th percentile
        ([row(2, 5.0, 15.0)], 2, False),
        ([row(1, 8.0, 15.0, bind=True), row(2, 5.0, 15.0)], 2, False),
        ([row(1, 8.0, 15.0, bind=True), row(2, 8.5, 15.0)], 1, True),
    ],
)
def test_something_else_must_be_better_by_a_margin_and_no_worse_at_its_slowest(others, threads, bind):
    chosen, reason = decide([row(1, 10.0, 20.0), *others])

    assert (chosen.settings.threads, chosen.settings.bind) == (threads, bind)
    assert f"{chosen.p50_ms:.2f} ms" in reason


def test_the_reason_names_weights_that_stay_as_they_lie() -> None:
    best = CandidateTimes(SessionSettings(bind=True, prepack=False), 5.0, 15.0, 40)

    chosen, reason = decide([row(1, 10.0, 20.0), best, row(2, 8.5, 15.0)])

    assert chosen is best
    assert reason.startswith("1 thread, bound, weights as they lie: 5.00 ms")


def test_a_choice_of_an_earlier_version_lets_weights_be_laid_out_anew() -> None:
    assert msgspec.convert({"threads": 2, "spin": False, "bind": True}, SessionSettings).prepack


@pytest.mark.usefixtures("quick")
def test_the_choice_never_spins_and_says_what_it_holds_for(network):
    choice = choose(network, FEEDS, period_s=0.005)

    assert choice.settings in [candidate.settings for candidate in choice.candidates]
    assert not any(candidate.settings.spin for candidate in choice.candidates)
    assert all(0.0 < candidate.p50_ms <= candidate.p99_ms for candidate in choice.candidates)
    assert choice.is_valid_here
    assert choice.processor == this_machine().processor
    assert msgspec.json.decode(msgspec.json.encode(choice), type=SessionChoice) == choice


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("change", [{"processor": "another"}, {"onnxruntime": "0.1"}, {"cores": 99}])
def test_a_choice_made_elsewhere_does_not_hold_here(network, change):
    choice = choose(network, FEEDS, period_s=0.005)
    other = msgspec.structs.replace(choice, machine=msgspec.structs.replace(choice.machine, **change))

    assert not other.is_valid_here


@pytest.mark.usefixtures("quick")
def test_with_one_core_there_is_no_second_thread(network, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0})

    choice = choose(network, FEEDS, period_s=0.005)

    assert {candidate.settings.threads for candidate in choice.candidates} == {1}


@pytest.mark.usefixtures("quick")
def test_of_a_large_network_one_session_is_held_at_a_time(network, monkeypatch):
    held, most = 0, 0

    class Counting(PolicyRuntime):
        def __init__(self, *arguments) -> None:
            nonlocal held, most
            super().__init__(*arguments)
            held += 1
            most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            held -= 1

    monkeypatch.setattr(session_choice, "PolicyRuntime", Counting)
    monkeypatch.setattr(session_choice, "HELD_BYTES_MAX", 0)

    choice = choose(network, FEEDS, period_s=0.005)

    assert most == 1
    assert len({candidate.samples for candidate in choice.candidates}) == 1


def test_weights_in_a_file_beside_count_as_the_networks(network):
    (network.parent / "weights.bin").write_bytes(bytes(1000))

    assert session_choice._network_bytes(network) == network.stat().st_size + 1000


def test_what_cannot_run_is_refused_in_words(tmp_path, network):
    with pytest.raises(PolicyError, match="cannot be read"):
        choose(tmp_path / "nowhere.onnx", FEEDS, 0.01)
    with pytest.raises(PolicyOutputError, match="the network raised"):
        choose(network, {"picture": np.zeros(3, np.float32)}, 0.01)


def test_turns_are_fair():
    turns = shuffled_turns(["a", "b"], 50, seed=1)
    blocks = block_turns(("a", "b"), 7, 3)

    assert turns == shuffled_turns(["a", "b"], 50, seed=1) != sorted(turns)
    assert turns.count("a") == turns.count("b") == 50
    assert "".join(blocks) == "aabbbbaaaaabbb"


def test_a_way_is_timed_alone_and_started_once_a_period():
    starts_s: list[float] = []

    def work() -> None:
        starts_s.append(time.perf_counter())
        time.sleep(0.004)

    times = measure_paced({"work": work}, ["work"] * 5, 0.02, prepare=lambda _name: time.sleep(0.01))

    assert 4.0 <= times["work"].p50_ms < 15.0
    assert times["work"].samples == 5
    assert min(np.diff(starts_s)) >= 0.029


def test_the_processors_name_comes_from_the_kernel(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Atom E3930\nflags\t\t: sse4_2\n\nmodel name\t: Other\n")

    assert processor_name(cpuinfo).startswith("Atom E3930")
    assert processor_name(tmp_path / "nowhere")
