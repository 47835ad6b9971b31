"""The written rules for odd metadata, the LIDAR's keys, the network's own properties, and what is printed."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import metadata
from models.errors import PolicyError
from models.lidar_config import LidarConfig
from models.metadata import (
    ActionUnits,
    Color,
    InputFormat,
    Layout,
    PolicyMetadata,
    SacSquash,
    Sensor,
    ValueRange,
)
from models.metadata_report import metadata_command

RANGES = {"steering_angle": {"high": 30, "low": -30}, "speed": {"high": 4, "low": 1}}
DISCRETIZED = Sensor.DISCRETIZED_SECTOR_LIDAR


def parsed(**fields: Any) -> PolicyMetadata:
    return metadata.parse(json.dumps({"action_space": RANGES, **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sac_squash": "clip"}, "sac_squash decides nothing for clipped_ppo"),
        ({"version": 7, "sensor": ["LEFT_CAMERA"]}, "version 7 is newer than any that is known"),
        ({"version": "3"}, "version is 3 but sensor is missing; it is read as observation"),
        ({"neural_network": "MY_NET"}, "neural_network 'MY_NET' is no name that training knows"),
        ({"llm_config": {}}, "llm_config is for an LLM agent; it is passed over"),
        ({"sensor": ["LEFT_CAMERA", "LEFT_CAMERA"]}, "sensor names one sensor twice"),
        ({"lidar_config": {}}, "sensor names no LIDAR"),
        (
            {"sensor": ["LEFT_CAMERA", "LIDAR"], "lidar_config": {"num_sectors": 4}},
            "lidar_config has num_sectors, which decides nothing for LIDAR",
        ),
        ({"action_space": {**RANGES, "speed": {"low": -1, "high": 2}}}, "what is 0 or less stops the car"),
        ({"action_space": [{"steering_angle": 1, "speed": 0}]}, "1 of 1 actions have a speed of 0 or less"),
    ],
)
def test_what_is_odd_is_read_and_told(fields: dict[str, Any], words: str) -> None:
    notes = parsed(**fields).notes

    assert len(notes) == 1
    assert words in notes[0]


def test_a_key_that_stands_twice_counts_the_second_time() -> None:
    understood = metadata.parse(
        b'{"version": 1, "version": 2, "action_space": [{"steering_angle": 1, "speed": 1}]}'
    )

    assert understood.version == 2.0
    assert "the key 'version' stands twice" in understood.notes[0]


def test_an_llm_agent_is_refused() -> None:
    with pytest.raises(PolicyError, match="has no network that a car could run"):
        parsed(neural_network="LLM")


def test_the_aws_cars_squash_can_be_asked_for() -> None:
    assert parsed(training_algorithm="sac").sac_squash is SacSquash.TANH
    understood = parsed(training_algorithm="sac", sac_squash="clip")
    assert understood.sac_squash is SacSquash.CLIP
    assert metadata.parse(metadata.encode(understood)) == understood


def test_a_range_that_is_not_stated_stays_open_through_writing() -> None:
    understood = parsed(input={"color": "rgb"})

    assert understood.input == InputFormat(None, None, Color.RGB, 1)
    assert metadata.parse(metadata.encode(understood)).input == understood.input


@pytest.mark.parametrize(
    ("sensor", "config", "size", "clip_m"),
    [
        (Sensor.LIDAR, None, 64, 1.0),
        (Sensor.SECTOR_LIDAR, None, 8, 0.5),
        (DISCRETIZED, None, 64, 2.0),
        (DISCRETIZED, {"num_sectors": 16, "num_values_per_sector": 2, "clipping_dist": 3}, 32, 3.0),
        (DISCRETIZED, {"num_sectors": "4", "num_values_per_sector": "8"}, 32, 2.0),
        (Sensor.SECTOR_LIDAR, {"num_sectors": 16, "clipping_dist": 3}, 8, 0.5),
        (Sensor.LIDAR, {"num_values": 32, "max_distance": 0.5, "clipping_distance": 1.0}, 32, 1.0),
        (Sensor.SECTOR_LIDAR, {"num_values": 64, "num_sectors": 4, "max_distance": 0.7}, 4, 0.7),
    ],
)
def test_each_lidar_has_the_size_and_reach_of_its_training(
    sensor: Sensor, config: dict[str, Any] | None, size: int, clip_m: float
) -> None:
    understood = LidarConfig.from_metadata(config, sensor)

    assert understood.input_size == size
    assert understood.clip_m == clip_m
    assert understood.rays_per_sector * understood.num_sectors == understood.num_rays


def test_the_cars_angles_are_degrees_and_become_radians() -> None:
    understood = LidarConfig.from_metadata({"min_angle": -60, "max_angle": 90}, Sensor.LIDAR)

    assert (understood.angle_low_rad, understood.angle_high_rad) == (-math.pi / 3, math.pi / 2)


def test_a_sectors_step_divides_its_reach() -> None:
    assert LidarConfig.from_metadata(None, DISCRETIZED).step_m == 0.25


@pytest.mark.parametrize(
    ("sensor", "config", "words"),
    [
        (
            DISCRETIZED,
            {"num_sectors": 7},
            "num_sectors is 7; it must divide the 64 rays: 1, 2, 4",
        ),
        (DISCRETIZED, {"num_sectors": 0}, "num_sectors is 0; allowed is 1 to 64"),
        (DISCRETIZED, {"num_values_per_sector": 1.5}, "it must be a whole number"),
        (DISCRETIZED, {"clipping_dist": 13}, "clipping_dist is 13; allowed is 0.15 to 12"),
        (DISCRETIZED, {"clipping_dist": "2"}, "clipping_dist is '2'; it must be a number"),
        (Sensor.LIDAR, {"min_angle": 5, "max_angle": 5}, "goes from 5 to 5 degrees"),
        (Sensor.LIDAR, {"min_distance": 2}, "goes from 2 to 1 m"),
    ],
)
def test_a_lidar_that_cannot_be_is_refused_where_the_file_is_read(
    sensor: Sensor, config: dict[str, Any], words: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        parsed(sensor=["LEFT_CAMERA", sensor.value], lidar_config=config)

    assert words in str(caught.value)


def test_the_networks_own_properties_are_taken_over() -> None:
    properties = {
        "input_layout": "NCHW",
        "input_range": "0..1",
        "color": "RGB",
        "frame_stack": "3",
        "control_rate_hz": "30",
        "action_units": "physical",
        "lapwing.source": "tensorflow",
    }

    understood = metadata.with_properties(parsed(), properties)

    assert understood.input == InputFormat(Layout.NCHW, ValueRange.UNIT, Color.RGB, 3)
    assert understood.control_rate_hz == 30.0
    assert understood.action_units is ActionUnits.PHYSICAL


def test_the_network_wins_over_the_file_and_the_note_tells() -> None:
    understood = metadata.with_properties(parsed(input={"range": "0..1"}), {"input_range": "0..255"})

    assert understood.input.range is ValueRange.BYTE
    assert understood.notes[0].startswith("the network's own input_range is 0..255; it wins over 0..1")


def test_properties_that_agree_change_nothing() -> None:
    understood = parsed(input={"range": "0..1", "layout": "NHWC"})

    assert metadata.with_properties(understood, {"input_range": "0..1", "input_layout": "nhwc"}) == understood


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("input_range", "0..2"),
        ("frame_stack", "nine"),
        ("frame_stack", "9"),
        ("frame_stack", "nan"),
        ("control_rate_hz", "inf"),
        ("color", ""),
    ],
)
def test_a_property_that_makes_no_sense_is_refused(name: str, text: str) -> None:
    with pytest.raises(PolicyError, match=f"the network's own metadata properties: {name} is"):
        metadata.with_properties(parsed(), {name: text})


@given(st.dictionaries(st.sampled_from(sorted(metadata.PROPERTIES)), st.text(max_size=6)))
def test_any_properties_are_taken_or_refused(properties: dict[str, str]) -> None:
    try:
        understood = metadata.with_properties(parsed(), properties)
    except PolicyError:
        return
    assert 1 <= understood.input.frame_stack <= metadata.FRAME_STACK_MAX


def test_the_report_shows_the_actions_and_the_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model_metadata.json"
    actions = [{"steering_angle": 12.5, "speed": 0.75, "index": 4}]
    path.write_text(
        json.dumps({"action_space": actions, "sensor": ["LEFT_CAMERA", "SECTOR_LIDAR"], "odd": 1})
    )

    assert metadata_command(path, as_json=False) == 0

    printed = capsys.readouterr().out
    for words in (
        "12.5 deg",
        "0.75 m/s",
        "left camera, sector LIDAR (8 numbers",
        "not read: odd",
        "Note: index",
    ):
        assert words in printed


def test_the_reports_document_is_what_is_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model_metadata.json"
    path.write_text(json.dumps({"action_space": RANGES, "training_algorithm": "sac"}))

    assert metadata_command(path, as_json=True) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["refused"] is None
    assert document["understood"] == metadata.load(path).understood()
    assert document["understood"]["sac_squash"] == "tanh"
    assert document["understood"]["action_space"]["steering_deg"] == {"low": -30.0, "high": 30.0}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b'{"\x1b[31m": NaN}'])
def test_a_refusal_is_one_sentence_and_status_2(
    data: bytes, as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file \x1b[31m.json"
    path.write_bytes(data)

    assert metadata_command(path, as_json) == 2

    out, err = capsys.readouterr()
    said = json.loads(out)["refused"] if as_json else err
    assert "model_metadata.json" in said or "action_space" in said
    assert "\x1b" not in out + err
