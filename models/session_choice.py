"""Choose how onnxruntime runs one network on this computer: by measuring, once, at upload.

One thread is the choice unless something else is clearly better: two threads leave no core for the
camera and the page, and binding has nothing to say for itself but speed. Threads never spin.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from models.machine import Machine, this_machine
from models.paced import block_turns, measure_paced, shuffled_turns
from models.runtime import Feeds, PolicyRuntime, SessionSettings

MARGIN_FRAC = (
    0.10  # of the median: less is not worth a second thread, nor to be told from noise in 40 samples
)
MEASURING_S = 4.0  # for all ways together; uploading waits for it
SAMPLES_RANGE = (12, 60)  # of each way
HELD_BYTES_MAX = 64 << 20  # networks up to this size are held once for each way, larger ones one at a time
BLOCKS = 3  # turns that each way takes where only one is held
WARM_UP_RUNS = 5
CANDIDATES = (
    SessionSettings(threads=1),
    SessionSettings(threads=1, bind=True, prepack=False),
    SessionSettings(threads=2),
    SessionSettings(threads=2, bind=True, prepack=False),
)
"""In order of preference; the first is the one the others have to beat."""


class CandidateTimes(msgspec.Struct, frozen=True):
    """What inference took in one way, once per control period."""

    settings: SessionSettings
    p50_ms: float
    p99_ms: float
    samples: int


class SessionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """How to run one network, why, and where that holds."""

    settings: SessionSettings
    p50_ms: float
    """Of the chosen way."""
    p99_ms: float
    candidates: tuple[CandidateTimes, ...]
    period_s: float
    """Between two inferences."""
    reason: str
    machine: Machine

    @property
    def processor(self) -> str:
        """The choice is valid for this processor."""
        return self.machine.processor

    @property
    def onnxruntime_version(self) -> str:
        """The choice is valid for this version."""
        return self.machine.onnxruntime

    @property
    def is_valid_here(self) -> bool:
        """Whether it was measured on such a computer as this."""
        return self.machine == this_machine()


def choose(model: Path, feeds: Feeds, period_s: float) -> SessionChoice:
    """Measure for about four seconds and return the choice.

    Raises PolicyError when the file is no network, PolicyOutputError when it does not take `feeds`.
    """
    machine = this_machine()
    candidates = [settings for settings in CANDIDATES if settings.threads <= machine.cores]
    ways = {_words(settings): settings for settings in candidates}
    samples = min(max(round(MEASURING_S / period_s / len(ways)), SAMPLES_RANGE[0]), SAMPLES_RANGE[1])
    is_large = _network_bytes(model) > HELD_BYTES_MAX
    sessions = _Sessions(model, feeds, ways, held_max=1 if is_large else len(ways))
    turns = block_turns([*ways], samples, BLOCKS) if is_large else shuffled_turns([*ways], samples)
    times = measure_paced(
        {name: sessions.runner(name) for name in ways}, turns, period_s, prepare=sessions.open
    )
    measured = [
        CandidateTimes(ways[name], row.p50_ms, row.p99_ms, row.samples) for name, row in times.items()
    ]
    chosen, reason = decide(measured)
    return SessionChoice(
        settings=chosen.settings,
        p50_ms=chosen.p50_ms,
        p99_ms=chosen.p99_ms,
        candidates=tuple(measured),
        period_s=period_s,
        reason=reason,
        machine=machine,
    )


def decide(measured: list[CandidateTimes]) -> tuple[CandidateTimes, str]:
    """Return the first, or the best of those that beat it by the margin without a worse 99th percentile."""
    plain = measured[0]
    better = [
        row
        for row in measured[1:]
        if row.p50_ms <= (1.0 - MARGIN_FRAC) * plain.p50_ms and row.p99_ms <= plain.p99_ms
    ]
    if not better:
        return plain, "; ".join(
            [f"{_words(plain.settings)}: {_shown(plain)}", *(_why_not(row, plain) for row in measured[1:])]
        )
    best = min(better, key=lambda row: row.p50_ms)
    return best, (
        f"{_words(best.settings)}: {_shown(best)} instead of {_shown(plain)} by {_words(plain.settings)}"
    )


def _why_not(row: CandidateTimes, plain: CandidateTimes) -> str:
    if row.p99_ms > plain.p99_ms and row.p50_ms < plain.p50_ms:
        return f"{_words(row.settings)}: {_shown(row)}, slower at its slowest"
    return f"{_words(row.settings)}: {_shown(row)}, not {MARGIN_FRAC:.0%} faster"


def _shown(row: CandidateTimes) -> str:
    return f"{row.p50_ms:.2f} ms (99th percentile {row.p99_ms:.2f})"


class _Sessions:
    """Opens sessions when their turn comes and holds no more than allowed."""

    def __init__(self, model: Path, feeds: Feeds, ways: dict[str, SessionSettings], held_max: int) -> None:
        self._model = model
        self._feeds = feeds
        self._ways = ways
        self._held_max = held_max
        self._held: dict[str, PolicyRuntime] = {}

    def open(self, name: str) -> None:
        """Have the session of this name ready and warm."""
        if name in self._held:
            return
        if len(self._held) >= self._held_max:
            self._held.clear()
        runtime = PolicyRuntime(self._model, self._ways[name])
        for _ in range(WARM_UP_RUNS):
            runtime.infer(self._feeds)
        self._held[name] = runtime

    def runner(self, name: str) -> Callable[[], object]:
        """Return what runs the session of this name."""
        return lambda: self._held[name].infer(self._feeds)


def _words(settings: SessionSettings) -> str:
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    bound = ", bound" if settings.bind else ""
    return f"{threads}{bound}" if settings.prepack else f"{threads}{bound}, weights as they lie"


def _network_bytes(model: Path) -> int:
    """Return the size of the file and of what lies beside it: weights may be in a file of their own."""
    if not model.is_file():
        return 0  # opening it says in words what is wrong
    beside = [entry.stat().st_size for entry in os.scandir(model.parent) if entry.name.endswith(".bin")]
    return model.stat().st_size + sum(beside)
