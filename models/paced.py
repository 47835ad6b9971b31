"""Time ways to do the same thing once per control period, as in driving, taking turns.

Between two inferences of a driving car the caches forget, so times back to back flatter everybody; and
what else the computer does must hit all ways alike.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np


class PacedTimes(msgspec.Struct, frozen=True):
    """What one way took, in ms of wall time and of this process' processor time."""

    p50_ms: float
    p99_ms: float
    cpu_mean_ms: float
    """Of all threads, spinning included, from one run to the end of its period."""
    samples: int


def shuffled_turns(names: Sequence[str], samples: int, seed: int = 0) -> list[str]:
    """Return every name `samples` times, in random order, the same for the same seed."""
    turns = [name for name in names for _ in range(samples)]
    random.Random(seed).shuffle(turns)  # noqa: S311 - an order, not a secret
    return turns


def block_turns(names: Sequence[str], samples: int, blocks: int) -> list[str]:
    """Return every name `samples` times in `blocks` blocks: forwards, backwards, forwards..."""
    turns: list[str] = []
    for block in range(blocks):
        share = samples * (block + 1) // blocks - samples * block // blocks
        order = names if block % 2 == 0 else tuple(reversed(names))
        turns += [name for name in order for _ in range(share)]
    return turns


def measure_paced(
    ways: Mapping[str, Callable[[], object]],
    turns: Sequence[str],
    period_s: float,
    prepare: Callable[[str], None] = lambda _name: None,
) -> dict[str, PacedTimes]:
    """Run the ways in the order of `turns`, one each period; `prepare` is not timed."""
    wall_ms: dict[str, list[float]] = {name: [] for name in ways}
    cpu_ms: dict[str, list[float]] = {name: [] for name in ways}
    for name in turns:
        prepare(name)
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        ways[name]()
        taken_s = time.perf_counter() - start_s
        time.sleep(max(0.0, period_s - taken_s))
        wall_ms[name].append(taken_s * 1e3)
        cpu_ms[name].append((time.process_time() - start_cpu_s) * 1e3)
    return {
        name: PacedTimes(
            float(np.percentile(values, 50)),
            float(np.percentile(values, 99)),
            float(np.mean(cpu_ms[name])),
            len(values),
        )
        for name, values in wall_ms.items()
        if values
    }
