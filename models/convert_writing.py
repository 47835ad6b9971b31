"""Writes an ONNX network node by node, its large weights copied from file to file, 1 MB at a time."""

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle_files import MODEL_NAME
from models.convert_reading import LARGE_BYTES
from models.convert_values import Shape, Signal, Weights, not_finite
from models.errors import PolicyError
from models.field_checks import plain

OPSET = 17
IR_VERSION = 9
OUTPUT_NAME = "policy"
WEIGHTS_NAME = "weights.bin"
CHUNK_BYTES = 1 << 20
BAND_BYTES = 8 << 20  # of a matrix are turned at a time
ALIGNMENT = 4096  # so that a runtime can map each tensor
LOADED_LIMIT_BYTES = 16 << 20  # of weights that must be turned; the field's largest have 0.6 MB

Content = TypeVar("Content")


class NetworkWriter:
    """Collects nodes and writes them; its files are its own, and `discard` removes them."""

    def __init__(self, source: BinaryIO, folder: Path) -> None:
        """`source` is the frozen graph, from which weights are copied into `folder`."""
        self.nodes: list[Any] = []
        self.notes: list[str] = []
        self._source = source
        self._folder = folder
        self._weights_file: BinaryIO | None = None
        self._inputs: list[tuple[str, Shape]] = []
        self._initializers: list[Any] = []
        self._names = {OUTPUT_NAME}
        self._kept: dict[tuple[str, str], str] = {}
        self._written: list[Path] = []

    @property
    def inputs(self) -> tuple[tuple[str, Shape], ...]:
        """Name and shape of each input, in the order of the graph."""
        return tuple(self._inputs)

    def add_input(self, name: str, shape: Shape) -> Signal:
        """Return a new input, NHWC as TensorFlow has it."""
        if name in self._names or not name.isprintable():
            raise PolicyError(
                f"the TensorFlow graph's input is called {plain(name)!r}, allowed is a plain name other than "
                f"{OUTPUT_NAME!r}; export the model from the training again"
            )
        self._names.add(name)
        self._inputs.append((name, shape))
        return Signal(name, shape, shape)

    def emit(self, op: str, inputs: Sequence[str], like: str, **attributes: Any) -> str:
        """Add a node and return its output's name, made from the TensorFlow node's."""
        output = self._fresh(like)
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def add_bias(self, layer: int, bias: npt.NDArray[np.generic], name: str) -> None:
        """Give a convolution or a dense layer, which has none yet, a bias."""
        self.nodes[layer].input.append(self.constant(bias, name))

    def constant(self, array: npt.NDArray[np.generic], name: str) -> str:
        """Return the name of a small constant kept in the network itself, or a larger one beside it."""
        output = self._fresh(name)
        if array.nbytes >= LARGE_BYTES:
            self._append(output, array.shape, array, lambda values, file: file.write(values.tobytes()))
        else:
            self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), output))
        return output

    def copied(self, weights: Weights) -> str:
        """Return the name of weights that go into the file as they are, seen as a matrix or whatever."""
        key = (weights.name, f"{weights.shape}")
        if key not in self._kept:
            output = self._fresh(weights.name)
            self._append(output, weights.shape, weights, self._copy)
            self._kept[key] = output
        return self._kept[key]

    def turned(self, weights: Weights) -> str:
        """Return the name of a matrix that goes into the file with rows and columns exchanged."""
        key = (weights.name, "turned")
        if key not in self._kept:
            output = self._fresh(weights.name)
            self._append(output, weights.shape[::-1], weights, self._copy_turned)
            self._kept[key] = output
        return self._kept[key]

    def loaded(self, weights: Weights) -> npt.NDArray[np.float32]:
        """Return weights of a convolution as an array; raises PolicyError for huge ones."""
        if weights.span.length > LOADED_LIMIT_BYTES:
            raise PolicyError(
                f"the TensorFlow graph's weights {plain(weights.name)!r} have {weights.span.length >> 20} "
                f"MB, allowed are {LOADED_LIMIT_BYTES >> 20} MB in their place; use a network of DeepRacer's"
            )
        array = np.empty(weights.span.length // 4, "<f4")
        self._read_into(weights, 0, array.data.cast("B"))
        return array.astype(np.float32, copy=False).reshape(weights.shape)

    def stored(self, signal: Signal) -> str:
        """Return the ONNX value of a signal in TensorFlow's shape and order."""
        signal = self.as_rows(signal)
        if signal.stored == signal.shape:
            return signal.value
        return self._reshaped(signal.value, signal.shape)

    def as_rows(self, signal: Signal) -> Signal:
        """Return a signal whose numbers lie in TensorFlow's order (channels last)."""
        if not signal.planes:
            return signal
        _, height, width, channels = signal.shape
        if channels == 1 or height * width == 1:  # the two orders are the same
            return Signal(signal.value, signal.shape, signal.stored)
        value = self.emit("Transpose", [signal.value], f"{signal.value}/rows", perm=[0, 2, 3, 1])
        return Signal(value, signal.shape, signal.shape)

    def as_planes(self, signal: Signal) -> Signal:
        """Return a picture signal whose numbers lie in ONNX's order (channels first)."""
        if signal.planes:
            return signal
        batch, height, width, channels = signal.shape
        turned = (batch, channels, height, width)
        if channels == 1 or height * width == 1:
            value = signal.value if signal.stored == turned else self._reshaped(signal.value, turned)
        else:
            name = f"{signal.value}/planes"
            value = self.emit("Transpose", [self.stored(signal)], name, perm=[0, 3, 1, 2])
        return Signal(value, signal.shape, turned, planes=True)

    def _reshaped(self, value: str, shape: Shape) -> str:
        sizes = self.constant(np.array(shape, np.int64), f"{value}/shape")
        return self.emit("Reshape", [value, sizes], f"{value}/reshaped")

    def finish(self, output: Signal, properties: dict[str, str]) -> Path:
        """Write the network and close the weights; return the network's path."""
        value = self.stored(output)
        for node in self.nodes:
            node.input[:] = [OUTPUT_NAME if name == value else name for name in node.input]
            node.output[:] = [OUTPUT_NAME if name == value else name for name in node.output]
        graph = helper.make_graph(
            self.nodes,
            "policy",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self._inputs],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, output.shape)],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="lapwing",
        )
        helper.set_model_props(model, properties)
        if self._weights_file is not None:
            self._weights_file.close()
        path = self._folder / MODEL_NAME
        with self._create(path) as file:
            file.write(model.SerializeToString())
        try:
            onnx.checker.check_model(str(path), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
            raise PolicyError(
                f"the converted network is not valid ONNX ({plain(error)}), which is a mistake of the "
                "converter's; report it, with the archive"
            ) from error
        return path

    def discard(self) -> None:
        """Remove every file that was written."""
        if self._weights_file is not None:
            with contextlib.suppress(OSError):  # what a full disk did not take is not wanted any more
                self._weights_file.close()
        for path in self._written:
            path.unlink(missing_ok=True)

    def _create(self, path: Path) -> BinaryIO:
        file = path.open("xb")
        self._written.append(path)
        return file

    def _fresh(self, like: str) -> str:
        like = like if like.isprintable() else "node"
        name, index = like, 1
        while name in self._names:
            name, index = f"{like}_{index}", index + 1
        self._names.add(name)
        return name

    def _append(
        self, name: str, shape: Shape, content: Content, write: Callable[[Content, BinaryIO], object]
    ) -> None:
        """Add weights to the file beside the network, and their place to the network."""
        if self._weights_file is None:
            self._weights_file = self._create(self._folder / WEIGHTS_NAME)
        file = self._weights_file
        start = -(-file.tell() // ALIGNMENT) * ALIGNMENT
        file.write(bytes(start - file.tell()))
        length = math.prod(shape) * 4
        write(content, file)

        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS_NAME), ("offset", str(start)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        self._initializers.append(tensor)

    def _copy(self, weights: Weights, file: BinaryIO) -> None:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        for start in range(0, weights.span.length, CHUNK_BYTES):
            part = buffer[: min(CHUNK_BYTES, weights.span.length - start)]
            self._read_into(weights, start, part)
            file.write(part)

    def _copy_turned(self, weights: Weights, file: BinaryIO) -> None:
        rows, columns = weights.shape
        start = file.tell()
        file.flush()
        band = max(1, BAND_BYTES // (4 * columns))
        buffer = memoryview(bytearray(4 * columns * min(band, rows)))
        for first in range(0, rows, band):
            count = min(band, rows - first)
            part = buffer[: 4 * columns * count]
            self._read_into(weights, 4 * columns * first, part)
            turned = np.ascontiguousarray(np.frombuffer(part, "<f4").reshape(count, columns).T)
            for column in range(columns):
                _write_at(file, turned[column].data, start + 4 * (rows * column + first))
        file.seek(start + 4 * rows * columns)

    def _read_into(self, weights: Weights, start: int, part: memoryview) -> None:
        """Fill `part` from the frozen graph; raises PolicyError when it holds something but numbers."""
        count = os.preadv(self._source.fileno(), [part], weights.span.start + start)
        if count != len(part):
            raise PolicyError(
                f"the TensorFlow graph ends {len(part) - count} bytes early in {plain(weights.name)!r}; "
                "upload it again"
            )
        if not np.isfinite(np.frombuffer(part, "<f4")).all():
            raise not_finite(plain(weights.name))


def _write_at(file: BinaryIO, data: memoryview, place: int) -> None:
    """Write all of it there; raises OSError as a full disk gives it, which may first take a part."""
    left = data.cast("B")
    while len(left):
        written = os.pwrite(file.fileno(), left, place)
        left, place = left[written:], place + written
