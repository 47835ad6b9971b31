"""What the converter refuses, by the node's name and operator, and what it makes of odd but honest graphs."""

import builtins
import os
import resource
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from models import convert_writing
from models.convert import convert
from models.errors import PolicyError
from models.graph_def import DataType, NodeDef
from tests.unit.frozen_graphs import GraphFile, Large, set_attribute


def small_graph() -> GraphFile:
    """Return a picture through one convolution and one dense layer, every part of which can be spoilt."""
    rng = np.random.default_rng(1)
    file = GraphFile()
    x = file.placeholder("in/CAM/CAM", (-1, 8, 10, 2))
    x = file.add("RealDiv", "scaled", x, file.const("scale", 255.0))
    kernel = file.const("kernel", rng.normal(0, 0.3, (3, 3, 2, 4)))
    x = file.add("Conv2D", "conv", x, kernel, strides=[1, 2, 2, 1], padding=b"VALID", data_format=b"NHWC")
    x = file.add("BiasAdd", "biased", x, file.const("bias", rng.normal(0, 0.3, 4)))
    x = file.add("Relu", "relu", x)
    x = file.add("Reshape", "flat", x, file.const("flat/shape", [-1, 48], "int32"))
    x = file.add("MatMul", "dense", x, file.const("weights", rng.normal(0, 0.2, (48, 3))))
    file.add("Softmax", "policy", x)
    return file


def converted(file: GraphFile, folder, rows=None):
    """Convert and return the conversion and the answer to each row (or to one random picture)."""
    path = file.write(folder / "model.pb")
    made = folder / "made"
    made.mkdir()
    conversion = convert(path, made)
    session = onnxruntime.InferenceSession(str(made / "model.onnx"), providers=["CPUExecutionProvider"])
    if rows is None:
        rng = np.random.default_rng(3)
        rows = {name: rng.uniform(0, 255, shape).astype(np.float32) for name, shape in conversion.inputs}
    return conversion, session.run(["policy"], rows)[0]


def refusal(file: GraphFile | bytes, folder) -> str:
    """Return the sentence of the refusal, having seen that nothing was left behind."""
    path = folder / "model.pb"
    path.write_bytes(file if isinstance(file, bytes) else file.bytes())
    made = folder / "made"
    made.mkdir(exist_ok=True)
    with pytest.raises(PolicyError) as caught:
        convert(path, made)
    assert list(made.iterdir()) == []
    return str(caught.value)


def test_the_small_graph_itself_converts(tmp_path):
    conversion, answer = converted(small_graph(), tmp_path)
    assert conversion.inputs == (("in/CAM/CAM", (1, 8, 10, 2)),)
    assert (conversion.head, conversion.algorithm_hint, conversion.output) == ("softmax", "", "policy")
    assert conversion.op_counts["Conv2D"] == 1
    assert answer.sum() == pytest.approx(1)


SPOILT_ATTRIBUTES = [
    ("conv", "padding", b"SAME", "SAME"),
    ("conv", "padding", b"EXPLICIT", "EXPLICIT"),
    ("conv", "data_format", b"NCHW", "NCHW"),
    ("conv", "dilations", [1, 2, 2, 1], "dilations"),
    ("conv", "explicit_paddings", [0, 0, 1, 1, 1, 1, 0, 0], "explicit_paddings"),
    ("conv", "strides", [1, 0, 0, 1], "strides"),
    ("conv", "strides", [1, 2, 2, 2], "strides"),
    ("conv", "strides", [2, 2], "strides"),
    ("conv", "strides", [1, 1 << 62, 1, 1], "strides"),
    ("conv", "padding", 3, "padding"),
    ("conv", "fancy", 1, "fancy"),
    ("biased", "data_format", b"NCHW", "NCHW"),
    ("dense", "transpose_a", True, "transpose_a"),
    ("dense", "transpose_b", True, "multiplies"),
    ("in/CAM/CAM", "dtype", DataType.UINT8, "uint8"),
    ("in/CAM/CAM", "dtype", DataType.DOUBLE, "double"),
    ("scale", "dtype", DataType.DOUBLE, "double"),
]


@pytest.mark.parametrize(("name", "key", "value", "word"), SPOILT_ATTRIBUTES)
def test_a_setting_that_is_not_understood_is_named(name, key, value, word, tmp_path):
    file = small_graph()
    if key in file.node(name).attr:
        del file.node(name).attr[key]
    set_attribute(file.node(name), key, value)
    sentence = refusal(file, tmp_path)
    assert word in sentence
    assert repr(name) in sentence
    assert f"({file.node(name).op})" in sentence


@pytest.mark.parametrize(
    "op",
    ["MaxPool", "FusedBatchNormV3", "Tanh", "LSTMBlockCell", "PyFunc", "While", "Switch", "ReadFile", "Elu"],
)
def test_an_unknown_operator_is_named_with_its_node(op, tmp_path):
    file = small_graph()
    file.node("relu").op = op
    sentence = refusal(file, tmp_path)
    assert "'relu'" in sentence
    assert f"({op})" in sentence


def test_a_cycle_is_refused(tmp_path):
    file = small_graph()
    file.node("scaled").input[0] = "relu"
    file.node("dense").input[0] = "in/CAM/CAM"
    file.add("Add", "joined", "relu", "policy")
    file.node("joined").name = "joined/policy"
    assert "feeds itself" in refusal(file, tmp_path)


def test_a_cycle_before_the_output_is_refused(tmp_path):
    file = small_graph()
    file.add("Add", "looped", "scaled", "biased")
    file.node("conv").input[0] = "looped"
    assert "feeds itself" in refusal(file, tmp_path)


def test_a_missing_input_is_named(tmp_path):
    file = small_graph()
    file.remove("bias")
    sentence = refusal(file, tmp_path)
    assert "'bias'" in sentence
    assert "'biased'" in sentence


def test_a_missing_placeholder_is_named(tmp_path):
    file = small_graph()
    file.remove("in/CAM/CAM")
    assert "'in/CAM/CAM'" in refusal(file, tmp_path)


def test_a_second_output_is_named(tmp_path):
    file = small_graph()
    file.add("Relu", "value_head", "dense")
    sentence = refusal(file, tmp_path)
    assert "2 outputs" in sentence
    assert "'value_head'" in sentence
    assert "'policy'" in sentence


def test_a_control_input_is_refused(tmp_path):
    file = small_graph()
    file.node("relu").input.append("^scale")
    sentence = refusal(file, tmp_path)
    assert "control" in sentence
    assert "'scale'" in sentence


def test_a_second_port_is_refused(tmp_path):
    file = small_graph()
    file.node("relu").input[0] = "biased:1"
    assert "output 1 of 'biased'" in refusal(file, tmp_path)


def test_the_first_port_may_be_written_out(tmp_path):
    file = small_graph()
    file.node("relu").input[0] = "biased:0"
    converted(file, tmp_path)


def test_two_nodes_of_one_name_are_refused(tmp_path):
    file = small_graph()
    file.const("twin", 1.0)
    file.node("twin").name = "scale"
    assert "twice" in refusal(file, tmp_path)


def test_dead_nodes_change_nothing_whatever_they_are(tmp_path):
    file = small_graph()
    file.placeholder("actions", (-1,))
    file.const("unused", [np.nan])
    file.add("Mystery", "summary", "unused")
    file.add("NoOp", "init")
    conversion, _ = converted(file, tmp_path)
    assert [name for name, _ in conversion.inputs] == ["in/CAM/CAM"]
    assert any("4 nodes" in note for note in conversion.notes)


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["weights", "kernel", "bias"])
def test_weights_that_are_not_finite_are_named(name, spoilt, tmp_path):
    file = small_graph()
    tensor = file.node(name).attr["value"].tensor
    values = np.frombuffer(tensor.tensor_content, np.float32).copy()
    values[-1] = spoilt
    tensor.tensor_content = values.tobytes()
    sentence = refusal(file, tmp_path)
    assert f"'{name}'" in sentence
    assert "NaN" in sentence


@pytest.mark.parametrize("name", ["scale", "kernel", "weights"])
@pytest.mark.parametrize("kind", [DataType.DOUBLE, DataType.HALF, DataType.BFLOAT16, DataType.STRING, 99])
def test_numbers_of_another_kind_are_named(name, kind, tmp_path):
    file = small_graph()
    file.node(name).attr["dtype"].type = kind
    file.node(name).attr["value"].tensor.dtype = kind
    sentence = refusal(file, tmp_path)
    assert f"'{name}'" in sentence
    assert (kind.name.lower() if isinstance(kind, DataType) else "type 99") in sentence


@pytest.mark.parametrize(
    "sizes", [(1 << 62, 1 << 62), (-1, 3), (48, 4), (47, 3), (1 << 32, 1 << 32, 3), (0, 3), (2,) * 9]
)
def test_a_shape_that_does_not_fit_its_numbers_is_refused(sizes, tmp_path):
    file = small_graph()
    shape = file.node("weights").attr["value"].tensor.tensor_shape
    del shape.dim[:]
    for size in sizes:
        shape.dim.add(size=size)
    assert "'weights'" in refusal(file, tmp_path)


def test_numbers_said_once_fill_the_shape_but_not_an_endless_one(tmp_path):
    file = small_graph()
    tensor = file.node("bias").attr["value"].tensor
    tensor.tensor_content = b""
    tensor.float_val.append(0.25)
    converted(file, tmp_path)
    model = onnx.load(tmp_path / "made" / "model.onnx")
    (bias,) = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.startswith("biased")]
    np.testing.assert_array_equal(bias, np.full(4, 0.25, np.float32))

    tensor.tensor_shape.dim[0].size = 1 << 40
    for path in (tmp_path / "made").iterdir():
        path.unlink()
    assert "'bias'" in refusal(file, tmp_path)


@pytest.mark.parametrize(
    ("shape", "allowed"),
    [
        ((-1, 8, 10, 2), True),
        ((1, 8, 10, 2), True),
        ((0, 8, 10, 2), True),  # what protobuf leaves of an absent size
        ((2, 8, 10, 2), False),
        ((-1, -1, 10, 2), False),
        ((-1, 8, 10, 0), False),
        ((-1, 8, 10), False),
        ((), False),
        ((-1, 1 << 40, 1 << 40, 2), False),
    ],
)
def test_only_the_batch_of_an_input_may_be_open(shape, allowed, tmp_path):
    file = small_graph()
    dims = file.node("in/CAM/CAM").attr["shape"].shape.dim
    del dims[:]
    for size in shape:
        dims.add(size=size)
    if allowed:
        conversion, _ = converted(file, tmp_path)
        assert conversion.inputs[0][1] == (1, 8, 10, 2)
    else:
        assert "'in/CAM/CAM'" in refusal(file, tmp_path)


def test_an_input_without_a_shape_is_refused(tmp_path):
    file = small_graph()
    del file.node("in/CAM/CAM").attr["shape"]
    assert "'in/CAM/CAM'" in refusal(file, tmp_path)


@pytest.mark.parametrize(
    "wanted", [[-1, 47], [-1, -1], [2, 24], [0, 48], [-1, 1 << 60], [-2, 48], [1, 48, 1]]
)
def test_a_reshape_to_something_else_is_refused(wanted, tmp_path):
    file = small_graph()
    file.remove("flat/shape")
    file.const("flat/shape", wanted, "int64")
    assert "node" in refusal(file, tmp_path)


def test_an_answer_that_is_no_row_is_refused(tmp_path):
    file = small_graph()
    file.remove("policy")
    file.remove("dense")
    file.remove("flat")
    assert "'relu'" in refusal(file, tmp_path)


def test_a_graph_that_looks_at_nothing_is_refused(tmp_path):
    file = GraphFile()
    file.add("Softmax", "policy", file.const("constant", [[1.0, 2.0]]))
    assert "no" in refusal(file, tmp_path)


def test_a_graph_that_answers_its_input_is_refused(tmp_path):
    file = GraphFile()
    file.add("Identity", "policy", file.placeholder("in", (-1, 2)))
    assert "'policy'" in refusal(file, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"GIF89a" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"\xff" * 1000,
        b"{}",
        b"\x0a\xff\xff\xff\xff\x7f",
    ],
)
def test_a_file_of_another_sort_is_refused(content, tmp_path):
    assert "TensorFlow graph" in refusal(content, tmp_path)


def test_a_truncated_graph_is_refused_wherever_it_ends(tmp_path):
    content = small_graph().bytes()
    for length in range(0, len(content), 7):
        refusal(content[:length], tmp_path)


def test_a_graph_with_a_large_matrix_is_refused_wherever_it_ends(tmp_path):
    content = large_graph().write(tmp_path / "whole.pb").read_bytes()
    for length in (*range(0, 600, 13), *range(600, len(content), 9973), len(content) - 1):
        refusal(content[:length], tmp_path)


def large_graph(spoilt: float | None = None) -> GraphFile:
    file = GraphFile()
    x = file.placeholder("in", (-1, 300))
    if spoilt is None:
        weights = file.large("weights", Large((300, 200), 5))
    else:
        values = Large((300, 200), 5).array()
        values[-1, -1] = spoilt
        weights = file.const("weights", values)
    file.add("MatMul", "policy", x, weights)
    return file


@pytest.mark.parametrize("band_bytes", [convert_writing.BAND_BYTES, 7 * 200 * 4, 1])
def test_a_large_matrix_lies_beside_the_network_output_by_output(tmp_path, monkeypatch, band_bytes):
    monkeypatch.setattr(convert_writing, "BAND_BYTES", band_bytes)
    monkeypatch.setattr("os.pwrite", lambda file, data, at, write=os.pwrite: write(file, data[:1021], at))
    row = np.random.default_rng(2).normal(0, 1, (1, 300)).astype(np.float32)
    conversion, answer = converted(large_graph(), tmp_path, {"in": row})
    weights = Large((300, 200), 5).array()
    np.testing.assert_allclose(answer, row @ weights, atol=1e-5)
    assert (tmp_path / "made" / "weights.bin").read_bytes() == weights.T.tobytes()
    assert (tmp_path / "made" / "model.onnx").stat().st_size < 2000
    assert conversion.head == "linear"


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_a_large_matrix_that_is_not_finite_is_named(spoilt, tmp_path):
    assert "'weights'" in refusal(large_graph(spoilt), tmp_path)


@pytest.mark.parametrize("size", [199, 201, 1 << 60, -200])
def test_a_large_matrix_of_another_size_is_refused(size, tmp_path):
    file = large_graph(spoilt=0.0)
    file.node("weights").attr["value"].tensor.tensor_shape.dim[1].size = size
    assert "'weights'" in refusal(file, tmp_path)


def test_large_weights_in_another_place_are_refused(tmp_path):
    file = large_graph(spoilt=0.0)
    node = file.node("weights")
    node.attr["_other"].tensor.CopyFrom(node.attr["value"].tensor)
    assert "2 blocks" in refusal(file, tmp_path)
    del node.attr["value"]
    assert "'weights'" in refusal(file, tmp_path)


def test_megabytes_beside_the_weights_are_refused(tmp_path):
    file = small_graph()
    file.node("bias").attr["_note"].s = bytes(2 << 20)
    assert "MB" in refusal(file, tmp_path)


def test_a_graph_of_too_many_nodes_is_refused(tmp_path):
    file = small_graph()
    for index in range(4100):
        file.add("NoOp", f"n{index}")
    assert "4000 nodes" in refusal(file, tmp_path)


def test_an_array_that_grows_without_end_is_refused(tmp_path):
    file = GraphFile()
    x = file.placeholder("in", (-1, 4))
    column = file.const("column", np.ones((5000, 1)))
    row = file.const("row", np.ones((1, 5000)))
    file.add("MatMul", "policy", x, file.add("Mul", "grown", column, row))
    assert "'grown'" in refusal(file, tmp_path)


def test_names_in_any_script_and_any_length_are_shown_on_one_line(tmp_path):
    file = small_graph()
    file.node("relu").op = "Explode\n\x1b[2J" + "x" * 1000
    sentence = refusal(file, tmp_path)
    assert sentence.isprintable()
    assert len(sentence) < 900


@pytest.mark.parametrize("rescale", [1.0, 0.25])
def test_the_gradient_rescaler_changes_no_answer(rescale, tmp_path):
    """At 1, as the field has it, nothing of it is left."""
    answers = []
    for name in ("plain", "rescaled"):
        file = small_graph()
        if name == "rescaled":
            factor = file.const("factor", rescale)
            packed = [file.add("Pack", f"pack{i}", "flat", N=1, axis=0) for i in range(2)]
            stopped = file.add("StopGradient", "stop", packed[0])
            less = file.add("Mul", "less", file.add("Sub", "rest", file.const("one", 1.0), factor), stopped)
            more = file.add("Mul", "more", factor, packed[1])
            total = file.add("AddV2", "total", less, more)
            ends = [file.const(f"end{i}", [i], "int32") for i in (0, 1)]
            first = file.add("StridedSlice", "first", total, *ends, ends[1], shrink_axis_mask=1)
            file.node("dense").input[0] = first
        folder = tmp_path / name
        folder.mkdir()
        answers.append(converted(file, folder)[1])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    operators = [node.op_type for node in onnx.load(tmp_path / "rescaled/made/model.onnx").graph.node]
    assert ("Mul" in operators) == (rescale != 1.0)


def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path):
    """A limit on the size of a file stands in for a full disk: both fail in the middle of a write."""
    path = large_graph().write(tmp_path / "model.pb")
    made = tmp_path / "made"
    made.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(PolicyError, match="cannot be written"):
            convert(path, made)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(made.iterdir()) == []


def test_somebody_elses_file_is_neither_overwritten_nor_removed(tmp_path):
    path = large_graph().write(tmp_path / "model.pb")
    made = tmp_path / "made"
    made.mkdir()
    (made / "model.onnx").write_bytes(b"of somebody else")
    with pytest.raises(PolicyError, match="cannot be written"):
        convert(path, made)
    assert [file.name for file in made.iterdir()] == ["model.onnx"]
    assert (made / "model.onnx").read_bytes() == b"of somebody else"


def test_cancelling_leaves_nothing_behind(tmp_path, monkeypatch):
    def cancelled(*_: object, **__: object) -> None:
        raise builtins.KeyboardInterrupt

    monkeypatch.setattr(onnx.checker, "check_model", cancelled)
    path = large_graph().write(tmp_path / "model.pb")
    (tmp_path / "made").mkdir()
    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []


def test_the_description_stays_out_of_the_shared_pool():
    """So TensorFlow, which registers the same names there, can be imported beside it."""
    code = (
        "import models.graph_def\n"
        "from google.protobuf import descriptor_pool, descriptor_pb2\n"
        "file = descriptor_pb2.FileDescriptorProto(name='tensorflow/core/framework/graph.proto',"
        " package='tensorflow', syntax='proto3')\n"
        "for name in ('GraphDef', 'NodeDef', 'AttrValue', 'TensorProto'): file.message_type.add(name=name)\n"
        "descriptor_pool.Default().Add(file)\n"
        "descriptor_pool.Default().FindMessageTypeByName('tensorflow.GraphDef')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_description_reads_what_protobuf_writes_for_a_map():
    """The bytes are written by hand, from the public field numbers: op 2, attr 5, key 1, value 2, i 3."""
    node = NodeDef.FromString(bytes.fromhex("0a0161 1204436f6e76 2a07 0a014e 1202 1805".replace(" ", "")))
    assert (node.name, node.op, node.attr["N"].i) == ("a", "Conv", 5)
