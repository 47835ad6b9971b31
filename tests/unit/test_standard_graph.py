"""Frozen graphs of the field's networks are written as described, convert, and answer a softmax."""

from pathlib import Path

import msgspec
import numpy as np
import onnx

from models.convert import convert
from models.graph_def import GraphDef
from models.runtime import PolicyRuntime
from models.simplify import simplify
from models.standard_graph import SHALLOW, STEREO, write_frozen_graph

TINY_STEREO = msgspec.structs.replace(STEREO, dense_units=4)


def test_the_shallow_network_has_the_fields_size_and_is_the_same_for_a_seed(tmp_path: Path) -> None:
    write_frozen_graph(tmp_path / "a.pb", seed=1)
    write_frozen_graph(tmp_path / "b.pb", seed=1)
    write_frozen_graph(tmp_path / "c.pb", seed=2)
    data = (tmp_path / "a.pb").read_bytes()

    assert 23.0e6 < len(data) < 23.6e6
    assert data == (tmp_path / "b.pb").read_bytes() != (tmp_path / "c.pb").read_bytes()
    assert GraphDef.FromString(data).node[-1].op == "Softmax"


def test_both_convert_simplify_and_answer_as_before(tmp_path: Path) -> None:
    for network in (SHALLOW, TINY_STEREO):
        folder = tmp_path / network.sensor
        folder.mkdir()
        write_frozen_graph(folder / "model.pb", network)
        convert(folder / "model.pb", folder)
        before = PolicyRuntime(folder / "model.onnx")
        (info,) = before.inputs
        feeds = {info.name: np.random.default_rng(0).uniform(0, 255, info.known_shape).astype(np.float32)}
        weights = (folder / "weights.bin").read_bytes()

        sentences = simplify(folder / "model.onnx")

        after = PolicyRuntime(folder / "model.onnx")
        kinds = [node.op_type for node in onnx.load(str(folder / "model.onnx")).graph.node]
        assert info.known_shape == (1, 120, 160, network.channels)
        assert sentences[0].startswith("folded the division by 255")
        assert "Div" not in kinds
        assert np.abs(after.infer(feeds) - before.infer(feeds)).max() <= 1e-5
        assert abs(after.infer(feeds).sum() - 1.0) < 1e-5
        assert (folder / "weights.bin").read_bytes() == weights
