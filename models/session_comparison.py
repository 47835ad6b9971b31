"""Compare ways to run one network on this computer: `python -m models.session_comparison`.

One inference a control period, as in driving: between two of them the caches forget, so times back to
back flatter everybody. The variants take turns in random order, so that what else the computer does
hits them alike.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from models.runtime import SessionSettings, create_session
from models.standard_network import standard_network

PERIOD_S = 1.0 / 30.0
SAMPLES = 150


class VariantTimes(msgspec.Struct, frozen=True):
    """What one way to run the network took, in ms of wall time and of this process' processor time."""

    name: str
    p50_ms: float
    p99_ms: float
    cpu_mean_ms: float
    """Of all threads, spinning included, from one inference to the end of its period."""


def compare_sessions(
    model: Path, samples: int = SAMPLES, period_s: float = PERIOD_S, seed: int = 0
) -> tuple[VariantTimes, ...]:
    """Return the times of every variant; takes about variants x samples x period."""
    variants: dict[str, Callable[[], object]] = {
        "onnxruntime's defaults": _run(onnxruntime.InferenceSession(str(model))),
        "1 thread": _run(create_session(model, SessionSettings(threads=1))),
        "1 thread, input and output bound": _run_bound(create_session(model, SessionSettings(threads=1))),
        "2 threads": _run(create_session(model, SessionSettings(threads=2))),
        "2 threads, spinning": _run(create_session(model, SessionSettings(threads=2, spin=True))),
    }
    for run in variants.values():
        for _ in range(10):
            run()
    return tuple(
        _summary(name, samples_of_one) for name, samples_of_one in _measure(variants, samples, period_s, seed)
    )


def _measure(
    variants: Mapping[str, Callable[[], object]], samples: int, period_s: float, seed: int
) -> list[tuple[str, list[tuple[float, float]]]]:
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    turns = [name for name in variants for _ in range(samples)]
    random.Random(seed).shuffle(turns)  # noqa: S311 - an order, not a secret
    for name in turns:
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        variants[name]()
        taken_s = time.perf_counter() - start_s
        time.sleep(max(0.0, period_s - taken_s))
        measured[name].append((taken_s * 1e3, (time.process_time() - start_cpu_s) * 1e3))
    return list(measured.items())


def _summary(name: str, times_ms: list[tuple[float, float]]) -> VariantTimes:
    wall_ms, cpu_ms = np.array(times_ms).T
    p50_ms, p99_ms = np.percentile(wall_ms, (50, 99))
    return VariantTimes(name, float(p50_ms), float(p99_ms), float(cpu_ms.mean()))


def _observation(session: onnxruntime.InferenceSession) -> tuple[str, np.ndarray]:
    node = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in node.shape]
    return node.name, np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def _run(session: onnxruntime.InferenceSession) -> Callable[[], object]:
    name, observation = _observation(session)
    return lambda: session.run(None, {name: observation})


def _run_bound(session: onnxruntime.InferenceSession) -> Callable[[], object]:
    name, observation = _observation(session)
    bound_input = onnxruntime.OrtValue.ortvalue_from_numpy(observation)
    binding = session.io_binding()
    binding.bind_ortvalue_input(name, bound_input)
    binding.bind_output(session.get_outputs()[0].name)

    def run() -> None:
        bound_input.update_inplace(observation)
        session.run_with_iobinding(binding)
        binding.copy_outputs_to_cpu()

    return run


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
            "onnxruntime": onnxruntime.__version__,
            "rate_hz": chosen.rate_hz,
            "samples": chosen.samples,
            "variants": msgspec.to_builtins(rows),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    lines = [f"{'variant':36} {'p50 ms':>8} {'p99 ms':>8} {'cpu ms':>8}"]
    lines += [f"{row.name:36} {row.p50_ms:8.2f} {row.p99_ms:8.2f} {row.cpu_mean_ms:8.2f}" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
