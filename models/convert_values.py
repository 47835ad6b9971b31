"""What flows along the edges while a graph is converted: numbers known now, weights in the file, signals."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.convert_graph import Node, data_type
from models.convert_reading import Span
from models.errors import PolicyError
from models.graph_def import DataType, type_name

KNOWN_LIMIT = 1 << 20  # elements of an array computed while converting; the field's have 4
SIGNAL_LIMIT = 1 << 24  # elements of an activation; the field's have 600 000
RANK_LIMIT = 8

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

_NUMPY_TYPES: dict[int, type[np.generic]] = {
    DataType.FLOAT: np.float32,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
    DataType.BOOL: np.bool_,
}
_VALUE_FIELDS = {
    DataType.FLOAT: "float_val",
    DataType.INT32: "int_val",
    DataType.INT64: "int64_val",
    DataType.BOOL: "bool_val",
}


@dataclass(frozen=True)
class Known:
    """An array whose numbers are known: a small constant, a shape, or what follows from those."""

    array: Array


@dataclass(frozen=True)
class Weights:
    """A large float32 constant, left in its file, rows first."""

    name: str
    """Of its node."""
    shape: Shape
    span: Span


@dataclass(frozen=True)
class Signal:
    """What the network computes, float32, for a batch of one.

    A change of shape alone is not computed: `shape` is what TensorFlow sees, `stored` what the ONNX value
    has, the same numbers in the same order. With `planes` the ONNX value is N x C x H x W instead, and
    `shape` still N x H x W x C.
    """

    value: str
    """Name in the ONNX network."""
    shape: Shape
    stored: Shape
    planes: bool = False
    layer: int | None = None
    """Index of the convolution or dense layer that makes it, while that may still be given a bias."""
    stopped: bool = False
    """Came through StopGradient just now."""

    def reshaped(self, shape: Shape) -> "Signal":
        """Return the same numbers in another shape; not for planes."""
        keeps_layer = shape[-1:] == self.shape[-1:]
        return replace(self, shape=shape, layer=self.layer if keeps_layer else None, stopped=False)


Value = Known | Weights | Signal


def placeholder_shape(node: Node) -> Shape:
    """Return an input's shape with a batch of one; raises PolicyError."""
    kind = data_type(node, "dtype")
    if kind != "float":
        raise node.refuse(f"is an input of {kind}", "float")
    message = node.attribute("shape", "shape")
    if message is None or message.unknown_rank:
        raise node.refuse("is an input without a shape", "such as [-1, 120, 160, 1]")
    sizes = tuple(int(dim.size) for dim in message.dim)
    is_known = len(sizes) in {2, 4} and sizes[0] in {-1, 0, 1} and all(size > 0 for size in sizes[1:])
    if not is_known or math.prod(sizes[1:]) > SIGNAL_LIMIT:
        raise node.refuse(
            f"is an input of shape {list(sizes)[:RANK_LIMIT]}",
            "one picture such as [-1, 120, 160, 1] or one row such as [-1, 64], only the batch left open",
        )
    return (1, *sizes[1:])


def read_constant(node: Node) -> Known | Weights:
    """Return a constant's array, or where its weights lie; raises PolicyError."""
    tensor = node.attribute("value", "tensor")
    if tensor is None:
        raise node.refuse("is a constant without a value")
    if tensor.dtype not in _NUMPY_TYPES:
        raise node.refuse(f"holds numbers of {type_name(tensor.dtype)}", "float, int32, int64 or bool")
    if data_type(node, "dtype") != type_name(tensor.dtype):
        raise node.refuse(f"says {data_type(node, 'dtype')} and holds {type_name(tensor.dtype)}")
    sizes = tuple(int(dim.size) for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or len(sizes) > RANK_LIMIT or any(size < 0 for size in sizes):
        raise node.refuse(f"is a constant of shape {list(sizes)[:RANK_LIMIT]}", "sizes of 0 or more")

    count = math.prod(sizes)
    itemsize = np.dtype(_NUMPY_TYPES[tensor.dtype]).itemsize
    if node.content is not None:
        if tensor.dtype != DataType.FLOAT:
            raise node.refuse(f"holds {node.content.length} bytes of {type_name(tensor.dtype)}", "float")
        if tensor.tensor_content or count * itemsize != node.content.length:
            raise _wrong_size(node, sizes, node.content.length)
        return Weights(node.name, sizes, node.content)
    if count > KNOWN_LIMIT:
        raise _wrong_size(node, sizes, len(tensor.tensor_content))
    return Known(_small_constant(node, tensor, sizes, count))


def _small_constant(node: Node, tensor: object, sizes: Shape, count: int) -> Array:
    number = tensor.dtype  # type: ignore[attr-defined]
    content: bytes = tensor.tensor_content  # type: ignore[attr-defined]
    dtype = np.dtype(_NUMPY_TYPES[number])
    if content:
        if len(content) != count * dtype.itemsize:
            raise _wrong_size(node, sizes, len(content))
        array = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)
    else:  # numbers one by one; the last one fills what is missing, and none at all are zeros
        listed = np.array(getattr(tensor, _VALUE_FIELDS[number]), dtype=dtype)
        if listed.size > count:
            raise node.refuse(f"has {listed.size} numbers for the shape {list(sizes)}", f"at most {count}")
        array = np.full(count, listed[-1] if listed.size else 0, dtype)
        array[: listed.size] = listed
    if not np.isfinite(array).all():
        raise not_finite(node.name)
    return array.reshape(sizes)


def not_finite(name: str) -> PolicyError:
    """Return the error for weights that are no numbers."""
    return PolicyError(
        f"the weights {name!r} of the TensorFlow graph hold NaN or infinity: the training has failed; "
        "use an earlier checkpoint of it"
    )


def _wrong_size(node: Node, sizes: Shape, byte_count: int) -> PolicyError:
    return node.refuse(f"has the shape {list(sizes)} and {byte_count} bytes", "as many as the shape needs")
