"""What is understood of a model_metadata.json, and what is refused in which words."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import metadata
from models.errors import PolicyError
from models.metadata import (
    Action,
    ActionRange,
    ActionSpaceType,
    ActionUnits,
    Color,
    InputFormat,
    Layout,
    PolicyMetadata,
    Sensor,
    TrainingAlgorithm,
    ValueRange,
)

TWO_ACTIONS = [{"steering_angle": -30, "speed": 1}, {"steering_angle": 30.0, "speed": 2.5}]
RANGES = {"steering_angle": {"high": 30.0, "low": -30.0}, "speed": {"high": 4.0, "low": 1}}


def parsed(**fields: Any) -> PolicyMetadata:
    return metadata.parse(json.dumps({"action_space": TWO_ACTIONS, **fields}).encode())


def refusal(data: bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        metadata.parse(data)
    return str(caught.value)


def field_refusal(**fields: Any) -> str:
    return refusal(json.dumps({"action_space": TWO_ACTIONS, **fields}).encode())


def test_a_bare_list_of_actions_is_enough_and_gets_every_default() -> None:
    understood = parsed()

    assert understood == PolicyMetadata(
        action_space=(Action(-30.0, 1.0), Action(30.0, 2.5)),
        training_algorithm=TrainingAlgorithm.CLIPPED_PPO,
        sensors=(Sensor.OBSERVATION,),
        neural_network="DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
        version=1.0,
        lidar_config=None,
        action_units=ActionUnits.AWS_SHARE,
        control_rate_hz=15.0,
        input=InputFormat(None, None, Color.GRAY, 1),
    )
    assert understood.action_space_type is ActionSpaceType.DISCRETE
    assert understood.output_count == 2


def test_a_range_of_actions_is_continuous_with_two_outputs() -> None:
    understood = parsed(action_space=RANGES, action_space_type="continuous", version="5")

    assert understood.action_space == ActionRange(-30.0, 30.0, 1.0, 4.0)
    assert understood.action_space_type is ActionSpaceType.CONTINUOUS
    assert understood.output_count == 2


def test_the_json_type_of_the_action_space_wins_over_the_stated_type_and_is_told() -> None:
    understood = parsed(action_space=RANGES, action_space_type="discrete", training_algorithm="sac")

    assert understood.action_space_type is ActionSpaceType.CONTINUOUS
    assert understood.training_algorithm is TrainingAlgorithm.SAC
    assert understood.notes == (
        "action_space_type says discrete but action_space is continuous; it is read as continuous",
    )


def test_index_is_ignored_because_the_position_is_the_class() -> None:
    actions = [{"steering_angle": angle, "speed": 1, "index": 9} for angle in (5, -5, 5)]

    understood = parsed(action_space=actions)

    assert understood.action_space == (Action(5.0, 1.0), Action(-5.0, 1.0), Action(5.0, 1.0))


@pytest.mark.parametrize(
    ("fields", "version"),
    [({}, 1.0), ({"sensor": ["LEFT_CAMERA"]}, 2.0), ({"version": "4.0"}, 4.0), ({"version": 6}, 6.0)],
)
def test_the_version_is_read_as_training_reads_it(fields: dict[str, Any], version: float) -> None:
    assert parsed(**fields).version == version


def test_a_sensor_in_a_file_of_version_one_is_believed_and_told() -> None:
    understood = parsed(sensor=["FRONT_FACING_CAMERA"], version="1")

    assert understood.sensors == (Sensor.FRONT_FACING_CAMERA,)
    assert "version is 1" in understood.notes[0]


def test_spaces_and_capitals_in_choices_do_not_matter() -> None:
    understood = parsed(action_space=RANGES, action_space_type=" Continuous ", training_algorithm="SAC ")

    assert understood.training_algorithm is TrainingAlgorithm.SAC
    assert understood.notes == ()


def test_keys_that_nobody_knows_are_kept() -> None:
    understood = parsed(preprocess_type="GREY_SCALE", regional_parameters=["0", 0], sensor_list=[])

    assert understood.unknown == {
        "preprocess_type": "GREY_SCALE",
        "regional_parameters": ["0", 0],
        "sensor_list": [],
    }


def test_a_camera_and_a_lidar_together_are_understood_in_any_order() -> None:
    understood = parsed(sensor=["SECTOR_LIDAR", "STEREO_CAMERAS"], lidar_config={"num_sectors": 8})

    assert set(understood.sensors) == {Sensor.SECTOR_LIDAR, Sensor.STEREO_CAMERAS}
    assert understood.lidar_config == {"num_sectors": 8}


def test_the_web_name_of_the_old_camera_means_the_same() -> None:
    assert parsed(sensor=["OBSERVATION_CAMERA"]).sensors == (Sensor.OBSERVATION,)


def test_our_own_keys_are_read() -> None:
    understood = parsed(
        action_units="physical",
        control_rate_hz=30,
        input={"layout": "NCHW", "range": "0..1", "color": "rgb", "frame_stack": 3.0},
    )

    assert understood.action_units is ActionUnits.PHYSICAL
    assert understood.control_rate_hz == 30.0
    assert understood.input == InputFormat(Layout.NCHW, ValueRange.UNIT, Color.RGB, 3)


def test_a_byte_order_mark_is_tolerated() -> None:
    data = b"\xef\xbb\xbf" + json.dumps({"action_space": TWO_ACTIONS}).encode()

    assert metadata.parse(data).output_count == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not JSON"),
        (b"GIF89a\x80", "is not UTF-8 text (byte 6)"),
        (b'{\n "action_space": [\n  1,\n ]\n}', "at line 4 column 2"),
        (b'{"action_space": [1 2]}', "at line 1 column 21"),
        (b"[]", "holds a list; it must hold an object"),
        (b"null", "holds a null"),
        (b"true", "holds a true or false"),
        (b'"text"', "holds a text"),
        (b"12", "holds a number"),
        (b"{}", "action_space is missing"),
        (b'{"action_space": 3}', "action_space is a number"),
        (b'{"x": NaN}', "contains NaN; every number must be finite"),
        (b'{"x": -Infinity}', "contains -Infinity"),
        (b'{"x": 1e999}', "contains 1e999, which is too large"),
        (b'{"x": ' + b"9" * 5000 + b"}", "has a number that cannot be read"),
        (b"[" * 200_000, "is nested too deeply"),
        (b" " * (metadata.MAX_FILE_BYTES + 1), "has more than 1048576 bytes"),
    ],
)
def test_bytes_that_are_not_a_metadata_file_are_refused_in_words(data: bytes, words: str) -> None:
    assert words in refusal(data)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action_space": []}, "action_space lists 0 actions; allowed are 1 to 1000"),
        ({"action_space": [3]}, "action_space[0] is a number; it must have steering_angle and speed"),
        ({"action_space": [{"speed": 1}]}, "action_space[0] has no steering_angle"),
        ({"action_space": [*TWO_ACTIONS, {"steering_angle": 1}]}, "action_space[2] has no speed"),
        ({"action_space": [{"steering_angle": "30", "speed": 1}]}, "steering_angle is '30'; it must be a"),
        ({"action_space": [{"steering_angle": True, "speed": 1}]}, "steering_angle is True; it must be a"),
        ({"action_space": [{"steering_angle": 91, "speed": 1}]}, "is 91; allowed is -90 to 90"),
        ({"action_space": [{"steering_angle": 1, "speed": 1e308}]}, "is 1e+308; allowed is -50 to 50"),
        ({"action_space": {}}, "action_space.steering_angle is missing"),
        ({"action_space": {"steering_angle": {"low": 1}}}, "action_space.steering_angle is {'low': 1}"),
        ({"action_space": {**RANGES, "speed": {"low": 2, "high": 2}}}, "speed goes from 2 to 2; low must be"),
        ({"action_space_type": "both"}, "action_space_type is 'both'; allowed are 'discrete', 'continuous'"),
        ({"action_space_type": None}, "action_space_type is None"),
        ({"training_algorithm": "ppo"}, "training_algorithm is 'ppo'; allowed are 'clipped_ppo', 'sac'"),
        ({"training_algorithm": "sac"}, "training_algorithm is 'sac' but action_space is a list"),
        ({"sensor": []}, "sensor is []; it must be a list"),
        ({"sensor": "LIDAR"}, "sensor is 'LIDAR'; it must be a list"),
        ({"sensor": ["LIDAR"]}, "sensor names 0 cameras (none)"),
        ({"sensor": ["LEFT_CAMERA", "STEREO_CAMERAS"]}, "sensor names 2 cameras"),
        ({"sensor": ["LEFT_CAMERA", "LIDAR", "SECTOR_LIDAR"]}, "sensor names 2 LIDARs"),
        ({"sensor": ["RADAR"]}, "sensor contains 'RADAR'; known are observation,"),
        ({"sensor": [[]]}, "sensor contains []"),
        ({"version": "five"}, "version is 'five'; it must be a number"),
        ({"version": []}, "version is []; it must be a number"),
        ({"version": "nan"}, "version is nan; allowed is 0 to 1000"),
        ({"neural_network": 3}, "neural_network is 3; it must be printable text"),
        ({"neural_network": "\ud800"}, "neural_network is '\\ud800'"),
        ({"lidar_config": 3}, "lidar_config is 3; it must be an object"),
        ({"action_units": "miles"}, "action_units is 'miles'; allowed are 'physical', 'aws_share'"),
        ({"control_rate_hz": 4}, "control_rate_hz is 4; allowed is 5 to 120"),
        ({"control_rate_hz": "15"}, "control_rate_hz is '15'; it must be a number"),
        ({"input": []}, "input is []; it must be an object"),
        ({"input": {"colour": "gray"}}, "input has the key 'colour'; its keys are"),
        ({"input": {"layout": "CHW"}}, "input.layout is 'CHW'; allowed are 'NHWC', 'NCHW'"),
        ({"input": {"range": [0, 1]}}, "input.range is [0, 1]"),
        ({"input": {"frame_stack": 9}}, "input.frame_stack is 9; allowed is 1 to 8"),
        ({"input": {"frame_stack": 1.5}}, "input.frame_stack is 1.5; it must be a whole number"),
        ({"neural_network": ["x"] * 100}, "..."),
    ],
)
def test_a_wrong_field_is_named_with_what_was_seen_and_what_is_allowed(
    fields: dict[str, Any], words: str
) -> None:
    assert words in field_refusal(**fields)


def test_what_is_written_reads_back_as_the_same() -> None:
    for fields in (
        {},
        {"action_space": RANGES, "training_algorithm": "sac", "version": 4, "odd": [1, None]},
        {"input": {"layout": "NHWC", "frame_stack": 4}, "control_rate_hz": 30, "lidar_config": {"a": 1}},
    ):
        understood = parsed(**fields)

        again = metadata.parse(metadata.encode(understood))

        assert msgspec.structs.replace(again, notes=understood.notes) == understood


def test_a_missing_file_is_refused_with_its_path_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"nowhere\.json cannot be read \(No such file.*put the policy's"):
        metadata.load(tmp_path / "nowhere.json")


def test_a_refusal_of_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model_metadata.json"
    path.write_bytes(b"{}")

    with pytest.raises(PolicyError, match=r"model_metadata\.json: action_space is missing"):
        metadata.load(path)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELD_NAMES = [
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
]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELD_NAMES), JSON_VALUES, max_size=4))
def test_any_values_are_understood_or_refused_but_never_crash(fields: dict[str, Any]) -> None:
    try:
        understood = parsed(**fields)
    except PolicyError:
        return
    assert math.isfinite(understood.control_rate_hz)
