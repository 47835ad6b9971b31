"""Each input of a network is fed by the sensor that its own name or shape says."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_files import mean_network, senses_network, write_policy

from calibration.car import AWS_DEFAULTS
from models.binding import bind, sensor_named
from models.bundle import check_bundle, load_bundle
from models.convert import convert
from models.errors import PolicyError, RangeUnknownError, SenseMissingError
from models.lidar import Scan
from models.metadata import (
    Action,
    ActionRange,
    Color,
    InputFormat,
    PolicyMetadata,
    Sensor,
    TrainingAlgorithm,
    ValueRange,
)
from models.observation import CameraInput, LidarInput, Observer, PolicyInput, Resize, Sight
from models.policy import load_policy
from models.runtime import PolicyRuntime, TensorInfo

CAMERA = (1, 120, 160, 1)
STEREO = (1, 120, 160, 2)
ROW = (1, 64)
SHAPES: Mapping[str, tuple[int, ...]] = {
    "observation": CAMERA,
    "FRONT_FACING_CAMERA": CAMERA,
    "LEFT_CAMERA": CAMERA,
    "STEREO_CAMERAS": STEREO,
    "LIDAR": ROW,
    "SECTOR_LIDAR": (1, 8),
    "DISCRETIZED_SECTOR_LIDAR": ROW,
}
CAMERAS = ("observation", "FRONT_FACING_CAMERA", "LEFT_CAMERA", "STEREO_CAMERAS")
LIDARS = ("", "LIDAR", "SECTOR_LIDAR", "DISCRETIZED_SECTOR_LIDAR")
RANGES = ActionRange(-30.0, 30.0, 1.0, 4.0)
STATED = InputFormat(range=ValueRange.BYTE)


def placeholder(sensor: str, head: str = "main") -> str:
    return f"main_level/agent/{head}/online/network_0/{sensor}/{sensor}"


def tensor(name: str, shape: Sequence[int | None], type_: str = "tensor(float)") -> TensorInfo:
    return TensorInfo(name, type_, tuple(shape))


def described(*sensors: str, **fields: Any) -> PolicyMetadata:
    return PolicyMetadata(
        **{
            "action_space": (Action(0.0, 1.0),),
            "sensors": tuple(Sensor(name) for name in sensors),
            "version": 5.0,
            "input": STATED,
            **fields,
        }
    )


def bound_sensors(description: PolicyMetadata, infos: Sequence[TensorInfo]) -> dict[str, str]:
    return {part.name: part.sensor.value for part in bind(description, infos).inputs}


def shape_of(part: PolicyInput) -> tuple[int, ...]:
    return part.format.shape if isinstance(part, CameraInput) else part.shape


def refusal(description: PolicyMetadata, infos: Sequence[TensorInfo]) -> str:
    with pytest.raises(PolicyError) as caught:
        bind(description, infos)
    return str(caught.value)


@pytest.mark.parametrize("lidar", LIDARS)
@pytest.mark.parametrize("camera", CAMERAS)
def test_every_combination_of_sensors_is_bound_by_its_placeholders_in_any_order(
    camera: str, lidar: str
) -> None:
    names = [name for name in (camera, lidar) if name]
    infos = [tensor(placeholder(name), (None, *SHAPES[name][1:])) for name in names]
    expected = {placeholder(name): name for name in names}

    for order in permutations(infos):
        for listed in permutations(names):
            binding = bind(described(*listed), order)

            assert {part.name: part.sensor.value for part in binding.inputs} == expected
            assert [part.name for part in binding.inputs] == [info.name for info in order]
            assert [shape_of(part) for part in binding.inputs] == [(1, *info.shape[1:]) for info in order]
            assert binding.metadata.notes == ()


@pytest.mark.parametrize("lidar", LIDARS)
@pytest.mark.parametrize("camera", CAMERAS)
def test_names_that_say_nothing_are_bound_by_shape_and_metadata(camera: str, lidar: str) -> None:
    names = {"input": camera} | ({"observation": lidar} if lidar else {})
    infos = [tensor(name, SHAPES[sensor]) for name, sensor in names.items()]

    for order in permutations(infos):
        assert bound_sensors(described(*names.values()), order) == names


@pytest.mark.parametrize(
    ("name", "sensor"),
    [
        (placeholder("STEREO_CAMERAS"), Sensor.STEREO_CAMERAS),
        (placeholder("observation"), Sensor.OBSERVATION),
        (placeholder("SECTOR_LIDAR", "policy") + ":0", Sensor.SECTOR_LIDAR),
        ("LIDAR", Sensor.LIDAR),
        ("front_facing_camera", Sensor.FRONT_FACING_CAMERA),
        ("observation", None),
        ("input", None),
        ("LIDAR/input", None),
        ("MY_LIDAR", None),
        ("", None),
    ],
)
def test_the_last_part_of_a_name_is_the_sensor(name: str, sensor: Sensor | None) -> None:
    assert sensor_named(name) is sensor


@pytest.mark.parametrize(
    ("description", "graph"),
    [
        (described("observation", version=1.0), ["FRONT_FACING_CAMERA"]),
        (described("observation"), ["STEREO_CAMERAS", "SECTOR_LIDAR"]),
        (described("STEREO_CAMERAS", "LIDAR", version=1.0), ["observation"]),
        (described("FRONT_FACING_CAMERA"), ["LEFT_CAMERA"]),
        (described("FRONT_FACING_CAMERA", "LIDAR"), ["LIDAR", "observation"]),
    ],
)
def test_the_graph_wins_over_an_old_files_sensors_and_tells(
    description: PolicyMetadata, graph: list[str]
) -> None:
    binding = bind(description, [tensor(placeholder(name), SHAPES[name]) for name in graph])

    assert {sensor.value for sensor in binding.metadata.sensors} == set(graph)
    assert [part.sensor.value for part in binding.inputs] == graph
    assert len(binding.metadata.notes) == 1
    assert f"called {', '.join(sorted(graph))}; they win over the" in binding.metadata.notes[0]


@pytest.mark.parametrize(
    ("description", "infos", "words"),
    [
        (
            described("FRONT_FACING_CAMERA"),
            [tensor(placeholder("STEREO_CAMERAS"), STEREO)],
            "called STEREO_CAMERAS, but model_metadata.json says the policy looks at FRONT_FACING_CAMERA",
        ),
        (
            described("STEREO_CAMERAS"),
            [tensor(placeholder("LEFT_CAMERA"), CAMERA)],
            "called LEFT_CAMERA, but model_metadata.json says the policy looks at STEREO_CAMERAS",
        ),
        (
            described("FRONT_FACING_CAMERA", "LIDAR"),
            [tensor(placeholder("FRONT_FACING_CAMERA"), CAMERA), tensor(placeholder("SECTOR_LIDAR"), (1, 8))],
            "called FRONT_FACING_CAMERA, SECTOR_LIDAR, but model_metadata.json says",
        ),
        (
            described("FRONT_FACING_CAMERA", "LIDAR"),
            [tensor(placeholder("FRONT_FACING_CAMERA"), CAMERA)],
            "no input for LIDAR; its inputs are main_level/agent",
        ),
        (
            described("FRONT_FACING_CAMERA"),
            [tensor(placeholder("FRONT_FACING_CAMERA"), CAMERA), tensor(placeholder("LIDAR"), ROW)],
            "called FRONT_FACING_CAMERA, LIDAR, but",
        ),
        (described("observation"), [tensor(placeholder("LIDAR"), ROW)], "has no input for observation"),
        (described("observation", version=1.0), [tensor("LIDAR", ROW)], "has no input for a camera"),
        (
            described("FRONT_FACING_CAMERA"),
            [tensor("a", CAMERA), tensor("b", CAMERA)],
            "input b of shape [1, 120, 160, 1] could be none of the sensors",
        ),
        (
            described("FRONT_FACING_CAMERA"),
            [tensor("FRONT_FACING_CAMERA", CAMERA), tensor("LEFT_CAMERA", CAMERA)],
            "has 2 camera inputs (FRONT_FACING_CAMERA, LEFT_CAMERA)",
        ),
        (
            described("FRONT_FACING_CAMERA"),
            [tensor("a", CAMERA), tensor("b", ROW)],
            "input b of shape [1, 64]",
        ),
        (described("FRONT_FACING_CAMERA"), [], "has no input for FRONT_FACING_CAMERA; its inputs are none"),
        (
            described("STEREO_CAMERAS"),
            [tensor("a", CAMERA)],
            "describes 1 gray picture of two eyes (2 channels) as NHWC or NCHW",
        ),
        (
            described("FRONT_FACING_CAMERA"),
            [tensor("a", STEREO)],
            "describes 1 gray picture (1 channel) as NHWC or NCHW; correct sensor, input.color",
        ),
        (
            described("STEREO_CAMERAS", input=InputFormat(range=ValueRange.BYTE, color=Color.RGB)),
            [tensor("a", (1, 120, 160, 6))],
            "says input.color rgb for STEREO_CAMERAS",
        ),
        (
            described("FRONT_FACING_CAMERA", "LIDAR"),
            [tensor("a", CAMERA), tensor("b", (1, 8))],
            "input b has shape [1, 8], but LIDAR with the lidar_config of model_metadata.json gives [1, 64]",
        ),
        (
            described("FRONT_FACING_CAMERA", "LIDAR"),
            [tensor("a", CAMERA), tensor("b", (1, None))],
            "input b has shape [1, ?], but LIDAR",
        ),
        (
            described("FRONT_FACING_CAMERA", "LIDAR"),
            [tensor("a", CAMERA), tensor("b", ROW, "tensor(uint8)")],
            "input b is tensor(uint8), but distances in metres need fractions",
        ),
        (
            described("FRONT_FACING_CAMERA", "LIDAR"),
            [tensor("a", CAMERA), tensor("b", ROW, "tensor(int64)")],
            "input b is tensor(int64); allowed are tensor(float)",
        ),
        (
            described("FRONT_FACING_CAMERA", "LIDAR"),
            [tensor("a", CAMERA), tensor("LIDAR", CAMERA)],
            "input LIDAR has shape [1, 120, 160, 1], but LIDAR",
        ),
        (
            described("FRONT_FACING_CAMERA"),
            [tensor(placeholder("FRONT_FACING_CAMERA"), ROW)],
            "has shape [1, 64]; allowed is one picture of a fixed size",
        ),
    ],
)
def test_what_fits_no_reading_is_refused_in_words(
    description: PolicyMetadata, infos: list[TensorInfo], words: str
) -> None:
    assert words in refusal(description, infos)


def test_a_lidars_size_follows_the_files_lidar_config() -> None:
    config = {"num_sectors": 16, "num_values_per_sector": 3, "clipping_dist": 1.5}
    description = described("FRONT_FACING_CAMERA", "DISCRETIZED_SECTOR_LIDAR", lidar_config=config)
    infos = [tensor(placeholder("DISCRETIZED_SECTOR_LIDAR"), (None, 48)), tensor("camera", CAMERA)]

    lidar = bind(description, infos).inputs[0]

    assert isinstance(lidar, LidarInput)
    assert (lidar.config.num_sectors, lidar.config.values_per_sector, lidar.config.clip_m) == (16, 3, 1.5)


@pytest.mark.parametrize(
    ("info", "resize"),
    [
        (tensor(placeholder("FRONT_FACING_CAMERA"), CAMERA), Resize.TRIANGLE),
        (tensor("input", CAMERA), Resize.AREA),
        (tensor("FRONT_FACING_CAMERA", CAMERA), Resize.AREA),
    ],
)
def test_pictures_become_small_as_in_the_networks_own_training(info: TensorInfo, resize: Resize) -> None:
    (camera,) = bind(described("FRONT_FACING_CAMERA"), [info]).inputs

    assert isinstance(camera, CameraInput)
    assert camera.format.resize is resize


@pytest.mark.parametrize(
    ("info", "is_known"),
    [
        (tensor(placeholder("FRONT_FACING_CAMERA"), CAMERA), True),  # DeepRacer's graph divides by itself
        (tensor("input", CAMERA, "tensor(uint8)"), True),
        (tensor("input", CAMERA), False),
        (tensor("input", CAMERA, "tensor(float16)"), False),
        (tensor("FRONT_FACING_CAMERA", CAMERA), False),
    ],
)
def test_an_unstated_range_is_asked_for_and_never_guessed(info: TensorInfo, is_known: bool) -> None:
    description = described("FRONT_FACING_CAMERA", input=InputFormat())

    if is_known:
        (camera,) = bind(description, [info]).inputs
        assert isinstance(camera, CameraInput)
        assert camera.format.range is ValueRange.BYTE
        return
    with pytest.raises(RangeUnknownError, match="which values its input") as caught:
        bind(description, [info])
    assert caught.value.input_name == info.name
    assert caught.value.choices == ("0..255", "0..1")


def test_an_owner_is_shown_both_readings_of_an_unstated_range(tmp_path: Path) -> None:
    folder = write_policy(tmp_path / "policy", input={"range": None})
    with pytest.raises(RangeUnknownError) as caught:
        load_bundle(folder)

    bright = Sight(np.full((120, 160, 3), 200, np.uint8))
    answers = []
    for choice in caught.value.choices:
        bundle, runtime = check_bundle(folder, input_range=ValueRange(choice))
        answers.append(runtime.infer(Observer(bundle.inputs).observe(bright)).argmax())

    assert answers == [2, 0]


def test_what_the_network_states_itself_is_no_question(tmp_path: Path) -> None:
    weights = np.zeros((120, 160, 1, 3))
    network = senses_network({"input": weights}, properties={"input_range": "0..1"})
    folder = write_policy(tmp_path / "policy", network, input={"range": None})

    bundle, _ = check_bundle(folder, input_range=ValueRange.BYTE)

    assert bundle.camera.format.range is ValueRange.UNIT


@pytest.mark.parametrize(
    ("head", "stated", "found"),
    [
        ("policy", TrainingAlgorithm.CLIPPED_PPO, TrainingAlgorithm.SAC),
        ("policy", TrainingAlgorithm.SAC, TrainingAlgorithm.SAC),
        ("main", TrainingAlgorithm.SAC, TrainingAlgorithm.CLIPPED_PPO),
        ("main", TrainingAlgorithm.CLIPPED_PPO, TrainingAlgorithm.CLIPPED_PPO),
        ("other", TrainingAlgorithm.SAC, TrainingAlgorithm.SAC),
    ],
)
def test_a_deepracer_graphs_names_say_what_trained_it(
    head: str, stated: TrainingAlgorithm, found: TrainingAlgorithm
) -> None:
    description = described("LEFT_CAMERA", action_space=RANGES, training_algorithm=stated)

    binding = bind(description, [tensor(placeholder("LEFT_CAMERA", head), CAMERA)])

    assert binding.metadata.training_algorithm is found
    assert bool(binding.metadata.notes) is (found is not stated)


def test_a_bare_deepracer_path_without_its_head_says_nothing_of_the_algorithm() -> None:
    description = described("LEFT_CAMERA", action_space=RANGES, training_algorithm=TrainingAlgorithm.SAC)

    binding = bind(description, [tensor("LEFT_CAMERA/LEFT_CAMERA", CAMERA)])

    assert binding.metadata.training_algorithm is TrainingAlgorithm.SAC


# --- end to end, with networks whose answer tells what they were fed


def eye_weights(action_of_eye: tuple[int, int]) -> np.ndarray:
    weights = np.zeros((120, 160, 2, 3))
    for eye, action in enumerate(action_of_eye):
        weights[:, :, eye, action] = 1.0 / (120 * 160)
    return weights


def level(value: int) -> np.ndarray:
    return np.full((240, 320, 3), value, np.uint8)


def test_the_left_eye_is_channel_0_and_the_right_one_channel_1(tmp_path: Path) -> None:
    network = senses_network({"pair": eye_weights((0, 2))})
    policy = load_policy(write_policy(tmp_path / "policy", network, sensor=["STEREO_CAMERAS"]))

    decision = policy.decide(Sight(level(200), level(50)), AWS_DEFAULTS)

    assert decision.output == pytest.approx((200.0, 0.0, 50.0), rel=1e-4)
    assert policy.needs_right_camera
    assert not policy.needs_lidar
    assert policy.sensors == {Sensor.STEREO_CAMERAS}


@pytest.mark.parametrize("is_lidar_first", [False, True])
def test_a_camera_and_a_lidar_are_fed_each_its_own(tmp_path: Path, is_lidar_first: bool) -> None:
    camera = np.zeros((120, 160, 1, 3))
    camera[..., 0] = 1.0 / (120 * 160)
    lidar = np.zeros((64, 3))
    lidar[:32, 1] = lidar[32:, 2] = 1.0 / 32
    parts = {"picture": camera, "LIDAR": lidar}
    if is_lidar_first:
        parts = dict(reversed(parts.items()))
    folder = write_policy(tmp_path / "policy", senses_network(parts), sensor=["LIDAR", "FRONT_FACING_CAMERA"])
    policy = load_policy(folder)
    angles = np.linspace(-np.pi, np.pi, 360, endpoint=False, dtype=np.float32)
    wall_on_the_right = Scan(angles, np.where(angles < 0, 0.25, np.inf).astype(np.float32))

    decision = policy.decide(Sight(level(90), None, wall_on_the_right), AWS_DEFAULTS)

    assert decision.output == pytest.approx((90.0, 0.25, 1.0), rel=1e-4)
    assert policy.needs_lidar
    with pytest.raises(SenseMissingError, match="takes LIDAR and there is no scan"):
        policy.decide(Sight(level(90)), AWS_DEFAULTS)


def test_a_policy_of_two_eyes_gives_no_answer_without_the_right_one(tmp_path: Path) -> None:
    network = senses_network({"pair": eye_weights((0, 2))})
    policy = load_policy(write_policy(tmp_path / "policy", network, sensor=["STEREO_CAMERAS"]))

    with pytest.raises(SenseMissingError, match="the right one has no picture; look at that sensor"):
        policy.decide(Sight(level(1)), AWS_DEFAULTS)


def test_a_deepracer_graph_with_a_list_of_actions_answers_probabilities(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {placeholder("FRONT_FACING_CAMERA"): rng.normal(0, 1e-5, (120, 160, 1, 3))}
    good = write_policy(tmp_path / "good", senses_network(weights, is_softmax=True))
    linear = write_policy(tmp_path / "linear", senses_network(weights))
    two = {placeholder("FRONT_FACING_CAMERA"): rng.normal(0, 1e-5, (120, 160, 1, 2))}
    ranges = {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 2}}
    softmax = write_policy(tmp_path / "softmax", senses_network(two, is_softmax=True), action_space=ranges)

    assert load_bundle(good).metadata.output_count == 3
    with pytest.raises(PolicyError, match="not the probabilities of a list of actions, but action_space is"):
        load_bundle(linear)
    with pytest.raises(PolicyError, match=r"answers probabilities .* but action_space is a range"):
        load_bundle(softmax)


def test_a_network_of_another_origin_may_answer_any_scores(tmp_path: Path) -> None:
    assert load_bundle(write_policy(tmp_path / "scores", mean_network())).metadata.output_count == 3


# --- DeepRacer's own graphs, converted

GOLDEN = Path(__file__).parents[1] / "golden"
RANGE = {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 2}}


@pytest.mark.parametrize("graph", sorted(GOLDEN.glob("*.pb")), ids=lambda path: path.stem)
def test_every_kind_of_deepracer_export_is_bound_and_decides(tmp_path: Path, graph: Path) -> None:
    """The network's own answer tells how many actions its list had; a file of version 1 tells no sensor."""
    conversion = convert(graph, tmp_path)
    sensors = set(re.split("_(?:shallow|plain|deep)_", graph.stem)[0].upper().split("+"))
    is_discrete = "_discrete" in graph.stem
    count = PolicyRuntime(tmp_path / "model.onnx").outputs[0].shape[-1] or 0
    space = [{"steering_angle": step, "speed": 1} for step in range(count)] if is_discrete else RANGE
    metadata = {"action_space": space, "version": "1"}
    (tmp_path / "model_metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    angles = np.linspace(-np.pi, np.pi, 360, endpoint=False, dtype=np.float32)
    scan = Scan(angles, (1.0 + np.cos(angles)).astype(np.float32))
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)

    policy = load_policy(tmp_path)
    decision = policy.decide(Sight(picture, picture[:, ::-1].copy(), scan), AWS_DEFAULTS)

    assert {sensor.value.upper() for sensor in policy.sensors} == sensors
    assert {part.name for part in policy.bundle.inputs} == {name for name, _ in conversion.inputs}
    assert all(np.isfinite(decision.output))
    is_sac = policy.bundle.metadata.training_algorithm is TrainingAlgorithm.SAC
    assert is_sac is ("_sac" in graph.stem)


def test_the_recorded_graphs_are_of_every_kind() -> None:
    names = " ".join(path.stem for path in GOLDEN.glob("*.pb"))

    for kind in (*SHAPES, "_discrete", "_continuous", "_sac", "-tf1", "-keras2", "-keras3"):
        assert kind.lower() in names
