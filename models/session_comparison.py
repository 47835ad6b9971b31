"""Compare ways to run one network on this computer: `python -m models.session_comparison`.

One inference a control period, as in driving: between two of them the caches forget, so times back to
back flatter everybody. The variants take turns in random order, so that what else the computer does
hits them alike.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from models.machine import this_machine
from models.paced import PacedTimes, measure_paced, shuffled_turns
from models.runtime import NUMPY_TYPES, Feeds, PolicyRuntime, SessionSettings, TensorInfo
from models.standard_network import standard_network

PERIOD_S = 1.0 / 30.0
SAMPLES = 150
DEFAULTS = "onnxruntime's defaults"
WARM_UP_RUNS = 10


def compare_sessions(
    model: Path, samples: int = SAMPLES, period_s: float = PERIOD_S, seed: int = 0
) -> dict[str, PacedTimes]:
    """Return the times of every variant; takes about variants x samples x period."""
    plain = PolicyRuntime(model, SessionSettings(threads=1))
    feeds = random_feeds(plain.inputs)
    runtimes = {
        "1 thread": plain,
        "1 thread, input and output bound": PolicyRuntime(model, SessionSettings(threads=1, bind=True)),
        "1 thread, bound, weights as they lie": PolicyRuntime(
            model, SessionSettings(threads=1, bind=True, prepack=False)
        ),
        "2 threads": PolicyRuntime(model, SessionSettings(threads=2)),
        "2 threads, bound, weights as they lie": PolicyRuntime(
            model, SessionSettings(threads=2, bind=True, prepack=False)
        ),
        "2 threads, spinning": PolicyRuntime(model, SessionSettings(threads=2, spin=True)),
    }
    variants: dict[str, Callable[[], object]] = {DEFAULTS: plain_session(model, feeds)}
    variants |= {name: _infer(runtime, feeds) for name, runtime in runtimes.items()}
    for run in variants.values():
        for _ in range(WARM_UP_RUNS):
            run()
    return measure_paced(variants, shuffled_turns([*variants], samples, seed), period_s)


def random_feeds(inputs: tuple[TensorInfo, ...], seed: int = 0) -> Feeds:
    """Return noise for every input: grey levels for pictures, 0 to 1 for the rest."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for info in inputs:
        shape = info.known_shape
        feeds[info.name] = rng.uniform(0, 255 if len(shape) == 4 else 1, shape).astype(NUMPY_TYPES[info.type])
    return feeds


def plain_session(model: Path, feeds: Feeds) -> Callable[[], object]:
    """Return what runs the network as onnxruntime does when nobody tells it anything."""
    session = onnxruntime.InferenceSession(str(model))
    return lambda: session.run(None, dict(feeds))


def _infer(runtime: PolicyRuntime, feeds: Feeds) -> Callable[[], object]:
    return lambda: runtime.infer(feeds)


def main(arguments: list[str] | None = None) -> None:
    """Print the comparison for a network, or for the standard one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", type=Path, help="an ONNX file; the standard network if left out")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--rate-hz", type=float, default=1.0 / PERIOD_S)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory(prefix="lapwing") as folder:
        model = chosen.model
        if model is None:
            model = Path(folder) / "standard.onnx"
            model.write_bytes(standard_network(action_count=10))
        rows = compare_sessions(model, chosen.samples, 1.0 / chosen.rate_hz)

    if chosen.json:
        document = {
            "machine": msgspec.to_builtins(this_machine()),
            "rate_hz": chosen.rate_hz,
            "samples": chosen.samples,
            "variants": [{"name": name, **msgspec.to_builtins(row)} for name, row in rows.items()],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    lines = [f"{'variant':38} {'p50 ms':>8} {'p99 ms':>8} {'cpu ms':>8}"]
    lines += [
        f"{name:38} {row.p50_ms:8.2f} {row.p99_ms:8.2f} {row.cpu_mean_ms:8.2f}" for name, row in rows.items()
    ]
    lines += [this_machine().words]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
