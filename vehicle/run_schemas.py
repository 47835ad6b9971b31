"""The channels of a run's file: well-known schemas where there are any, so that Foxglove and `mcap` open it.

Pictures are `foxglove.CompressedImage` and scans `foxglove.LaserScan` in Protocol Buffers (field numbers
from Foxglove's published schemas); ticks, truth and log lines are JSON with their JSON schema. What a
replay needs to the bit stands beside them in MessagePack.
"""

import enum
import functools
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from vehicle.laps import MarkerLaps
from vehicle.messages import TickRecord
from vehicle.truth import TrackLayout, WorldTruth

F = descriptor_pb2.FieldDescriptorProto


class Topic(enum.StrEnum):
    """Where what stands in a run's file."""

    TICK = "/tick"
    EXACT_TICK = "/replay/tick"
    START = "/replay/start"
    CAMERA = "/camera"
    RIGHT_CAMERA = "/camera_right"
    SCAN = "/lidar"
    PICTURE = "/replay/picture"
    TURN = "/replay/lidar"
    INPUTS = "/replay/policy_inputs"
    POLICY_INPUT = "/policy_input"
    TRUTH = "/truth"
    TRACK = "/track"
    MARKER = "/start_marker"
    LOG = "/log"


class Channel(msgspec.Struct, frozen=True):
    """How one topic is written down."""

    message_encoding: str
    schema_name: str = ""
    schema_encoding: str = ""
    schema: bytes = b""


LOG_SCHEMA = {
    "type": "object",
    "title": "foxglove.Log",
    "properties": {
        "timestamp": {
            "type": "object",
            "title": "time",
            "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
        },
        "level": {"type": "integer"},
        "message": {"type": "string"},
        "name": {"type": "string"},
        "file": {"type": "string"},
        "line": {"type": "integer"},
    },
}


class LogLine(msgspec.Struct, frozen=True):
    """What a run keeps of `foxglove.Log` for its own use."""

    message: str
    name: str
    """Who asked, of a request."""
    file: str
    """What kind of line it is: `vehicle.run_traces.EventKind`."""


class LogLevel(enum.IntEnum):
    """Foxglove's."""

    INFO = 2
    WARNING = 3
    ERROR = 4


def _file(name: str, fields: list[tuple[str, int, int, bool, str]]) -> descriptor_pb2.FileDescriptorProto:
    """Return the description of one message; fields: name, number, type, repeated, type's name."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"foxglove/{name}.proto",
        package="foxglove",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    message = file.message_type.add(name=name)
    for field, number, kind, repeated, type_name in fields:
        label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
        added = message.field.add(name=field, number=number, type=kind, label=label)
        if type_name:
            added.type_name = type_name
    return file


_STAMP = ("timestamp", 1, F.TYPE_MESSAGE, False, ".google.protobuf.Timestamp")
_FILES = {
    "CompressedImage": _file(
        "CompressedImage",
        [
            _STAMP,
            ("data", 2, F.TYPE_BYTES, False, ""),
            ("format", 3, F.TYPE_STRING, False, ""),
            ("frame_id", 4, F.TYPE_STRING, False, ""),
        ],
    ),
    "RawImage": _file(
        "RawImage",
        [
            _STAMP,
            ("width", 2, F.TYPE_FIXED32, False, ""),
            ("height", 3, F.TYPE_FIXED32, False, ""),
            ("encoding", 4, F.TYPE_STRING, False, ""),
            ("step", 5, F.TYPE_FIXED32, False, ""),
            ("data", 6, F.TYPE_BYTES, False, ""),
            ("frame_id", 7, F.TYPE_STRING, False, ""),
        ],
    ),
    "LaserScan": _file(
        "LaserScan",
        [
            _STAMP,
            ("frame_id", 2, F.TYPE_STRING, False, ""),
            ("start_angle", 4, F.TYPE_DOUBLE, False, ""),
            ("end_angle", 5, F.TYPE_DOUBLE, False, ""),
            ("ranges", 6, F.TYPE_DOUBLE, True, ""),
        ],
    ),
}
_POOL = descriptor_pool.DescriptorPool()
_STAMP_FILE = descriptor_pb2.FileDescriptorProto()
timestamp_pb2.DESCRIPTOR.CopyToProto(_STAMP_FILE)
_POOL.Add(_STAMP_FILE)
for _one in _FILES.values():
    _POOL.Add(_one)


@functools.cache
def protobuf_class(name: str) -> Any:
    """Return the class of one of Foxglove's messages."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"foxglove.{name}"))


def protobuf_class_of(schema: bytes, name: str) -> Any:
    """Return the class that a file's own schema describes, as any reader would make it."""
    files = descriptor_pb2.FileDescriptorSet.FromString(schema)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def protobuf_bytes(name: str, time_ns: int, **fields: object) -> bytes:
    """Return one of Foxglove's messages with its stamp, as it is written."""
    message = protobuf_class(name)(**fields)
    message.timestamp.seconds, message.timestamp.nanos = divmod(time_ns, 10**9)
    data: bytes = message.SerializeToString()
    return data


def _protobuf(name: str) -> Channel:
    files = descriptor_pb2.FileDescriptorSet(file=[_STAMP_FILE, _FILES[name]])
    return Channel("protobuf", f"foxglove.{name}", "protobuf", files.SerializeToString())


def _json(name: str, schema: dict[str, Any]) -> Channel:
    return Channel("json", name, "jsonschema", msgspec.json.encode(schema))


CHANNELS: dict[Topic, Channel] = {
    Topic.TICK: _json("lapwing.TickRecord", msgspec.json.schema(TickRecord)),
    Topic.TRUTH: _json("lapwing.WorldTruth", msgspec.json.schema(WorldTruth)),
    Topic.TRACK: _json("lapwing.TrackLayout", msgspec.json.schema(TrackLayout)),
    Topic.MARKER: _json("lapwing.MarkerLaps", msgspec.json.schema(MarkerLaps)),
    Topic.LOG: _json("foxglove.Log", LOG_SCHEMA),
    Topic.CAMERA: _protobuf("CompressedImage"),
    Topic.RIGHT_CAMERA: _protobuf("CompressedImage"),
    Topic.SCAN: _protobuf("LaserScan"),
    Topic.POLICY_INPUT: _protobuf("RawImage"),
    Topic.EXACT_TICK: Channel("msgpack"),
    Topic.START: Channel("msgpack"),
    Topic.PICTURE: Channel("msgpack"),
    Topic.TURN: Channel("msgpack"),
    Topic.INPUTS: Channel("msgpack"),
}
