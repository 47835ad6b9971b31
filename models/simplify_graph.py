"""An ONNX graph that can be asked who makes and who reads a tensor, and rewired."""

import contextlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

GRAPH_OPS = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Steps that may only rename the sizes of a tensor."""
CONSTANT_BYTES_MAX = 1 << 20  # a first layer has 2 to 18 KB; larger constants stay where they are
SHAPE_BYTES_MAX = 4 << 10  # of a constant whose values may decide about shapes
OPSET_MIN = 9  # older steps take their shapes as attributes
STANDARD_DOMAINS = ("", "ai.onnx")


def is_plain(proto: Any) -> bool:
    """Return whether every tensor is made once, before it is read, and read only where this module looks.

    Inner graphs (of If, Loop and Scan) and functions of the file's own could read tensors unseen.
    """
    opsets = [part.version for part in proto.opset_import if part.domain in STANDARD_DOMAINS]
    if proto.functions or not opsets or min(opsets) < OPSET_MIN:
        return False
    inner = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    known = {value.name for value in proto.graph.input} | {tensor.name for tensor in proto.graph.initializer}
    known |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    for node in proto.graph.node:
        if any(part.type in inner for part in node.attribute):
            return False
        made = [name for name in node.output if name]
        if not made or len({*made}) < len(made) or not known.isdisjoint(made):
            return False
        if any(name and name not in known for name in node.input):
            return False
        known.update(made)
    return {output.name for output in proto.graph.output} <= known


class Graph:
    """One model's graph; `nodes` are its own, so changing one changes the model."""

    def __init__(self, proto: Any, folder: Path) -> None:
        """Index the model; raises what onnx' shape inference raises."""
        self.proto = proto
        self._values = _inferred(proto)  # rewiring changes no tensor's type or shape
        self._folder = folder
        self.output_names = {output.name for output in proto.graph.output}
        self._input_names = {value.name for value in proto.graph.input}
        self.changed()

    @property
    def nodes(self) -> list[Any]:
        """The nodes, in the file's order."""
        return list(self.proto.graph.node)

    def changed(self) -> None:
        """Learn producers and readers again."""
        graph = self.proto.graph
        self._producers = {name: node for node in graph.node for name in node.output if name}
        self._readers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                if name:
                    self._readers.setdefault(name, []).append(node)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}

    def producer(self, tensor: str) -> Any | None:
        """Return the standard node that makes a tensor."""
        node = self._producers.get(tensor)
        return node if node is not None and node.domain in STANDARD_DOMAINS else None

    def readers(self, tensor: str) -> list[Any]:
        """Return the nodes that read a tensor, each once."""
        return self._readers.get(tensor, [])

    def type_of(self, tensor: str) -> int:
        """Return a tensor's element type, 0 if unknown."""
        value = self._values.get(tensor)
        if value is not None:
            return int(value.elem_type)
        constant = self._initializers.get(tensor)
        return 0 if constant is None else int(constant.data_type)

    def shape_of(self, tensor: str) -> tuple[int, ...]:
        """Return a tensor's sizes; nothing if one is open, unknown or zero, or if it is a scalar."""
        value = self._values.get(tensor)
        if value is None or not value.HasField("shape"):
            return ()
        sizes = tuple(int(size.dim_value) for size in value.shape.dim)
        return sizes if all(size > 0 for size in sizes) else ()

    def permutation(self, node: Any) -> list[int]:
        """Return how a Transpose orders the axes; nothing if that is unknown."""
        for attribute in node.attribute:
            if attribute.name == "perm":
                return list(attribute.ints)
        return list(range(len(self.shape_of(node.input[0]))))[::-1]

    def only_renames_sizes(self, node: Any) -> bool:
        """Return whether a node leaves every number in its place in memory."""
        if node.op_type not in GRAPH_OPS or node.domain not in STANDARD_DOMAINS:
            return False
        if node.op_type != "Transpose":
            return True
        shape = self.shape_of(node.input[0])
        moved = [axis for axis in self.permutation(node) if shape and shape[axis] != 1]
        return bool(shape) and moved == sorted(moved)

    def scalar(self, tensor: str) -> float | None:
        """Return a constant's one number; None for anything else."""
        value = self.constant(tensor)
        if value is None or value.size != 1 or value.ndim > 1 or value.dtype.kind not in "fiu":
            return None
        return float(value.reshape(()))

    def constant(self, tensor: str) -> npt.NDArray[Any] | None:
        """Return a constant of moderate size, wherever it is kept; None for anything else."""
        found = self._initializers.get(tensor)
        if found is None:
            node = self.producer(tensor)
            if node is None or node.op_type != "Constant" or len(node.attribute) != 1:
                return None
            if node.attribute[0].name != "value":
                return None
            found = node.attribute[0].t
        elif tensor in self._input_names:
            return None  # a caller may give another value
        if found.ByteSize() > CONSTANT_BYTES_MAX or 4 * math.prod(found.dims) > CONSTANT_BYTES_MAX:
            return None
        with contextlib.suppress(OSError, ValueError, TypeError, RuntimeError, onnx.checker.ValidationError):
            return np.asarray(numpy_helper.to_array(found, base_dir=str(self._folder)))
        return None

    def add_constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add a constant under a name like this one and return its name."""
        taken = {*self._producers, *self._initializers, *self._input_names}
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        self.proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), unique))
        self.changed()
        return unique

    def bypass(self, node: Any, source: str) -> bool:
        """Let everything that reads a node's one output read `source`; False where names forbid it."""
        output = node.output[0]
        if len([name for name in node.output if name]) != 1 or node.domain not in STANDARD_DOMAINS:
            return False
        if output not in self.output_names:
            self._reread(output, source)
        elif not self._give_name(source, output):
            return False
        self.proto.graph.node.remove(node)
        self.changed()
        return True

    def _reread(self, old: str, new: str) -> None:
        for reader in self.readers(old):
            for index, name in enumerate(reader.input):
                if name == old:
                    reader.input[index] = new

    def _give_name(self, source: str, output: str) -> bool:
        """Let the maker of `source` make the graph's output itself, under the output's name."""
        maker = self.producer(source)
        if maker is None or source in self.output_names:
            return False
        for index, name in enumerate(maker.output):
            if name == source:
                maker.output[index] = output
        self._reread(source, output)
        return True

    def remove_unused(self) -> None:
        """Remove nodes and constants that nothing reads any more."""
        graph = self.proto.graph
        is_smaller = True
        while is_smaller:
            used = {name for node in graph.node for name in node.input} | self.output_names
            unused = [node for node in graph.node if not any(name in used for name in node.output)]
            for node in unused:
                graph.node.remove(node)
            is_smaller = bool(unused)
        used = {name for node in graph.node for name in node.input} | self.output_names
        kept = [tensor for tensor in graph.initializer if tensor.name in used | self._input_names]
        if len(kept) != len(graph.initializer):
            del graph.initializer[:]
            graph.initializer.extend(kept)
        made = {name for node in graph.node for name in node.output}
        stale = [value for value in graph.value_info if value.name not in made]
        for value in stale:
            graph.value_info.remove(value)


def _inferred(proto: Any) -> dict[str, Any]:
    """Return type and shape of every tensor that onnx can tell; weights are left out of what it looks at."""
    graph = proto.graph
    skeleton = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    small = [tensor for tensor in graph.initializer if _is_small(tensor)]
    large = [tensor for tensor in graph.initializer if not _is_small(tensor)]
    named = {value.name for value in graph.input}
    skeleton.graph.node.extend(graph.node)
    skeleton.graph.input.extend(graph.input)
    skeleton.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, [*tensor.dims])
        for tensor in large
        if tensor.name not in named
    )
    skeleton.graph.output.extend(graph.output)
    skeleton.graph.value_info.extend(graph.value_info)
    skeleton.graph.initializer.extend(small)
    known = onnx.shape_inference.infer_shapes(skeleton).graph
    values = (*known.value_info, *known.input, *known.output)
    return {value.name: value.type.tensor_type for value in values if value.type.HasField("tensor_type")}


def _is_small(tensor: Any) -> bool:
    is_inside = tensor.data_location != TensorProto.EXTERNAL
    return bool(is_inside and tensor.ByteSize() <= SHAPE_BYTES_MAX)
