"""DeepRacer networks as frozen TensorFlow graphs, full size: random weights for benchmarks, or given ones.

Written as TensorFlow 1 spells them, node by node, so that a graph of 230 MB needs the memory of its largest
layer. Needs no TensorFlow.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from models.graph_def import DataType, GraphDef, NodeDef

ROOT = "main_level/agent/main/online"
HEIGHT_PX, WIDTH_PX = 120, 160
GREY_LEVEL_MAX = 255.0

WeightsOf: TypeAlias = Callable[[str, tuple[int, ...]], npt.NDArray[np.float32]]
"""Gives a layer's weights by their name (`Dense_0/kernel`) and TensorFlow's shape of them."""


class FrozenNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """One network of the field."""

    sensor: str
    channels: int
    convolutions: tuple[tuple[int, int, int], ...]
    """Kernel, filters, stride; without padding."""
    dense_units: int
    actions: int = 10


SHALLOW = FrozenNetwork(
    sensor="FRONT_FACING_CAMERA",
    channels=1,
    convolutions=((8, 32, 4), (4, 64, 2), (3, 64, 1)),
    dense_units=512,
)
"""What nearly everybody trains: 23 MB."""
STEREO = FrozenNetwork(
    sensor="STEREO_CAMERAS",
    channels=2,
    convolutions=((3, 32, 1), (3, 64, 2), (3, 64, 1), (3, 128, 2), (3, 128, 1)),
    dense_units=512,
)
"""DEEP_CONVOLUTIONAL_NETWORK with two eyes: the largest, 230 MB."""


def write_frozen_graph(
    path: Path, network: FrozenNetwork = SHALLOW, seed: int = 0, weights: WeightsOf | None = None
) -> None:
    """Write `model.pb`; the same bytes for the same network and weights, which `seed` draws if left out."""
    with path.open("wb") as file:
        for node in _nodes(network, weights or _random_weights(np.random.default_rng(seed))):
            file.write(GraphDef(node=[node]).SerializeToString())  # messages in a row read as one


def _nodes(network: FrozenNetwork, weights: WeightsOf) -> Iterator[Any]:
    picture = f"{ROOT}/network_0/{network.sensor}/{network.sensor}"
    yield _placeholder(picture, (-1, HEIGHT_PX, WIDTH_PX, network.channels))
    embedder = f"{ROOT}/network_1/{network.sensor}"
    yield _constant(f"{embedder}/truediv/y", np.float32(GREY_LEVEL_MAX))
    yield _step(f"{embedder}/truediv", "RealDiv", picture, f"{embedder}/truediv/y")
    yield _constant(f"{embedder}/sub/y", np.float32(0))
    yield _step(f"{embedder}/sub", "Sub", f"{embedder}/truediv", f"{embedder}/sub/y")
    tensor, rows, columns, channels = f"{embedder}/sub", HEIGHT_PX, WIDTH_PX, network.channels
    for index, (kernel, filters, stride) in enumerate(network.convolutions):
        name = f"{embedder}/Conv2d_{2 * index}"
        yield _weights(f"{name}/kernel", (kernel, kernel, channels, filters), weights)
        yield _step(f"{name}/kernel/read", "Identity", f"{name}/kernel")
        yield _convolution(f"{name}/Conv2D", tensor, f"{name}/kernel/read", stride)
        yield from _biased(name, f"{name}/Conv2D", filters, weights)
        yield _step(f"{name}/Relu", "Relu", f"{name}/BiasAdd")
        tensor, channels = f"{name}/Relu", filters
        rows, columns = (rows - kernel) // stride + 1, (columns - kernel) // stride + 1
    flat = rows * columns * channels
    yield _constant(f"{embedder}/flatten/shape", np.array([-1, flat], np.int32))
    reshape = _step(f"{embedder}/flatten/Reshape", "Reshape", tensor, f"{embedder}/flatten/shape")
    reshape.attr["Tshape"].type = DataType.INT32
    yield reshape
    dense = f"{ROOT}/network_1/middleware_fc_embedder/Dense_0"
    yield from _matrix(dense, f"{embedder}/flatten/Reshape", (flat, network.dense_units), weights)
    yield _step(f"{dense}/Relu", "Relu", f"{dense}/BiasAdd")
    head = f"{ROOT}/network_1/ppo_head_0"
    shape = (network.dense_units, network.actions)
    yield from _matrix(f"{head}/policy_fc", f"{dense}/Relu", shape, weights)
    yield _step(f"{head}/policy", "Softmax", f"{head}/policy_fc/BiasAdd")


def _biased(name: str, tensor: str, count: int, weights: WeightsOf) -> Iterator[Any]:
    yield _weights(f"{name}/bias", (count,), weights)
    yield _step(f"{name}/BiasAdd", "BiasAdd", tensor, f"{name}/bias")


def _matrix(name: str, tensor: str, shape: tuple[int, int], weights: WeightsOf) -> Iterator[Any]:
    yield _weights(f"{name}/kernel", shape, weights)
    product = _step(f"{name}/MatMul", "MatMul", tensor, f"{name}/kernel")
    product.attr["transpose_a"].b = False
    product.attr["transpose_b"].b = False
    yield product
    yield from _biased(name, f"{name}/MatMul", shape[1], weights)


def _weights(name: str, shape: tuple[int, ...], weights: WeightsOf) -> Any:
    values = weights("/".join(name.split("/")[-2:]), shape)
    assert values.shape == shape, f"{name} is {values.shape} and must be {shape}"
    return _constant(name, values)


def _convolution(name: str, tensor: str, kernel: str, stride: int) -> Any:
    node = _step(name, "Conv2D", tensor, kernel)
    node.attr["strides"].list.i.extend([1, stride, stride, 1])
    node.attr["dilations"].list.i.extend([1, 1, 1, 1])
    node.attr["padding"].s = b"VALID"
    node.attr["data_format"].s = b"NHWC"
    return node


def _step(name: str, operator: str, *inputs: str) -> Any:
    node = NodeDef(name=name, op=operator, input=inputs)
    node.attr["T"].type = DataType.FLOAT
    return node


def _placeholder(name: str, sizes: tuple[int, ...]) -> Any:
    node = NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = DataType.FLOAT
    for size in sizes:
        node.attr["shape"].shape.dim.add(size=size)
    return node


def _constant(name: str, value: npt.NDArray[Any] | np.generic) -> Any:
    node = NodeDef(name=name, op="Const")
    kind = DataType.INT32 if value.dtype == np.int32 else DataType.FLOAT
    node.attr["dtype"].type = kind
    tensor = node.attr["value"].tensor
    tensor.dtype = kind
    for size in value.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = value.tobytes()
    return node


def _random_weights(rng: np.random.Generator) -> WeightsOf:
    """Return weights of a size that keeps the signal's strength through a layer with ReLU; no biases."""

    def weights(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        if name.endswith("/bias"):
            return np.zeros(shape, np.float32)
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2.0 / np.prod(shape[:-1])))

    return weights
