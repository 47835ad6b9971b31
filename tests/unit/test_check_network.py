"""Which ONNX networks a car may run: what is refused is refused in words, before a runtime opens it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.check_network import check_network, read_network
from models.errors import PolicyError
from models.network_cost import network_layers
from models.standard_network import standard_network
from tests.unit.policy_files import mean_network

MODEL = mean_network()


def write(folder: Path, network: bytes | onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(network if isinstance(network, bytes) else network.SerializeToString())
    return path


def changed(change: Callable[[Any], object]) -> onnx.ModelProto:
    network = onnx.load_from_string(MODEL)
    change(network)
    return network


def weights(network: Any) -> Any:
    return next(tensor for tensor in network.graph.initializer if tensor.name == "slopes")


def set_dims(*dims: int) -> Callable[[Any], None]:
    return lambda network: weights(network).dims.__setitem__(slice(None), dims)


def set_height(height_px: int) -> Callable[[Any], None]:
    return lambda network: setattr(
        network.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", height_px
    )


def set_weights(value: float, dtype: Any = np.float32) -> Callable[[Any], None]:
    array = np.array([[0.0, value, 0.0]], dtype)
    return lambda network: weights(network).CopyFrom(numpy_helper.from_array(array, "slopes"))


def add_node(operator: str, domain: str = "", **attributes: Any) -> Callable[[Any], None]:
    node = helper.make_node(operator, ["picture"], ["extra"], domain=domain, **attributes)
    return lambda network: network.graph.node.insert(0, node)


def external(location: str, **fields: object) -> Callable[[Any], None]:
    def change(network: Any) -> None:
        tensor = weights(network)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **fields}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)

    return change


SUBGRAPH = helper.make_graph([], "body", [], [])
BFLOAT16_NAN = helper.make_tensor(
    "slopes", TensorProto.BFLOAT16, [1, 3], np.array([0, 0x7FC0, 0], "<u2").tobytes(), raw=True
)


@pytest.mark.parametrize("network", [MODEL, standard_network(5), mean_network(input_type=TensorProto.UINT8)])
def test_ordinary_networks_pass(network: bytes, tmp_path: Path) -> None:
    check_network(write(tmp_path, network))


def test_the_shipped_policy_passes() -> None:
    check_network(Path("models/zoo/plover/model.onnx"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (add_node("Loop", body=SUBGRAPH), r"loop or a branch \(Loop\)"),
        (add_node("If", then_branch=SUBGRAPH, else_branch=SUBGRAPH), r"loop or a branch \(If\)"),
        (add_node("Scan", body=SUBGRAPH, num_scan_inputs=1), r"loop or a branch \(Scan\)"),
        (add_node("Relu", body=SUBGRAPH), "graph inside its node Relu"),
        (add_node("Exec", domain="evil.example"), "operator Exec of 'evil.example'"),
        (add_node("FusedConv", domain="com.microsoft"), "operator FusedConv of 'com.microsoft'"),
        (add_node("RandomNormalLike"), "uses RandomNormalLike, which a policy does not need"),
        (add_node("ImageDecoder"), "uses ImageDecoder"),
        (add_node("\x1b[31mX\n"), r"uses \[31mX, which"),
        (set_weights(np.nan), "slopes of the network holds numbers that are not finite"),
        (set_weights(np.inf), "not finite"),
        (set_weights(np.nan, np.float16), "not finite"),
        (set_weights(-np.inf, np.float64), "not finite"),
        (lambda network: weights(network).CopyFrom(BFLOAT16_NAN), "not finite"),
        (set_dims(2**62, 2**62), r"has the shape \[4611686018427387904, 4611686018427387904\]"),
        (set_dims(-1, 3), r"has the shape \[-1, 3\]"),
        (set_dims(2**20, 200), "has 839 MB, allowed 537 MB"),
        (set_dims(1, 4), "says 4 numbers and has 12 bytes"),
        (lambda network: setattr(weights(network), "data_type", 99), "unknown type"),
        (lambda network: setattr(weights(network), "data_type", TensorProto.STRING), "holds string"),
        (external("../../etc/passwd"), r"points to the file '../../etc/passwd', allowed is a file beside"),
        (external("/etc/passwd"), "points to the file '/etc/passwd'"),
        (external("sub/weights"), "points to the file"),
        (external("..\\weights"), "points to the file"),
        (external("."), "points to the file"),
        (external(""), "points to the file"),
        (external("gone.bin"), "which did not come with it"),
        (external("link.bin"), "which did not come with it"),
        (external("short.bin"), "wants 12 bytes at 0 of 'short.bin', which has 8"),
        (external("long.bin", offset=-8), "wants 12 bytes at -8"),
        (external("long.bin", offset=2**63), "wants 12 bytes"),
        (external("long.bin", offset=0, length=8), "wants 12 bytes"),
        (external("long.bin", offset="all"), "wants 12 bytes at all"),
        (external("nan.bin"), "not finite"),
        (set_height(-5), r"picture of the network has the shape \[1, -5, 160, 1\]"),
        (set_height(2**62), "picture of the network has the shape"),
        (lambda network: network.graph.input[0].type.ClearField("tensor_type"), "is not a tensor"),
        (lambda network: network.functions.add(), "functions of its own"),
        (lambda network: network.training_info.add(), "what it needs for training"),
        (lambda network: network.graph.sparse_initializer.add(), "sparse weights"),
        (lambda network: network.graph.node.extend([network.graph.node[0]] * 5000), "nodes, allowed 4000"),
        (lambda network: network.graph.ClearField("node"), "holds no ONNX network"),
        (lambda network: network.ClearField("graph"), "holds no ONNX network"),
        (lambda network: network.graph.node.reverse(), "is not valid ONNX"),
        (lambda network: network.graph.node.add(op_type="Conv"), "is not valid ONNX"),
        (lambda network: network.ClearField("ir_version"), "is not valid ONNX"),
    ],
)  # fmt: skip
def test_what_a_car_may_not_run_is_refused_in_words(
    change: Callable[[Any], object], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "short.bin").write_bytes(b"\0" * 8)
    (tmp_path / "long.bin").write_bytes(b"\0" * 64)
    (tmp_path / "nan.bin").write_bytes(np.array([0, np.nan, 0], np.float32).tobytes())
    os.symlink("/etc/passwd", tmp_path / "link.bin")
    with pytest.raises(PolicyError, match=sentence) as caught:
        check_network(write(tmp_path, changed(change)))
    assert str(caught.value).isprintable()


def test_weights_beside_the_network_pass(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0" * 4096 + np.array([-1, 0, 1], np.float32).tobytes())
    check_network(write(tmp_path, changed(external("weights.bin", offset=4096, length=12))))


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a" + b"\0" * 100, b"\x1f\x8b", MODEL[:-40], os.urandom(500), b"\x0a" * 99]
)
def test_what_is_no_network_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"ONNX|0 MB"):
        check_network(write(tmp_path, content))


def test_a_network_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(400 << 20)
    with pytest.raises(PolicyError, match="has 419 MB, allowed 315 MB"):
        read_network(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_network_passes_or_is_refused_but_never_raises_anything_else(data: st.DataObject) -> None:
    import tempfile

    content = bytearray(MODEL)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), bytes(content[: data.draw(st.integers(1, len(content)))]))
        try:
            check_network(path)
        except PolicyError as error:
            assert str(error)  # noqa: PT017 - passing is allowed too


def test_the_cost_of_the_standard_network_is_what_its_arithmetic_says(tmp_path: Path) -> None:
    layers = network_layers(write(tmp_path, standard_network(5)))
    cost = {layer.operator: 0.0 for layer in layers}
    for layer in layers:
        cost[layer.operator] += layer.mmac
    convolutions = 29 * 39 * 32 * 64 + 13 * 18 * 64 * 16 * 32 + 11 * 16 * 64 * 9 * 64
    dense = 11 * 16 * 64 * 512 + 512 * 5
    assert cost["Conv"] == pytest.approx(convolutions / 1e6)
    assert cost["Gemm"] == pytest.approx(dense / 1e6)
    assert cost["Relu"] == 0.0
    learnt = 64 * 32 + 32 + 16 * 32 * 64 + 64 + 9 * 64 * 64 + 64 + 11264 * 512 + 512 + 512 * 5 + 5
    assert sum(layer.parameters for layer in layers) == learnt
    assert layers[1].output_shape == (1, 32, 29, 39)


def test_an_open_batch_counts_as_one(tmp_path: Path) -> None:
    layers = network_layers(write(tmp_path, mean_network(shape=("batch", 120, 160, 1))))
    product = next(layer for layer in layers if layer.operator == "MatMul")
    assert product.mmac == pytest.approx(3e-6)
    assert product.parameters == 3
