"""The operators that compute: convolution, dense layer, bias, activation, arithmetic."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from models.convert_shapes import Handler, Step, shape_of
from models.convert_values import KNOWN_LIMIT, SIGNAL_LIMIT, Array, Known, Shape, Signal, Value, Weights
from models.convert_writing import NetworkWriter

SPATIAL_LIMIT = 64  # kernel and stride; the field's have 8 and 4

_ARITHMETIC: dict[str, tuple[str, Callable[[Array, Array], Any]]] = {
    "RealDiv": ("Div", np.true_divide),
    "Sub": ("Sub", np.subtract),
    "Mul": ("Mul", np.multiply),
    "Add": ("Add", np.add),
    "AddV2": ("Add", np.add),
}
"""TensorFlow's operator -> ONNX's, numpy's."""


def _signal(step: Step, index: int, rank: int | None = None) -> Signal:
    value = step.inputs[index]
    if not isinstance(value, Signal):
        raise step.node.refuse("works on constants alone", "what an input feeds")
    if rank is not None and len(value.shape) != rank:
        raise step.node.refuse(f"works on the shape {list(value.shape)}", f"{rank} sizes")
    return value


def _float_array(step: Step, index: int) -> Array:
    """Return a constant as float32 numbers, large ones loaded."""
    value = step.inputs[index]
    if isinstance(value, Weights):
        return step.writer.loaded(value)
    array = step.known(index).array
    if array.dtype != np.float32:
        raise step.node.refuse(f"takes weights of {array.dtype}", "float32")
    return array


def _layer(step: Step) -> int | None:
    return len(step.writer.nodes) - 1 if step.is_used_once else None


def _conv2d(step: Step) -> Value:
    step.need_inputs(2)
    node = step.node
    _need(step, "data_format", node.text("data_format", "NHWC"), "NHWC")
    _need(step, "padding", node.text("padding", ""), "VALID")
    _need(step, "dilations", node.integers("dilations") or (1, 1, 1, 1), (1, 1, 1, 1))
    _need(step, "explicit_paddings", node.integers("explicit_paddings"), ())
    strides = node.integers("strides")
    if (
        len(strides) != 4
        or strides[0] != 1
        or strides[3] != 1
        or not all(0 < stride <= SPATIAL_LIMIT for stride in strides)
    ):
        raise node.refuse(f"has strides {list(strides)[:8]}", f"[1, s, s, 1] with s up to {SPATIAL_LIMIT}")

    picture = _signal(step, 0, rank=4)
    kernel = _float_array(step, 1)
    _, height, width, channels = picture.shape
    sizes = kernel.shape
    fits = len(sizes) == 4 and sizes[2] == channels and 0 < sizes[0] <= height and 0 < sizes[1] <= width
    if not fits or max(sizes[:2]) > SPATIAL_LIMIT or sizes[3] < 1:
        raise node.refuse(
            f"has a kernel of {list(sizes)} on a picture of {list(picture.shape)}",
            f"height x width x {channels} x filters, no larger than the picture",
        )
    shape = (1, (height - sizes[0]) // strides[1] + 1, (width - sizes[1]) // strides[2] + 1, sizes[3])
    _check_size(step, shape)
    planes = step.writer.as_planes(picture)
    turned = np.ascontiguousarray(
        kernel.transpose(3, 2, 0, 1)
    )  # height, width, in, out to out, in, height, width
    weights = step.writer.constant(turned, f"{node.name}/kernel")
    name = step.writer.emit(
        "Conv", [planes.value, weights], node.name, kernel_shape=list(sizes[:2]), strides=list(strides[1:3])
    )
    return Signal(name, shape, (1, shape[3], shape[1], shape[2]), planes=True, layer=_layer(step))


def _matmul(step: Step) -> Value:
    step.need_inputs(2)
    if step.node.flag("transpose_a"):
        raise step.node.refuse("has transpose_a", "only the weights transposed")
    is_transposed = step.node.flag("transpose_b")
    rows = _signal(step, 0, rank=2)
    weights = step.inputs[1]
    if isinstance(weights, Signal):
        raise step.node.refuse("multiplies two computed tensors", "weights as the second")
    sizes = shape_of(weights)
    if len(sizes) != 2 or sizes[is_transposed] != rows.shape[1] or sizes[not is_transposed] < 1:
        raise step.node.refuse(
            f"multiplies {list(rows.shape)} by {list(sizes)[:8]}", f"{rows.shape[1]} rows of weights"
        )
    shape = (rows.shape[0], sizes[not is_transposed])
    _check_size(step, shape)
    # Output by output, so that what one output reads lies together: models.session_choice measures the gain.
    if isinstance(weights, Weights):
        matrix = step.writer.copied(weights) if is_transposed else step.writer.turned(weights)
    else:
        array = _float_array(step, 1)
        matrix = step.writer.constant(array if is_transposed else array.T, f"{step.node.name}/weights")
    name = step.writer.emit("Gemm", [step.writer.stored(rows), matrix], step.node.name, transB=1)
    return Signal(name, shape, shape, layer=_layer(step))


def _bias_add(step: Step) -> Value:
    step.need_inputs(2)
    _need(step, "data_format", step.node.text("data_format", "NHWC"), "NHWC")
    signal = _signal(step, 0)
    bias = _float_array(step, 1)
    if bias.shape != signal.shape[-1:]:
        raise step.node.refuse(
            f"adds a bias of {list(bias.shape)} to {list(signal.shape)}", f"one of {list(signal.shape[-1:])}"
        )
    return _combine(step, "Add", signal, bias, signal_first=True)


def _relu(step: Step) -> Value:
    step.need_inputs(1)
    signal = _signal(step, 0)
    name = step.writer.emit("Relu", [signal.value], step.node.name)
    return replace(signal, value=name, layer=None, stopped=False)


def _softmax(step: Step) -> Value:
    step.need_inputs(1)
    signal = _signal(step, 0, rank=2)
    name = step.writer.emit("Softmax", [step.writer.stored(signal)], step.node.name, axis=-1)
    return Signal(name, signal.shape, signal.shape)


def _arithmetic(step: Step) -> Value:
    step.need_inputs(2)
    op, compute = _ARITHMETIC[step.node.op]
    first, second = step.inputs
    if isinstance(first, Signal) and isinstance(second, Signal):
        return _combine_signals(step, op, first, second)
    if isinstance(first, Signal):
        return _combine(step, op, first, _float_array(step, 1), signal_first=True)
    if isinstance(second, Signal):
        return _combine(step, op, second, _float_array(step, 0), signal_first=False)
    left, right = step.known(0).array, step.known(1).array
    if left.dtype != right.dtype or left.dtype.kind not in "if":
        raise step.node.refuse(f"combines {left.dtype} and {right.dtype}", "numbers of one type")
    if math.prod(_broadcast(step, left.shape, right.shape)) > KNOWN_LIMIT:
        raise step.node.refuse("makes an array larger than any network's", f"{KNOWN_LIMIT} numbers")
    if left.dtype.kind == "i" and op == "Div":
        raise step.node.refuse("divides whole numbers", "float32")
    with np.errstate(all="ignore"):
        result = np.asarray(compute(left, right))
    if not np.isfinite(result).all():
        raise step.node.refuse("computes NaN or infinity from constants")
    return Known(result)


def _combine(step: Step, op: str, signal: Signal, array: Array, *, signal_first: bool) -> Value:
    """Combine a signal with known numbers."""
    writer = step.writer
    shape = _broadcast(step, signal.shape, array.shape)
    _check_size(step, shape)
    rescaler = _rescaled(writer, op, signal, array, shape)
    if rescaler is not None:
        return rescaler
    if shape == signal.shape and _changes_nothing(op, array, signal_first):
        return replace(signal, stopped=False, layer=signal.layer if step.is_used_once else None)

    is_per_channel = shape == signal.shape and array.shape[-1:] == shape[-1:] == (array.size,)
    if op == "Add" and signal.layer is not None and is_per_channel:
        writer.add_bias(signal.layer, array.reshape(-1), f"{step.node.name}/bias")
        return replace(signal, layer=None)
    if signal.planes and shape == signal.shape and array.size > 1:
        full = array.reshape((1,) * (4 - array.ndim) + array.shape)
        array = full.transpose(0, 3, 1, 2)
    elif shape != signal.shape or (array.size > 1 and signal.stored != signal.shape):
        signal = Signal(writer.stored(signal), signal.shape, signal.shape)
    stored = shape if shape != signal.shape else signal.stored
    constant = array.reshape(()) if array.size == 1 and shape == signal.shape else array
    name = writer.constant(np.ascontiguousarray(constant), f"{step.node.name}/constant")
    values = [signal.value, name] if signal_first else [name, signal.value]
    return Signal(writer.emit(op, values, step.node.name), shape, stored, planes=signal.planes)


def _rescaled(writer: NetworkWriter, op: str, signal: Signal, array: Array, shape: Shape) -> Value | None:
    """Fold the half of the gradient rescaler, 0 * StopGradient(x), that a forward pass never sees."""
    if op != "Mul" or not signal.stopped or array.any() or math.prod(shape) > KNOWN_LIMIT:
        return None
    writer.notes.append("the gradient rescaler of the training was left out: it changes no answer")
    return Known(np.zeros(shape, np.float32))


def _changes_nothing(op: str, array: Array, signal_first: bool) -> bool:
    if op == "Add":
        return not array.any()
    if op == "Mul":
        return bool((array == 1).all())
    return signal_first and (not array.any() if op == "Sub" else bool((array == 1).all()))


def _combine_signals(step: Step, op: str, first: Signal, second: Signal) -> Value:
    shape = _broadcast(step, first.shape, second.shape)
    _check_size(step, shape)
    if first.planes and second.planes and first.shape == second.shape:
        name = step.writer.emit(op, [first.value, second.value], step.node.name)
        return Signal(name, shape, first.stored, planes=True)
    values = [step.writer.stored(first), step.writer.stored(second)]
    return Signal(step.writer.emit(op, values, step.node.name), shape, shape)


def _broadcast(step: Step, first: Shape, second: Shape) -> Shape:
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        raise step.node.refuse(f"combines the shapes {list(first)[:8]} and {list(second)[:8]}") from None


def _check_size(step: Step, shape: Shape) -> None:
    if not 0 < math.prod(shape) <= SIGNAL_LIMIT:
        raise step.node.refuse(f"computes the shape {list(shape)[:8]}", f"1 to {SIGNAL_LIMIT} numbers")


def _need(step: Step, key: str, seen: object, allowed: object) -> None:
    if seen != allowed:
        raise step.node.refuse(f"has {key} {str(seen)[:60]!r}", f"{allowed!r}")


HANDLERS: dict[str, Handler] = {
    "Conv2D": _conv2d,
    "MatMul": _matmul,
    "BiasAdd": _bias_add,
    "Relu": _relu,
    "Softmax": _softmax,
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
}
