"""Which policy of a training is the best: greedy driving from starts all over its tracks."""

import dataclasses
from typing import Any

import numpy as np
import torch

from models.training.env import DECISIONS_PER_S, Course
from models.training.fleet import Start

LONGEST = 4000  # decisions; far beyond the slowest lap


@dataclasses.dataclass(frozen=True)
class GreedyResult:
    """What a policy did when it always took its most likely action."""

    finished: float
    completion: float
    lap_s: float
    """Mean time per lap of those that finished; 0 if none did."""

    @property
    def rank(self) -> tuple[float, float, float]:
        """Larger is better: first finishing, in steps of 1 %, then time."""
        return (round(self.finished, 2), -self.lap_s if self.finished > 0.9 else 0.0, self.completion)


def drive_greedily(actor: Any, course: Course, starts: int, laps: float, seed: int) -> GreedyResult:
    """Start cars all over the tracks and let the actor drive until each has done its laps or has failed."""
    count = course.settings.fleet.count
    rng = np.random.default_rng(seed)
    lengths = course.fleet.tracks.lengths_m
    finished = 0
    completions: list[float] = []
    times: list[float] = []
    for begin in range(0, starts, count):
        for car in range(count):
            track = (begin + car) % len(lengths)
            course.start(car, Start(track, float(rng.uniform(0, lengths[track]))), rng)
        running = np.ones(count, dtype=bool)
        goal_m = laps * lengths[course.fleet.track]
        for decision in range(LONGEST):
            with torch.no_grad():
                chosen = actor(torch.from_numpy(course.images)).argmax(1).numpy()
            _, ended, _ = course.step(chosen)
            done = running & (course.fleet.progress_m >= goal_m)
            failed = running & ended & ~done
            times += [(decision + 1) / DECISIONS_PER_S / laps] * int(done.sum())
            finished += int(done.sum())
            shares = np.clip(course.fleet.progress_m / goal_m, 0.0, 1.0)
            completions += shares[done | failed].tolist()
            running &= ~(done | failed)
            if not running.any():
                break
        completions += np.clip(course.fleet.progress_m / goal_m, 0.0, 1.0)[running].tolist()
    total = len(completions)
    return GreedyResult(
        finished / total, float(np.mean(completions)), float(np.mean(times)) if times else 0.0
    )
