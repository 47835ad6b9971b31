"""The network that drives, from pixels only, and the critic, which may know the truth while training."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

OPSET = 17
CONVOLUTIONS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "small": ((16, 8, 4), (32, 4, 2), (32, 3, 1)),
    "keen": ((16, 8, 4), (32, 4, 2), (32, 3, 1)),
    "fine": ((16, 5, 2), (32, 3, 2), (48, 3, 2), (64, 3, 2)),
    "deepracer": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
}
"""Channels, kernel and stride of each convolution."""
VALUE = 30.0  # about what a state is worth; a critic that had to grow there misled the actor for long
LEAST_CONTRAST = 4.0  # grey levels: less is noise, which must not be blown up to a picture
HIDDEN = {"small": 256, "keen": 256, "fine": 256, "deepracer": 512}
AGAINST_SURROUNDINGS = {"keen": 2}
"""How many of the newest pictures a network gets a second time, each place against its surroundings."""
SURROUNDINGS_PX = 10


class Actor(nn.Module):
    """Grey levels 0 to 255, batch x stack x height x width, to one number per action."""

    def __init__(self, shape: tuple[int, int, int], action_count: int, network: str) -> None:
        super().__init__()
        channels, height, width = shape
        self.newest = AGAINST_SURROUNDINGS.get(network, 0)
        channels += self.newest
        layers: list[nn.Module] = []
        for filters, kernel, stride in CONVOLUTIONS[network]:
            layers += [_orthogonal(nn.Conv2d(channels, filters, kernel, stride), math.sqrt(2)), nn.ReLU()]
            channels = filters
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.hidden = _orthogonal(nn.Linear(channels * height * width, HIDDEN[network]), math.sqrt(2))
        self.head = _orthogonal(nn.Linear(HIDDEN[network], action_count), 0.01)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.features(image))

    def features(self, image: Tensor) -> Tensor:
        """Return what the last layer decides by."""
        values = seen(image.float(), self.newest).contiguous(memory_format=torch.channels_last)
        return torch.relu(self.hidden(self.convolutions(values).flatten(1)))


def seen(image: Tensor, newest: int) -> Tensor:
    """Return what the first layer gets: all pictures, then the newest ones against their surroundings."""
    pictures = standardised(image)
    if not newest:
        return pictures
    return torch.cat([pictures, against_surroundings(image[:, -newest:])], dim=1)


def standardised(image: Tensor) -> Tensor:
    """Return the pictures with one mean and one contrast each, whatever the light: 0.4 and 0.2.

    This takes the place of the usual division by 255, inside the exported file too.
    """
    centred = image - image.mean(dim=(1, 2, 3), keepdim=True)
    contrast = (centred * centred).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return 0.4 + 0.2 * centred / (contrast + LEAST_CONTRAST)


def against_surroundings(image: Tensor) -> Tensor:
    """Return how each place differs from its surroundings, by their own contrast: about -1 to 1.

    A dim line on a bright road is then as plain as a bright one: in one contrast for the whole picture, walls
    and floor leave little for it. Surroundings are blocks of `SURROUNDINGS_PX`, blended into one another. A
    lone bright pixel gets up to 2.9, and up to 12.8 in rows and columns that are left over beside the blocks.
    """
    size_px = list(image.shape[-2:])

    def blended(values: Tensor) -> Tensor:
        blocks = nn.functional.avg_pool2d(values, SURROUNDINGS_PX)
        return nn.functional.interpolate(blocks, size_px, mode="bilinear", align_corners=False)

    difference = image - blended(image)
    contrast = blended(difference * difference).sqrt()
    return 0.2 * difference / (contrast + LEAST_CONTRAST)


def _orthogonal(layer: Any, gain: float) -> Any:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class _Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def forward(self, values: Tensor) -> Tensor:
        return values * self._factor


class DrivingPolicy(ActorCriticPolicy):
    """Actor on `image`, critic on `state`: nothing of the state can reach the actions."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        network: str = "small",
        **kwargs: Any,
    ) -> None:
        self.network = network
        kwargs["features_extractor_class"] = FlattenExtractor  # unused, and free of parameters
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        shape = self.observation_space["image"].shape
        self.actor = Actor(shape, int(self.action_space.n), self.network)
        self.averaged = copy.deepcopy(self.actor).requires_grad_(False)
        size = self.observation_space["state"].shape[0]
        self.critic = nn.Sequential(
            nn.Linear(size, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 1), _Times(VALUE)
        )
        self.guess = _orthogonal(nn.Linear(HIDDEN[self.network], size), 0.1)
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self.optimizer = self.optimizer_class(learning, lr=lr_schedule(1), **self.optimizer_kwargs)

    def average(self, share: float) -> None:
        """Move the averaged actor by this share of its way to the actor."""
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.actor.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, share)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super()._get_constructor_parameters()
        return parameters | {"network": self.network}

    def learn_from(self, obs: dict[str, Tensor], actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return values, log probabilities, entropies, and how wrong the guess of the truth is."""
        features = self.actor.features(obs["image"])
        logits = self.actor.head(features)
        distribution = CategoricalDistribution(int(self.action_space.n)).proba_distribution(logits)
        wrong = torch.nn.functional.mse_loss(self.guess(features), obs["state"])
        values = self.predict_values(obs).flatten()
        return values, distribution.log_prob(actions), distribution.entropy(), wrong

    def get_distribution(self, obs: dict[str, Tensor]) -> Distribution:
        """Return what the actor would do."""
        return CategoricalDistribution(int(self.action_space.n)).proba_distribution(self.actor(obs["image"]))

    def predict_values(self, obs: dict[str, Tensor]) -> Tensor:
        """Return what the critic expects."""
        return self.critic(obs["state"])

    def forward(self, obs: dict[str, Tensor], deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values and log probabilities."""
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: dict[str, Tensor], actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values, log probabilities and entropy for actions taken earlier."""
        distribution = self.get_distribution(obs)
        return (
            self.predict_values(obs),
            distribution.log_prob(actions.long().flatten()),
            distribution.entropy(),
        )

    def _predict(self, observation: dict[str, Tensor], deterministic: bool = False) -> Tensor:
        return self.get_distribution(observation).get_actions(deterministic=deterministic)


class Exported(nn.Module):
    """The actor as it is shipped: float32 grey levels 0 to 255 in, probabilities out."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.convolutions, self.hidden, self.head = actor.convolutions, actor.hidden, actor.head
        self.newest = actor.newest

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities for float32 grey levels 0 to 255."""
        features = self.convolutions(seen(image, self.newest)).flatten(1)
        return torch.softmax(self.head(torch.relu(self.hidden(features))), dim=1)


def export_onnx(actor: Actor, shape: tuple[int, int, int], path: Path) -> float:
    """Write the actor as ONNX (NCHW, any batch); return how far its answers lie from the actor's."""
    shipped = Exported(copy.deepcopy(actor).cpu().to(memory_format=torch.contiguous_format)).eval()
    names = {"image": {0: "batch"}, "probabilities": {0: "batch"}}
    torch.onnx.export(
        shipped,
        (torch.zeros(1, *shape),),
        str(path),
        input_names=["image"],
        output_names=["probabilities"],
        dynamic_axes=names,
        opset_version=OPSET,
        dynamo=False,
    )
    pictures = np.random.default_rng(0).integers(0, 256, (32, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": pictures})
    with torch.no_grad():
        expected = torch.softmax(actor.cpu()(torch.from_numpy(pictures)), dim=1).numpy()
    return float(np.abs(answer - expected).max())
