"""Rewrite a network into an equal, faster one: scalings go into weights, steps that do nothing go.

A division of the whole picture by 255 reads and writes every pixel once more before each inference;
inside the first convolution's weights it costs nothing. Only what is the same for every input is
touched: a scaling is folded where everything that reads it is a convolution, in float32 weights whose
quotient is computed in float64 and rounded once. Whatever is not understood stays as it is.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from models.simplify_graph import GRAPH_OPS, STANDARD_DOMAINS, Graph, is_plain

MODEL_BYTES_MAX = 64 << 20  # held twice while it is rewritten; larger networks keep weights in a file beside
SCALE_RANGE = (1e-6, 1e6)  # outside, a folded weight could overflow or lose digits
CARRIERS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""What a scaling may pass through on its way to a convolution: they move numbers and change none."""
INPUTS_MIN = {"Add": 2, "Conv": 2, "Div": 2, "Mul": 2, "Reshape": 2, "Sub": 2}
NOT_UNDERSTOOD = (
    OSError,
    DecodeError,
    ValueError,
    RuntimeError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


def simplify(model: Path) -> tuple[str, ...]:
    """Rewrite the file in place where provably the same, and return what was done, in sentences.

    External data is neither read (but for a first layer's weights) nor written. Nothing is raised
    for a network that is not understood: it stays as it is and nothing is returned.
    """
    graph = _load(model)
    if graph is None:
        return ()
    folds: list[str] = []
    dropped: Counter[str] = Counter()
    while _one_pass(graph, folds, dropped):
        pass
    if not folds and not dropped:
        return ()
    graph.remove_unused()
    _replace(model, graph.proto.SerializeToString())
    sentences = [*folds]
    if dropped:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(dropped.items()))
        sentences.append(f"dropped steps that change nothing: {kinds}")
    return tuple(sentences)


def _load(model: Path) -> Graph | None:
    try:
        if model.stat().st_size > MODEL_BYTES_MAX:
            return None
        proto = onnx.load(str(model), load_external_data=False)
        return Graph(proto, model.parent) if is_plain(proto) else None
    except NOT_UNDERSTOOD:
        return None  # the check that follows says in words what is wrong with it


def _one_pass(graph: Graph, folds: list[str], dropped: Counter[str]) -> bool:
    """Make the first rewrite that is possible; return False when none is."""
    rewrites: tuple[Callable[[Graph, Any], str], ...] = (
        _drop_nothing,
        _merge_transposes,
        _merge_reshapes,
    )
    for node in graph.nodes:
        if not _is_known(node):
            continue
        sentence = _fold_scaling(graph, node)
        if sentence:
            folds.append(sentence)
            return True
        for rewrite in rewrites:
            kind = rewrite(graph, node)
            if kind:
                dropped[kind] += 1
                return True
    return False


def _is_known(node: Any) -> bool:
    """Return whether a node is one of onnx' own and has what its kind needs."""
    return (
        node.domain in STANDARD_DOMAINS
        and len(node.output) == 1
        and len(node.input) >= INPUTS_MIN.get(node.op_type, 1)
    )


# --- scalings


def _fold_scaling(graph: Graph, node: Any) -> str:
    """Fold `x / c` or `x * c` into the convolutions that alone read it; return a sentence or nothing."""
    found = _scaling(graph, node)
    if found is None:
        return ""
    source, factor, words = found
    if graph.type_of(source) != TensorProto.FLOAT:
        return ""  # integers divide differently, and float16 would round elsewhere
    convolutions = _convolutions_behind(graph, node.output[0])
    if not convolutions:
        return ""
    scaled = []
    for convolution in convolutions:
        weights = _scaled_weights(graph, convolution, factor)
        if weights is None:
            return ""
        scaled.append(weights)
    for convolution, weights in zip(convolutions, scaled, strict=True):
        convolution.input[1] = graph.add_constant(f"{convolution.input[1]}_scaled", weights)
    graph.bypass(node, source)
    count = len(convolutions)
    layers = "the convolution that follows" if count == 1 else f"the {count} convolutions that follow"
    return f"folded the {words} into the weights of {layers}"


def _scaling(graph: Graph, node: Any) -> tuple[str, float, str] | None:
    """Return what is scaled, by which factor, and that in words."""
    if node.op_type not in ("Div", "Mul") or len(node.input) != 2:
        return None
    left, right = node.input
    scalar = graph.scalar(right)
    source = left
    if scalar is None and node.op_type == "Mul":
        scalar, source = graph.scalar(left), right
    if scalar is None or graph.constant(source) is not None:
        return None
    if not np.isfinite(scalar) or not SCALE_RANGE[0] <= abs(scalar) <= SCALE_RANGE[1]:
        return None
    if node.op_type == "Div":
        return source, 1.0 / scalar, f"division by {scalar:g}"
    return source, scalar, f"multiplication by {scalar:g}"


def _convolutions_behind(graph: Graph, tensor: str) -> list[Any]:
    """Return the convolutions that a tensor feeds as their picture; none if it feeds anything else too."""
    if tensor in graph.output_names or not graph.readers(tensor):
        return []
    found = []
    for reader in graph.readers(tensor):
        if not _is_known(reader) or list(reader.input).count(tensor) != 1 or reader.input[0] != tensor:
            return []
        if reader.op_type == "Conv":
            found.append(reader)
            continue
        if reader.op_type not in CARRIERS or not _keeps_precision(graph, reader):
            return []
        behind = _convolutions_behind(graph, reader.output[0])
        if not behind:
            return []
        found += behind
    return found


def _keeps_precision(graph: Graph, node: Any) -> bool:
    return node.op_type != "Cast" or graph.type_of(node.output[0]) in FLOATS


def _scaled_weights(graph: Graph, convolution: Any, factor: float) -> npt.NDArray[np.floating[Any]] | None:
    weights = graph.constant(convolution.input[1])
    if weights is None or weights.dtype not in (np.float32, np.float64):
        return None
    exact = weights.astype(np.float64) * factor
    with np.errstate(over="ignore", under="ignore"):
        rounded = exact.astype(weights.dtype)
    was_normal = np.abs(weights) >= np.finfo(weights.dtype).tiny
    is_normal = np.isfinite(rounded) & (np.abs(rounded) >= np.finfo(weights.dtype).tiny)
    if not is_normal[was_normal].all() or not np.isfinite(weights).all():
        return None
    return rounded


# --- steps that do nothing


def _drop_nothing(graph: Graph, node: Any) -> str:
    """Drop a step whose output is its input; return its kind or nothing."""
    source = _unchanged_input(graph, node)
    return node.op_type if source and graph.bypass(node, source) else ""


def _unchanged_input(graph: Graph, node: Any) -> str:
    match node.op_type:
        case "Identity":
            return str(node.input[0])
        case "Cast":
            kind = graph.type_of(node.input[0])
            return str(node.input[0]) if kind and kind == graph.type_of(node.output[0]) else ""
        case "Transpose":
            permutation = graph.permutation(node)
            return str(node.input[0]) if permutation == sorted(permutation) and permutation else ""
        case "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze":
            shape = graph.shape_of(node.input[0])
            return str(node.input[0]) if shape and shape == graph.shape_of(node.output[0]) else ""
        case "Add" | "Sub" | "Mul" | "Div":
            return _neutral_operand(graph, node)
    return ""


def _neutral_operand(graph: Graph, node: Any) -> str:
    """Return x of `x - 0`, `x + 0`, `x * 1`, `x / 1`, where broadcasting leaves its shape as it is."""
    neutral = 0.0 if node.op_type in ("Add", "Sub") else 1.0
    operands = [(node.input[0], node.input[1])]
    if node.op_type in ("Add", "Mul"):
        operands.append((node.input[1], node.input[0]))
    for source, other in operands:
        shape = graph.shape_of(source)
        if graph.scalar(other) == neutral and shape and shape == graph.shape_of(node.output[0]):
            return str(source)
    return ""


def _merge_transposes(graph: Graph, node: Any) -> str:
    """Make one Transpose of two that follow each other; return its kind or nothing."""
    before = graph.producer(node.input[0]) if node.op_type == "Transpose" else None
    if before is None or before.op_type != "Transpose":
        return ""
    first, second = graph.permutation(before), graph.permutation(node)
    if not first or len(first) != len(second):
        return ""
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("perm", [first[axis] for axis in second]))
    node.input[0] = before.input[0]
    graph.changed()
    return "Transpose"


def _merge_reshapes(graph: Graph, node: Any) -> str:
    """Let a step that only renames sizes read what the one before it read; return that one's kind."""
    if node.op_type not in GRAPH_OPS or not graph.only_renames_sizes(node):
        return ""
    before = graph.producer(node.input[0])
    target = graph.shape_of(node.output[0])
    if before is None or not target or not graph.only_renames_sizes(before):
        return ""
    shape = graph.add_constant(f"{node.output[0]}_shape", np.array(target, np.int64))
    kind = str(before.op_type)
    source = before.input[0]
    node.op_type = "Reshape"
    del node.attribute[:]
    del node.input[:]
    node.input.extend([source, shape])
    graph.changed()
    return kind


def _replace(model: Path, data: bytes) -> None:
    fresh = model.with_name(f".{model.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(model)
    finally:
        fresh.unlink(missing_ok=True)
