"""Small policies on disk for driving tests: their answer does not depend on what they see."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def write_policy(
    folder: Path,
    *,
    speed_mps: float = 1.0,
    steering_deg: float = 0.0,
    control_rate_hz: float = 30.0,
    shape: Sequence[int] = (1, 120, 160, 1),
) -> Path:
    """Write a bundle that always chooses this action; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    constants = {
        "none": np.zeros((1, 3), np.float32),
        "answer": np.array([[0.1, 0.8, 0.1]], np.float32),
        "row": np.array([1, 1], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean4"], keepdims=1),
        helper.make_node("Reshape", ["mean4", "row"], ["mean"]),
        helper.make_node("MatMul", ["mean", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "answer"], ["policy"]),
    ]
    graph = helper.make_graph(
        nodes,
        "steady",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("policy", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    actions = [
        {"steering_angle": 30, "speed": speed_mps},
        {"steering_angle": steering_deg, "speed": speed_mps},
        {"steering_angle": -30, "speed": speed_mps},
    ]
    metadata = {
        "action_space": actions,
        "action_space_type": "discrete",
        "training_algorithm": "clipped_ppo",
        "sensor": ["FRONT_FACING_CAMERA"],
        "neural_network": "DEEP_CONVOLUTIONAL_NETWORK_SHALLOW",
        "version": "5",
        "action_units": "physical",
        "control_rate_hz": control_rate_hz,
        "input": {"range": "0..255"},
    }
    (folder / "model_metadata.json").write_text(json.dumps(metadata))
    return folder
