"""Writes frozen TensorFlow graphs without TensorFlow: any nodes, and the field's networks at full size."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.graph_def import DataType, GraphDef, NodeDef

TYPES = {"float32": DataType.FLOAT, "int32": DataType.INT32, "int64": DataType.INT64}
CHUNK = 1 << 20  # numbers of a large constant made at a time
ACTIONS = 5
PREFIX = "main_level/agent/main/online/network_1"

Floats = npt.NDArray[np.float32]


class Large(NamedTuple):
    """A matrix too large to hold: made from its seed, the same each time."""

    shape: tuple[int, int]
    seed: int

    def chunks(self) -> Iterator[Floats]:
        rng = np.random.default_rng(self.seed)
        left = self.shape[0] * self.shape[1]
        while left:
            count = min(CHUNK, left)
            yield rng.standard_normal(count, np.float32) * np.float32(1.5 / np.sqrt(self.shape[0]))
            left -= count

    def array(self) -> Floats:
        return np.concatenate(list(self.chunks())).reshape(self.shape)


class GraphFile:
    """Collects nodes; the large constants stay seeds until the file is written."""

    def __init__(self) -> None:
        self._parts: list[tuple[Any, Large | None]] = []

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node: bool, int, bytes, list of int and DataType become attributes of that sort."""
        node = NodeDef(name=name, op=op, input=list(inputs))
        for key, value in attributes.items():
            set_attribute(node, key, value)
        self._parts.append((node, None))
        return name

    def const(self, name: str, array: npt.ArrayLike, dtype: str = "float32") -> str:
        values = np.asarray(array, dtype)
        node = NodeDef(name=name, op="Const")
        node.attr["dtype"].type = TYPES[dtype]
        tensor = node.attr["value"].tensor
        tensor.dtype = TYPES[dtype]
        tensor.tensor_content = values.tobytes()
        for size in values.shape:
            tensor.tensor_shape.dim.add(size=size)
        self._parts.append((node, None))
        return name

    def large(self, name: str, matrix: Large) -> str:
        node = NodeDef(name=name, op="Const")
        node.attr["dtype"].type = DataType.FLOAT
        node.attr["value"].tensor.dtype = DataType.FLOAT
        for size in matrix.shape:
            node.attr["value"].tensor.tensor_shape.dim.add(size=size)
        self._parts.append((node, matrix))
        return name

    def placeholder(self, name: str, shape: Sequence[int]) -> str:
        node = NodeDef(name=name, op="Placeholder")
        node.attr["dtype"].type = DataType.FLOAT
        for size in shape:
            node.attr["shape"].shape.dim.add(size=size)
        self._parts.append((node, None))
        return name

    def node(self, name: str) -> Any:
        """Return a node's message, to spoil it."""
        return next(node for node, _ in self._parts if node.name == name)

    def remove(self, name: str) -> None:
        self._parts = [part for part in self._parts if part[0].name != name]

    def bytes(self) -> bytes:
        return bytes(GraphDef(node=[node for node, _ in self._parts]).SerializeToString())

    def write(self, path: Path) -> Path:
        with path.open("wb") as file:
            for node, matrix in self._parts:
                if matrix is None:
                    file.write(_field(1, node.SerializeToString()))
                else:
                    file.write(_large_node_start(node, 4 * matrix.shape[0] * matrix.shape[1]))
                    for chunk in matrix.chunks():
                        file.write(chunk.tobytes())
        return path


def set_attribute(node: Any, key: str, value: Any) -> None:
    attribute = node.attr[key]
    if isinstance(value, DataType):
        attribute.type = value
    elif isinstance(value, bool):
        attribute.b = value
    elif isinstance(value, int):
        attribute.i = value
    elif isinstance(value, bytes):
        attribute.s = value
    elif isinstance(value, list):
        attribute.list.i.extend(value)
        attribute.list.SetInParent()
    else:
        raise TypeError(key)


def _large_node_start(node: Any, length: int) -> bytes:
    """Return a node up to the first byte of its tensor_content, by the wire format's rules."""
    tensor = node.attr["value"].tensor
    bare = NodeDef()
    bare.CopyFrom(node)
    del bare.attr["value"]
    content_start = _varint(4 << 3 | 2) + _varint(length)
    tensor_bytes = tensor.SerializeToString() + content_start
    tensor_start = _varint(8 << 3 | 2) + _varint(len(tensor_bytes) + length) + tensor_bytes
    value_start = _varint(2 << 3 | 2) + _varint(len(tensor_start) + length) + tensor_start
    entry = _field(1, b"value") + value_start
    entry_start = _varint(5 << 3 | 2) + _varint(len(entry) + length) + entry
    whole = bare.SerializeToString() + entry_start
    return _varint(1 << 3 | 2) + _varint(len(whole) + length) + whole


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


class Network(NamedTuple):
    """A network of the field with one camera: what the trainer builds, at its size."""

    sensor: str
    convolutions: tuple[tuple[int, int, int], ...]
    """Filters, kernel, stride."""
    units: tuple[int, ...]
    """Per pixel, after the convolutions."""
    middleware: tuple[int, ...]


FRONT, STEREO = "FRONT_FACING_CAMERA", "STEREO_CAMERAS"
_STEREO_LAYERS = ((32, 3, 1), (64, 3, 2), (64, 3, 1), (128, 3, 2), (128, 3, 1))
NETWORKS = {
    "SHALLOW": Network(FRONT, ((32, 8, 4), (64, 4, 2), (64, 3, 1)), (), (512,)),
    "DEEP": Network(FRONT, ((32, 8, 4), (32, 4, 2), (64, 4, 2), (64, 3, 1)), (512, 512), (256, 128)),
    "plain": Network(FRONT, ((32, 5, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1)), (64,), (512,)),
    "DEEP stereo": Network(STEREO, _STEREO_LAYERS, (), (256, 128)),
    "plain stereo": Network(STEREO, _STEREO_LAYERS, (), (512,)),
}


def field_graph(network: Network, height: int = 120, width: int = 160) -> tuple[GraphFile, dict[str, Any]]:
    """Return a PPO graph with random weights, and the weights by layer (Large ones as seeds)."""
    file, weights = GraphFile(), {}
    rng = np.random.default_rng(7)
    sensor = network.sensor
    channels = 2 if sensor == STEREO else 1
    name = f"main_level/agent/main/online/network_0/{sensor}/{sensor}"
    x = file.placeholder(name, (-1, height, width, channels))
    x = file.add("RealDiv", f"{PREFIX}/{sensor}/truediv", x, file.const(f"{PREFIX}/scale", 255.0))
    for index, (filters, kernel, stride) in enumerate(network.convolutions):
        layer = f"{PREFIX}/{sensor}/Conv2d_{2 * index}"
        shape = (kernel, kernel, channels, filters)
        spread = np.float32(1.5 / np.sqrt(kernel * kernel * channels))
        array = rng.standard_normal(shape, np.float32) * spread
        bias = rng.standard_normal(filters, np.float32) * np.float32(0.3)
        weights[layer] = (array, bias)
        kernel_name = file.add("Identity", f"{layer}/kernel/read", file.const(f"{layer}/kernel", array))
        strides = [1, stride, stride, 1]
        x = file.add("Conv2D", f"{layer}/Conv2D", x, kernel_name, strides=strides, padding=b"VALID")
        x = file.add("BiasAdd", f"{layer}/BiasAdd", x, file.const(f"{layer}/bias", bias))
        x = file.add("Relu", f"{layer}/Relu", x)
        channels = filters
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    for index, units in enumerate(network.units):
        layer = f"{PREFIX}/{sensor}/Dense_{index}"
        flat = file.add("Reshape", f"{layer}/in", x, file.const(f"{layer}/s", [-1, channels], "int32"))
        x = _dense(file, weights, layer, flat, shape=(channels, units), seed=index)
        back = file.const(f"{layer}/t", [-1, height, width, units], "int32")
        x = file.add("Relu", f"{layer}/Relu", file.add("Reshape", f"{layer}/out", x, back))
        channels = units
    size = height * width * channels
    x = file.add("Reshape", f"{PREFIX}/flatten", x, file.const(f"{PREFIX}/flat", [-1, size], "int32"))
    for index, units in enumerate(network.middleware):
        layer = f"{PREFIX}/middleware_fc_embedder/Dense_{index}"
        x = file.add(
            "Relu", f"{layer}/Relu", _dense(file, weights, layer, x, shape=(size, units), seed=100 + index)
        )
        size = units
    x = _dense(file, weights, f"{PREFIX}/ppo_head_0/policy_fc", x, shape=(size, ACTIONS), seed=200)
    file.add("Softmax", f"{PREFIX}/ppo_head_0/policy", x)
    return file, weights


def _dense(
    file: GraphFile, weights: dict[str, Any], layer: str, x: str, *, shape: tuple[int, int], seed: int
) -> str:
    matrix = Large(shape, seed)
    bias = np.random.default_rng(seed + 1000).standard_normal(shape[1], np.float32) * np.float32(0.3)
    weights[layer] = (matrix, bias)
    x = file.add("MatMul", f"{layer}/MatMul", x, file.large(f"{layer}/kernel", matrix))
    return file.add("BiasAdd", f"{layer}/BiasAdd", x, file.const(f"{layer}/bias", bias))


def reference_answer(network: Network, weights: dict[str, Any], picture: Floats) -> Floats:
    """Compute in numpy, from the layers' definition, what the network answers to one picture (h x w x c)."""
    x = picture.astype(np.float64) / 255
    sensor = network.sensor
    for index, (_, kernel, stride) in enumerate(network.convolutions):
        array, bias = weights[f"{PREFIX}/{sensor}/Conv2d_{2 * index}"]
        windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (0, 1))[::stride, ::stride]
        x = np.maximum(np.tensordot(windows, array, ((3, 4, 2), (0, 1, 2))) + bias, 0)
    for index in range(len(network.units)):
        matrix, bias = weights[f"{PREFIX}/{sensor}/Dense_{index}"]
        x = np.maximum(x @ matrix.array() + bias, 0)
    row = x.reshape(-1)
    for index in range(len(network.middleware)):
        matrix, bias = weights[f"{PREFIX}/middleware_fc_embedder/Dense_{index}"]
        row = np.maximum(row @ matrix.array() + bias, 0)
    matrix, bias = weights[f"{PREFIX}/ppo_head_0/policy_fc"]
    scores = row @ matrix.array() + bias
    powers = np.exp(scores - scores.max())
    return (powers / powers.sum()).astype(np.float32)
