"""What a car computes, as numbers: run natively and on an emulated processor, the two must agree.

python tests/no_avx/work.py car      numpy, OpenCV, onnxruntime with the shipped policy, one conversion
python tests/no_avx/work.py avx      one AVX instruction: must kill the process on such a processor
python tests/no_avx/work.py sse      one SSE4.2 instruction: must not
"""

import ctypes
import json
import mmap
import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTRUCTIONS = {
    "avx": bytes.fromhex("c5f9efc0 c3"),  # vpxor xmm0, xmm0, xmm0; ret
    "sse": bytes.fromhex("f20f38f1c0 c3"),  # crc32 eax, eax; ret
}


def execute(code: bytes) -> None:
    """Run machine code of this processor's kind, which ends in a return."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    place.write(code)
    first = ctypes.c_char.from_buffer(place)
    ctypes.CFUNCTYPE(None)(ctypes.addressof(first))()


def car() -> dict[str, list[float]]:
    """Return what every part computes."""
    import cv2
    import numpy as np

    from calibration.car import HIL_AWS
    from models.observation import Sight
    from models.policy import load_policy

    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((64, 64)).astype(np.float32)
    picture = cv2.resize(
        rng.integers(0, 256, (12, 16, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC
    )
    _, jpeg = cv2.imencode(".jpg", picture)
    decoded = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    shrunk = cv2.resize(decoded, (160, 120), interpolation=cv2.INTER_AREA)
    policy = load_policy("plover")
    decisions = [
        policy.decide(Sight(np.asarray(image, np.uint8)), HIL_AWS).output
        for image in (decoded, shrunk, decoded[::-1])
    ]
    return {
        "numpy": [*(matrix @ matrix).ravel()[:200].tolist(), float(np.exp(matrix).sum())],
        "opencv": [float(decoded.mean()), float(decoded.std()), *shrunk[::10, ::10, 0].ravel().tolist()],
        "onnxruntime": [value for output in decisions for value in output],
        "conversion": conversion(),
    }


def conversion() -> list[float]:
    """Convert a TensorFlow graph of full size and return what its network answers, however it may be run."""
    import numpy as np

    from models.convert import convert
    from models.runtime import PolicyRuntime
    from models.session_choice import CANDIDATES
    from models.simplify import simplify
    from models.standard_graph import write_frozen_graph

    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.pb"
        write_frozen_graph(graph)
        convert(graph, Path(folder))
        simplify(Path(folder) / "model.onnx")
        runtimes = [PolicyRuntime(Path(folder) / "model.onnx", settings) for settings in CANDIDATES]
        rng = np.random.default_rng(1)
        feeds = {
            info.name: rng.uniform(0, 255, info.known_shape).astype(np.float32) for info in runtimes[0].inputs
        }
        return [float(value) for runtime in runtimes for value in runtime.infer(feeds).ravel()]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1] == "car":
        sys.stdout.write(json.dumps(car()))
    else:
        execute(INSTRUCTIONS[sys.argv[1]])
