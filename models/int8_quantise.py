"""A float network to one in whole numbers of eight bits, with scales from calibration frames."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from models.errors import PolicyError
from models.runtime import ORT_ERRORS, Feeds, first_line

LAYERS = ("Conv", "Gemm", "MatMul")
QUANTISED = (*LAYERS, "Concat", "Flatten", "MaxPool", "Relu", "Reshape", "Transpose")
"""Layers, and what only passes their numbers on; all else, softmax above all, stays in float."""
PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""Told to the quantiser, which else prints that somebody should prepare the network."""


class Recipe(msgspec.Struct, frozen=True):
    """What of a network becomes whole numbers."""

    name: str
    keeps_ends: bool
    """The first and the last layer stay in float: they are the most delicate and cost the least."""


RECIPES = (Recipe("all layers", False), Recipe("all but the first and the last layer", True))
"""In order of speed."""


def quantise(model: Path, calibration: Sequence[Feeds], target: Path, recipe: Recipe) -> None:
    """Write the network in eight bits; raises PolicyError when the quantiser cannot.

    Weights have their own scale for each channel and seven bits: processors without VNNI add pairs of
    products in sixteen bits, which eight would overflow.
    """
    from onnxruntime import quantization as ort  # noqa: PLC0415 - slow to import, and only the owner's wish needs it

    with tempfile.TemporaryDirectory(prefix="lapwing") as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            layers = _prepare(model, prepared)
            if not layers:
                raise PolicyError("the network has no layer that could be quantised; keep float")
            ort.quantize_static(
                prepared,
                target,
                _reader(ort, calibration),
                quant_format=ort.QuantFormat.QDQ,
                op_types_to_quantize=[*QUANTISED],
                nodes_to_exclude=[layers[0], layers[-1]] if recipe.keeps_ends else [],
                per_channel=True,
                reduce_range=True,
                activation_type=ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
            )
        except (*ORT_ERRORS, KeyError, IndexError, TypeError, AssertionError) as error:
            raise PolicyError(f"the network cannot be quantised ({first_line(error)}); keep float") from error


def _prepare(model: Path, prepared: Path) -> list[str]:
    """Write the network with constants folded, layers fused and nodes named; return the layers' names."""
    whole = prepared.with_name("whole.onnx")  # what the optimiser writes cannot point to weights elsewhere
    onnx.save(onnx.load(model), whole)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(prepared)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(whole), options, providers=["CPUExecutionProvider"])
    proto = onnx.load(str(prepared))
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{number}"
    key, value = PREPARED
    if key not in {part.key for part in proto.metadata_props}:
        proto.metadata_props.add(key=key, value=value)
    onnx.save(proto, str(prepared))
    return [node.name for node in proto.graph.node if node.op_type in LAYERS]


def _reader(ort: object, calibration: Sequence[Feeds]) -> object:
    base: type = ort.CalibrationDataReader  # type: ignore[attr-defined]

    class Reader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds: Iterator[Feeds] = iter(calibration)

        def get_next(self) -> dict[str, npt.NDArray[np.generic]] | None:
            feeds = next(self._feeds, None)
            return None if feeds is None else dict(feeds)

    return Reader()
