"""Sessions load, warm up and answer, or say in words why not."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from policy_files import mean_network

from models import session_comparison
from models.errors import OutputProblem, PolicyError, PolicyOutputError
from models.runtime import PolicyRuntime, SessionSettings
from models.standard_network import standard_network


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(mean_network())
    return path


def test_the_answer_is_the_networks(network: Path) -> None:
    runtime = PolicyRuntime(network)

    answer = runtime.infer({"picture": np.full((1, 120, 160, 1), 30.0, np.float32)})

    assert answer.tolist() == [[70.0, 0.0, -120.0]]
    assert runtime.inputs[0].shape == (1, 120, 160, 1)
    assert runtime.outputs[0].shape == (1, 3)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_the_answer(network: Path, threads: int) -> None:
    observation = np.random.default_rng(0).uniform(0, 255, (1, 120, 160, 1)).astype(np.float32)

    answer = PolicyRuntime(network, SessionSettings(threads=threads)).infer({"picture": observation})

    assert np.allclose(answer, PolicyRuntime(network).infer({"picture": observation}), atol=1e-3)


@pytest.mark.parametrize("bind", [False, True])
@pytest.mark.parametrize(
    "feeds",
    [
        {"picture": np.zeros((1, 60, 80, 1), np.float32)},
        {"picture": np.zeros((1, 120, 160, 1), np.float64)},
        {"picture": np.zeros(3, np.float32)},
        {"pictures": np.zeros((1, 120, 160, 1), np.float32)},
        {"picture": np.zeros((1, 120, 160, 1), np.float32), "second": np.zeros(1, np.float32)},
        {},
    ],
)
def test_feeds_that_the_network_refuses_are_a_failed_policy(
    network: Path, feeds: dict[str, np.ndarray], bind: bool
) -> None:
    with pytest.raises(PolicyOutputError, match="the network raised") as caught:
        PolicyRuntime(network, SessionSettings(bind=bind)).infer(feeds)

    assert caught.value.kind is OutputProblem.FAILED


@pytest.mark.parametrize("threads", [1, 2])
def test_weights_used_as_they_lie_answer_the_same(tmp_path: Path, threads: int) -> None:
    model = tmp_path / "standard.onnx"
    model.write_bytes(standard_network(5))
    packed, as_they_lie = (
        PolicyRuntime(model, SessionSettings(threads=threads, bind=True, prepack=prepack))
        for prepack in (True, False)
    )
    options = as_they_lie._session.get_session_options()
    rng = np.random.default_rng(4)
    for _ in range(5):
        feeds = {"picture": rng.uniform(0, 255, (1, 120, 160, 1)).astype(np.float32)}
        assert as_they_lie.infer(feeds) == pytest.approx(packed.infer(feeds), abs=1e-5)

    assert options.get_session_config_entry("session.disable_prepacking") == "1"


def test_a_bound_session_answers_the_same_and_no_later_run_changes_an_answer(network: Path) -> None:
    bound, plain = PolicyRuntime(network, SessionSettings(bind=True)), PolicyRuntime(network)
    rng = np.random.default_rng(3)
    pictures = [rng.uniform(0, 255, (1, 120, 160, 1)).astype(np.float32) for _ in range(4)]
    pictures.append(np.asfortranarray(pictures[0])[:, ::-1])  # not contiguous
    assert bound._bound is not None

    answers = [bound.infer({"picture": picture}) for picture in pictures]

    for picture, answer in zip(pictures, answers, strict=True):
        assert np.array_equal(answer, plain.infer({"picture": picture}))
    assert len({answer.tobytes() for answer in answers[:4]}) == 4


def test_a_network_with_an_open_size_runs_unbound(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(mean_network(shape=("batch", 120, 160, 1)))
    runtime = PolicyRuntime(path, SessionSettings(bind=True))

    assert runtime._bound is None
    assert runtime.infer({"picture": np.zeros((1, 120, 160, 1), np.float32)}).shape == (1, 3)


def test_warming_up_measures_an_inference(network: Path) -> None:
    runtime = PolicyRuntime(network)

    median_ms = runtime.warm_up({"picture": np.zeros((1, 120, 160, 1), np.float32)})

    assert median_ms == runtime.infer_median_ms > 0.0


def test_a_missing_file_and_a_folder_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        PolicyRuntime(tmp_path / "nowhere.onnx")
    with pytest.raises(PolicyError, match="is not a file of 1 byte to 512 MB"):
        PolicyRuntime(tmp_path)


@pytest.fixture
def no_preemption() -> Iterator[None]:
    """No thread is made to give the interpreter's lock away; it passes on only where it is released."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("no_preemption")
@pytest.mark.parametrize("bind", [False, True])
def test_another_thread_runs_while_the_network_does(tmp_path: Path, bind: bool) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(mean_network(shape=(1, 2000, 2000, 1)))
    runtime = PolicyRuntime(path, SessionSettings(bind=bind))
    observation = np.zeros((1, 2000, 2000, 1), np.float32)
    stop = threading.Event()
    count = 0

    def count_up() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1
            time.sleep(0)  # gives the lock back

    thread = threading.Thread(target=count_up)
    thread.start()
    during = 0
    deadline_s = time.monotonic() + 10.0
    while not during and time.monotonic() < deadline_s:  # a busy computer may not run the thread at once
        before = count
        runtime.infer({"picture": observation})
        during = count - before
    stop.set()
    thread.join()

    assert during > 0


def test_the_standard_network_is_the_same_for_the_same_seed_and_uses_the_picture(tmp_path: Path) -> None:
    assert standard_network(5, seed=1) == standard_network(5, seed=1) != standard_network(5, seed=2)

    path = tmp_path / "standard.onnx"
    path.write_bytes(standard_network(5))
    runtime = PolicyRuntime(path)
    rng = np.random.default_rng(0)
    answers = [
        runtime.infer({"picture": rng.uniform(0, 255, (1, 120, 160, 1)).astype(np.float32)}) for _ in range(2)
    ]

    assert answers[0].sum() == pytest.approx(1.0, abs=1e-5)
    assert not np.array_equal(answers[0], answers[1])


def test_the_comparison_prints_one_document_with_every_variant(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session_comparison.main([str(network), "--samples", "3", "--rate-hz", "1000", "--json"])

    document = json.loads(capsys.readouterr().out)

    assert len(document["variants"]) == 7
    assert all(0.0 < row["p50_ms"] <= row["p99_ms"] for row in document["variants"])


def test_the_comparison_prints_a_table_for_people(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session_comparison.main([str(network), "--samples", "2", "--rate-hz", "1000"])

    assert "2 threads, spinning" in capsys.readouterr().out
