"""Training: PPO (Stable-Baselines3) on many simulated cars, to a bundle that the car accepts.

A training is a folder: `checkpoint.zip` (network and optimizer, to resume), `history.json`, `settings.json`,
the best policy so far as a bundle (`model.onnx`, `model_metadata.json`) and `graph.png`.
"""

import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from models import metadata
from models.metadata import (
    ActionUnits,
    Color,
    InputFormat,
    Layout,
    PolicyMetadata,
    Sensor,
    TrainingAlgorithm,
    ValueRange,
)
from models.training.ahead import Ahead
from models.training.course import make_course
from models.training.env import FleetVecEnv
from models.training.freed_memory import keep_freed_memory
from models.training.graph import draw_graph
from models.training.learner import Learner
from models.training.network import DrivingPolicy, export_onnx
from models.training.selection import GreedyResult, drive_greedily
from models.training.settings import SELECTION_SEED, Point, TrainSettings
from models.training.warm_start import begin_with
from vehicle.errors import LapwingError

CHECKPOINT = "checkpoint.zip"
HISTORY = "history.json"
SETTINGS = "settings.json"
RECENT_EPISODES = 200
AVERAGING_STEPS = 100_000  # over about how many decisions the weights that drive and ship are averaged
LEAST_RATE = 0.02  # of the learning rate, at the end
VALUE_SHARE = 0.02  # of the critic in the loss: both share one gradient limit, and its errors are large


class Progress(BaseCallback):
    """Watches a training: evaluates, keeps the best, saves, tells."""

    def __init__(
        self,
        settings: TrainSettings,
        folder: Path,
        history: list[Point],
        tell: Callable[[Point], None],
        step: Callable[[int], None],
    ) -> None:
        super().__init__()
        self._settings, self._folder, self.history = settings, folder, history
        self._tell, self._step = tell, step
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT_EPISODES)
        self._episodes = history[-1].episodes if history else 0
        self._started_s = time.monotonic() - (history[-1].wall_s if history else 0.0)
        self._next = (history[-1].steps if history else 0) + settings.evaluate_every
        self._course = make_course(settings, cars=min(64, settings.evaluate_starts), seed=SELECTION_SEED)
        ranks = [GreedyResult(p.eval_finished, p.eval_completion, p.eval_lap_s).rank for p in history]
        self._best_rank = max(ranks, default=(-1.0, 0.0, 0.0))

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self._recent.append((info["episode"]["r"], info["completion"]))
                self._episodes += 1
        self._step(self.num_timesteps)
        return not self.model.is_late

    def _on_rollout_start(self) -> None:
        self.average()
        left = self.model._current_progress_remaining
        self.model.ent_coef = self._settings.entropy * max(0.1, 0.1 + 0.9 * left)
        if self.num_timesteps >= self._next:
            self._next += self._settings.evaluate_every
            self.evaluate()

    def average(self) -> None:
        """Let the averaged weights follow those of the last update; at first they are the same."""
        passed = self._settings.cars * self._settings.horizon
        share = passed / AVERAGING_STEPS if self.num_timesteps > AVERAGING_STEPS else 1.0
        self.model.policy.average(min(1.0, share))

    def evaluate(self) -> None:
        """Drive greedily, keep the policy if it is the best so far, save everything."""
        settings = self._settings
        result = drive_greedily(
            self.model.policy.averaged,
            self._course,
            settings.evaluate_starts,
            settings.evaluate_laps,
            SELECTION_SEED,
        )
        best = result.rank > self._best_rank
        rewards, completions = zip(*self._recent, strict=True) if self._recent else ((0.0,), (0.0,))
        self.history.append(
            Point(
                steps=self.num_timesteps,
                wall_s=time.monotonic() - self._started_s,
                reward=float(np.mean(rewards)),
                completion=float(np.mean(completions)),
                episodes=self._episodes,
                eval_finished=result.finished,
                eval_completion=result.completion,
                eval_lap_s=result.lap_s,
                best=best,
            )
        )
        if best:
            self._best_rank = result.rank
            write_bundle(self.model.policy.averaged, settings, self._folder)
        self.model.save(self._folder / CHECKPOINT)
        lines = [dataclasses.asdict(point) for point in self.history]
        (self._folder / HISTORY).write_text(json.dumps(lines, indent=1) + "\n")
        draw_graph(self.history, self._folder / "graph.png", self._folder.name)
        self._tell(self.history[-1])


def _here(settings: TrainSettings) -> TrainSettings:
    """Return what is driven in this process: where another one drives, as little as has the same shapes."""
    if not settings.ahead:
        return settings
    return dataclasses.replace(settings, tracks=settings.tracks[:1], rooms=1)


def policy_metadata(settings: TrainSettings) -> PolicyMetadata:
    """Return what describes the policy of this training."""
    return PolicyMetadata(
        action_space=settings.actions,
        training_algorithm=TrainingAlgorithm.CLIPPED_PPO,
        sensors=(Sensor.FRONT_FACING_CAMERA,),
        neural_network=f"LAPWING_{settings.network.upper()}",
        version=5.0,
        action_units=ActionUnits.PHYSICAL,
        control_rate_hz=15.0,
        input=InputFormat(
            layout=Layout.NCHW, range=ValueRange.BYTE, color=Color.GRAY, frame_stack=settings.frame_stack
        ),
    )


def write_bundle(actor: Any, settings: TrainSettings, folder: Path) -> float:
    """Write network and metadata; return how far the written network is from the trained one."""
    shape = (settings.frame_stack, settings.height_px, settings.width_px)
    difference = export_onnx(actor, shape, folder / "model.onnx")
    (folder / "model_metadata.json").write_bytes(metadata.encode(policy_metadata(settings)))
    return difference


def train(
    settings: TrainSettings,
    folder: Path,
    *,
    resume: bool = False,
    tell: Callable[[Point], None],
    step: Callable[[int], None] = lambda _steps: None,
) -> list[Point]:
    """Train, leaving the best policy as a bundle in `folder`; return the history.

    `resume` goes on from the folder's checkpoint. `tell` gets evaluations, `step` the decisions so far.
    """
    cv2.setNumThreads(1)
    keep_freed_memory()
    torch.set_num_threads(1)  # the pictures are rendered by one thread too; a second one would wait for it
    env = FleetVecEnv(make_course(_here(settings), cars=settings.cars, seed=settings.seed))
    folder.mkdir(parents=True, exist_ok=True)
    history: list[Point] = []
    if resume:
        if not (folder / CHECKPOINT).is_file():
            raise LapwingError(f"{folder} has no {CHECKPOINT}; start without --resume")
        history = [Point(**line) for line in json.loads((folder / HISTORY).read_text())]
        model = Learner.load(folder / CHECKPOINT, env=env, device="cpu")
    else:
        model = Learner(
            DrivingPolicy,
            env,
            learning_rate=lambda left: settings.learning_rate * max(LEAST_RATE, left),
            n_steps=settings.horizon,
            batch_size=settings.batch,
            n_epochs=settings.epochs,
            gamma=settings.gamma,
            gae_lambda=0.95,
            clip_range=0.2,
            ent_coef=settings.entropy,
            vf_coef=VALUE_SHARE,
            max_grad_norm=0.5,
            target_kl=0.03,
            policy_kwargs={"network": settings.network},
            seed=settings.seed,
            device="cpu",
        )
        if settings.start_from:
            if (Path(settings.start_from) / CHECKPOINT).is_file():
                earlier = Learner.load(Path(settings.start_from) / CHECKPOINT, device="cpu")
                model.policy.load_state_dict(earlier.policy.state_dict())
            else:
                begin_with(model.policy.actor, settings.start_from, settings.actions)
        (folder / SETTINGS).write_text(json.dumps(dataclasses.asdict(settings), indent=1) + "\n")
    left = max(0, settings.steps - model.num_timesteps)
    model.guess_share, model.critic_first = settings.guess_share, settings.critic_first
    model.minutes, model.began_s = settings.minutes, time.monotonic()
    model.driving = Ahead(settings) if settings.ahead else None
    try:
        progress = Progress(settings, folder, history, tell, step)
        model.learn(left, callback=progress, reset_num_timesteps=not resume)
    finally:
        if model.driving is not None:
            model.driving.close()
    progress.average()
    progress.evaluate()
    return progress.history
