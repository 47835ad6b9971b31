"""The operators that move numbers about: computed now for known ones, as few as possible for signals."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import EllipsisType

import numpy as np

from models.convert_graph import Node, data_type
from models.convert_values import (
    KNOWN_LIMIT,
    SIGNAL_LIMIT,
    Known,
    Shape,
    Signal,
    Value,
    Weights,
    placeholder_shape,
    read_constant,
)
from models.convert_writing import NetworkWriter
from models.field_checks import plain


@dataclass(frozen=True)
class Step:
    """One node about to be converted, with what its inputs have become."""

    node: Node
    inputs: tuple[Value, ...]
    writer: NetworkWriter
    is_used_once: bool
    """Its output goes to one place only."""

    def need_inputs(self, count: int) -> None:
        """Raise PolicyError unless there are so many inputs."""
        if len(self.inputs) != count:
            raise self.node.refuse(f"has {len(self.inputs)} inputs", str(count))

    def known(self, index: int) -> Known:
        """Return an input whose numbers must be known now."""
        value = self.inputs[index]
        if not isinstance(value, Known):
            raise self.node.refuse(
                f"depends on what {plain(self.node.inputs[index])!r} computes",
                "a constant or a shape there",
            )
        return value

    def axes(self, index: int, rank: int) -> tuple[int, ...]:
        """Return known axes, counted from the front."""
        axes = [int(axis) for axis in self.known(index).array.reshape(-1)]
        if any(not -rank <= axis < rank for axis in axes):
            raise self.node.refuse(f"names the axes {axes[:8]}", f"-{rank} to {rank - 1}")
        return tuple(axis % rank for axis in axes)


Handler = Callable[[Step], Value]


def shape_of(value: Value) -> Shape:
    """Return the shape that TensorFlow sees."""
    return value.array.shape if isinstance(value, Known) else value.shape


def _placeholder(step: Step) -> Value:
    step.need_inputs(0)
    return step.writer.add_input(step.node.name, placeholder_shape(step.node))


def _const(step: Step) -> Value:
    step.need_inputs(0)
    return read_constant(step.node)


def _identity(step: Step) -> Value:
    step.need_inputs(1)
    value = step.inputs[0]
    if isinstance(value, Signal) and not step.is_used_once:
        return replace(value, layer=None)
    return value


def _stop_gradient(step: Step) -> Value:
    value = _identity(step)
    return replace(value, stopped=True, layer=None) if isinstance(value, Signal) else value


def _shape(step: Step) -> Value:
    step.need_inputs(1)
    kind = "int32" if step.node.attribute("out_type", "type") is None else data_type(step.node, "out_type")
    if kind not in {"int32", "int64"}:
        raise step.node.refuse(f"answers {kind}", "int32 or int64")
    return Known(np.array(shape_of(step.inputs[0]), kind))


def _reshape(step: Step) -> Value:
    step.need_inputs(2)
    wanted = [int(size) for size in step.known(1).array.reshape(-1)]
    value = step.inputs[0]
    shape = shape_of(value)
    count = math.prod(shape)
    if wanted.count(-1) == 1:
        rest = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = count // rest if rest > 0 else -1
    if any(size < 0 for size in wanted) or math.prod(wanted) != count:
        raise step.node.refuse(
            f"turns the shape {list(shape)} into {wanted[:8]}", "as many numbers as before"
        )
    return _with_shape(step, value, tuple(wanted))


def _with_shape(step: Step, value: Value, shape: Shape) -> Value:
    if isinstance(value, Known):
        return Known(value.array.reshape(shape))
    if isinstance(value, Weights):
        return replace(value, shape=shape)
    reshaped = step.writer.as_rows(value).reshaped(shape)
    return reshaped if step.is_used_once else replace(reshaped, layer=None)


def _squeeze(step: Step) -> Value:
    step.need_inputs(1)
    value = step.inputs[0]
    shape = shape_of(value)
    listed = step.node.integers("squeeze_dims")
    if any(not -len(shape) <= axis < len(shape) or shape[axis] != 1 for axis in listed):
        raise step.node.refuse(f"squeezes the axes {list(listed)[:8]} of {list(shape)}", "axes of size 1")
    gone = {axis % len(shape) for axis in listed} or {i for i, size in enumerate(shape) if size == 1}
    return _with_shape(step, value, tuple(size for i, size in enumerate(shape) if i not in gone))


def _transpose(step: Step) -> Value:
    step.need_inputs(2)
    value = step.inputs[0]
    shape = shape_of(value)
    order = step.axes(1, len(shape)) if shape else ()
    if sorted(order) != list(range(len(shape))):
        raise step.node.refuse(f"orders the axes of {list(shape)} as {list(order)[:8]}", "each of them once")
    if order == tuple(range(len(shape))):
        return value if step.is_used_once or not isinstance(value, Signal) else replace(value, layer=None)
    if isinstance(value, Known):
        return Known(value.array.transpose(order))
    if isinstance(value, Weights):
        return Known(step.writer.loaded(value).transpose(order))
    turned = tuple(shape[axis] for axis in order)
    name = step.writer.emit("Transpose", [step.writer.stored(value)], step.node.name, perm=list(order))
    return Signal(name, turned, turned)


def _strided_slice(step: Step) -> Value:
    step.need_inputs(4)
    value = step.inputs[0]
    index = _slice_index(step)
    if isinstance(value, Known):
        return Known(np.asarray(value.array[index]))
    if isinstance(value, Weights):
        raise step.node.refuse("takes a part of large weights")
    shape = np.broadcast_to(np.int8(0), value.shape)[index].shape
    if math.prod(shape) == math.prod(value.shape) and all(
        not isinstance(part, slice) or part.step > 0 for part in index
    ):
        return _with_shape(step, value, shape)  # nothing is left out: a change of shape alone
    return _cut_signal(step, value, index, shape)


def _cut_signal(
    step: Step, value: Signal, index: tuple[slice | int | EllipsisType | None, ...], shape: Shape
) -> Value:
    """Emit a Slice along the last axis: the head of SAC takes its means from means and deviations."""
    numbers = np.arange(value.shape[-1])
    rows = np.broadcast_to(numbers, value.shape)[index]
    last = rows.reshape(-1)[: rows.shape[-1]] if rows.ndim and rows.size else np.array([])
    is_plain = (
        last.size > 0
        and rows.size // last.size == math.prod(value.shape[:-1])
        and (rows == last).all()
        and (np.diff(last) == 1).all()
    )
    if not is_plain:
        raise step.node.refuse(
            f"takes a part of {list(value.shape)} in a way that is not understood", "a run of the last axis"
        )
    ends = [np.array([end], np.int64) for end in (last[0], last[-1] + 1, -1)]
    names = [step.writer.constant(end, f"{step.node.name}/ends") for end in ends]
    name = step.writer.emit("Slice", [step.writer.stored(value), *names], step.node.name)
    return Signal(name, shape, (*value.shape[:-1], last.size))


def _slice_index(step: Step) -> tuple[slice | int | EllipsisType | None, ...]:
    """Return TensorFlow's begin, end, strides and masks as a numpy index."""
    node = step.node
    begin, end, strides = ([int(i) for i in step.known(k).array.reshape(-1)] for k in (1, 2, 3))
    if not len(begin) == len(end) == len(strides) or 0 in strides:
        raise node.refuse(f"slices from {begin[:8]} to {end[:8]} by {strides[:8]}")
    masks = {
        key: node.integer(f"{key}_mask", 0) for key in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    index: list[slice | int | EllipsisType | None] = []
    for place, (first, last, stride) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << place
        if masks["ellipsis"] & bit:
            index.append(...)
        elif masks["new_axis"] & bit:
            index.append(None)
        elif masks["shrink_axis"] & bit:
            index.append(first)
        else:
            start = None if masks["begin"] & bit else first
            index.append(slice(start, None if masks["end"] & bit else last, stride))
    return tuple(index)


def _pack(step: Step) -> Value:
    values = step.inputs
    if not values or len(values) != step.node.integer("N", len(values)):
        raise step.node.refuse(f"has {len(values)} inputs and says {step.node.integer('N', 0)}")
    shape = shape_of(values[0])
    axis = step.node.integer("axis", 0)
    if not -len(shape) - 1 <= axis <= len(shape):
        raise step.node.refuse(f"stacks along axis {axis} of {list(shape)}")
    if all(isinstance(value, Known) for value in values):
        if math.prod(shape) * len(values) > KNOWN_LIMIT:
            raise _too_large(step)
        return Known(np.stack([step.known(i).array for i in range(len(values))], axis))
    if len(values) != 1:
        raise step.node.refuse(f"stacks {len(values)} computed tensors", "one")
    where = axis % (len(shape) + 1)
    return _with_shape(step, values[0], (*shape[:where], 1, *shape[where:]))


def _gather(step: Step) -> Value:
    step.need_inputs(3)
    table, indices = step.known(0).array, step.known(1).array
    if step.node.integer("batch_dims", 0) != 0:
        raise step.node.refuse(f"has batch_dims {step.node.integer('batch_dims', 0)}", "0")
    (axis,) = step.axes(2, table.ndim)
    size = table.shape[axis]
    if indices.dtype.kind != "i" or (
        indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < size
    ):
        raise step.node.refuse(f"takes places outside the {size} of its table")
    if indices.size * (table.size // max(1, size)) > KNOWN_LIMIT:
        raise _too_large(step)
    return Known(np.take(table, indices, axis))


def _prod(step: Step) -> Value:
    step.need_inputs(2)
    array = step.known(0).array
    axes = step.axes(1, array.ndim) if array.ndim else ()
    result = np.prod(array, axis=axes, keepdims=step.node.flag("keep_dims"), dtype=np.float64)
    if abs(result).max(initial=0) >= 1 << 31 or array.dtype.kind not in "if":
        raise step.node.refuse("multiplies to more than any network has")
    return Known(np.asarray(result).astype(array.dtype))


def _concat(step: Step) -> Value:
    *values, _ = step.inputs if step.inputs else (None,)
    if not values or len(values) != step.node.integer("N", len(values)):
        raise step.node.refuse(f"joins {len(values)} inputs and says {step.node.integer('N', 0)}")
    shapes = [shape_of(value) for value in values if value is not None]
    (axis,) = step.axes(len(values), len(shapes[0]))
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(others) != 1 or any(len(shape) != len(shapes[0]) for shape in shapes):
        raise step.node.refuse(f"joins the shapes {[list(shape) for shape in shapes][:8]} along axis {axis}")
    joined = list(shapes[0])
    joined[axis] = sum(shape[axis] for shape in shapes)
    known = [value for value in values if isinstance(value, Known)]
    if len(known) == len(values):
        if math.prod(joined) > KNOWN_LIMIT:
            raise _too_large(step)
        return Known(np.concatenate([value.array for value in known], axis))
    signals = [value for value in values if isinstance(value, Signal)]
    if len(signals) != len(values) or math.prod(joined) > SIGNAL_LIMIT:
        raise step.node.refuse("joins weights and computed tensors, or too much", "computed tensors alone")
    stored = [step.writer.stored(signal) for signal in signals]
    name = step.writer.emit("Concat", stored, step.node.name, axis=axis)
    return Signal(name, tuple(joined), tuple(joined))


def _too_large(step: Step) -> Exception:
    return step.node.refuse("makes an array larger than any network's", f"{KNOWN_LIMIT} numbers")


HANDLERS: dict[str, Handler] = {
    "Placeholder": _placeholder,
    "Const": _const,
    "Identity": _identity,
    "StopGradient": _stop_gradient,
    "Shape": _shape,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "StridedSlice": _strided_slice,
    "Pack": _pack,
    "GatherV2": _gather,
    "Prod": _prod,
    "ConcatV2": _concat,
}
