"""Whether an ONNX network is one that this car may run, before any runtime opens it.

Allowed is what networks of this field are made of: convolutions, dense layers, activations,
normalisation, pooling, arithmetic and the moving about of numbers, as TensorFlow's converters, torch,
Keras and Stable-Baselines3 export them, and the quantised forms of the same. Refused by name: loops and
branches (their time has no bound that one can measure), operators of other domains (code that a car does
not have), functions, chance (an answer must repeat), strings, sequences and recurrent cells (the car
keeps no state for a network between two decisions).
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError

from models.errors import PolicyError
from models.field_checks import plain

OPERATORS = {
    "layers": "Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LayerNormalization "
    "GroupNormalization LRN LpNormalization MeanVarianceNormalization Dropout "
    "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool",
    "activations": "Relu LeakyRelu PRelu Elu Selu Celu Gelu Sigmoid HardSigmoid HardSwish Swish Mish Softmax "
    "LogSoftmax Hardmax Softplus Softsign Tanh ThresholdedRelu Shrink Erf Clip",
    "arithmetic": "Abs Add Sub Mul Div Neg Pow Sqrt Reciprocal Exp Log Sin Cos Tan Atan Sinh Cosh Floor Ceil "
    "Round Sign Mod Min Max Mean Sum Einsum ArgMax ArgMin ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp CumSum",
    "comparison": "Equal Greater GreaterOrEqual Less LessOrEqual And Or Not Xor Where IsNaN IsInf",
    "moving numbers": "Cast CastLike Concat Constant ConstantOfShape DepthToSpace Expand Flatten Gather "
    "GatherElements GatherND Identity OneHot Pad Range Reshape Resize Shape Size Slice SpaceToDepth Split "
    "Squeeze Tile Transpose Trilu Unsqueeze Upsample",
    "quantised": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul "
    "ConvInteger MatMulInteger",
}
ALLOWED_OPERATORS = frozenset(name for group in OPERATORS.values() for name in group.split())
BRANCHING_OPERATORS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
ALLOWED_DOMAINS = frozenset({"", "ai.onnx"})

NETWORK_LIMIT_BYTES = 300 << 20  # of the file itself; weights beside it may have as much again
NODE_LIMIT = 4000  # a network of 30 layers has below 200
TENSOR_LIMIT_BYTES = 512 << 20
CHUNK_ELEMENTS = 1 << 20

EXPORT_AGAIN = "export the policy's network again, without it"
FLOAT_KINDS = frozenset({"FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"})


def read_network(model: Path) -> onnx.ModelProto:
    """Return the network's description without the weights that lie beside it; raises PolicyError."""
    size = model.stat().st_size
    if not 0 < size <= NETWORK_LIMIT_BYTES:
        raise PolicyError(
            f"the network has {size / 1e6:.0f} MB, allowed {NETWORK_LIMIT_BYTES / 1e6:.0f} MB; "
            "keep its weights in a file beside it, or export a smaller network"
        )
    try:
        network = onnx.load_model(model, load_external_data=False)
    except (DecodeError, ValueError, TypeError, RuntimeError) as error:
        raise PolicyError(
            f"the network is not an ONNX file ({plain(error)}); export it to ONNX again"
        ) from error
    if not network.HasField("graph") or not network.graph.node:
        raise PolicyError("the file holds no ONNX network; export the policy's network to ONNX again")
    return network


def check_network(model: Path) -> None:
    """Refuse a network that a car may not run; raises PolicyError saying what was seen."""
    network = read_network(model)
    _check_parts(network)
    _check_operators(network)
    _check_inputs(network)
    for tensor in _tensors(network):
        _check_tensor(tensor, model.parent)
    del network
    try:
        onnx.checker.check_model(model, full_check=False)
    except (onnx.checker.ValidationError, RuntimeError, ValueError, TypeError) as error:
        raise PolicyError(f"the network is not valid ONNX ({plain(error)}); export it again") from error


def _check_parts(network: onnx.ModelProto) -> None:
    graph = network.graph
    if network.functions:
        raise PolicyError(f"the network defines functions of its own; {EXPORT_AGAIN}, as plain operators")
    if network.training_info:
        raise PolicyError(f"the network carries what it needs for training; {EXPORT_AGAIN}, for inference")
    if graph.sparse_initializer:
        raise PolicyError(f"the network has sparse weights; {EXPORT_AGAIN}, with ordinary ones")
    if len(graph.node) > NODE_LIMIT:
        raise PolicyError(
            f"the network has {len(graph.node)} nodes, allowed {NODE_LIMIT}; "
            "export the policy's network alone"
        )


def _check_operators(network: onnx.ModelProto) -> None:
    foreign: Counter[str] = Counter()
    for node in network.graph.node:
        name = plain(node.op_type) or "an operator without a name"
        if node.domain not in ALLOWED_DOMAINS:
            raise PolicyError(
                f"the network uses the operator {name} of {plain(node.domain)!r}, allowed are the standard "
                "ones of ONNX; export it with standard operators only"
            )
        if node.op_type in BRANCHING_OPERATORS:
            raise PolicyError(
                f"the network has a loop or a branch ({name}), whose time has no bound; "
                "export it unrolled, for a batch of one"
            )
        if node.op_type not in ALLOWED_OPERATORS:
            foreign[name] += 1
        elif any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise PolicyError(f"the network has a graph inside its node {name}; {EXPORT_AGAIN}")
    if foreign:
        named = ", ".join(sorted(foreign))
        raise PolicyError(
            f"the network uses {named}, which a policy does not need and this car does not run; "
            f"{EXPORT_AGAIN}"
        )


def _check_inputs(network: onnx.ModelProto) -> None:
    for value in (*network.graph.input, *network.graph.output):
        name = plain(value.name) or "an input or output without a name"
        if not value.type.HasField("tensor_type"):
            raise PolicyError(f"{name} of the network is not a tensor; export the policy's network alone")
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        if any(size < 0 for size in sizes) or math.prod(sizes) > TENSOR_LIMIT_BYTES:
            raise PolicyError(
                f"{name} of the network has the shape {plain(sizes)}, which no picture has; export it again"
            )


def _tensors(network: onnx.ModelProto) -> Iterator[Any]:
    yield from network.graph.initializer
    for node in network.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise PolicyError(f"the network has sparse weights; {EXPORT_AGAIN}, with ordinary ones")


def _check_tensor(tensor: Any, folder: Path) -> None:
    name = plain(tensor.name) or "a constant"
    if tensor.data_type not in onnx.TensorProto.DataType.values():
        raise PolicyError(f"{name} of the network has an unknown type ({tensor.data_type}); export it again")
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind in {"STRING", "UNDEFINED"}:
        raise PolicyError(f"{name} of the network holds {kind.lower()}, not numbers; {EXPORT_AGAIN}")
    count = math.prod(tensor.dims)
    if any(size < 0 for size in tensor.dims) or count > TENSOR_LIMIT_BYTES:
        raise PolicyError(
            f"{name} of the network has the shape {plain(list(tensor.dims))}, which no weights have; "
            "export it again"
        )
    if count * _itemsize(tensor) > TENSOR_LIMIT_BYTES:
        raise PolicyError(
            f"{name} of the network has {count * _itemsize(tensor) / 1e6:.0f} MB, allowed "
            f"{TENSOR_LIMIT_BYTES / 1e6:.0f} MB; export a smaller network"
        )
    parts = _parts(tensor, folder, name, count)
    if kind in FLOAT_KINDS and not all(_is_finite(part) for part in parts):
        raise PolicyError(
            f"{name} of the network holds numbers that are not finite (NaN or infinite): its training has "
            "failed; use an earlier checkpoint"
        )


def _parts(tensor: Any, folder: Path, name: str, count: int) -> Iterable[npt.NDArray[Any]]:
    """Return a tensor's numbers, piece by piece where they lie in a file beside the network."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external_parts(tensor, folder, name, count)
    if tensor.raw_data and len(tensor.raw_data) * 8 // max(1, _bits(tensor)) < count:
        raise PolicyError(
            f"{name} of the network says {count} numbers and has {len(tensor.raw_data)} bytes; "
            "export it again"
        )
    try:
        values: npt.NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, RuntimeError) as error:
        raise PolicyError(
            f"{name} of the network cannot be read ({plain(error)}); export it again"
        ) from error
    return [values]


def _external_parts(tensor: Any, folder: Path, name: str, count: int) -> Iterator[npt.NDArray[Any]]:
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    if location in {"", ".", ".."} or "/" in location or "\\" in location or "\0" in location:
        raise PolicyError(
            f"{name} of the network points to the file {plain(location)!r}, allowed is a file beside the "
            "network; export it again with its weights beside it or inside"
        )
    path = folder / location
    if path.is_symlink() or not path.is_file():
        raise PolicyError(
            f"{name} of the network wants its weights from {plain(location)!r}, which did not come with it; "
            "put that file into the archive"
        )
    size = path.stat().st_size
    try:
        offset = int(fields.get("offset", "0"))
        length = int(fields.get("length", str(size - offset)))
    except ValueError:
        offset = length = -1
    wanted = count * _itemsize(tensor)
    if offset < 0 or length < wanted or offset + length > size:
        raise PolicyError(
            f"{name} of the network wants {wanted} bytes at {plain(fields.get('offset', '0'))} of "
            f"{plain(location)!r}, which has {size}; export it again"
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return _read(path, dtype, offset, count)


def _read(path: Path, dtype: npt.DTypeLike, offset: int, count: int) -> Iterator[npt.NDArray[Any]]:
    """Yield a file's numbers in pieces: mapped, 230 MB would count as memory of this process alone."""
    with path.open("rb") as file:
        file.seek(offset)
        for start in range(0, count, CHUNK_ELEMENTS):
            yield np.fromfile(file, dtype, min(CHUNK_ELEMENTS, count - start))


def _itemsize(tensor: Any) -> int:
    return (_bits(tensor) + 7) // 8


def _bits(tensor: Any) -> int:
    kind = onnx.TensorProto.DataType.Name(tensor.data_type)
    if kind.endswith("INT4"):
        return 4
    return int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize) * 8


def _is_finite(values: npt.NDArray[Any]) -> bool:
    flat = values.reshape(-1)
    for start in range(0, flat.size, CHUNK_ELEMENTS):
        if not np.isfinite(flat[start : start + CHUNK_ELEMENTS].astype(np.float64)).all():
            return False
    return True
