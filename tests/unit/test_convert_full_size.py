"""The field's networks at full size: right answers, in seconds, in little memory."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models.convert import convert
from tests.unit.frozen_graphs import NETWORKS, STEREO, field_graph, reference_answer

BUDGET = {"seconds": 10.0, "converted, MB": 150.0, "ran, MB": 600.0}
"""Private memory until then. For 230 MB on a busy development machine, which takes about 1 s and 100 MB."""

FILE_MB = {"SHALLOW": 23.4, "DEEP": 11.1, "plain": 115.0, "DEEP stereo": 116.0, "plain stereo": 230.0}


@pytest.mark.parametrize("name", ["SHALLOW", "DEEP", "plain"])
def test_a_full_size_network_answers_as_its_layers_say(name, tmp_path):
    file, weights = field_graph(NETWORKS[name])
    path = file.write(tmp_path / "model.pb")
    assert path.stat().st_size / 1e6 == pytest.approx(FILE_MB[name], rel=0.02)
    made = tmp_path / "made"
    made.mkdir()
    conversion = convert(path, made)
    print(f"{name}: {path.stat().st_size / 1e6:.1f} MB in {conversion.seconds:.2f} s")

    model = onnx.load(made / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        is_large = np.prod(tensor.dims) * 4 >= 64 << 10
        assert (tensor.data_location == onnx.TensorProto.EXTERNAL) == is_large, tensor.name
    assert (made / "model.onnx").stat().st_size < 300_000

    picture = np.random.default_rng(4).integers(0, 256, (120, 160, 1)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(made / "model.onnx"), providers=["CPUExecutionProvider"])
    (answer,) = session.run(["policy"], {conversion.inputs[0][0]: picture[np.newaxis]})
    expected = reference_answer(NETWORKS[name], weights, picture)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(answer[0], expected, atol=1e-5)


def private_memory_mb(process: int) -> float:
    """Return what the process would give back by ending, its own untouched copies of files included."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) / 1000


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells private memory there")
def test_the_largest_network_is_converted_checked_and_run_in_seconds_and_little_memory(tmp_path):
    network = NETWORKS["plain stereo"]
    file, _ = field_graph(network)
    path = file.write(tmp_path / "model.pb")
    assert path.stat().st_size / 1e6 == pytest.approx(FILE_MB["plain stereo"], rel=0.02)
    made = tmp_path / "made"
    made.mkdir()

    code = (
        "import sys; from pathlib import Path\n"
        "from models.check_network import check_network; from models.convert import convert\n"
        "made = Path(sys.argv[2]); seconds = convert(Path(sys.argv[1]), made).seconds\n"
        "check_network(made / 'model.onnx'); (made / 'converted').touch()\n"
        "from models.runtime import PolicyRuntime; from models.session_comparison import random_feeds\n"
        "runtime = PolicyRuntime(made / 'model.onnx'); runtime.infer(random_feeds(runtime.inputs))\n"
        "print(seconds, flush=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, path, made], stdout=subprocess.PIPE, text=True)
    peak_mb = {"converted, MB": 0.0, "ran, MB": 0.0}
    while child.poll() is None:
        stage = "ran, MB" if (made / "converted").exists() else "converted, MB"
        try:
            peak_mb[stage] = max(peak_mb[stage], private_memory_mb(child.pid))
        except (OSError, KeyError):  # it has just ended
            break
        time.sleep(0.004)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    print(f"{path.stat().st_size / 1e6:.0f} MB in {float(output):.2f} s, private memory {peak_mb}")
    for stage, most_mb in peak_mb.items():
        assert 20 < most_mb < BUDGET[stage]
    assert float(output) < BUDGET["seconds"]
    assert (made / "weights.bin").stat().st_size / 1e6 == pytest.approx(FILE_MB["plain stereo"], rel=0.02)
    assert network.sensor == STEREO
