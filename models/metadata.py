"""`model_metadata.json` to `PolicyMetadata`, and back.

The file is DeepRacer's; the keys that only Lapwing reads are `action_units`, `control_rate_hz` and
`input`. Rules where real files contradict themselves, each told in `PolicyMetadata.notes`:

- The JSON type of `action_space` wins over `action_space_type`: an object is continuous, a list discrete.
- `index` inside an action is ignored by everyone; the position in the list is the network's class.
- `sensor` in a file of version 1 is believed, although training would ignore it.
"""

import enum
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from models.errors import PolicyError

Choice = TypeVar("Choice", bound=enum.StrEnum)

MAX_FILE_BYTES = 1 << 20  # the largest real file of about a thousand has 9 kB
MAX_ACTIONS = 1000  # real lists have at most a few hundred
STEERING_DEG_MAX = 90.0  # real files reach 45
SPEED_MPS_MAX = 50.0  # real files reach 12
DEFAULT_CONTROL_RATE_HZ = 15.0  # the simulator that trains DeepRacer policies acts at its camera's 15 Hz
CONTROL_RATE_HZ_RANGE = (5.0, 120.0)
FRAME_STACK_MAX = 8


class ActionSpaceType(enum.StrEnum):
    """What the network's output means."""

    DISCRETE = "discrete"
    CONTINUOUS = "continuous"


class TrainingAlgorithm(enum.StrEnum):
    """What trained the network; decides how a continuous output is squashed."""

    CLIPPED_PPO = "clipped_ppo"
    SAC = "sac"


class ActionUnits(enum.StrEnum):
    """What steering and speed of the action space are measured in."""

    PHYSICAL = "physical"  # wheel angle and m/s, through this car's angles and speed table
    AWS_SHARE = "aws_share"  # shares of this car's lock and throttle, by the AWS car's mathematics


class Sensor(enum.StrEnum):
    """What a network can look at."""

    OBSERVATION = "observation"  # the front camera's name in files of version 1
    FRONT_FACING_CAMERA = "FRONT_FACING_CAMERA"
    LEFT_CAMERA = "LEFT_CAMERA"
    STEREO_CAMERAS = "STEREO_CAMERAS"
    LIDAR = "LIDAR"
    SECTOR_LIDAR = "SECTOR_LIDAR"
    DISCRETIZED_SECTOR_LIDAR = "DISCRETIZED_SECTOR_LIDAR"


CAMERA_SENSORS = frozenset(
    {Sensor.OBSERVATION, Sensor.FRONT_FACING_CAMERA, Sensor.LEFT_CAMERA, Sensor.STEREO_CAMERAS}
)
LIDAR_SENSORS = frozenset({Sensor.LIDAR, Sensor.SECTOR_LIDAR, Sensor.DISCRETIZED_SECTOR_LIDAR})
SENSOR_ALIASES = {"OBSERVATION_CAMERA": Sensor.OBSERVATION}


class Layout(enum.StrEnum):
    """Order of the axes of an image input."""

    NHWC = "NHWC"
    NCHW = "NCHW"


class ValueRange(enum.StrEnum):
    """What the network expects of black and white."""

    BYTE = "0..255"  # the graph divides by itself, as every DeepRacer export does
    UNIT = "0..1"


class Color(enum.StrEnum):
    """What one picture of the input consists of."""

    GRAY = "gray"
    RGB = "rgb"


class Action(msgspec.Struct, frozen=True):
    """One entry of a discrete action space, in the file's units."""

    steering_deg: float
    """Positive turns left."""
    speed_mps: float


class ActionRange(msgspec.Struct, frozen=True):
    """A continuous action space, in the file's units; low < high for both."""

    steering_low_deg: float
    steering_high_deg: float
    speed_low_mps: float
    speed_high_mps: float


class InputFormat(msgspec.Struct, frozen=True):
    """How the network wants its picture."""

    layout: Layout | None = None
    """None: told by the input's shape."""
    range: ValueRange = ValueRange.BYTE
    color: Color = Color.GRAY
    frame_stack: int = 1
    """Pictures side by side on the channel axis, oldest first."""


class PolicyMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy's file says of it, checked."""

    action_space: tuple[Action, ...] | ActionRange
    training_algorithm: TrainingAlgorithm = TrainingAlgorithm.CLIPPED_PPO
    sensors: tuple[Sensor, ...] = (Sensor.OBSERVATION,)
    """Exactly one camera and at most one LIDAR; the order means nothing."""
    neural_network: str = "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW"
    """A name for people; the graph itself is what runs."""
    version: float = 2.0
    lidar_config: Mapping[str, Any] | None = None
    """As in the file; training and car write different keys."""
    action_units: ActionUnits = ActionUnits.AWS_SHARE
    control_rate_hz: float = DEFAULT_CONTROL_RATE_HZ
    """The rate it was trained at."""
    input: InputFormat = InputFormat()
    unknown: Mapping[str, Any] = {}
    """Every other key of the file, untouched."""
    notes: tuple[str, ...] = ()
    """What was contradictory and how it was read, in sentences."""

    @property
    def action_space_type(self) -> ActionSpaceType:
        """Discrete for a list of actions, continuous for a range."""
        if isinstance(self.action_space, ActionRange):
            return ActionSpaceType.CONTINUOUS
        return ActionSpaceType.DISCRETE

    @property
    def output_count(self) -> int:
        """How many numbers the network must answer with."""
        return 2 if isinstance(self.action_space, ActionRange) else len(self.action_space)


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


def parse(data: bytes) -> PolicyMetadata:
    """Read the bytes of a `model_metadata.json`; raises PolicyError with a sentence."""
    fields = _decode_object(data)
    known = {
        "action_space",
        "action_space_type",
        "training_algorithm",
        "sensor",
        "neural_network",
        "version",
        "lidar_config",
        "action_units",
        "control_rate_hz",
        "input",
    }
    notes: list[str] = []

    action_space = _action_space(fields)
    _note_type_contradiction(fields, action_space, notes)
    algorithm = _one_of(fields, "training_algorithm", TrainingAlgorithm, TrainingAlgorithm.CLIPPED_PPO)
    if algorithm is TrainingAlgorithm.SAC and not isinstance(action_space, ActionRange):
        _refuse(
            "training_algorithm is 'sac' but action_space is a list",
            "SAC has a continuous action space",
            'give action_space as {"steering_angle": {"low", "high"}, "speed": {"low", "high"}}',
        )
    version = _version(fields)
    if version < 2.0 and "sensor" in fields:
        notes.append(
            f"version is {version:g}, for which training ignores `sensor`; the file's sensor is believed"
        )

    return PolicyMetadata(
        action_space=action_space,
        training_algorithm=algorithm,
        sensors=_sensors(fields),
        neural_network=_text(fields, "neural_network", "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW"),
        version=version,
        lidar_config=_optional_object(fields, "lidar_config"),
        action_units=_one_of(fields, "action_units", ActionUnits, ActionUnits.AWS_SHARE),
        control_rate_hz=_control_rate(fields),
        input=_input_format(fields),
        unknown={name: value for name, value in fields.items() if name not in known},
        notes=tuple(notes),
    )


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
    if metadata.lidar_config is not None:
        fields["lidar_config"] = metadata.lidar_config
    return (json.dumps(fields, indent=2, allow_nan=False) + "\n").encode()


def _refuse(seen: str, allowed: str, remedy: str) -> NoReturn:
    raise PolicyError(f"{seen}; {allowed}; {remedy}")


def _decode_object(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_FILE_BYTES:
        _refuse(
            f"model_metadata.json has more than {MAX_FILE_BYTES} bytes",
            "real ones have a few thousand",
            "check that the right file was given",
        )
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_float=_finite_float, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"model_metadata.json is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise PolicyError(
            f"model_metadata.json is not JSON: {error.msg} at line {error.lineno} column {error.colno}; "
            "look there for a missing or a superfluous comma, quote or bracket"
        ) from error
    except RecursionError as error:
        raise PolicyError(
            "model_metadata.json is nested too deeply; check that the right file was given"
        ) from error
    except ValueError as error:  # an integer of thousands of digits
        raise PolicyError(
            "model_metadata.json has a number that cannot be read; check the numbers in it"
        ) from error
    if not isinstance(value, dict):
        _refuse(
            f"model_metadata.json holds a {_kind(value)}",
            "it must hold an object with the key action_space",
            "check that the right file was given",
        )
    return value


def _no_constant(name: str) -> NoReturn:
    raise PolicyError(f"model_metadata.json contains {name}; every number must be finite; correct it")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise PolicyError(
            f"model_metadata.json contains {text[:20]}, which is too large; every number must be finite; "
            "correct it"
        )
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "object"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(value: object, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(f"{name} is {_shown(value)}", f"it must be a number from {low:g} to {high:g}", "correct it")
    if not low <= value <= high:
        _refuse(f"{name} is {_shown(value)}", f"allowed is {low:g} to {high:g}", "correct it")
    return float(value)


def _action_space(fields: Mapping[str, Any]) -> tuple[Action, ...] | ActionRange:
    if "action_space" not in fields:
        _refuse(
            "action_space is missing",
            "it must be a list of actions or an object with the ranges of steering_angle and speed",
            "use the model_metadata.json that was trained with",
        )
    space = fields["action_space"]
    if isinstance(space, list):
        return _discrete(space)
    if isinstance(space, dict):
        return _continuous(space)
    _refuse(
        f"action_space is a {_kind(space)}",
        "it must be a list of actions or an object with the ranges of steering_angle and speed",
        "use the model_metadata.json that was trained with",
    )


def _discrete(items: list[Any]) -> tuple[Action, ...]:
    if not 1 <= len(items) <= MAX_ACTIONS:
        _refuse(
            f"action_space lists {len(items)} actions",
            f"allowed are 1 to {MAX_ACTIONS}",
            "use the model_metadata.json that was trained with",
        )
    return tuple(_action(item, f"action_space[{position}]") for position, item in enumerate(items))


def _action(item: object, name: str) -> Action:
    if not isinstance(item, dict):
        _refuse(f"{name} is a {_kind(item)}", "it must have steering_angle and speed", "correct it")
    for key in ("steering_angle", "speed"):
        if key not in item:
            _refuse(f"{name} has no {key}", "every action has steering_angle and speed", "add it")
    return Action(
        steering_deg=_number(
            item["steering_angle"], f"{name}.steering_angle", -STEERING_DEG_MAX, STEERING_DEG_MAX
        ),
        speed_mps=_number(item["speed"], f"{name}.speed", -SPEED_MPS_MAX, SPEED_MPS_MAX),
    )


def _continuous(space: dict[str, Any]) -> ActionRange:
    steering_low, steering_high = _low_high(space, "steering_angle", STEERING_DEG_MAX)
    speed_low, speed_high = _low_high(space, "speed", SPEED_MPS_MAX)
    return ActionRange(steering_low, steering_high, speed_low, speed_high)


def _low_high(space: dict[str, Any], key: str, limit: float) -> tuple[float, float]:
    name = f"action_space.{key}"
    ends = space.get(key)
    if not isinstance(ends, dict) or "low" not in ends or "high" not in ends:
        seen = "is missing" if key not in space else f"is {_shown(ends)}"
        _refuse(f"{name} {seen}", 'it must be {"low": number, "high": number}', "correct it")
    low = _number(ends["low"], f"{name}.low", -limit, limit)
    high = _number(ends["high"], f"{name}.high", -limit, limit)
    if not low < high:
        _refuse(f"{name} goes from {low:g} to {high:g}", "low must be less than high", "correct it")
    return low, high


def _note_type_contradiction(
    fields: Mapping[str, Any], space: tuple[Action, ...] | ActionRange, notes: list[str]
) -> None:
    found = ActionSpaceType.CONTINUOUS if isinstance(space, ActionRange) else ActionSpaceType.DISCRETE
    stated = _one_of(fields, "action_space_type", ActionSpaceType, found)
    if stated is not found:
        notes.append(f"action_space_type says {stated} but action_space is {found}; it is read as {found}")


def _one_of(
    fields: Mapping[str, Any], name: str, choices: type[Choice], default: Choice, prefix: str = ""
) -> Choice:
    if name not in fields:
        return default
    value = fields[name]
    text = value.strip() if isinstance(value, str) else value
    for choice in choices:
        if isinstance(text, str) and text.lower() == choice.value.lower():
            return choice
    allowed = ", ".join(repr(choice.value) for choice in choices)
    _refuse(f"{prefix}{name} is {_shown(value)}", f"allowed are {allowed}", "correct it")


def _text(fields: Mapping[str, Any], name: str, default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or not value.isprintable():
        _refuse(f"{name} is {_shown(value)}", "it must be printable text", "correct it or leave it out")
    return value


def _optional_object(fields: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        _refuse(f"{name} is {_shown(value)}", "it must be an object", "correct it or leave it out")
    return value


def _version(fields: Mapping[str, Any]) -> float:
    if "version" not in fields:
        return 2.0 if "sensor" in fields else 1.0
    value = fields["version"]
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            _refuse(f"version is {_shown(value)}", 'it must be a number such as "5"', "correct it")
    return _number(value, "version", 0.0, 1000.0)


def _sensors(fields: Mapping[str, Any]) -> tuple[Sensor, ...]:
    names = fields.get("sensor", [Sensor.OBSERVATION.value])
    if not isinstance(names, list) or not names:
        _refuse(
            f"sensor is {_shown(names)}", "it must be a list of sensor names", 'e.g. ["FRONT_FACING_CAMERA"]'
        )
    sensors = tuple(dict.fromkeys(_sensor(name) for name in names))
    cameras = [sensor.value for sensor in sensors if sensor in CAMERA_SENSORS]
    lidars = [sensor.value for sensor in sensors if sensor in LIDAR_SENSORS]
    if len(cameras) != 1:
        _refuse(
            f"sensor names {len(cameras)} cameras ({', '.join(cameras) or 'none'})",
            "a policy has exactly one camera entry",
            "use the model_metadata.json that was trained with",
        )
    if len(lidars) > 1:
        _refuse(
            f"sensor names {len(lidars)} LIDARs ({', '.join(lidars)})",
            "a policy has at most one",
            "use the model_metadata.json that was trained with",
        )
    return sensors


def _sensor(name: object) -> Sensor:
    for sensor in Sensor:
        if name == sensor.value:
            return sensor
    if isinstance(name, str) and name in SENSOR_ALIASES:
        return SENSOR_ALIASES[name]
    _refuse(
        f"sensor contains {_shown(name)}",
        "known are " + ", ".join(sensor.value for sensor in Sensor),
        "correct it",
    )


def _control_rate(fields: Mapping[str, Any]) -> float:
    low, high = CONTROL_RATE_HZ_RANGE
    return _number(fields.get("control_rate_hz", DEFAULT_CONTROL_RATE_HZ), "control_rate_hz", low, high)


def _input_format(fields: Mapping[str, Any]) -> InputFormat:
    given = _optional_object(fields, "input")
    if given is None:
        return InputFormat()
    unknown = sorted(given.keys() - {"layout", "range", "color", "frame_stack"})
    if unknown:
        _refuse(
            f"input has the key {_shown(unknown[0])}",
            "its keys are layout, range, color and frame_stack",
            "correct it",
        )
    stack = _number(given.get("frame_stack", 1), "input.frame_stack", 1, FRAME_STACK_MAX)
    if not stack.is_integer():
        _refuse(f"input.frame_stack is {stack:g}", "it must be a whole number", "correct it")
    return InputFormat(
        layout=None
        if given.get("layout") is None
        else _one_of(given, "layout", Layout, Layout.NHWC, "input."),
        range=_one_of(given, "range", ValueRange, ValueRange.BYTE, "input."),
        color=_one_of(given, "color", Color, Color.GRAY, "input."),
        frame_stack=int(stack),
    )
