"""What the loop counts of one drive: decisions, those that came late, the time from picture to wire."""

from collections import deque

import numpy as np

from vehicle.rate import Start

LATENCY_WINDOW_DECISIONS = 300  # ten seconds at 30 Hz


class DriveFigures:
    """Figures of one drive, from arming on; they stand until the next one begins."""

    def __init__(self) -> None:
        self._latencies_ns: deque[int] = deque(maxlen=LATENCY_WINDOW_DECISIONS)
        self.begin()

    def begin(self) -> None:
        """Count from nothing."""
        self.decisions = 0
        self.missed = 0
        self.frames_used_twice = 0
        self.reverses_refused = 0
        self.forget_latencies()

    def forget_latencies(self) -> None:
        """Let go of times that another policy took."""
        self._latencies_ns.clear()

    def count(self, start: Start, latency_ns: int | None) -> None:
        """Count a decision; it took so long from the picture's stamp to the wire, None without a picture."""
        self.decisions += 1
        self.missed += start.missed
        self.frames_used_twice += start.frame_used_twice
        if latency_ns is not None:
            self._latencies_ns.append(latency_ns)

    def latency_ms(self) -> tuple[float, float]:
        """Return median and 99th percentile of the last decisions; zeros before the first."""
        p50_ms, p99_ms = np.percentile(np.array(self._latencies_ns or [0]) / 1e6, [50, 99])
        return float(p50_ms), float(p99_ms)
