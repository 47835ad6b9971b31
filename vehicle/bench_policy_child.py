"""What `lapwing bench` measures of policies in a process of its own; run by `vehicle.bench_child`."""

import itertools
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from models.bundle import check_bundle, noise_feeds
from models.convert import convert
from models.int8_quantise import RECIPES, quantise
from models.observation import Observer, Sight
from models.paced import PacedTimes, measure_paced, shuffled_turns
from models.policy import load_policy
from models.runtime import Feeds, PolicyRuntime
from models.session_choice import choose
from models.session_comparison import DEFAULTS, plain_session, random_feeds
from models.simplify import simplify

LOOK_PERIOD_S = 0.005
CALIBRATION_FRAMES = 100
WARM_UP_RUNS = 10
CONVERTED_PERIOD_S = 1 / 30


def conversion(graph: Path, samples: int) -> dict[str, float]:
    """Convert a frozen graph, then open and run it, as converted and simplified, in turns.

    Returns seconds of conversion, private memory in MB, and medians of inference in ms.
    """
    with tempfile.TemporaryDirectory(dir=graph.parent) as folder:
        model, as_converted = Path(folder) / "model.onnx", Path(folder) / "converted.onnx"
        with _MemoryWatch() as converting:
            start_s = time.perf_counter()
            convert(graph, Path(folder))
            shutil.copyfile(model, as_converted)
            simplify(model)
            seconds = time.perf_counter() - start_s
        with _MemoryWatch() as running:
            simplified = PolicyRuntime(model)
            feeds = random_feeds(simplified.inputs)
            simplified.infer(feeds)
        converted = PolicyRuntime(as_converted)
        ways: dict[str, Callable[[], object]] = {
            "converted_ms": lambda: converted.infer(feeds),
            "simplified_ms": lambda: simplified.infer(feeds),
        }
        medians_ms = {name: row.p50_ms for name, row in _measured(ways, samples, CONVERTED_PERIOD_S).items()}
    return {
        "seconds": seconds,
        "converting_mb": converting.most_mb,
        "session_mb": running.most_mb,
        **medians_ms,
    }


def _measured(ways: dict[str, Callable[[], object]], samples: int, period_s: float) -> dict[str, PacedTimes]:
    for way in ways.values():
        for _ in range(WARM_UP_RUNS):
            way()
    return measure_paced(ways, shuffled_turns([*ways], samples), period_s)


def load(source: str) -> dict[str, float]:
    """Load a policy as the vehicle does; return seconds."""
    start_s = time.perf_counter()
    load_policy(source)
    return {"seconds": time.perf_counter() - start_s}


def inference(source: str, samples: int) -> dict[str, dict[str, float] | dict[str, str]]:
    """Return median, 99th percentile and processor time by way to run the network, in ms, paced as driving.

    The int8 network is made here of pictures of soft noise, for its speed alone: whether it may drive is
    not judged.
    """
    bundle, runtime = check_bundle(source)
    feeds = noise_feeds(bundle.inputs, seed=0)
    period_s = 1.0 / bundle.metadata.control_rate_hz
    choice = choose(bundle.model, feeds, period_s)
    tuned = PolicyRuntime(bundle.model, choice.settings)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "model.onnx"
        quantise(
            bundle.model,
            [*itertools.islice(_soft_noise(Observer(bundle.inputs)), CALIBRATION_FRAMES)],
            small,
            RECIPES[0],
        )
        int8 = PolicyRuntime(small, runtime.settings)
        ways: dict[str, Callable[[], object]] = {
            DEFAULTS: plain_session(bundle.model, feeds),
            "float as chosen here": lambda: tuned.infer(feeds),
            "int8": lambda: int8.infer(feeds),
        }
        times = _measured(ways, samples, period_s)
    return {
        "p50_ms": {name: row.p50_ms for name, row in times.items()},
        "p99_ms": {name: row.p99_ms for name, row in times.items()},
        "cpu_ms": {name: row.cpu_mean_ms for name, row in times.items()},
        "notes": {
            DEFAULTS: "its threads spin between decisions: see the processor's time; ",
            "float as chosen here": f"never spins; {choice.reason}; ",
            "int8": "its speed alone, not judged; ",
        },
    }


def _soft_noise(observer: Observer) -> Iterator[Feeds]:
    rng = np.random.default_rng(0)
    while True:
        left, right = (
            cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (160, 120)).astype(np.uint8)
            for _ in range(2)
        )
        yield observer.observe(Sight(left, right))


class _MemoryWatch:
    """Notes the largest private memory of this process while the block runs."""

    def __init__(self) -> None:
        self.most_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "_MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.most_mb = max(self.most_mb, _anonymous_mb())
            if self._stop.wait(LOOK_PERIOD_S):
                return


def _anonymous_mb() -> float:
    """Return memory that no file backs: pages of a mapped network can be dropped and read again."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024 / 1e6
