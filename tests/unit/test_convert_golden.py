"""The converter against TensorFlow's own answers (tests/golden/make_graphs.py), and against damage."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.check_network import check_network
from models.convert import convert
from models.convert_reading import read_nodes
from models.errors import PolicyError
from models.graph_def import GraphDef

GOLDEN = Path(__file__).parents[1] / "golden"
GRAPHS = sorted(path.stem for path in GOLDEN.glob("*.pb"))
TOLERANCE = 1e-5


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])


def test_every_spelling_kind_sensor_and_network_is_there():
    cases = [name.rsplit("-", 1) for name in GRAPHS]
    words = {word for case, _ in cases for part in case.split("+") for word in [part, *case.split("_")]}
    assert {spelling for _, spelling in cases} == {"tf1", "keras2", "keras3"}
    assert {"discrete", "continuous", "sac", "shallow", "plain", "deep", "front", "left"} <= words
    assert any("observation" in case for case, _ in cases)
    for sensor in ("stereo_cameras", "+lidar", "+sector_lidar", "+discretized_sector_lidar"):
        assert any(sensor in case for case, _ in cases), sensor
    assert len(GRAPHS) == 48
    recorded = [*GOLDEN.glob("*.pb"), *GOLDEN.glob("*.npz")]
    assert sum(path.stat().st_size for path in recorded) < 1_550_000


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_converted_graph_answers_as_tensorflow_did(graph, tmp_path):
    case, spelling = graph.rsplit("-", 1)
    conversion = convert(GOLDEN / f"{graph}.pb", tmp_path)
    check_network(tmp_path / "model.onnx")
    session = session_of(tmp_path)

    with np.load(GOLDEN / f"{case}.npz") as recorded:
        expected = recorded[spelling]
        assert np.ptp(expected) > 0.05  # a network that answers the same to everything proves nothing
        for row, wanted in enumerate(expected):
            feeds = {
                name: recorded[name.rsplit("/", 1)[1]][row : row + 1].astype(np.float32)
                for name, _ in conversion.inputs
            }
            (answer,) = session.run(["policy"], feeds)
            assert answer.shape == (1, wanted.size)
            np.testing.assert_allclose(answer[0], wanted, rtol=0, atol=TOLERANCE)
            assert answer[0].argmax() == wanted.argmax()


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_conversion_says_what_the_graph_is(graph, tmp_path):
    case = graph.rsplit("-", 1)[0]
    conversion = convert(GOLDEN / f"{graph}.pb", tmp_path)
    is_sac = "_sac" in case
    head = "policy" if is_sac else "main"
    sensors = case.split("_shallow")[0].split("_plain")[0].split("_deep")[0].split("+")
    names = [name for name, _ in conversion.inputs]
    assert sorted(name.lower() for name in names) == sorted(
        f"main_level/agent/{head}/online/network_0/{sensor}/{sensor}" for sensor in sensors
    )
    assert conversion.algorithm_hint == ("sac" if is_sac else "ppo")
    assert conversion.head == ("softmax" if case.rsplit("_", 1)[1] == "discrete" else "linear")
    assert any("rescaler" in note for note in conversion.notes)

    model = onnx.load(tmp_path / "model.onnx")
    shapes = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in model.graph.input
    }
    assert shapes == dict(conversion.inputs)
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "lapwing.source": "tensorflow",
        "input_range": "0..255",
        "input_layout": "NHWC",
    }
    operators = {node.op_type for node in model.graph.node}
    assert operators <= {"Div", "Conv", "Relu", "Gemm", "Reshape", "Transpose", "Concat", "Softmax", "Slice"}
    assert [node.op_type for node in model.graph.node].count("Div") == sum(
        "camera" in s or s == "observation" for s in sensors
    )


@pytest.mark.parametrize("graph", GRAPHS[:3])
def test_converting_twice_gives_the_same_bytes(graph, tmp_path):
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        convert(GOLDEN / f"{graph}.pb", tmp_path / name)
        files.append((tmp_path / name / "model.onnx").read_bytes())
    assert files[0] == files[1]


SMALLEST = [graph for graph in GRAPHS if graph.startswith("observation") or "sliced" in graph]
DEEPEST = [graph for graph in GRAPHS if "deep" in graph]


@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    graph=st.sampled_from(SMALLEST + DEEPEST),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=0, max_size=6),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_a_damaged_graph_is_refused_in_words_or_converted_whole(graph, changes, kept, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray((GOLDEN / f"{graph}.pb").read_bytes())
    for place, value in changes:
        content[min(len(content) - 1, int(place * len(content)))] = value
    (folder / "model.pb").write_bytes(content[: int(kept * len(content))])
    made = folder / "made"
    made.mkdir()
    refusal = None
    try:
        convert(folder / "model.pb", made)
    except PolicyError as error:
        refusal = str(error)
    if refusal is None:
        onnx.checker.check_model(str(made / "model.onnx"))
        session_of(made)
    else:
        assert len(refusal) > 30
        assert refusal.isprintable()
        assert list(made.iterdir()) == []


@pytest.mark.parametrize("graph", GRAPHS[::8])
def test_a_graph_cut_off_between_two_nodes_is_refused(graph, tmp_path):
    content = (GOLDEN / f"{graph}.pb").read_bytes()
    nodes = [raw.message for raw in read_nodes(GOLDEN / f"{graph}.pb")]
    for kept in range(len(nodes)):
        (tmp_path / "model.pb").write_bytes(GraphDef(node=nodes[:kept]).SerializeToString())
        assert len(content) > (tmp_path / "model.pb").stat().st_size
        with pytest.raises(PolicyError):
            convert(tmp_path / "model.pb", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["model.pb"]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "model.pb").write_bytes(content)
    (folder / "made").mkdir()
    with pytest.raises(PolicyError):
        convert(folder / "model.pb", folder / "made")
    assert list((folder / "made").iterdir()) == []
