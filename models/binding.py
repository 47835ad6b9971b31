"""Which sensor feeds which input of a network: told by the graph's own names and shapes.

1. A DeepRacer graph names its placeholders `.../SENSOR/SENSOR`: the last part is the sensor. So does an
   input that is called like a sensor and nothing else.
2. Any other name (`input`, `observation` without a path, `picture`) says nothing. Then the shape tells a
   picture (4 axes) from a LIDAR's numbers (2), and `sensor` of the metadata says which; where that leaves
   more than one reading, the policy is refused. The order of inputs never means anything.
3. Where names and metadata differ, the graph wins over `observation`, which is what a file without
   `sensor` is read as, over any `sensor` of a file of version 1, which training ignores, and over another
   single camera, which is the same picture; a note tells. Every other difference is refused.
4. The value range of pictures is 0..255 for bytes and for DeepRacer's own placeholders, whose graphs
   divide by themselves; of any other network it must be stated, or RangeUnknownError asks for it.
5. A DeepRacer graph's names also say what trained it: `.../policy/online/...` is SAC, `.../main/online/...`
   is not. That wins over `training_algorithm`, which decides about tanh; a note tells.
6. Pictures become small as DeepRacer's training makes them for its own placeholders, and as `lapwing train`
   does for any other network.
"""

from collections.abc import Sequence
from typing import NoReturn

import msgspec

from models.errors import PolicyError, RangeUnknownError
from models.metadata_fields import (
    ActionSpaceType,
    Color,
    Layout,
    PolicyMetadata,
    TrainingAlgorithm,
    ValueRange,
)
from models.observation import CameraInput, LidarInput, ObservationFormat, PolicyInput, Resize
from models.runtime import INPUT_TYPES, TensorInfo
from models.sensors import CAMERA_SENSORS, LIDAR_SENSORS, SENSOR_ALIASES, Sensor

SIDE_RANGE_PX = (8, 1080)  # of an input picture; DeepRacer's is 160 x 120
SINGLE_CAMERAS = CAMERA_SENSORS - {Sensor.STEREO_CAMERAS}
SENSORS_BY_NAME = {sensor.value.upper(): sensor for sensor in Sensor} | SENSOR_ALIASES
ALGORITHM_BY_HEAD = {"main": TrainingAlgorithm.CLIPPED_PPO, "policy": TrainingAlgorithm.SAC}
FIRST_WITH_SENSOR = 2.0  # version of model_metadata.json; before, training ignores `sensor`
HEAD_PARTS = 5  # HEAD/online/network_0/SENSOR/SENSOR
PICTURE_AXES = 4
ROW_AXES = 2
METADATA = "model_metadata.json"
SAME_TRAINING = f"use the network and the {METADATA} of the same training"


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What each input of a network is fed."""

    inputs: tuple[PolicyInput, ...]
    """In the graph's order."""
    metadata: PolicyMetadata
    """With the sensors that the graph has, and a note for each difference that a rule has settled."""


def bind(description: PolicyMetadata, infos: Sequence[TensorInfo]) -> Binding:
    """Return what each input of the network is fed; raises PolicyError with a sentence."""
    sensors, sensor_note = _sensors_of(description, infos)
    algorithm, algorithm_note = _algorithm_of(description, infos)
    settled = msgspec.structs.replace(
        description,
        sensors=tuple(sorted(sensors, key=list(Sensor).index)),
        training_algorithm=algorithm,
        notes=description.notes + tuple(note for note in (sensor_note, algorithm_note) if note),
    )
    unstated = [
        info.name
        for info, sensor in zip(infos, sensors, strict=True)
        if sensor in CAMERA_SENSORS
        and description.input.range is None
        and not _is_deepracers(info)
        and info.type != "tensor(uint8)"
    ]
    inputs = tuple(_input(settled, info, sensor) for info, sensor in zip(infos, sensors, strict=True))
    if unstated:
        raise RangeUnknownError(unstated[0], tuple(choice.value for choice in ValueRange))
    return Binding(inputs=inputs, metadata=settled)


def sensor_named(name: str) -> Sensor | None:
    """Return the sensor that an input's name says, or None where it says nothing."""
    parts = _parts(name)
    sensor = SENSORS_BY_NAME.get(parts[-1].upper())
    if sensor is Sensor.OBSERVATION and len(parts) == 1:
        return None  # what many exporters call any input
    return sensor


def _parts(name: str) -> list[str]:
    return name.removesuffix(":0").split("/")


def _is_deepracers(info: TensorInfo) -> bool:
    parts = _parts(info.name)
    return len(parts) > 1 and parts[-1] == parts[-2] and sensor_named(info.name) is not None


def is_deepracer_graph(infos: Sequence[TensorInfo]) -> bool:
    """Whether the inputs are the placeholders that DeepRacer's training exports."""
    return any(_is_deepracers(info) for info in infos)


def _algorithm_of(description: PolicyMetadata, infos: Sequence[TensorInfo]) -> tuple[TrainingAlgorithm, str]:
    """Return what trained the network, and a note where the graph has won over the metadata."""
    stated = description.training_algorithm
    paths = [_parts(info.name) for info in infos if _is_deepracers(info)]
    heads = {parts[-5] for parts in paths if len(parts) >= HEAD_PARTS and parts[-4] == "online"}
    if len(heads) != 1 or description.action_space_type is ActionSpaceType.DISCRETE:
        return stated, ""
    found = ALGORITHM_BY_HEAD.get(heads.pop(), stated)
    if found is stated:
        return stated, ""
    return found, (
        f"the network's own input names are those of {found}; they win over the {stated} that {METADATA} "
        "says or is read as"
    )


def _sensors_of(description: PolicyMetadata, infos: Sequence[TensorInfo]) -> tuple[list[Sensor], str]:
    """Return the sensor of each input, and a note where the graph has won over the metadata."""
    named = {index: sensor for index, info in enumerate(infos) if (sensor := sensor_named(info.name))}
    _refuse_repeated(infos, named)
    stated = set(description.sensors)
    if description.version < FIRST_WITH_SENSOR and len(named) == len(infos):
        stated = set(named.values())
    else:
        _refuse_contradiction(description, set(named.values()))
    left = {
        kind: stated & kind for kind in (CAMERA_SENSORS, LIDAR_SENSORS) if kind.isdisjoint(named.values())
    }
    found = dict(named)
    for index, info in enumerate(infos):
        if index not in named:
            kind = CAMERA_SENSORS if len(info.shape) == PICTURE_AXES else LIDAR_SENSORS
            if not left.get(kind):
                _refuse_unknown(description, infos, info)
            found[index] = left[kind].pop()
    missing = set().union(*left.values())
    if missing or CAMERA_SENSORS.isdisjoint(found.values()):
        raise PolicyError(
            f"{METADATA} says the policy looks at {_listed(description.sensors)}, but the network has no "
            f"input for {_listed(missing) or 'a camera'}; its inputs are {_described(infos)}; {SAME_TRAINING}"
        )
    return [found[index] for index in range(len(infos))], _note(description, set(found.values()))


def _refuse_repeated(infos: Sequence[TensorInfo], named: dict[int, Sensor]) -> None:
    for kind, word in ((CAMERA_SENSORS, "camera"), (LIDAR_SENSORS, "LIDAR")):
        names = [infos[index].name for index, sensor in named.items() if sensor in kind]
        if len(names) > 1:
            raise PolicyError(
                f"the network has {len(names)} {word} inputs ({', '.join(names)}); a policy has at most one; "
                "export the policy's network alone"
            )


def _refuse_contradiction(description: PolicyMetadata, named: set[Sensor]) -> None:
    """Raise PolicyError where the names differ from the metadata and no rule settles it."""
    stated = set(description.sensors)
    if stated == {Sensor.OBSERVATION}:
        return
    for sensor in named - stated:
        others = stated & (CAMERA_SENSORS if sensor in CAMERA_SENSORS else LIDAR_SENSORS)
        is_same_picture = sensor in SINGLE_CAMERAS and others <= SINGLE_CAMERAS
        if not is_same_picture:
            raise PolicyError(
                f"the network's own inputs are called {_listed(named)}, but {METADATA} says the policy looks "
                f"at {_listed(stated)}; {SAME_TRAINING}"
            )


def _note(description: PolicyMetadata, found: set[Sensor]) -> str:
    stated = set(description.sensors)
    if found == stated:
        return ""
    return (
        f"the network's own inputs are called {_listed(found)}; they win over the {_listed(stated)} that "
        f"{METADATA} says or is read as"
    )


def _refuse_unknown(description: PolicyMetadata, infos: Sequence[TensorInfo], info: TensorInfo) -> NoReturn:
    raise PolicyError(
        f"the network's input {info.name} of shape {shape_text(info)} could be none of the sensors in "
        f"{METADATA} ({_listed(description.sensors)}); the network's inputs are {_described(infos)}; allowed "
        "are one picture, such as [1, 120, 160, 1], and one LIDAR, such as [1, 64]; name the inputs like "
        "their sensors, or export the policy's network alone"
    )


def _input(description: PolicyMetadata, info: TensorInfo, sensor: Sensor) -> PolicyInput:
    if info.type not in INPUT_TYPES:
        raise PolicyError(
            f"the network's input {info.name} is {info.type}; allowed are {', '.join(INPUT_TYPES)}; "
            "export it again"
        )
    if sensor in CAMERA_SENSORS:
        return CameraInput(name=info.name, sensor=sensor, format=_camera_format(description, info, sensor))
    return _lidar_input(description, info, sensor)


def _lidar_input(description: PolicyMetadata, info: TensorInfo, sensor: Sensor) -> LidarInput:
    config = description.lidar
    assert config is not None  # the description has this sensor
    dtype = INPUT_TYPES[info.type]
    if dtype == "uint8" and sensor is Sensor.LIDAR:
        raise PolicyError(
            f"the network's input {info.name} is {info.type}, but distances in metres need fractions; "
            "export it again with an input of float32"
        )
    if len(info.shape) != ROW_AXES or info.shape[0] not in (None, 1) or info.shape[1] != config.input_size:
        raise PolicyError(
            f"the network's input {info.name} has shape {shape_text(info)}, but {sensor} with the "
            f"lidar_config of {METADATA} gives [1, {config.input_size}]; {SAME_TRAINING}"
        )
    return LidarInput(name=info.name, sensor=sensor, config=config, dtype=dtype)


def _camera_format(description: PolicyMetadata, info: TensorInfo, sensor: Sensor) -> ObservationFormat:
    wanted = description.input
    dtype = INPUT_TYPES[info.type]
    if dtype == "uint8" and wanted.range is ValueRange.UNIT:
        raise PolicyError(
            f"the network's input is {info.type} but {METADATA} says input.range 0..1; "
            "bytes have the range 0..255; correct it"
        )
    if len(info.shape) != PICTURE_AXES or info.shape[0] not in (None, 1) or None in info.shape[1:]:
        raise PolicyError(
            f"the network's input {info.name} has shape {shape_text(info)}; allowed is one picture of a "
            "fixed size, such as [1, 120, 160, 1]; export it with a fixed size"
        )
    eyes = 2 if sensor is Sensor.STEREO_CAMERAS else 1
    if eyes == 2 and wanted.color is Color.RGB:
        raise PolicyError(
            f"{METADATA} says input.color rgb for STEREO_CAMERAS, whose two pictures are gray; correct it"
        )
    sizes = info.known_shape
    layout = _layout(description, sizes, eyes)
    height_px, width_px = sizes[1:3] if layout is Layout.NHWC else sizes[2:4]
    low, high = SIDE_RANGE_PX
    if not (low <= height_px <= high and low <= width_px <= high):
        raise PolicyError(
            f"the network's picture is {width_px} x {height_px}; allowed are sides of {low} to {high}; "
            f"check input.layout in {METADATA}"
        )
    return ObservationFormat(
        height_px=height_px,
        width_px=width_px,
        color=wanted.color,
        frame_stack=wanted.frame_stack,
        eyes=eyes,
        layout=layout,
        range=wanted.range or ValueRange.BYTE,
        dtype=dtype,
        resize=Resize.TRIANGLE if _is_deepracers(info) else Resize.AREA,
    )


def _layout(description: PolicyMetadata, sizes: tuple[int, ...], eyes: int) -> Layout:
    wanted = description.input
    channels = wanted.frame_stack * eyes * (3 if wanted.color is Color.RGB else 1)
    fitting = [
        layout
        for layout, found in ((Layout.NHWC, sizes[3]), (Layout.NCHW, sizes[1]))
        if found == channels and wanted.layout in (None, layout)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise PolicyError(
            f"the network's input has shape {list(sizes)}, which could be NHWC or NCHW; "
            f"state input.layout in {METADATA}"
        )
    pair = " of two eyes" if eyes == 2 else ""
    described = f"{wanted.frame_stack} {wanted.color} picture{'s' if wanted.frame_stack > 1 else ''}{pair}"
    raise PolicyError(
        f"the network's input has shape {list(sizes)}, but {METADATA} describes {described} "
        f"({channels} channel{'s' if channels > 1 else ''}) as {wanted.layout or 'NHWC or NCHW'}; "
        f"correct sensor, input.color, input.frame_stack or input.layout there"
    )


def _listed(sensors: Sequence[Sensor] | set[Sensor]) -> str:
    return ", ".join(sorted(sensor.value for sensor in sensors))


def _described(infos: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{info.name} {shape_text(info)}" for info in infos) or "none"


def shape_text(info: TensorInfo) -> str:
    """Return a tensor's shape for a sentence, with ? for what is open."""
    return "[" + ", ".join("?" if size is None else str(size) for size in info.shape) + "]"
