"""From the bytes of a frozen TensorFlow graph to its nodes, without ever holding the weights.

A `model.pb` of a policy is 11 to 230 MB, of which all but some kilobytes are the `tensor_content` of a
few constants. Their places are found by walking protobuf's wire format through a map of the file; the
rest, with those bytes cut out, goes to protobuf.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from models.errors import PolicyError
from models.field_checks import plain
from models.graph_def import CONTENT_PATH, NodeDef

FILE_LIMIT_BYTES = 512 << 20  # the largest network of the field has 230 MB
NODE_LIMIT = 4000  # the largest graph of the field has 142 nodes, a whole training graph some thousands
NODE_LIMIT_BYTES = 1 << 20  # of a node without its weights; the field's have a kilobyte
DESCRIPTION_LIMIT_BYTES = 16 << 20  # of all nodes without their weights
LARGE_BYTES = 64 << 10  # weights from here on stay in their file

EXPORT_AGAIN = "export the model from the training again and upload it whole"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10


class Span(NamedTuple):
    """A stretch of the file."""

    start: int
    length: int


@dataclass(frozen=True)
class RawNode:
    """One node of the file, still in TensorFlow's words."""

    message: Any
    """A NodeDef, its large weights cut out."""
    content: Span | None
    """Where the weights that were cut out lie."""


class _Field(NamedTuple):
    number: int
    wire_type: int
    tag_start: int
    start: int
    end: int


def read_nodes(pb: Path) -> list[RawNode]:
    """Return the nodes of a frozen graph in the order of the file; raises PolicyError."""
    try:
        with pb.open("rb") as file:
            size = file.seek(0, 2)
            if not 0 < size <= FILE_LIMIT_BYTES:
                raise PolicyError(
                    f"the TensorFlow graph has {size} bytes, allowed are 1 to "
                    f"{FILE_LIMIT_BYTES >> 20} MB; {EXPORT_AGAIN}"
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                nodes = _nodes(data, size)
    except (OSError, ValueError) as error:
        raise PolicyError(f"the TensorFlow graph cannot be read ({plain(error)}); {EXPORT_AGAIN}") from error
    if not nodes:
        raise PolicyError(f"the file holds no node of a TensorFlow graph; {EXPORT_AGAIN}")
    return nodes


def _nodes(data: mmap.mmap, size: int) -> list[RawNode]:
    nodes: list[RawNode] = []
    described = 0
    for field in _fields(data, 0, size):
        if field.number != 1:
            continue  # versions, functions, debug information
        if field.wire_type != _BYTES:
            raise _malformed(field.tag_start)
        node, node_bytes = _node(data, field)
        nodes.append(node)
        described += node_bytes
        if len(nodes) > NODE_LIMIT or described > DESCRIPTION_LIMIT_BYTES:
            raise PolicyError(
                f"the TensorFlow graph has more than {NODE_LIMIT} nodes or {DESCRIPTION_LIMIT_BYTES >> 20} "
                "MB beside its weights, which no policy has; export the frozen policy, not a checkpoint"
            )
    return nodes


def _node(data: mmap.mmap, field: _Field) -> tuple[RawNode, int]:
    contents: list[Span] = []
    if field.end - field.start < LARGE_BYTES:
        text = data[field.start : field.end]
    else:
        text = bytes(_cut(data, field.start, field.end, CONTENT_PATH, contents))
    message = NodeDef()
    try:
        message.ParseFromString(text)
    except DecodeError as error:
        raise PolicyError(
            f"the file is not a TensorFlow graph: the node at byte {field.start} is damaged; {EXPORT_AGAIN}"
        ) from error
    if contents:
        tensors = [key for key, value in message.attr.items() if value.HasField("tensor")]
        if len(contents) != 1 or tensors != ["value"]:
            raise PolicyError(
                f"node {plain(message.name)!r} ({plain(message.op)}) holds {len(contents)} blocks of weights "
                f"in {len(tensors)} attributes, allowed is one in `value`; {EXPORT_AGAIN}"
            )
    return RawNode(message, contents[0] if contents else None), len(text)


def _cut(data: mmap.mmap, start: int, end: int, path: tuple[int, ...], contents: list[Span]) -> bytearray:
    """Return a message without the large bytes that `path` leads to; those spans are added to `contents`."""
    kept = bytearray()
    for field in _fields(data, start, end):
        if field.number == path[0] and field.wire_type == _BYTES:
            if len(path) > 1:
                inner = _cut(data, field.start, field.end, path[1:], contents)
                kept += _varint(field.number << 3 | _BYTES) + _varint(len(inner)) + inner
                continue
            if field.end - field.start >= LARGE_BYTES:
                contents.append(Span(field.start, field.end - field.start))
                continue
        if len(kept) + field.end - field.tag_start > NODE_LIMIT_BYTES:
            raise PolicyError(
                f"the TensorFlow graph has, at byte {field.tag_start}, a node of more than "
                f"{NODE_LIMIT_BYTES >> 20} MB beside weights stored as bytes; {EXPORT_AGAIN}"
            )
        kept += data[field.tag_start : field.end]
    return kept


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """Walk the fields of one message."""
    position = start
    while position < end:
        tag, after = _read_varint(data, position, end)
        number, wire_type = tag >> 3, tag & 7
        value_start = after
        if wire_type == _VARINT:
            _, value_end = _read_varint(data, after, end)
        elif wire_type == _BYTES:
            length, value_start = _read_varint(data, after, end)
            value_end = value_start + length
        elif wire_type in {_FIXED64, _FIXED32}:
            value_end = after + (8 if wire_type == _FIXED64 else 4)
        else:
            raise _malformed(position)
        if number == 0:
            raise _malformed(position)
        if value_end > end:
            raise PolicyError(
                f"the TensorFlow graph is cut off or damaged: a part at byte {position} ends at {value_end}, "
                f"its whole at {end}; {EXPORT_AGAIN}"
            )
        yield _Field(number, wire_type, position, value_start, value_end)
        position = value_end


def _read_varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """Return a number and the place behind it."""
    value = 0
    for index in range(_VARINT_BYTES_MAX):
        if position + index >= end:
            raise PolicyError(f"the TensorFlow graph is cut off at byte {position + index}; {EXPORT_AGAIN}")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _malformed(position)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _malformed(position: int) -> PolicyError:
    return PolicyError(
        f"the file is not a frozen TensorFlow graph: byte {position} starts no part of one; "
        "upload model.pb as the training exported it, or an ONNX network"
    )
