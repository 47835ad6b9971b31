"""A DeepRacer frozen TensorFlow graph to ONNX, without TensorFlow, and without its weights in memory.

The networks of the field use about twenty operators, in three spellings (TensorFlow 1 layers, Keras 2,
Keras 3) whose node names differ and whose meaning does not. Everything about shapes is computed here, for
a batch of one; what remains is Conv, Gemm, Relu, Softmax and little else. Whatever is not understood is
refused by name, never guessed.
"""

import re
import time
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from models import convert_layers, convert_shapes
from models.convert_graph import Graph, Node, read_graph
from models.convert_reading import read_nodes
from models.convert_shapes import Step
from models.convert_values import Signal, Value
from models.convert_writing import OUTPUT_NAME, NetworkWriter
from models.errors import PolicyError
from models.field_checks import plain

PROPERTIES = {"lapwing.source": "tensorflow", "input_range": "0..255", "input_layout": "NHWC"}
"""Of the ONNX file: what every graph of the field takes, its placeholders being fed grey levels."""

OUTPUT_LIMIT = 1024  # actions; the field's have up to some dozens

_HANDLERS = {**convert_shapes.HANDLERS, **convert_layers.HANDLERS}


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of a frozen graph."""

    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    """Name (the placeholder's) and shape of each input, pictures as (1, height, width, channels)."""
    output: str
    source_output: str
    """What the output was called in TensorFlow."""
    head: Literal["softmax", "linear"]
    """Probabilities of a list of actions, or values for a range of them."""
    algorithm_hint: Literal["ppo", "sac", ""]
    """As the output's name says, if it does."""
    op_counts: dict[str, int]
    """TensorFlow's operators in the part that feeds the output."""
    seconds: float
    notes: tuple[str, ...] = ()
    """For people, whole sentences."""


def convert(pb: Path, folder: Path) -> Conversion:
    """Write `folder/model.onnx`, and `folder/weights.bin` beside it when a tensor has 64 KiB or more.

    The ONNX network takes what the graph takes, under the same names and NHWC, and answers `policy`.
    Raises PolicyError naming what was not understood, and then leaves no file behind.
    """
    start_s = time.perf_counter()
    graph = read_graph(read_nodes(pb))
    try:
        with pb.open("rb") as source:
            writer = NetworkWriter(source, folder)
            try:
                notes = _convert_graph(graph, writer)
            except BaseException:  # also when cancelled: nothing half-made stays
                writer.discard()
                raise
    except OSError as error:
        raise PolicyError(
            f"the converted network cannot be written to {folder} ({error.strerror or error}); make room "
            "there or give an empty folder"
        ) from error
    return Conversion(
        inputs=writer.inputs,
        output=OUTPUT_NAME,
        source_output=graph.output.name,
        head=_head(graph),
        algorithm_hint=_algorithm(graph.output.name),
        op_counts=dict(sorted(Counter(node.op for node in graph.nodes).items())),
        seconds=time.perf_counter() - start_s,
        notes=notes,
    )


def _convert_graph(graph: Graph, writer: NetworkWriter) -> tuple[str, ...]:
    values: dict[str, Value] = {}
    for node in graph.nodes:
        inputs = tuple(values[name] for name in node.inputs)
        values[node.name] = _converted(Step(node, inputs, writer, graph.uses[node.name] == 1))
    answer = _answer(graph.output, values[graph.output.name], writer)
    writer.finish(answer, PROPERTIES)
    notes = list(dict.fromkeys(writer.notes))
    if graph.ignored:
        notes.append(f"{graph.ignored} nodes that do not feed the output were left out")
    return tuple(notes)


def _converted(step: Step) -> Value:
    try:
        return _HANDLERS[step.node.op](step)
    except (ValueError, IndexError, TypeError, OverflowError) as error:  # numpy's words for nonsense
        raise step.node.refuse(f"cannot be computed ({plain(error)})") from error


def _answer(output: Node, value: Value, writer: NetworkWriter) -> Signal:
    """Return the network's answer; raises PolicyError when it is none."""
    if not isinstance(value, Signal) or not writer.nodes:
        raise output.refuse("answers without looking at any input")
    if len(value.shape) != 2 or value.shape[0] != 1 or not 0 < value.shape[1] <= OUTPUT_LIMIT:
        raise output.refuse(f"answers the shape {list(value.shape)[:8]}", "one row such as [1, 5]")
    return value


def _head(graph: Graph) -> Literal["softmax", "linear"]:
    """Tell probabilities from values by the last node that computes."""
    nodes = {node.name: node for node in graph.nodes}
    node = graph.output
    while node.op == "Identity":
        node = nodes[node.inputs[0]]
    return "softmax" if node.op == "Softmax" else "linear"


def _algorithm(output_name: str) -> Literal["ppo", "sac", ""]:
    match = re.search(r"(?:^|/)(ppo_head|sac_policy_head)_\d+/", output_name)
    if match is None:
        return ""
    return "sac" if match[1] == "sac_policy_head" else "ppo"
