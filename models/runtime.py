"""An onnxruntime session for one policy: load, warm up, infer.

The settings were chosen by `python -m models.session_comparison`; the figures are in
`docs/decisions/`. Threads never spin: a spinning thread takes the processor that the loop, the camera
and the page need.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.errors import OutputProblem, PolicyError, PolicyOutputError

DEFAULT_THREADS = 1
MAX_THREADS = 8
MAX_MODEL_BYTES = 512 << 20  # the largest DeepRacer network has 230 MB

WARM_UP_BLOCK = 8  # runs whose median is compared with the next block's
WARM_UP_BLOCKS_MAX = 12
WARM_UP_STABLE_FRAC = 0.15  # two medians in a row this close: warm

ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.EngineError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.ModelLoaded,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,  # a wrong input name or count
)
"""They have no base class of their own."""

INPUT_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
NUMPY_TYPES = {**INPUT_TYPES, "tensor(double)": "float64"}


Feeds = Mapping[str, npt.NDArray[np.generic]]
"""What one inference gets: the graph's own input names, each with its array."""


class TensorInfo(msgspec.Struct, frozen=True):
    """One input or output of a network."""

    name: str
    type: str
    """As onnxruntime writes it, e.g. `tensor(float)`."""
    shape: tuple[int | None, ...]
    """None where the file leaves a size open."""

    @property
    def known_shape(self) -> tuple[int, ...]:
        """The shape with one in place of what is open: of a batch, one."""
        return tuple(size or 1 for size in self.shape)


class SessionSettings(msgspec.Struct, frozen=True):
    """How onnxruntime runs the network."""

    threads: int = DEFAULT_THREADS
    spin: bool = False
    bind: bool = False
    """Copy inputs and output into places that stay; where the network leaves a size open, without effect."""
    prepack: bool = True
    """Let onnxruntime lay weights out anew for multiplying matrices. A dense layer multiplies one row, and
    reads weights that lie row by row of its outputs (`transB`) faster where they are."""

    def for_int8(self) -> "SessionSettings":
        """Return how to run the same policy in eight bits: those weights must be laid out anew to be fast."""
        return msgspec.structs.replace(self, prepack=True)


def create_session(model: Path, settings: SessionSettings) -> onnxruntime.InferenceSession:
    """Open a session; raises PolicyError with a sentence when the file is not a usable network."""
    try:
        size = model.stat().st_size
    except OSError as error:
        raise PolicyError(f"{model} cannot be read ({error.strerror}); check the policy's path") from error
    if not model.is_file() or not 0 < size <= MAX_MODEL_BYTES:
        raise PolicyError(
            f"{model} is not a file of 1 byte to {MAX_MODEL_BYTES >> 20} MB; give an ONNX network"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spin else "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_prepacking", "0" if settings.prepack else "1")
    options.log_severity_level = 4  # what goes wrong is raised, not printed
    try:
        return onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )  # falling back would try the same again, and print to standard output
    except ORT_ERRORS as error:
        raise PolicyError(
            f"{model} is not a network that onnxruntime {onnxruntime.__version__} can run "
            f"({first_line(error)}); export the policy to ONNX again"
        ) from error


class PolicyRuntime:
    """Runs one network with one output; not for two threads at once."""

    def __init__(self, model: Path, settings: SessionSettings | None = None) -> None:
        """Load the network; raises PolicyError with a sentence."""
        self.settings = settings or SessionSettings()
        self._session = create_session(model, self.settings)
        self.inputs = tuple(_tensor_info(node) for node in self._session.get_inputs())
        self.outputs = tuple(_tensor_info(node) for node in self._session.get_outputs())
        self.properties: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.infer_median_ms = 0.0  # as warm_up last measured it
        self._bound = _BoundRun(self._session, self.inputs, self.outputs) if self._can_bind else None

    @property
    def _can_bind(self) -> bool:
        tensors = (*self.inputs, self.outputs[0]) if len(self.outputs) == 1 else ()
        are_known = all(info.type in NUMPY_TYPES and None not in info.shape for info in tensors)
        return self.settings.bind and bool(tensors) and are_known

    def infer(self, feeds: Feeds) -> npt.NDArray[np.generic]:
        """Return the first output; releases the interpreter's lock; raises PolicyOutputError."""
        try:
            if self._bound is not None:
                return self._bound(feeds)
            outputs = self._session.run([self.outputs[0].name], feeds)
        except ORT_ERRORS as error:
            raise PolicyOutputError(
                OutputProblem.FAILED,
                f"the network raised {first_line(error)}; use another policy",
            ) from error
        output = outputs[0]
        if not isinstance(output, np.ndarray):
            raise PolicyOutputError(
                OutputProblem.WRONG_SHAPE, f"the network answered a {type(output).__name__}, not an array"
            )
        return output

    def warm_up(self, feeds: Feeds) -> float:
        """Run until the time per inference is stable; return and keep its median in ms."""
        before_ms = self._median_ms(feeds)
        for _ in range(WARM_UP_BLOCKS_MAX - 1):
            after_ms = self._median_ms(feeds)
            is_stable = abs(after_ms - before_ms) <= WARM_UP_STABLE_FRAC * before_ms
            before_ms = after_ms
            if is_stable:
                break
        self.infer_median_ms = before_ms
        return before_ms

    def _median_ms(self, feeds: Feeds) -> float:
        times_ms = []
        for _ in range(WARM_UP_BLOCK):
            start_ns = time.perf_counter_ns()
            self.infer(feeds)
            times_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        return float(np.median(times_ms))


class _BoundRun:
    """Runs a session on inputs and an output that keep their place in memory."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._places = {}
        for info in inputs:
            blank = np.zeros(info.known_shape, NUMPY_TYPES[info.type])
            place = onnxruntime.OrtValue.ortvalue_from_numpy(blank)
            self._places[info.name] = (place, blank.shape, blank.dtype)
            self._binding.bind_ortvalue_input(info.name, place)
        answer = np.zeros(outputs[0].known_shape, NUMPY_TYPES[outputs[0].type])
        self._answer = onnxruntime.OrtValue.ortvalue_from_numpy(answer)
        self._binding.bind_ortvalue_output(outputs[0].name, self._answer)

    def __call__(self, feeds: Feeds) -> npt.NDArray[np.generic]:
        """Return the answer as an array of the caller's own; raises ValueError for other feeds."""
        if feeds.keys() != self._places.keys():
            raise ValueError(f"inputs are {sorted(self._places)}, given were {sorted(feeds)}")
        for name, values in feeds.items():
            place, shape, dtype = self._places[name]
            if values.shape != shape or values.dtype != dtype:
                raise ValueError(
                    f"input {name} is {dtype} of shape {shape}, given was {values.dtype} of {values.shape}"
                )
            place.update_inplace(np.ascontiguousarray(values))
        self._session.run_with_iobinding(self._binding)
        return np.array(self._answer.numpy())  # the next run writes into the place


def first_line(error: BaseException) -> str:
    """Return the start of a library's message, for a sentence of ours."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def _tensor_info(node: onnxruntime.NodeArg) -> TensorInfo:
    sizes = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return TensorInfo(node.name, node.type, sizes)
