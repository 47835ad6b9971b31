"""A simplified network answers as before, and whatever could answer differently stays as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.runtime import PolicyRuntime
from models.simplify import simplify

FRAMES = 40
RNG = np.random.default_rng(11)
Nodes = list[Any]
Weights = dict[str, np.ndarray]


def weights_of(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))).astype(np.float32)


def write(
    path: Path,
    nodes: Nodes,
    constants: Weights,
    inputs: Sequence[tuple[str, int, Sequence[Any]]],
    outputs: Sequence[tuple[str, Sequence[Any]]] = (("policy", (1, 3)),),
    *,
    opset: int = 17,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    model.metadata_props.add(key="lapwing.source", value="test")
    path.write_bytes(model.SerializeToString())
    return path


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def dense(flat: int) -> tuple[Nodes, Weights]:
    """Return the end that all test networks share: `flat` to `policy`."""
    nodes = [
        node("Gemm", "flat head_w head_b", "scores"),
        node("Softmax", "scores", "policy", axis=-1),
    ]
    return nodes, {"head_w": weights_of(flat, 3), "head_b": weights_of(3)}


def converted(path: Path, channels: int = 1, sub: float = 0.0) -> Path:
    """Write what the conversion of a TensorFlow graph looks like: NHWC, division and subtraction first."""
    nodes = [
        node("Div", "camera c255", "scaled"),
        node("Sub", "scaled zero", "shifted"),
        node("Transpose", "shifted", "planes", perm=[0, 3, 1, 2]),
        node("Conv", "planes conv_w conv_b", "conv", strides=[4, 4]),
        node("Transpose", "conv", "conv_nhwc", perm=[0, 2, 3, 1]),
        node("Relu", "conv_nhwc", "relu"),
        node("Transpose", "relu", "relu_nchw", perm=[0, 3, 1, 2]),
        node("Conv", "relu_nchw conv2_w", "conv2", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Transpose", "conv2", "conv2_nhwc", perm=[0, 2, 3, 1]),
        node("Identity", "conv2_nhwc", "kept"),
        node("Reshape", "kept flat_shape", "flat"),
    ]
    end, end_weights = dense(8 * 4 * 5)
    constants = {
        "c255": np.float32(255),
        "zero": np.float32(sub),
        "conv_w": weights_of(6, channels, 8, 8),
        "conv_b": weights_of(6),
        "conv2_w": weights_of(8, 6, 4, 4),
        "flat_shape": np.array([1, -1], np.int64),
        **end_weights,
    }
    return write(path, [*nodes, *end], constants, [("camera", TensorProto.FLOAT, (1, 40, 48, channels))])


def tensordot(path: Path) -> Path:
    """Write a dense layer on the channels, as TensorFlow spells it."""
    nodes = [
        node("Mul", "c255 camera", "scaled"),
        node("Transpose", "scaled", "planes", perm=[0, 3, 1, 2]),
        node("Conv", "planes conv_w", "conv", strides=[4, 4]),
        node("Transpose", "conv", "conv_nhwc", perm=[0, 2, 3, 1]),
        node("Transpose", "conv_nhwc", "turned", perm=[0, 1, 2, 3]),
        node("Reshape", "turned rows", "table"),
        node("MatMul", "table dot_w", "dot"),
        node("Reshape", "dot unfolded", "map"),
        node("Add", "map dot_b", "biased"),
        node("Relu", "biased", "relu"),
        node("Reshape", "relu squeezed", "row"),
        node("Reshape", "row flat_shape", "flat"),
    ]
    end, end_weights = dense(9 * 11 * 5)
    constants = {
        "c255": np.array([1 / 255], np.float32),
        "conv_w": weights_of(6, 1, 8, 8),
        "rows": np.array([-1, 6], np.int64),
        "dot_w": weights_of(6, 5),
        "unfolded": np.array([1, 9, 11, 5], np.int64),
        "dot_b": weights_of(5),
        "squeezed": np.array([9 * 11 * 5], np.int64),
        "flat_shape": np.array([1, 9 * 11 * 5], np.int64),
        **end_weights,
    }
    return write(path, [*nodes, *end], constants, [("camera", TensorProto.FLOAT, (1, 40, 48, 1))])


def torch_style(path: Path) -> Path:
    """Write NCHW from bytes, with constants as nodes, a division by 1 and a cast to the same type."""
    nodes = [
        node("Cast", "camera", "floats", to=TensorProto.FLOAT),
        node("Cast", "floats", "again", to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["c255"], value=numpy_helper.from_array(np.float32(255))),
        helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.float32(1))),
        node("Div", "again c255", "scaled"),
        node("Conv", "scaled conv_w conv_b", "conv", strides=[4, 4]),
        node("Relu", "conv", "relu"),
        node("Div", "relu one", "same"),
        node("Flatten", "same", "flat", axis=1),
    ]
    end, end_weights = dense(6 * 9 * 11)
    constants = {"conv_w": weights_of(6, 2, 8, 8), "conv_b": weights_of(6), **end_weights}
    return write(path, [*nodes, *end], constants, [("camera", TensorProto.UINT8, (1, 2, 40, 48))])


def two_towers(path: Path) -> Path:
    """Write a picture that two convolutions read through one division, and a LIDAR with its own."""
    nodes = [
        node("Div", "camera c255", "scaled"),
        node("Conv", "scaled left_w", "left", strides=[8, 8]),
        node("Conv", "scaled right_w", "right", strides=[8, 8]),
        node("Flatten", "left", "left_flat"),
        node("Flatten", "right", "right_flat"),
        node("Div", "lidar two", "half"),
        node("Concat", "left_flat right_flat half", "flat", axis=1),
    ]
    end, end_weights = dense(2 * 4 * 5 * 6 + 64)
    constants = {
        "c255": np.float32(255),
        "two": np.float32(2),
        "left_w": weights_of(4, 1, 8, 8),
        "right_w": weights_of(4, 1, 8, 8),
        **end_weights,
    }
    inputs = [("camera", TensorProto.FLOAT, (1, 1, 40, 48)), ("lidar", TensorProto.FLOAT, (1, 64))]
    return write(path, [*nodes, *end], {**constants, "head_w": weights_of(4 * 5 * 6 * 2 + 64, 3)}, inputs)


def answers(model: Path) -> np.ndarray:
    runtime = PolicyRuntime(model)
    rng = np.random.default_rng(5)
    rows = []
    for _ in range(FRAMES):
        feeds = {}
        for info in runtime.inputs:
            shape = [size or 1 for size in info.shape]
            values = rng.uniform(0, 255 if len(shape) == 4 else 1, shape)
            feeds[info.name] = values.astype(np.uint8 if "uint8" in info.type else np.float32)
        rows.append(runtime.infer(feeds).ravel())
    return np.array(rows)


def kinds(model: Path) -> list[str]:
    return [step.op_type for step in onnx.load(str(model)).graph.node]


def assert_same(before: np.ndarray, after: np.ndarray) -> None:
    assert np.abs(before - after).max() <= 1e-5
    ordered = np.sort(before, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 2e-5
    assert clear.sum() > FRAMES / 2
    assert np.array_equal(before[clear].argmax(1), after[clear].argmax(1))


@pytest.mark.parametrize(
    ("build", "gone", "folds"),
    [
        (converted, {"Div", "Sub", "Identity"}, 1),
        (lambda path: converted(path, channels=2), {"Div", "Sub", "Identity"}, 1),
        (tensordot, {"Mul"}, 1),
        (torch_style, {"Div"}, 1),
    ],
    ids=["converted", "stereo", "tensordot", "torch"],
)
def test_the_answers_stay_and_the_division_goes(build, gone, folds, tmp_path):
    model = build(tmp_path / "model.onnx")
    before, steps = answers(model), len(kinds(model))

    sentences = simplify(model)

    assert_same(before, answers(model))
    assert len(kinds(model)) < steps
    assert gone.isdisjoint(kinds(model))
    assert sum("folded" in sentence for sentence in sentences) == folds
    onnx.checker.check_model(str(model), full_check=True)


def test_a_second_time_changes_nothing(tmp_path):
    model = tensordot(tmp_path / "model.onnx")
    simplify(model)
    bytes_once = model.read_bytes()

    assert simplify(model) == ()
    assert model.read_bytes() == bytes_once


def test_the_file_keeps_its_properties_inputs_and_outputs(tmp_path):
    model = converted(tmp_path / "model.onnx")
    before = onnx.load(str(model))
    simplify(model)
    after = onnx.load(str(model))

    assert after.metadata_props == before.metadata_props
    assert after.graph.input == before.graph.input
    assert after.graph.output == before.graph.output


def test_one_division_is_folded_into_every_convolution_that_reads_it_and_the_lidars_stays(tmp_path):
    model = two_towers(tmp_path / "model.onnx")
    before = answers(model)

    assert simplify(model) == (
        "folded the division by 255 into the weights of the 2 convolutions that follow",
    )
    assert kinds(model).count("Div") == 1
    assert_same(before, answers(model))


def conv_after(*steps: Any, extra: Nodes = (), outputs=(("policy", (1, 3)),), **constants: Any):
    """Return a builder of `steps` from camera to `ready`, then one convolution and the end."""

    def build(path: Path, kind: int = TensorProto.FLOAT) -> Path:
        end, end_weights = dense(4 * 5 * 6)
        nodes = [
            *steps,
            node("Conv", "ready conv_w", "conv", strides=[8, 8]),
            node("Flatten", "conv", "flat"),
            *end,
            *extra,
        ]
        known = {"c255": np.float32(255), "conv_w": weights_of(4, 1, 8, 8), **end_weights, **constants}
        return write(path, nodes, known, [("camera", kind, (1, 1, 40, 48))], outputs)

    return build


LEFT_ALONE = {
    "a subtraction of something": conv_after(
        node("Div", "camera c255", "scaled"), node("Sub", "scaled half", "ready"), half=np.float32(0.5)
    ),
    "a factor for each channel": conv_after(
        node("Mul", "camera each", "ready"), each=np.full((1, 1, 40, 1), 0.5, np.float32)
    ),
    "divided by the picture": conv_after(
        node("Add", "camera one", "plus"), node("Div", "one plus", "ready"), one=np.float32(1)
    ),
    "read by another step too": conv_after(
        node("Div", "camera c255", "ready"),
        extra=[node("ReduceMean", "ready", "mean", keepdims=0)],
        outputs=(("policy", (1, 3)), ("mean", ())),
    ),
    "an output itself": conv_after(
        node("Div", "camera c255", "ready"), outputs=(("policy", (1, 3)), ("ready", (1, 1, 40, 48)))
    ),
    "divided by zero": conv_after(node("Div", "camera c255", "ready"), c255=np.float32(0)),
    "not a number": conv_after(node("Div", "camera c255", "ready"), c255=np.float32(np.nan)),
    "so small that weights would vanish": conv_after(
        node("Mul", "camera c255", "ready"),
        c255=np.float32(1e-5),
        conv_w=np.full((4, 1, 8, 8), 1e-36, np.float32),
    ),
    "through a step that is not linear": conv_after(
        node("Div", "camera c255", "scaled"), node("Sigmoid", "scaled", "ready")
    ),
    "weights that are computed": conv_after(
        node("Relu", "base", "conv_w2"),
        node("Div", "camera c255", "ready0"),
        node("Conv", "ready0 conv_w2", "ready", pads=[1, 1, 1, 1]),
        base=weights_of(1, 1, 3, 3),
    ),
    "rounded to bytes in between": conv_after(
        node("Div", "camera c255", "scaled"),
        node("Cast", "scaled", "bytes", to=TensorProto.UINT8),
        node("Cast", "bytes", "ready", to=TensorProto.FLOAT),
    ),
}


@pytest.mark.parametrize("build", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_what_could_answer_differently_is_left_as_it_is(build, tmp_path):
    model = build(tmp_path / "model.onnx")
    before = model.read_bytes()

    assert simplify(model) == ()
    assert model.read_bytes() == before


def test_whole_numbers_and_half_precision_are_not_folded(tmp_path):
    """A byte divided by 255 is 0 or 1; in float16 the product would be rounded elsewhere."""
    for kind in (TensorProto.UINT8, TensorProto.FLOAT16):
        dtype = {TensorProto.UINT8: np.uint8, TensorProto.FLOAT16: np.float16}[kind]
        build = conv_after(
            node("Div", "camera divisor", "scaled"),
            node("Cast", "scaled", "ready", to=TensorProto.FLOAT),
            divisor=np.array(255, dtype),
        )
        model = build(tmp_path / f"{dtype.__name__}.onnx", kind)
        assert simplify(model) == ()


def test_a_graph_with_a_loop_of_its_own_or_with_a_branch_is_left_alone(tmp_path):
    branch = helper.make_graph(
        [node("Identity", "scaled", "chosen")],
        "branch",
        [],
        [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1, 1, 40, 48])],
    )
    build = conv_after(
        node("Div", "camera c255", "scaled"),
        node("If", "yes", "ready", then_branch=branch, else_branch=branch),
        yes=np.array(True),
    )
    model = build(tmp_path / "model.onnx")

    assert simplify(model) == ()


def test_external_data_stays_untouched_and_is_still_read(tmp_path):
    model = converted(tmp_path / "model.onnx")
    before = answers(model)
    onnx.save(
        onnx.load(str(model)),
        str(model),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=200,
    )
    data = (tmp_path / "weights.bin").read_bytes()

    assert simplify(model)

    assert (tmp_path / "weights.bin").read_bytes() == data
    assert_same(before, answers(model))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x08\x09", b"\xff" * 100])
def test_what_is_no_network_is_left_alone(data, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(data)

    assert simplify(model) == ()
    assert model.read_bytes() == data
    assert simplify(tmp_path / "nowhere.onnx") == ()


ODD = ("Div", "Sub", "Mul", "Conv", "Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Flatten", "Odd")


@given(st.data())
def test_no_graph_makes_it_raise(tmp_path_factory, data):
    """Nodes with missing, doubled, circular and unknown inputs, and attributes that do not fit."""
    names = st.sampled_from(["camera", "a", "b", "c", "d", "c255", ""])
    count = data.draw(st.integers(1, 6))
    nodes = []
    for _ in range(count):
        step = helper.make_node(
            data.draw(st.sampled_from(ODD)),
            data.draw(st.lists(names, max_size=3)),
            data.draw(st.lists(names, max_size=2)),
        )
        if data.draw(st.booleans()):
            step.attribute.append(
                helper.make_attribute("perm", data.draw(st.lists(st.integers(-2, 5), min_size=1)))
            )
        nodes.append(step)
    path = tmp_path_factory.mktemp("odd") / "model.onnx"
    write(
        path,
        nodes,
        {"c255": np.float32(255)},
        [("camera", TensorProto.FLOAT, (1, 1, 40, 48))],
        [("d", (1, 3))],
    )

    simplify(path)
