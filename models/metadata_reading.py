"""The bytes of a `model_metadata.json` to `PolicyMetadata`, by rules that are written down here.

The file is DeepRacer's, of any version from none to 6, with the keys that only Lapwing reads:
`action_units`, `control_rate_hz`, `input`, `sac_squash`, `timetable`. Where real files contradict
themselves or hold something odd, one of these rules reads them, and the note it leaves tells which:

 1. The JSON type of `action_space` wins over `action_space_type`: an object is continuous, a list discrete.
 2. `index` inside an action is ignored by everyone; the position in the list is the network's output.
 3. `sensor` of a file of version 1 is believed, although training would ignore it; a file of version 2 or
    later without one is read as `observation`. Which it was, the network's own input name decides later.
 4. Full lock is the larger end of an asymmetric range of steering, so that no angle goes beyond it.
 5. `lidar_config` decides nothing without a LIDAR, and only with those keys that its sensor reads.
 6. A name of network that nobody knows is kept: the graph is what runs, not its name.
 7. A key that stands twice counts the second time, as in every JSON reader.
 8. A speed of 0 or less stops the car: it does not reverse for a policy.

Refused is what has no such reading: SAC with a list of actions, a range whose low end is not below its
high end (training stops there), two cameras, no camera, two LIDARs, numbers as text, an LLM agent.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from models import timetable
from models.errors import PolicyError
from models.field_checks import (
    kind_of,
    number,
    one_of,
    optional_object,
    printable_text,
    refuse,
    shown,
    whole_number,
)
from models.lidar_config import LidarConfig, ignored_keys
from models.metadata_fields import (
    DEFAULT_CONTROL_RATE_HZ,
    DEFAULT_NETWORK,
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
from models.sensors import CAMERA_SENSORS, LIDAR_SENSORS, SENSOR_ALIASES, Sensor

MAX_FILE_BYTES = 1 << 20  # the largest real file of about a thousand has 9 kB
MAX_ACTIONS = 1000  # real lists have at most a few hundred
STEERING_DEG_MAX = 90.0  # real files reach 45
SPEED_MPS_MAX = 50.0  # real files reach 12
CONTROL_RATE_HZ_RANGE = (5.0, 120.0)
FRAME_STACK_MAX = 8
VERSION_MAX_KNOWN = 6.0
NARROW_SPAN_FRAC = 0.01  # of the larger end; a real file has 0.001
KNOWN_NETWORKS = frozenset({DEFAULT_NETWORK, "DEEP_CONVOLUTIONAL_NETWORK", "DEEP_CONVOLUTIONAL_NETWORK_DEEP"})
KNOWN_KEYS = frozenset(
    {
        "action_space",
        "action_space_type",
        "training_algorithm",
        "sac_squash",
        "sensor",
        "neural_network",
        "version",
        "lidar_config",
        "action_units",
        "control_rate_hz",
        "input",
        timetable.KEY,
    }
)


def parse(data: bytes) -> PolicyMetadata:
    """Read the bytes of a `model_metadata.json`; raises PolicyError with a sentence."""
    notes: list[str] = []
    fields = _decode_object(data, notes)
    network = _network(fields, notes)

    action_space = _action_space(fields, notes)
    _note_type_contradiction(fields, action_space, notes)
    algorithm = one_of(fields, "training_algorithm", TrainingAlgorithm, TrainingAlgorithm.CLIPPED_PPO)
    if algorithm is TrainingAlgorithm.SAC and not isinstance(action_space, ActionRange):
        refuse(
            "training_algorithm is 'sac' but action_space is a list",
            "SAC has a continuous action space",
            'give action_space as {"steering_angle": {"low", "high"}, "speed": {"low", "high"}}',
        )
    version = _version(fields, notes)
    sensors = _sensors(fields, version, notes)
    lidar_config = optional_object(fields, "lidar_config")
    _check_lidar(lidar_config, sensors, notes)

    return PolicyMetadata(
        action_space=action_space,
        training_algorithm=algorithm,
        sac_squash=_sac_squash(fields, algorithm, notes),
        sensors=sensors,
        neural_network=network,
        version=version,
        lidar_config=lidar_config,
        action_units=one_of(fields, "action_units", ActionUnits, ActionUnits.AWS_SHARE),
        control_rate_hz=control_rate_from(fields.get("control_rate_hz", DEFAULT_CONTROL_RATE_HZ)),
        input=_input_format(fields),
        timetable=_timetable(fields, action_space, notes),
        unknown={name: value for name, value in fields.items() if name not in KNOWN_KEYS},
        notes=tuple(dict.fromkeys(notes)),
    )


def _timetable(
    fields: Mapping[str, Any], space: tuple[Action, ...] | ActionRange, notes: list[str]
) -> timetable.Timetable | None:
    found = timetable.timetable_from(fields, 0 if isinstance(space, ActionRange) else len(space))
    if found is not None:
        notes.append("its actions follow the timetable of the file, whatever the network answers")
    return found


def control_rate_from(value: object, name: str = "control_rate_hz") -> float:
    """Return a control rate in Hz that a car can have; raises PolicyError."""
    return number(value, name, *CONTROL_RATE_HZ_RANGE)


def frame_stack_from(value: object, name: str = "frame_stack") -> int:
    """Return how many pictures the network's input holds; raises PolicyError."""
    return whole_number(value, name, 1, FRAME_STACK_MAX)


def _decode_object(data: bytes, notes: list[str]) -> dict[str, Any]:
    if len(data) > MAX_FILE_BYTES:
        refuse(
            f"model_metadata.json has more than {MAX_FILE_BYTES} bytes",
            "real ones have a few thousand",
            "check that the right file was given",
        )

    def told_of_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in found if names.count(name) > 1)
            notes.append(f"the key {shown(repeated)} stands twice in one object; the last one counts")
        return found

    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            parse_float=_finite_float,
            parse_constant=_no_constant,
            object_pairs_hook=told_of_repeats,
        )
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
        refuse(
            f"model_metadata.json holds a {kind_of(value)}",
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


def _network(fields: Mapping[str, Any], notes: list[str]) -> str:
    name = printable_text(fields, "neural_network", DEFAULT_NETWORK)
    if name.strip().upper() == "LLM":
        refuse(
            "neural_network is 'LLM'",
            "an LLM agent asks a language model elsewhere and has no network that a car could run",
            "use a policy that was trained with clipped_ppo or sac",
        )
    if "llm_config" in fields:
        notes.append("llm_config is for an LLM agent; it is passed over, the network itself drives")
    if name not in KNOWN_NETWORKS:
        notes.append(
            f"neural_network {shown(name)} is no name that training knows; the graph itself is what runs"
        )
    return name


def _action_space(fields: Mapping[str, Any], notes: list[str]) -> tuple[Action, ...] | ActionRange:
    remedy = "use the model_metadata.json that was trained with"
    allowed = "it must be a list of actions or an object with the ranges of steering_angle and speed"
    if "action_space" not in fields:
        refuse("action_space is missing", allowed, remedy)
    space = fields["action_space"]
    if not isinstance(space, list | dict):
        refuse(f"action_space is a {kind_of(space)}", allowed, remedy)
    return _discrete(space, notes) if isinstance(space, list) else _continuous(space, notes)


def _discrete(items: list[Any], notes: list[str]) -> tuple[Action, ...]:
    if not 1 <= len(items) <= MAX_ACTIONS:
        refuse(
            f"action_space lists {len(items)} actions",
            f"allowed are 1 to {MAX_ACTIONS}",
            "use the model_metadata.json that was trained with",
        )
    actions = tuple(_action(item, f"action_space[{position}]") for position, item in enumerate(items))
    _note_indexes([item["index"] for item in items if "index" in item], len(items), notes)
    _note_odd_actions(actions, notes)
    return actions


def _action(item: object, name: str) -> Action:
    if not isinstance(item, dict):
        refuse(f"{name} is a {kind_of(item)}", "it must have steering_angle and speed", "correct it")
    for key in ("steering_angle", "speed"):
        if key not in item:
            refuse(f"{name} has no {key}", "every action has steering_angle and speed", "add it")
    return Action(
        steering_deg=number(
            item["steering_angle"], f"{name}.steering_angle", -STEERING_DEG_MAX, STEERING_DEG_MAX
        ),
        speed_mps=number(item["speed"], f"{name}.speed", -SPEED_MPS_MAX, SPEED_MPS_MAX),
    )


def _note_indexes(indexes: list[Any], count: int, notes: list[str]) -> None:
    if indexes and indexes != list(range(count)):
        notes.append(
            f"index does not count from 0 to {count - 1} in the list's order; it is ignored, "
            "the position in the list is the network's output"
        )


def _note_odd_actions(actions: tuple[Action, ...], notes: list[str]) -> None:
    repeated = len(actions) - len(set(actions))
    if repeated:
        notes.append(f"{repeated} of {len(actions)} actions repeat an earlier one; each keeps its own output")
    stopped = sum(action.speed_mps <= 0.0 for action in actions)
    if stopped:
        notes.append(f"{stopped} of {len(actions)} actions have a speed of 0 or less; they stop the car")


def _continuous(space: dict[str, Any], notes: list[str]) -> ActionRange:
    low_deg, high_deg = _low_high(space, "steering_angle", STEERING_DEG_MAX)
    low_mps, high_mps = _low_high(space, "speed", SPEED_MPS_MAX)
    if abs(low_deg) != abs(high_deg):
        notes.append(
            f"steering goes from {low_deg:g} to {high_deg:g} degrees; full lock is the larger end, "
            f"{max(abs(low_deg), abs(high_deg)):g}, either way"
        )
    for name, low, high in (("steering", low_deg, high_deg), ("speed", low_mps, high_mps)):
        if high - low < NARROW_SPAN_FRAC * max(abs(low), abs(high)):
            notes.append(f"{name} goes only from {low:g} to {high:g}; it is as good as constant")
    if low_mps <= 0.0:
        notes.append(f"speed goes from {low_mps:g} to {high_mps:g}; what is 0 or less stops the car")
    return ActionRange(low_deg, high_deg, low_mps, high_mps)


def _low_high(space: dict[str, Any], key: str, limit: float) -> tuple[float, float]:
    name = f"action_space.{key}"
    ends = space.get(key)
    if not isinstance(ends, dict) or "low" not in ends or "high" not in ends:
        seen = "is missing" if key not in space else f"is {shown(ends)}"
        refuse(f"{name} {seen}", 'it must be {"low": number, "high": number}', "correct it")
    low = number(ends["low"], f"{name}.low", -limit, limit)
    high = number(ends["high"], f"{name}.high", -limit, limit)
    if not low < high:
        refuse(f"{name} goes from {low:g} to {high:g}", "low must be less than high", "correct it")
    return low, high


def _note_type_contradiction(
    fields: Mapping[str, Any], space: tuple[Action, ...] | ActionRange, notes: list[str]
) -> None:
    found = ActionSpaceType.CONTINUOUS if isinstance(space, ActionRange) else ActionSpaceType.DISCRETE
    stated = one_of(fields, "action_space_type", ActionSpaceType, found)
    if stated is not found:
        notes.append(f"action_space_type says {stated} but action_space is {found}; it is read as {found}")


def _sac_squash(fields: Mapping[str, Any], algorithm: TrainingAlgorithm, notes: list[str]) -> SacSquash:
    squash = one_of(fields, "sac_squash", SacSquash, SacSquash.TANH)
    if "sac_squash" in fields and algorithm is not TrainingAlgorithm.SAC:
        notes.append(f"sac_squash decides nothing for {algorithm}")
    return squash


def _version(fields: Mapping[str, Any], notes: list[str]) -> float:
    if "version" not in fields:
        return 2.0 if "sensor" in fields else 1.0
    value = fields["version"]
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            refuse(f"version is {shown(value)}", 'it must be a number such as "5"', "correct it")
    version = number(value, "version", 0.0, 1000.0)
    if version > VERSION_MAX_KNOWN:
        notes.append(f"version {version:g} is newer than any that is known; it is read as version 6")
    return version


def _sensors(fields: Mapping[str, Any], version: float, notes: list[str]) -> tuple[Sensor, ...]:
    if "sensor" not in fields:
        if version >= 2.0:
            notes.append(
                f"version is {version:g} but sensor is missing; it is read as observation, "
                "and the network's input name decides"
            )
        return (Sensor.OBSERVATION,)
    if version < 2.0:
        notes.append(
            f"version is {version:g}, for which training ignores `sensor`; the file's sensor is believed, "
            "and the network's input name decides"
        )
    names = fields["sensor"]
    if not isinstance(names, list) or not names:
        refuse(
            f"sensor is {shown(names)}", "it must be a list of sensor names", 'e.g. ["FRONT_FACING_CAMERA"]'
        )
    sensors = tuple(dict.fromkeys(_sensor(name) for name in names))
    if len(sensors) < len(names):
        notes.append("sensor names one sensor twice; it counts once")
    cameras = [sensor.value for sensor in sensors if sensor in CAMERA_SENSORS]
    lidars = [sensor.value for sensor in sensors if sensor in LIDAR_SENSORS]
    if len(cameras) != 1:
        refuse(
            f"sensor names {len(cameras)} cameras ({', '.join(cameras) or 'none'})",
            "a policy has exactly one camera entry",
            "use the model_metadata.json that was trained with",
        )
    if len(lidars) > 1:
        refuse(
            f"sensor names {len(lidars)} LIDARs ({', '.join(lidars)})",
            "a policy has at most one",
            "use the model_metadata.json that was trained with",
        )
    return sensors


def _sensor(name: object) -> Sensor:
    text = name.strip().upper() if isinstance(name, str) else ""
    known = {sensor.value.upper(): sensor for sensor in Sensor} | SENSOR_ALIASES
    if text not in known:
        refuse(
            f"sensor contains {shown(name)}",
            "known are " + ", ".join(sensor.value for sensor in Sensor),
            "use a policy that was trained with these",
        )
    return known[text]


def _check_lidar(config: dict[str, Any] | None, sensors: tuple[Sensor, ...], notes: list[str]) -> None:
    for sensor in sensors:
        if sensor not in LIDAR_SENSORS:
            continue
        LidarConfig.from_metadata(config, sensor)
        ignored = ignored_keys(config or {}, sensor)
        if ignored:
            shown_keys = shown(", ".join(ignored))[1:-1]
            notes.append(f"lidar_config has {shown_keys}, which decides nothing for {sensor}")
        return
    if config is not None:
        notes.append("lidar_config is given but sensor names no LIDAR; it is ignored")


def _input_format(fields: Mapping[str, Any]) -> InputFormat:
    given = optional_object(fields, "input")
    if given is None:
        return InputFormat()
    unknown = sorted(given.keys() - {"layout", "range", "color", "frame_stack"})
    if unknown:
        refuse(
            f"input has the key {shown(unknown[0])}",
            "its keys are layout, range, color and frame_stack",
            "correct it",
        )
    has_layout = given.get("layout") is not None
    has_range = given.get("range") is not None
    return InputFormat(
        layout=one_of(given, "layout", Layout, Layout.NHWC, "input.") if has_layout else None,
        range=one_of(given, "range", ValueRange, ValueRange.BYTE, "input.") if has_range else None,
        color=one_of(given, "color", Color, Color.GRAY, "input."),
        frame_stack=frame_stack_from(given.get("frame_stack", 1), "input.frame_stack"),
    )
