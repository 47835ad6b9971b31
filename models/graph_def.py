"""The part of TensorFlow's GraphDef that a frozen policy uses, as protobuf messages.

The description is built in code from the field numbers of TensorFlow's public `graph.proto`,
`node_def.proto`, `attr_value.proto`, `tensor.proto`, `tensor_shape.proto` and `types.proto`. It lives in
a descriptor pool of its own: TensorFlow may be imported beside it, and neither sees the other's types.
Fields left out (functions, variants, debug information) are skipped by protobuf as unknown.
"""

import enum
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "tensorflow"

_FIELD = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "bool": _FIELD.TYPE_BOOL,
    "bytes": _FIELD.TYPE_BYTES,
    "double": _FIELD.TYPE_DOUBLE,
    "float": _FIELD.TYPE_FLOAT,
    "int32": _FIELD.TYPE_INT32,  # of enumerations too: the same on the wire, and unknown values are kept
    "int64": _FIELD.TYPE_INT64,
    "string": _FIELD.TYPE_STRING,
}

_MESSAGES: dict[str, tuple[tuple[int, str, str], ...]] = {
    "GraphDef": ((1, "node", "repeated NodeDef"), (4, "versions", "VersionDef")),
    "VersionDef": ((1, "producer", "int32"), (2, "min_consumer", "int32")),
    "NodeDef": (
        (1, "name", "string"),
        (2, "op", "string"),
        (3, "input", "repeated string"),
        (4, "device", "string"),
        (5, "attr", "map AttrValue"),
    ),
    "AttrValue": (
        (1, "list", "oneof AttrList"),
        (2, "s", "oneof bytes"),
        (3, "i", "oneof int64"),
        (4, "f", "oneof float"),
        (5, "b", "oneof bool"),
        (6, "type", "oneof int32"),
        (7, "shape", "oneof TensorShapeProto"),
        (8, "tensor", "oneof TensorProto"),
    ),
    "AttrList": (
        (2, "s", "repeated bytes"),
        (3, "i", "repeated int64"),
        (4, "f", "repeated float"),
        (5, "b", "repeated bool"),
        (6, "type", "repeated int32"),
        (7, "shape", "repeated TensorShapeProto"),
    ),
    "TensorProto": (
        (1, "dtype", "int32"),
        (2, "tensor_shape", "TensorShapeProto"),
        (4, "tensor_content", "bytes"),
        (5, "float_val", "repeated float"),
        (7, "int_val", "repeated int32"),
        (10, "int64_val", "repeated int64"),
        (11, "bool_val", "repeated bool"),
    ),
    "TensorShapeProto": ((2, "dim", "repeated Dim"), (3, "unknown_rank", "bool")),
    "Dim": ((1, "size", "int64"), (2, "name", "string")),
}
"""Message -> its fields: number, name, kind. Names of messages are ours where TensorFlow nests them."""

CONTENT_PATH = (5, 2, 8, 4)
"""From a NodeDef to the bytes of a constant: attr, value (of the map's entry), tensor, tensor_content."""


class DataType(enum.IntEnum):
    """Number types, as TensorFlow numbers them."""

    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    HALF = 19
    RESOURCE = 20
    VARIANT = 21


def type_name(number: int) -> str:
    """Return a number type's name for people, also of one that we do not know."""
    try:
        return DataType(number).name.lower()
    except ValueError:
        return f"type {number}"


def _build_messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="models/graph_def.proto", package=PACKAGE, syntax="proto3")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        if any(kind.startswith("oneof ") for _, _, kind in fields):
            message.oneof_decl.add(name="value")
        for number, name, kind in fields:
            _add_field(message, number, name, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
    }


def _add_field(message: Any, number: int, name: str, kind: str) -> None:
    how, _, type_word = kind.rpartition(" ")
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if how == "oneof":
        field.oneof_index = 0
    elif how in {"repeated", "map"}:
        field.label = _FIELD.LABEL_REPEATED
    if how == "map":
        entry = message.nested_type.add(name="AttrEntry")  # the name that protobuf demands of a map `attr`
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string")
        _add_field(entry, 2, "value", type_word)
        type_word = f"{message.name}.AttrEntry"
    if type_word in _KINDS:
        field.type = _KINDS[type_word]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{type_word}"


_CLASSES = _build_messages()
GraphDef: Any = _CLASSES["GraphDef"]
NodeDef: Any = _CLASSES["NodeDef"]
AttrValue: Any = _CLASSES["AttrValue"]
TensorProto: Any = _CLASSES["TensorProto"]
