"""The reward graph of a training: reward and completion, in training and in evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import matplotlib

matplotlib.use("Agg")  # no screen is needed to write a file
import matplotlib.pyplot as plt


class GraphPoint(Protocol):
    """What one evaluation of a training tells."""

    steps: int
    reward: float
    completion: float
    eval_completion: float
    eval_finished: float
    best: bool


def draw_graph(history: Sequence[GraphPoint], path: Path, title: str) -> None:
    """Write the graph as a PNG."""
    steps = [point.steps / 1000 for point in history]
    figure, left = plt.subplots(figsize=(9, 4.5), dpi=110)
    right = left.twinx()
    left.plot(steps, [p.reward for p in history], color="#2e7d32", label="average reward (training)")
    right.plot(
        steps, [100 * p.completion for p in history], color="#1565c0", label="average completion (training)"
    )
    right.plot(
        steps,
        [100 * p.eval_completion for p in history],
        color="#c62828",
        marker="o",
        markersize=3,
        label="average completion (evaluation)",
    )
    kept = [index for index, point in enumerate(history) if point.best]
    if kept:
        best = kept[-1]
        right.axvline(steps[best], color="#555555", linestyle=":", linewidth=1)
        right.plot(
            [steps[best]],
            [100 * history[best].eval_completion],
            marker="*",
            markersize=14,
            color="#c62828",
            linestyle="none",
            label="best policy",
        )
    left.set_xlabel("decisions, thousands")
    left.set_ylabel("reward of an episode")
    right.set_ylabel("completion, %")
    right.set_ylim(0, 105)
    left.set_title(title)
    left.grid(alpha=0.3)
    lines = left.get_legend_handles_labels()
    others = right.get_legend_handles_labels()
    left.legend(lines[0] + others[0], lines[1] + others[1], loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
