"""The standard DeepRacer network with random weights, for benchmarks and tests.

Convolutions 8x8x32 stride 4, 4x4x64 stride 2 and 3x3x64 stride 1 without padding, a dense layer of 512,
one output per action, softmax: 22 million multiplications and 23 MB of weights at 120x160. The division
of grey levels by 255 is folded into the first layer's weights, and dense weights lie output by output, as
both do for a policy that drives.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import metadata
from models.bundle_files import MODEL_NAME
from models.metadata import Action, PolicyMetadata, Sensor

CONVOLUTIONS = ((8, 32, 4), (4, 64, 2), (3, 64, 1))  # kernel, filters, stride
DENSE_UNITS = 512
PROPERTIES = {"input_layout": "NHWC", "input_range": "0..255"}
STANDARD_ACTIONS = tuple(
    Action(steering_deg, speed_mps) for speed_mps in (1.0, 2.0) for steering_deg in (-30, -15, 0, 15, 30)
)


def write_standard_bundle(
    folder: Path, actions: Sequence[Action] = STANDARD_ACTIONS, seed: int = 0
) -> PolicyMetadata:
    """Write `model.onnx` and `model_metadata.json` into a new or existing folder."""
    description = PolicyMetadata(
        action_space=tuple(actions), sensors=(Sensor.FRONT_FACING_CAMERA,), version=5.0
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_NAME).write_bytes(standard_network(len(actions), seed))
    (folder / "model_metadata.json").write_bytes(metadata.encode(description))
    return description


def standard_network(action_count: int, seed: int = 0, height_px: int = 120, width_px: int = 160) -> bytes:
    """Return the ONNX file: NHWC grey levels in, probabilities out; the same bytes for the same seed."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - slow to import; benchmarks and tests need it

    rng = np.random.default_rng(seed)
    weights: dict[str, npt.NDArray[np.float32]] = {}
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, height_px, width_px, 1])
    nodes: list[Any] = [helper.make_node("Transpose", ["picture"], ["planes"], perm=[0, 3, 1, 2])]

    tensor, channels = "planes", 1
    for index, (kernel, filters, stride) in enumerate(CONVOLUTIONS):
        name = f"conv{index}"
        weights[f"{name}_w"] = _random_weights(rng, (filters, channels, kernel, kernel), channels * kernel**2)
        weights[f"{name}_b"] = np.zeros(filters, np.float32)
        inputs = [tensor, f"{name}_w", f"{name}_b"]
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[stride, stride]))
        nodes.append(helper.make_node("Relu", [name], [f"{name}_relu"]))
        tensor, channels = f"{name}_relu", filters
        height_px, width_px = (height_px - kernel) // stride + 1, (width_px - kernel) // stride + 1
    weights["conv0_w"] /= np.float32(255)

    nodes.append(helper.make_node("Flatten", [tensor], ["flat"], axis=1))
    flat = channels * height_px * width_px
    weights["dense_w"] = _random_weights(rng, (DENSE_UNITS, flat), flat)
    weights["dense_b"] = np.zeros(DENSE_UNITS, np.float32)
    nodes.append(helper.make_node("Gemm", ["flat", "dense_w", "dense_b"], ["dense"], transB=1))
    nodes.append(helper.make_node("Relu", ["dense"], ["dense_relu"]))
    weights["policy_w"] = _random_weights(rng, (action_count, DENSE_UNITS), DENSE_UNITS)
    weights["policy_b"] = np.zeros(action_count, np.float32)
    nodes.append(helper.make_node("Gemm", ["dense_relu", "policy_w", "policy_b"], ["scores"], transB=1))
    nodes.append(helper.make_node("Softmax", ["scores"], ["policy"], axis=-1))

    graph = helper.make_graph(
        nodes,
        "standard_deepracer_network",
        [picture],
        [helper.make_tensor_value_info("policy", TensorProto.FLOAT, [1, action_count])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, value in PROPERTIES.items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())


def _random_weights(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> npt.NDArray[np.float32]:
    """Return weights of a size that keeps the signal's strength through a layer with ReLU."""
    scale = np.float32(np.sqrt(2.0 / fan_in))
    return rng.standard_normal(shape, dtype=np.float32) * scale
