"""Makes the frozen TensorFlow graphs of this folder, with inputs and TensorFlow's answers. Run by hand.

    python3 -m venv tf && tf/bin/pip install 'tensorflow-cpu==2.21.*' 'tf_keras==2.21.*'
    tf/bin/python tests/golden/make_graphs.py

The networks are wired as DeepRacer's training wires them (rl_coach's embedders, middleware and heads), in
small: small pictures, few filters, every operator. Each is made in three spellings: `tf1` (reference
variables and TensorFlow 1's functional layers), `keras2` (tf_keras) and `keras3` (keras under TensorFlow
2.20 and later). A graph `CASE-SPELLING.pb` comes with `CASE.npz`: the inputs under the sensors' names, and
under the spelling's name what TensorFlow answered, one row per input row.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
import tf_keras

v1 = tf.compat.v1
v1.disable_eager_execution()
v1.disable_resource_variables()

ROWS = 3  # inputs per fixture, random; TensorFlow gets them as one batch, the car one by one
ACTIONS = 5
MIDDLEWARE = {"shallow": (12,), "plain": (12,), "deep": (10, 8)}
MONO = {
    "shallow": (((6, 8, 4), (8, 4, 2), (7, 3, 1)), ()),
    "plain": (((4, 5, 2), (5, 3, 1), (6, 3, 2), (7, 3, 1)), (6,)),
    "deep": (((4, 8, 4), (5, 4, 2), (6, 4, 2), (7, 3, 1)), (9, 8)),
}
STEREO = {
    "shallow": MONO["shallow"],
    "plain": (((4, 3, 1), (5, 3, 2), (5, 3, 1), (6, 3, 2), (7, 3, 1)), ()),
    "deep": (((4, 3, 1), (5, 3, 2), (5, 3, 1), (6, 3, 2), (7, 3, 1)), ()),
}
"""Convolutions (filters, kernel, stride), then dense layers per pixel. The field's, with fewer filters."""
PICTURES = {
    "shallow": (44, 52),
    "plain": (28, 34),
    "deep": (92, 108),
}  # height, width: at least 2 x 3 at the end
LIDAR_SIZES = {"LIDAR": 64, "SECTOR_LIDAR": 8, "DISCRETIZED_SECTOR_LIDAR": 64}


class Case(NamedTuple):
    sensors: tuple[str, ...]
    network: str
    head: str


FRONT, LEFT, STEREO_NAME = "FRONT_FACING_CAMERA", "LEFT_CAMERA", "STEREO_CAMERAS"
CASES = (
    Case((FRONT,), "shallow", "discrete"),
    Case((FRONT,), "plain", "discrete"),
    Case((FRONT,), "deep", "discrete"),
    Case((FRONT,), "shallow", "sac"),
    Case((LEFT,), "shallow", "continuous"),
    Case((LEFT,), "plain", "sac"),
    Case(("observation",), "shallow", "discrete"),
    Case((STEREO_NAME,), "shallow", "discrete"),
    Case((STEREO_NAME,), "plain", "continuous"),
    Case((FRONT, "LIDAR"), "shallow", "discrete"),
    Case((STEREO_NAME, "LIDAR"), "deep", "discrete"),
    Case((FRONT, "SECTOR_LIDAR"), "shallow", "continuous"),
    Case((STEREO_NAME, "SECTOR_LIDAR"), "plain", "sac"),
    Case((FRONT, "DISCRETIZED_SECTOR_LIDAR"), "shallow", "discrete"),
    Case((STEREO_NAME, "DISCRETIZED_SECTOR_LIDAR"), "shallow", "sac"),
    Case((FRONT,), "shallow", "sac_sliced"),
)
"""`sac_sliced` takes its means as half of a layer that makes means and deviations, as plain rl_coach does."""


class Tf1Layers:
    """TensorFlow 1's functional layers: reference variables, read once."""

    def conv(self, x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
        with v1.variable_scope(name):
            weights = v1.get_variable("kernel", (kernel, kernel, x.shape[-1], filters))
            bias = v1.get_variable("bias", (filters,))
            x = v1.nn.conv2d(x, weights, (1, stride, stride, 1), "VALID", name="Conv2D")
            return v1.nn.bias_add(x, bias, name="BiasAdd")

    def dense(self, x: Any, units: int, name: str) -> Any:
        with v1.variable_scope(name):
            weights = v1.get_variable("kernel", (x.shape[-1], units))
            bias = v1.get_variable("bias", (units,))
            if x.shape.rank > 2:
                x = tf.tensordot(x, weights, [[x.shape.rank - 1], [0]])
            else:
                x = tf.matmul(x, weights, name="MatMul")
            return v1.nn.bias_add(x, bias, name="BiasAdd")

    def flatten(self, x: Any) -> Any:
        with v1.name_scope("Flatten/flatten"):
            batch = tf.shape(x)[0]
            flat = tf.reshape(x, tf.stack([batch, -1]))
        flat.set_shape([None, np.prod(x.shape[1:])])  # as tf.contrib's flatten does
        return flat


class KerasLayers:
    """The layers of one of the two Keras."""

    def __init__(self, package: Any) -> None:
        self._layers = package.layers

    def conv(self, x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
        return self._layers.Conv2D(filters, kernel, stride, data_format="channels_last", name=name)(x)

    def dense(self, x: Any, units: int, name: str) -> Any:
        return self._layers.Dense(units, name=name)(x)

    def flatten(self, x: Any) -> Any:
        return self._layers.Flatten()(x)


SPELLINGS: dict[str, Callable[[], Any]] = {
    "tf1": Tf1Layers,
    "keras2": lambda: KerasLayers(tf_keras),
    "keras3": lambda: KerasLayers(keras),
}


def build(case: Case, layers: Any) -> tuple[dict[str, Any], str]:
    """Build the policy; return its placeholders and the output node's name."""
    is_sac = case.head.startswith("sac")
    head, index = ("policy", 0) if is_sac else ("main", 1)
    placeholders = {}
    with v1.variable_scope(f"main_level/agent/{head}/online"):
        with v1.variable_scope("network_0"):
            for sensor in sorted(case.sensors):
                with v1.variable_scope(sensor):
                    shape = [None, *input_shape(case, sensor)]
                    placeholders[sensor] = v1.placeholder("float", shape, name=sensor)
                    if not is_sac:  # the value network's own layers, which no export keeps
                        layers.flatten(placeholders[sensor] / 255.0)
        with v1.variable_scope(f"network_{index}") as scope, v1.name_scope(f"{scope.original_name_scope}"):
            embeddings = [
                embed(case, sensor, placeholders[sensor], layers) for sensor in sorted(case.sensors)
            ]
            x = embeddings[0] if len(embeddings) == 1 else tf.concat(embeddings, axis=-1, name="merger")
            with v1.variable_scope("middleware_fc_embedder"):
                for place, units in enumerate(MIDDLEWARE[case.network]):
                    x = activated(layers.dense(x, units, f"Dense_{2 * place}"), 2 * place + 1)
            factor = v1.get_variable("gradients_from_head_0-0_rescalers", initializer=1.0)
            stack = [x]  # rl_coach keeps a list here, so that TensorFlow packs it, twice
            x = (1 - factor) * tf.stop_gradient(stack) + factor * stack
            x = x[0]
            with v1.variable_scope("sac_policy_head_0" if is_sac else "ppo_head_0"):
                output = head_of(case, x, layers)
    return placeholders, output.op.name


def embed(case: Case, sensor: str, x: Any, layers: Any) -> Any:
    with v1.variable_scope(sensor):
        if sensor in LIDAR_SIZES:
            convolutions, units = (), (9, 8)
            x = x / 1.0
        else:
            table = STEREO if sensor == STEREO_NAME else MONO
            convolutions, units = table["shallow" if sensor == "observation" else case.network]
            x = x / 255.0
        x = x - 0.0
        index = 0
        for filters, kernel, stride in convolutions:
            x = activated(layers.conv(x, filters, kernel, stride, f"Conv2d_{index}"), index + 1)
            index += 2
        for count in units:
            x = activated(layers.dense(x, count, f"Dense_{index}"), index + 1)
            index += 2
        return layers.flatten(x)


def activated(x: Any, index: int) -> Any:
    return tf.nn.relu(x, name=f"BatchnormActivationDropout_{index}_activation")


def head_of(case: Case, x: Any, layers: Any) -> Any:
    if case.head == "discrete":
        return tf.nn.softmax(layers.dense(x, ACTIONS, "policy_fc"), name="policy")
    if case.head == "continuous":
        return tf.identity(layers.dense(x, 2, "policy_mean"), name="policy")
    x = tf.nn.relu(layers.dense(x, 9, "policy_fc"))
    if case.head == "sac":
        return tf.identity(layers.dense(x, 2, "policy_mean"), name="policy")
    return tf.identity(layers.dense(x, 4, "policy_mu_logsig")[..., :2], name="policy")


def input_shape(case: Case, sensor: str) -> tuple[int, ...]:
    if sensor in LIDAR_SIZES:
        return (LIDAR_SIZES[sensor],)
    if sensor == STEREO_NAME:
        return (*PICTURES["shallow" if case.network == "shallow" else "plain"], 2)  # deep has plain's layers
    return (*PICTURES[case.network], 1)


def make(case: Case, spelling: str, file: Path, seed: int) -> tuple[dict[str, Any], Any]:
    """Write the frozen graph; return inputs by sensor, the same for every spelling, and the answers."""
    rng = np.random.default_rng(seed)
    keras.backend.clear_session()
    tf_keras.backend.clear_session()
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        placeholders, output = build(case, SPELLINGS[spelling]())
        variables = v1.global_variables()
        session.run(v1.global_variables_initializer())
        for variable in variables:
            if "rescalers" not in variable.name:
                shape = tuple(variable.shape)
                spread = 1.5 / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 0.3
                session.run(v1.assign(variable, rng.normal(0, spread, shape).astype(np.float32)))
        inputs = {}
        for sensor in placeholders:
            shape = (ROWS, *input_shape(case, sensor))
            is_lidar = sensor in LIDAR_SIZES
            values = rng.uniform(0.15, 1.0, shape) if is_lidar else rng.integers(0, 256, shape)
            inputs[sensor] = values.astype(np.float32 if is_lidar else np.uint8)
        feeds = {placeholders[sensor]: values for sensor, values in inputs.items()}
        answers = session.run(f"{output}:0", feeds)
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [output])
    file.write_bytes(frozen.SerializeToString(deterministic=True))
    ops = " ".join(sorted({node.op for node in frozen.node}))
    print(f"{file.name}: {len(frozen.node)} nodes, {ops}, answers spread over {np.ptp(answers):.2f}")
    return inputs, answers


def main() -> None:
    folder = Path(__file__).parent
    for seed, case in enumerate(CASES):
        name = f"{'+'.join(case.sensors).lower()}_{case.network}_{case.head}"
        arrays = {}
        for spelling in SPELLINGS:
            inputs, arrays[spelling] = make(case, spelling, folder / f"{name}-{spelling}.pb", seed)
        np.savez_compressed(folder / f"{name}.npz", **inputs, **arrays)


if __name__ == "__main__":
    main()
