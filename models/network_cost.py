"""What each layer of a network costs: multiplications with addition, and numbers learnt."""

import math
from pathlib import Path
from typing import Any

import onnx

from models.check_network import read_network
from models.check_report import Layer

SMALL_BYTES = 1024  # larger weights say nothing about shapes
Shape = tuple[int | None, ...]


def network_layers(model: Path) -> tuple[Layer, ...]:
    """Return the nodes in the order in which they run; open batch sizes count as one."""
    network = read_network(model)
    parameters = {
        tensor.name: math.prod(tensor.dims) for tensor in network.graph.initializer if _is_learnt(tensor)
    }
    shapes = _shapes(network)
    counted: set[str] = set()
    layers = []
    for node in network.graph.node:
        own = sum(parameters[name] for name in set(node.input) - counted if name in parameters)
        counted.update(node.input)
        layers.append(
            Layer(
                name=node.name or (node.output[0] if node.output else node.op_type),
                operator=node.op_type,
                output_shape=shapes.get(node.output[0], ()) if node.output else (),
                mmac=_multiplications(node, shapes) / 1e6,
                parameters=own,
            )
        )
    return tuple(layers)


def _is_learnt(tensor: Any) -> bool:
    """Whether it is a layer's weights: whole numbers of 32 or 64 bits are shapes and indices."""
    return tensor.data_type not in {onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL}


def _shapes(network: onnx.ModelProto) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in network.graph.initializer}
    for tensor in network.graph.initializer:  # inference copies the whole description
        if len(tensor.raw_data) > SMALL_BYTES:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
        elif len(tensor.float_data) * 4 > SMALL_BYTES:
            tensor.ClearField("float_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
    for value in network.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_value = 1
    try:
        inferred = onnx.shape_inference.infer_shapes(network, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return shapes  # the runtime has the last word about shapes; here they are only shown
    graph = inferred.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        shapes.setdefault(
            value.name, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
        )
    return shapes


def _multiplications(node: Any, shapes: dict[str, Shape]) -> float:
    """Return how many multiplications one decision takes; 0 where a shape is not known."""
    found = [shapes.get(name, ()) for name in node.input]
    output = shapes.get(node.output[0], ()) if node.output else ()
    if not output or None in output:
        return 0.0
    count = float(math.prod(size or 0 for size in output))
    match node.op_type:
        case "Conv" | "ConvInteger":
            return count * _product(found[1][1:])
        case "QLinearConv":
            return count * _product(found[3][1:])
        case "ConvTranspose":
            return _product(found[0]) * _product(found[1][1:])
        case "Gemm":
            transposed = any(part.name == "transA" and part.i for part in node.attribute)
            return count * _product(found[0][:1] if transposed else found[0][-1:])
        case "MatMul" | "MatMulInteger" | "QLinearMatMul":
            return count * _product(found[0][-1:])
        case _:
            return 0.0


def _product(sizes: Shape) -> float:
    return 0.0 if not sizes or None in sizes else float(math.prod(size or 0 for size in sizes))
