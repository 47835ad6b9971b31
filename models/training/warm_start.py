"""Begins a training with a shipped policy: more pictures and actions are let in without changing it much."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper

from models import metadata
from models.bundle import find_bundle
from models.metadata import Action
from models.training.network import Actor
from vehicle.errors import LapwingError

Weights: TypeAlias = npt.NDArray[np.float32]
FIRST = "convolutions.0.weight"


def begin_with(actor: Actor, policy: str | Path, actions: tuple[Action, ...]) -> None:
    """Give the actor the weights of a policy that a training has written.

    Pictures older than the policy's, and those against their surroundings, begin with weights of 0. An action
    that the policy does not have begins between its neighbours of the nearest speed. Raises LapwingError
    where the networks differ otherwise.
    """
    model, description, name = find_bundle(policy)
    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(model).graph.initializer}
    told = metadata.load(description)
    theirs: Any = told.action_space
    wanted = {key: tuple(value.shape) for key, value in actor.state_dict().items()}
    if FIRST not in stored or not all(isinstance(action, Action) for action in theirs):
        raise LapwingError(f"{name} was not made by lapwing train with discrete actions; start without it")
    pictures = told.input.frame_stack
    older = wanted[FIRST][1] - actor.newest - pictures
    if older < 0:
        raise LapwingError(
            f"{name} sees {pictures} pictures; give --frame-stack that or more to start from it"
        )
    newest = actor.newest - (stored[FIRST].shape[1] - pictures)
    if newest < 0:
        raise LapwingError(f"{name} has a network of another kind; start it with the --network that it has")
    grown = ((0, 0), (older, newest), (0, 0), (0, 0))
    stored[FIRST] = np.pad(stored[FIRST], grown)
    between = _between(theirs, actions)
    for key in ("head.weight", "head.bias"):
        stored[key] = between @ stored[key]
    if any(key not in stored or stored[key].shape != shape for key, shape in wanted.items()):
        raise LapwingError(f"{name} has another network or another size of pictures; start without it")
    actor.load_state_dict({key: torch.from_numpy(np.array(stored[key], np.float32)) for key in wanted})


def _between(theirs: tuple[Action, ...], ours: tuple[Action, ...]) -> Weights:
    """Return how much of each of their actions is in each of ours."""
    shares = np.zeros((len(ours), len(theirs)), dtype=np.float32)
    for row, action in enumerate(ours):
        speed = min((a.speed_mps for a in theirs), key=lambda s: abs(s - action.speed_mps))
        same = sorted((a.steering_deg, i) for i, a in enumerate(theirs) if a.speed_mps == speed)
        angles = [angle for angle, _ in same]
        for one, (_, column) in enumerate(same):
            peak = np.eye(len(same))[one]
            shares[row, column] = np.interp(action.steering_deg, angles, peak)
    return shares
