"""Cars that drive in a process of their own while the learner learns from what they did before.

They drive with the weights that the learner had when it began: one update older than a learner's that waits
for its cars. PPO's ratio accounts for it.
"""

import contextlib
import dataclasses
import os
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.distributions import CategoricalDistribution
from torch import multiprocessing

from models.training.course import make_course
from models.training.env import STATE_SIZE, Course, FleetVecEnv
from models.training.freed_memory import keep_freed_memory
from models.training.network import Actor
from models.training.settings import TrainSettings
from vehicle.errors import LapwingError

Floats: TypeAlias = npt.NDArray[np.float32]

CLOSING_S = 5.0


@dataclasses.dataclass
class Driven:
    """What all cars did between two updates: decision x car."""

    images: npt.NDArray[np.uint8]
    states: Floats
    actions: npt.NDArray[np.int64]
    log_probs: Floats
    rewards: Floats
    starts: Floats
    """1 where an episode began with this decision."""
    infos: list[list[dict[str, Any]]]
    cut_short: list[tuple[int, int, Floats]]
    """Decision, car and last state of each episode that ran out of time."""
    last_state: Floats
    """Of each car, after the last decision."""
    over: npt.NDArray[np.bool_]
    """Whose episode ended with the last decision."""


class Ahead:
    """The other process, seen from the learner."""

    def __init__(self, settings: TrainSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        shape = (settings.horizon, settings.cars, settings.frame_stack, settings.height_px, settings.width_px)
        self._images = torch.zeros(shape, dtype=torch.uint8).share_memory_()
        self._process = context.Process(target=_drive, args=(settings, theirs, self._images), daemon=True)
        self._process.start()
        theirs.close()
        self.is_driving = False

    def go(self, actor: Actor) -> None:
        """Let the cars drive until the next update with these weights; ends what `take` has lent."""
        with contextlib.suppress(BrokenPipeError):  # `take` says so
            self._pipe.send({name: value.detach().numpy() for name, value in actor.state_dict().items()})
        self.is_driving = True

    def take(self) -> Driven:
        """Wait for what the cars did; its images are lent until the next `go`."""
        try:
            driven: Driven = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(CLOSING_S)
            raise LapwingError(
                f"the process that drives the cars died ({self._process.exitcode}); go on with --resume"
            ) from None
        self.is_driving = False
        driven.images = self._images.numpy()
        return driven

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(CLOSING_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _drive(settings: TrainSettings, pipe: Connection, images: torch.Tensor) -> None:
    os.setsid()  # a terminal's Ctrl-C is the learner's: it saves, then closes the pipe
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    course = make_course(settings, cars=settings.cars, seed=settings.seed)
    cars = _Cars(course, settings, images.numpy())
    try:
        while True:
            weights = {name: torch.from_numpy(value) for name, value in pipe.recv().items()}
            pipe.send(cars.drive(weights))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):  # the learner has what it wanted, or is gone
        return


class _Cars:
    def __init__(self, course: Course, settings: TrainSettings, images: npt.NDArray[np.uint8]) -> None:
        self._env, self._settings, self._images = FleetVecEnv(course), settings, images
        shape = (settings.frame_stack, settings.height_px, settings.width_px)
        self._actor = Actor(shape, len(settings.actions), settings.network)
        self._distribution = CategoricalDistribution(len(settings.actions))
        self._seen = self._env.reset()
        self._over = np.ones(settings.cars, dtype=bool)

    def drive(self, weights: dict[str, torch.Tensor]) -> Driven:
        self._actor.load_state_dict(weights)
        if self._settings.redraw:
            self._env.course.fleet.redraw()
        horizon, count = self._settings.horizon, self._settings.cars
        zeros = np.zeros((horizon, count), dtype=np.float32)
        states = np.zeros((horizon, count, STATE_SIZE), dtype=np.float32)
        driven = Driven(
            images=np.zeros(0, dtype=np.uint8),  # they lie in memory that both processes share
            states=states,
            actions=np.zeros((horizon, count), dtype=np.int64),
            log_probs=zeros.copy(),
            rewards=zeros.copy(),
            starts=zeros.copy(),
            infos=[],
            cut_short=[],
            last_state=states[0],
            over=self._over,
        )
        for moment in range(horizon):
            self._images[moment], states[moment] = self._seen["image"], self._seen["state"]
            driven.starts[moment] = self._over
            with torch.no_grad():
                distribution = self._distribution.proba_distribution(
                    self._actor(torch.from_numpy(self._seen["image"]))
                )
                actions = distribution.sample()
                driven.log_probs[moment] = distribution.log_prob(actions).numpy()
            driven.actions[moment] = actions.numpy()
            self._seen, driven.rewards[moment], self._over, infos = self._env.step(driven.actions[moment])
            for car in np.flatnonzero(self._over):
                last = infos[car].pop("terminal_observation")["state"]
                if infos[car]["TimeLimit.truncated"]:
                    driven.cut_short.append((moment, int(car), last))
            driven.infos.append(infos)
        driven.last_state, driven.over = self._seen["state"], self._over
        return driven
