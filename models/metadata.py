"""`model_metadata.json` to `PolicyMetadata`, and back: what every other part imports.

`metadata_fields` says what the file can mean, `metadata_reading` by which rules it is read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from models import timetable
from models.errors import PolicyError
from models.field_checks import one_of, refuse, shown
from models.lidar_config import LidarConfig
from models.metadata_fields import (
    DEFAULT_CONTROL_RATE_HZ,
    Action,
    ActionRange,
    ActionSpaceType,
    ActionUnits,
    Color,
    InputFormat,
    Layout,
    PolicyMetadata,
    SacSquash,
    TrainingAlgorithm,
    ValueRange,
)
from models.metadata_reading import (
    CONTROL_RATE_HZ_RANGE,
    FRAME_STACK_MAX,
    MAX_ACTIONS,
    MAX_FILE_BYTES,
    SPEED_MPS_MAX,
    STEERING_DEG_MAX,
    control_rate_from,
    frame_stack_from,
    parse,
)
from models.sensors import CAMERA_SENSORS, LIDAR_SENSORS, SENSOR_ALIASES, Sensor

__all__ = [
    "CAMERA_SENSORS",
    "CONTROL_RATE_HZ_RANGE",
    "DEFAULT_CONTROL_RATE_HZ",
    "FRAME_STACK_MAX",
    "LIDAR_SENSORS",
    "MAX_ACTIONS",
    "MAX_FILE_BYTES",
    "SENSOR_ALIASES",
    "SPEED_MPS_MAX",
    "STEERING_DEG_MAX",
    "Action",
    "ActionRange",
    "ActionSpaceType",
    "ActionUnits",
    "Color",
    "InputFormat",
    "Layout",
    "LidarConfig",
    "PolicyMetadata",
    "SacSquash",
    "Sensor",
    "TrainingAlgorithm",
    "ValueRange",
    "encode",
    "load",
    "parse",
    "with_properties",
]


def load(path: Path) -> PolicyMetadata:
    """Read one file; raises PolicyError with a sentence that names it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(
            f"{path} cannot be read ({error.strerror}); put the policy's model_metadata.json there"
        ) from error
    try:
        return parse(data)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error


def encode(metadata: PolicyMetadata) -> bytes:
    """Write a `model_metadata.json` that `parse` reads as the same metadata (its notes apart)."""
    space = metadata.action_space
    fields: dict[str, Any] = {
        "action_space": (
            {
                "steering_angle": {"high": space.steering_high_deg, "low": space.steering_low_deg},
                "speed": {"high": space.speed_high_mps, "low": space.speed_low_mps},
            }
            if isinstance(space, ActionRange)
            else [
                {"steering_angle": action.steering_deg, "speed": action.speed_mps, "index": index}
                for index, action in enumerate(space)
            ]
        ),
        "action_space_type": metadata.action_space_type,
        "training_algorithm": metadata.training_algorithm,
        "sensor": list(metadata.sensors),
        "neural_network": metadata.neural_network,
        "version": f"{metadata.version:g}",
        "action_units": metadata.action_units,
        "control_rate_hz": metadata.control_rate_hz,
        "input": {
            "layout": metadata.input.layout,
            "range": metadata.input.range,
            "color": metadata.input.color,
            "frame_stack": metadata.input.frame_stack,
        },
        **metadata.unknown,
    }
    if metadata.sac_squash is not SacSquash.TANH or metadata.training_algorithm is TrainingAlgorithm.SAC:
        fields["sac_squash"] = metadata.sac_squash
    if metadata.version < 2.0 and metadata.sensors == (Sensor.OBSERVATION,):
        del fields["sensor"]  # such a file has none
    if metadata.timetable is not None:
        fields[timetable.KEY] = msgspec.to_builtins(metadata.timetable.entries)
    if metadata.lidar_config is not None:
        fields["lidar_config"] = metadata.lidar_config
    return (json.dumps(fields, indent=2, allow_nan=False) + "\n").encode()


def with_properties(metadata: PolicyMetadata, properties: Mapping[str, str]) -> PolicyMetadata:
    """Return the metadata with what the network's own file states of its input.

    `properties` are an ONNX file's `metadata_props`: `input_layout`, `input_range`, `color`, `frame_stack`,
    `control_rate_hz`, `action_units`; others are passed over. The network knows itself better than a file
    beside it: where the two differ, its property wins and a note tells. Raises PolicyError with a sentence.
    """
    stated = {name: text for name, text in properties.items() if name in PROPERTIES}
    try:
        changes, notes = _changes(metadata, stated)
    except PolicyError as error:
        raise PolicyError(f"the network's own metadata properties: {error}") from error
    input_changes = {name: changes.pop(name) for name in INPUT_PROPERTIES if name in changes}
    return msgspec.structs.replace(
        metadata,
        **changes,
        input=msgspec.structs.replace(metadata.input, **input_changes),
        notes=metadata.notes + notes,
    )


PROPERTIES = {
    "input_layout": "layout",
    "input_range": "range",
    "color": "color",
    "frame_stack": "frame_stack",
    "control_rate_hz": "control_rate_hz",
    "action_units": "action_units",
}
INPUT_PROPERTIES = ("layout", "range", "color", "frame_stack")


def _changes(metadata: PolicyMetadata, stated: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    changes: dict[str, Any] = {}
    notes: list[str] = []
    for name, text in stated.items():
        field = PROPERTIES[name]
        value = _property_value(name, text)
        before = getattr(metadata.input if field in INPUT_PROPERTIES else metadata, field)
        changes[field] = value
        if before is not None and before != value:
            notes.append(
                f"the network's own {name} is {value}; it wins over {before}, which model_metadata.json "
                "says or leaves to its default"
            )
    return changes, tuple(notes)


def _property_value(name: str, text: str) -> Any:
    found = {name: text}
    match name:
        case "input_layout":
            return one_of(found, name, Layout, Layout.NHWC)
        case "input_range":
            return one_of(found, name, ValueRange, ValueRange.BYTE)
        case "color":
            return one_of(found, name, Color, Color.GRAY)
        case "action_units":
            return one_of(found, name, ActionUnits, ActionUnits.AWS_SHARE)
    try:
        value = float(text)
    except ValueError:
        refuse(f"{name} is {shown(text)}", "it must be a number", "export the network again")
    return frame_stack_from(value, name) if name == "frame_stack" else control_rate_from(value, name)
