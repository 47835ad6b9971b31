"""The network that looks twice, on pictures that hold next to nothing. Needs the `train` extra."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch

from models import metadata
from models.bundle import find_bundle
from models.runtime import PolicyRuntime
from models.training.network import Actor, against_surroundings, export_onnx, seen
from models.training.warm_start import begin_with

pytestmark = [
    pytest.mark.train,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

SIZE_PX = (60, 80)
STACK = 6  # as curlew's
EXPORT_TOLERANCE = 1e-4  # as of any exported network, in shares of 1
LONE_PIXEL_MOST = 2.9  # as `against_surroundings` says
MOST = 12.8


def with_one_pixel(y: int, x: int) -> torch.Tensor:
    picture = torch.zeros(SIZE_PX)
    picture[y, x] = 255.0
    return picture


PICTURES = {
    "black": torch.zeros(SIZE_PX),
    "white": torch.full(SIZE_PX, 255.0),
    "grey": torch.full(SIZE_PX, 128.0),
    "one bright pixel": with_one_pixel(30, 40),
    "one bright pixel in a corner": with_one_pixel(0, 0),
    "noise of one level": 127.0 + torch.from_numpy(np.random.default_rng(1).integers(0, 2, SIZE_PX)).float(),
    "bright noise of one level": 254.0
    + torch.from_numpy(np.random.default_rng(2).integers(0, 2, SIZE_PX)).float(),
}


def stacked(name: str) -> torch.Tensor:
    """Return what a network sees that has seen nothing else for long."""
    return PICTURES[name].expand(1, STACK, *SIZE_PX).contiguous()


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_seen_of_a_picture_with_next_to_nothing_in_it_is_finite_bounded_and_the_same_again(
    name: str,
) -> None:
    image = stacked(name)
    planes, again = seen(image, 2), seen(image.clone(), 2)

    assert planes.shape == (1, STACK + 2, *SIZE_PX)
    assert torch.isfinite(planes).all()
    assert torch.equal(planes, again)
    assert planes[:, STACK:].abs().max() <= LONE_PIXEL_MOST


@pytest.mark.parametrize("name", ["black", "white", "grey"])
def test_in_an_even_picture_nothing_differs_from_its_surroundings(name: str) -> None:
    assert against_surroundings(stacked(name)).abs().max() == 0.0


@pytest.mark.parametrize("name", ["noise of one level", "bright noise of one level"])
def test_noise_of_one_level_is_not_blown_up_to_a_picture(name: str) -> None:
    assert 0.0 < against_surroundings(stacked(name)).abs().max() < 0.05  # a dim line has more than 0.25


def test_one_bright_pixel_has_the_value_that_is_documented_wherever_it_is() -> None:
    pixels = torch.stack([with_one_pixel(y, x) for y in range(SIZE_PX[0]) for x in range(SIZE_PX[1])])
    values = torch.cat([against_surroundings(part).abs() for part in pixels[:, None].split(400)])

    assert LONE_PIXEL_MOST - 0.1 < values.max() <= LONE_PIXEL_MOST
    assert (values.amax(dim=(1, 2, 3)) > 0.25).all()  # and is never lost

    beyond_blocks = torch.zeros(1, 1, SIZE_PX[0] + 5, SIZE_PX[1])
    beyond_blocks[..., -1, 40] = 255.0
    assert MOST - 0.1 < against_surroundings(beyond_blocks).abs().max() <= MOST


@pytest.fixture(scope="module")
def curlew() -> Actor:
    """Return the trainer's network with the weights of the policy that ships."""
    description = metadata.load(find_bundle("curlew")[1])
    assert isinstance(description.action_space, tuple)
    assert description.input.frame_stack == STACK
    actor = Actor((STACK, *SIZE_PX), len(description.action_space), "keen")
    begin_with(actor, "curlew", description.action_space)
    return actor


@pytest.fixture(scope="module")
def exported_again(curlew: Actor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(curlew, (STACK, *SIZE_PX), path)
    return path


@pytest.mark.parametrize("name", PICTURES)
def test_the_policy_that_ships_answers_there_as_the_network_that_was_trained(
    name: str, curlew: Actor, exported_again: Path
) -> None:
    image = stacked(name)
    with torch.no_grad():
        expected = torch.softmax(curlew(image), dim=1).numpy()

    assert np.isfinite(expected).all()
    for model in (find_bundle("curlew")[0], exported_again):
        answer = PolicyRuntime(model).infer({"image": image.numpy()})
        assert np.abs(answer - expected).max() < EXPORT_TOLERANCE
