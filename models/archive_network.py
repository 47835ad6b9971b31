"""Look into a network's file without loading it: which kind it is, and what an ONNX file says of itself.

Both kinds are protocol buffers: fields one after another, each a tag (number and wire type) and a value,
most of them with their length in front. The file is mapped and only walked from length to length, so the
weights, which are nearly all of it, are never read; nothing is unpacked into objects.

Field numbers from onnx.proto3 and tensorflow/core/framework/graph.proto.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from models.archive_limits import Cancelled, UnpackCancelledError
from models.errors import PolicyError
from models.field_checks import refuse

NetworkKind = Literal["onnx", "frozen_graph"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 are groups, which nobody writes any more
FIELDS_MAX = 2_000_000  # a network of 230 MB has a few thousand
POLL_FIELDS = 4096
DEPTH_MAX = 32  # of graphs within graphs
TEXT_BYTES_MAX = 1 << 20  # of one property or file name

FROZEN_GRAPH_WIRES = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES}  # node, library, version, versions
SAVED_MODEL_WIRES = {1: VARINT, 2: BYTES}  # saved_model_schema_version, meta_graphs
ONNX_IR_VERSION, ONNX_GRAPH, ONNX_PROPERTY = 1, 7, 14

# Which fields of an ONNX message hold another message that can lead to a tensor.
ONNX_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
TENSOR_EXTERNAL_DATA = 13  # pairs of key and value; the key `location` names the file


class OnnxOutline(msgspec.Struct, frozen=True):
    """What an ONNX file says of itself and of the files that it needs."""

    properties: dict[str, str]
    """Its `metadata_props`."""
    external_files: tuple[str, ...]
    """The `location` of every tensor that lies elsewhere, each once, as written."""


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    end: int


class _MalformedError(Exception):
    """The bytes are no protocol buffer, or not all of one."""


def network_kind(path: Path, cancelled: Cancelled) -> NetworkKind:
    """Return what the file is, by its content; raises PolicyError for anything but a network."""
    wires: dict[int, int] = {}
    try:
        with _mapped(path) as data:
            for count, field in enumerate(_fields(data, 0, len(data)), 1):
                if count % POLL_FIELDS == 0 and cancelled():
                    raise UnpackCancelledError
                if wires.setdefault(field.number, field.wire) != field.wire:
                    raise _MalformedError
    except (_MalformedError, ValueError):  # ValueError: an empty file cannot be mapped
        refuse(
            "what came as the network is no network, or is cut off",
            "it must be an ONNX file or a frozen TensorFlow graph",
            "download or export it again",
        )
    if wires.get(ONNX_IR_VERSION) == VARINT and wires.get(ONNX_GRAPH) == BYTES:
        return "onnx"
    if wires.get(1) == BYTES and wires.items() <= FROZEN_GRAPH_WIRES.items():
        return "frozen_graph"
    is_saved_model = 2 in wires and wires.items() <= SAVED_MODEL_WIRES.items()
    what = (
        "a TensorFlow SavedModel, whose weights lie in other files"
        if is_saved_model
        else "neither an ONNX file nor a frozen TensorFlow graph"
    )
    raise PolicyError(
        f"{path.name} is {what}; the car runs frozen graphs and ONNX files; "
        "use the model.pb of a DeepRacer export, or export as ONNX"
    )


def onnx_outline(path: Path, cancelled: Cancelled) -> OnnxOutline:
    """Walk an ONNX file for its properties and the files it names; raises PolicyError."""
    properties: dict[str, str] = {}
    locations: dict[str, None] = {}
    try:
        with _mapped(path) as data:
            for message, field in _onnx_messages(data, cancelled):
                if message == "model" and field.number == ONNX_PROPERTY and field.wire == BYTES:
                    key, value = _pair(data, field)
                    properties[key] = value
                elif message == "tensor" and field.number == TENSOR_EXTERNAL_DATA and field.wire == BYTES:
                    key, value = _pair(data, field)
                    if key == "location":
                        locations[value] = None
    except _MalformedError as error:
        raise PolicyError(
            f"{path.name} is an ONNX file that cannot be read ({error}); it must be whole and have no more "
            f"than {FIELDS_MAX} parts; export it again"
        ) from error
    return OnnxOutline(properties, tuple(locations))


class _mapped:  # noqa: N801 - used as a statement
    """The file's bytes, mapped."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> mmap.mmap:
        return self._map

    def __exit__(self, *_: object) -> None:
        self._map.close()


def _onnx_messages(data: mmap.mmap, cancelled: Cancelled) -> Iterator[tuple[str, _Field]]:
    """Yield every field of every message that can lead to a tensor, with the message's kind."""
    waiting = [("model", 0, len(data), 0)]
    count = 0
    while waiting:
        message, start, end, depth = waiting.pop()
        children = ONNX_CHILDREN[message]
        if depth > DEPTH_MAX * 3:  # graph, node, attribute
            raise _MalformedError(f"graphs are nested more than {DEPTH_MAX} deep")
        for field in _fields(data, start, end):
            count += 1
            if count > FIELDS_MAX:
                raise _MalformedError("it has too many parts")
            if count % POLL_FIELDS == 0 and cancelled():
                raise UnpackCancelledError
            yield message, field
            if field.number in children and field.wire == BYTES:
                waiting.append((children[field.number], field.start, field.end, depth + 1))


def _pair(data: mmap.mmap, field: _Field) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for part in _fields(data, field.start, field.end):
        if part.number in texts and part.wire == BYTES:
            if part.end - part.start > TEXT_BYTES_MAX:
                raise _MalformedError("a text is too long")
            try:
                texts[part.number] = data[part.start : part.end].decode()
            except UnicodeDecodeError as error:
                raise _MalformedError("a text is not UTF-8") from error
    return texts[1], texts[2]


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of one message; raises _MalformedError where the bytes make none."""
    position = start
    count = 0
    while position < end:
        tag, position = _varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        if wire == BYTES:
            length, position = _varint(data, position, end)
        elif wire == VARINT:
            after = _varint(data, position, end)[1]
            length = after - position
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise _MalformedError(f"wire type {wire}")
        count += 1
        if number == 0 or position + length > end or count > FIELDS_MAX:
            raise _MalformedError(f"field {number} of {length} bytes")
        yield _Field(number, wire, position, position + length)
        position += length


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _MalformedError("it ends too early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _MalformedError("a number is too long")
