"""Policies made by hand, one for each set of sensors, that really drive by what these sensors give.

By picture: floor is brighter than road, so steer away from the brighter half of what lies ahead. By
LIDAR: steer to where there is more room. Left, straight and right are the actions.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

PLACEHOLDER = "main_level/agent/main/online/network_0/{0}/{0}"  # as DeepRacer's graphs spell it
HEIGHT, WIDTH = 120, 160
HORIZON_ROW = 60  # below it lies floor or road
LIDAR_SHAPES = {"LIDAR": 64, "SECTOR_LIDAR": 8, "DISCRETIZED_SECTOR_LIDAR": 64}
RANGE_GAIN = 8.0  # from that preference to a mean of -1 to 1
DEAD_BAND = 0.04  # of the preference for one side; within it straight on is best


def by_picture(eyes: int) -> npt.NDArray[np.float32]:
    """Weights of every pixel (NHWC, flat) whose sum says how much brighter the right half is: -1 to 1."""
    weights = np.zeros((HEIGHT, WIDTH, eyes), np.float32)
    weights[HORIZON_ROW:, : WIDTH // 2] = -1.0
    weights[HORIZON_ROW:, WIDTH // 2 :] = 1.0
    return weights.reshape(-1) / (40.0 * 0.5 * weights.size / 2)


def by_lidar(sensor: str) -> npt.NDArray[np.float32]:
    """Weights of every number whose sum says how much more room there is on the left, about -1 to 1."""
    if sensor == "LIDAR":
        angles_deg = np.linspace(-150, 150, 64)
        looks_ahead = (np.abs(angles_deg) < 105) & (np.abs(angles_deg) > 8)
        weights = np.where(looks_ahead, np.sign(angles_deg), 0.0) * 0.25
    elif sensor == "SECTOR_LIDAR":  # 1 is near: less room
        weights = -np.array([0, -1.0, -1.0, -0.5, 0.5, 1.0, 1.0, 0])
    else:
        side = np.array([0, -1.0, -1.0, -0.5, 0.5, 1.0, 1.0, 0])
        nearness = np.linspace(1.0, 0.125, 8)
        weights = -np.outer(side, nearness).reshape(-1)
    return np.asarray(weights, np.float32)


KINDS = ("PPO, list", "PPO, range", "SAC")


def write_sensing_policy(
    folder: Path,
    camera: str = "FRONT_FACING_CAMERA",
    lidar: str | None = None,
    speed_mps: float = 0.7,
    kind: str = KINDS[0],
) -> Path:
    """Write a bundle that steers by the LIDAR where it has one, else by the picture; return its folder.

    Of a kind with a range it steers the more, the surer it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    eyes = 2 if camera == "STEREO_CAMERAS" else 1
    placeholder = PLACEHOLDER.replace("/main/", "/policy/") if kind == "SAC" else PLACEHOLDER
    picture = placeholder.format(camera)
    inputs = [(picture, [1, HEIGHT, WIDTH, eyes])]
    picture_weights = by_picture(eyes)
    if lidar is not None:
        inputs.append((placeholder.format(lidar), [1, LIDAR_SHAPES[lidar]]))
        picture_weights = picture_weights * 0.0
    constants = {
        "row": np.array([1, -1], np.int64),
        "picture_weights": picture_weights[:, None],
        "to_actions": np.array([[1.0, 0.0, -1.0]], np.float32),
        "bias": np.array([[0.0, DEAD_BAND, 0.0]], np.float32),
        "sharp": np.array(20.0, np.float32),
    }
    nodes = [
        helper.make_node("Reshape", [picture, "row"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "picture_weights"], ["leftness"]),
    ]
    if lidar is not None:
        constants["lidar_weights"] = by_lidar(lidar)[:, None]
        nodes += [
            helper.make_node("MatMul", [inputs[1][0], "lidar_weights"], ["room"]),
            helper.make_node("Add", ["leftness", "room"], ["both"]),
        ]
    steered = "leftness" if lidar is None else "both"
    if kind == KINDS[0]:
        nodes += [
            helper.make_node("MatMul", [steered, "to_actions"], ["preferred"]),
            helper.make_node("Add", ["preferred", "bias"], ["biased"]),
            helper.make_node("Mul", ["biased", "sharp"], ["sharpened"]),
            helper.make_node("Softmax", ["sharpened"], ["policy"], axis=1),
        ]
    else:
        constants |= {
            "to_means": np.array([[RANGE_GAIN, 0.0]], np.float32),
            "means": np.zeros((1, 2), np.float32),  # the speed stays in the middle of its range
        }
        nodes += [
            helper.make_node("MatMul", [steered, "to_means"], ["steering"]),
            helper.make_node("Add", ["steering", "means"], ["policy"]),
        ]
    space: object = [{"steering_angle": angle, "speed": speed_mps} for angle in (25, 0, -25)]
    if kind != KINDS[0]:
        speed = {"low": speed_mps - 0.1, "high": speed_mps + 0.1}
        space = {"steering_angle": {"low": -25, "high": 25}, "speed": speed}
    graph = helper.make_graph(
        nodes,
        "sensing",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info("policy", TensorProto.FLOAT, [1, 3 if kind == KINDS[0] else 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    metadata = {
        "action_space": space,
        "action_space_type": "discrete" if kind == KINDS[0] else "continuous",
        "training_algorithm": "sac" if kind == "SAC" else "clipped_ppo",
        "sensor": [camera, *([lidar] if lidar else [])],
        "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
        "version": "5",
        "action_units": "physical",
        "control_rate_hz": 15,
    }
    (folder / "model_metadata.json").write_text(json.dumps(metadata))
    return folder
