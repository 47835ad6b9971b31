"""Tiny policies on disk: the answer depends on the picture's mean grey level alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.metadata import encode
from models.standard_network import STANDARD_ACTIONS, standard_network, write_standard_bundle

THREE_ACTIONS = [
    {"steering_angle": 30, "speed": 1.0},
    {"steering_angle": 0, "speed": 2.0},
    {"steering_angle": -30, "speed": 1.0},
]


def mean_network(
    *,
    shape: Sequence[int | str] = (1, 120, 160, 1),
    slopes: Sequence[float] = (-1.0, 0.0, 1.0),
    offsets: Sequence[float] = (100.0, 0.0, -150.0),
    input_type: int = TensorProto.FLOAT,
    output_type: int = TensorProto.FLOAT,
    nan_between: tuple[float, float] | None = None,
    input_count: int = 1,
    output_count: int = 1,
    output_rank: int = 2,
) -> bytes:
    """ONNX bytes of output[k] = slopes[k] * mean + offsets[k]: left below 100, right above 150.

    With `nan_between` every output is NaN while the mean lies between the two.
    """
    count = len(slopes)
    constants = {
        "slopes": np.array([slopes], np.float32),
        "offsets": np.array([offsets], np.float32),
        "row": np.array([1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["picture"], ["float_picture"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float_picture"], ["mean4"], keepdims=1),
        helper.make_node("Reshape", ["mean4", "row"], ["mean"]),
        helper.make_node("MatMul", ["mean", "slopes"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offsets"], ["answer"]),
    ]
    answer = "answer"
    if nan_between is not None:
        constants["low"], constants["high"] = (np.array([[end]], np.float32) for end in nan_between)
        nodes += [
            helper.make_node("Sub", ["mean", "low"], ["above"]),
            helper.make_node("Sub", ["mean", "high"], ["below"]),
            helper.make_node("Mul", ["above", "below"], ["product"]),
            helper.make_node("Sqrt", ["product"], ["root"]),  # NaN between the two
            helper.make_node("Sub", ["root", "root"], ["zero"]),
            helper.make_node("Add", ["answer", "zero"], ["poisoned"]),
        ]
        answer = "poisoned"
    if output_rank == 1:
        constants["flat"] = np.array([-1], np.int64)
        nodes.append(helper.make_node("Reshape", [answer, "flat"], ["flat_answer"]))
        answer = "flat_answer"
    outputs = [f"policy{index}" for index in range(output_count)]
    nodes += [helper.make_node("Cast", [answer], [name], to=output_type) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "mean",
        [
            helper.make_tensor_value_info(name, input_type, list(shape))
            for name in ("picture", "second")[:input_count]
        ],
        [
            helper.make_tensor_value_info(name, output_type, [1, count] if output_rank == 2 else [count])
            for name in outputs
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def senses_network(
    weights: Mapping[str, np.ndarray],
    *,
    is_softmax: bool = False,
    input_type: int = TensorProto.FLOAT,
    properties: Mapping[str, str] | None = None,
) -> bytes:
    """ONNX bytes of output[k] = sum over every input and all its numbers of number * weight[..., k].

    `weights` has for each input's name an array of the input's shape without the batch, and the outputs.
    With `is_softmax` the outputs become probabilities.
    """
    count = next(iter(weights.values())).shape[-1]
    constants = {"row": np.array([1, -1], np.int64)}
    nodes = []
    for index, (name, values) in enumerate(weights.items()):
        constants[f"weights{index}"] = values.reshape(-1, count).astype(np.float32)
        nodes += [
            helper.make_node("Cast", [name], [f"float{index}"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [f"float{index}", "row"], [f"row{index}"]),
            helper.make_node("MatMul", [f"row{index}", f"weights{index}"], [f"part{index}"]),
        ]
    parts = [f"part{index}" for index in range(len(weights))]
    nodes.append(helper.make_node("Sum", parts, ["sum"]))
    nodes.append(helper.make_node("Softmax" if is_softmax else "Identity", ["sum"], ["policy"]))
    graph = helper.make_graph(
        nodes,
        "senses",
        [
            helper.make_tensor_value_info(name, input_type, [1, *values.shape[:-1]])
            for name, values in weights.items()
        ],
        [helper.make_tensor_value_info("policy", TensorProto.FLOAT, [1, count])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(properties or {}))
    return bytes(model.SerializeToString())


def write_small_standard_policy(folder: Path, control_rate_hz: float = 120.0) -> Path:
    """Write the field's layers for a picture of a quarter's size, quick to quantise; return the folder.

    Random weights, and a head so calm that eight bits cost hardly any probability.
    """
    described = write_standard_bundle(folder)
    network = onnx.load_from_string(standard_network(len(STANDARD_ACTIONS), 0, 60, 80))
    head = next(tensor for tensor in network.graph.initializer if tensor.name == "policy_w")
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) * np.float32(0.02), "policy_w"))
    (folder / "model.onnx").write_bytes(network.SerializeToString())
    faster = msgspec.structs.replace(described, control_rate_hz=control_rate_hz)
    (folder / "model_metadata.json").write_bytes(encode(faster))
    return folder


def write_policy(folder: Path, network: bytes | None = None, **fields: Any) -> Path:
    """Write a bundle's two files and return its folder; `fields` are added to the metadata.

    Its pictures take 0..255 where `fields` do not say otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(mean_network() if network is None else network)
    stated = {"range": "0..255", **fields.pop("input", {})}
    metadata = {
        "action_space": THREE_ACTIONS,
        "sensor": ["FRONT_FACING_CAMERA"],
        "input": {name: value for name, value in stated.items() if value is not None},
        **fields,
    }
    (folder / "model_metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder
