"""The nodes of a frozen graph as a graph: which feed the policy's output, in which order, how set."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from models.convert_reading import EXPORT_AGAIN, RawNode, Span
from models.errors import PolicyError
from models.field_checks import plain
from models.graph_def import type_name

ATTRIBUTES = {
    "Placeholder": "dtype shape",
    "Const": "dtype value",
    "Identity": "T",
    "StopGradient": "T",
    "RealDiv": "T",
    "Sub": "T",
    "Mul": "T",
    "Add": "T",
    "AddV2": "T",
    "Conv2D": "T strides padding data_format dilations explicit_paddings use_cudnn_on_gpu",
    "BiasAdd": "T data_format",
    "Relu": "T",
    "MatMul": "T transpose_a transpose_b grad_a grad_b",
    "Softmax": "T",
    "Reshape": "T Tshape",
    "Squeeze": "T squeeze_dims",
    "Shape": "T out_type",
    "StridedSlice": "T Index begin_mask end_mask ellipsis_mask new_axis_mask shrink_axis_mask",
    "Pack": "T N axis",
    "GatherV2": "Tparams Tindices Taxis batch_dims",
    "Prod": "T Tidx keep_dims",
    "ConcatV2": "T N Tidx",
    "Transpose": "T Tperm",
}
"""Operator -> the attributes that it may carry. Others say something that we do not understand.

`_output_shapes` and others that begin with an underscore are notes of TensorFlow's to itself.
"""

OUTPUT_OPERATORS = frozenset({"Softmax", "Identity"})
OUTPUT_LAST_NAME = "policy"
"""How a policy ends. A file cut off between two nodes reads as a smaller graph that ends elsewhere."""

_SOURCES = frozenset({"Const", "Placeholder", "NoOp"})


@dataclass(frozen=True)
class Node:
    """One node: what it does, to which nodes' outputs, how."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """Names of the nodes whose first output it takes, in order."""
    controls: tuple[str, ...]
    ports: tuple[int, ...]
    """Which output of each input node; anything but 0 is refused."""
    attributes: dict[str, Any]
    content: Span | None

    def __str__(self) -> str:
        return f"node {plain(self.name)!r} ({plain(self.op)})"

    def refuse(self, seen: str, allowed: str = "") -> PolicyError:
        """Return the error that names this node."""
        wanted = f", allowed is {allowed}" if allowed else ""
        return PolicyError(
            f"the TensorFlow graph's {self} {seen}{wanted}; this converter knows the networks of "
            "DeepRacer only: export the model from the training again, or export ONNX"
        )

    def attribute(self, key: str, kind: str) -> Any:
        """Return an attribute of one kind (`i`, `b`, `s`, `type`, `shape`, `tensor`, `list`) or None."""
        value = self.attributes.get(key)
        if value is None:
            return None
        if value.WhichOneof("value") != kind:
            raise self.refuse(f"has {key!r} as {value.WhichOneof('value') or 'something unknown'}", kind)
        return getattr(value, kind)

    def integer(self, key: str, default: int) -> int:
        """Return a whole number."""
        value = self.attribute(key, "i")
        return default if value is None else int(value)

    def flag(self, key: str) -> bool:
        """Return a truth, false if absent."""
        return bool(self.attribute(key, "b"))

    def text(self, key: str, default: str) -> str:
        """Return a word."""
        value = self.attribute(key, "s")
        return default if value is None else value.decode("ascii", "replace")

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers, empty if absent."""
        value = self.attribute(key, "list")
        return () if value is None else tuple(value.i)


@dataclass(frozen=True)
class Graph:
    """What feeds the output."""

    nodes: tuple[Node, ...]
    """Every node after all of its inputs."""
    output: Node
    uses: Counter[str]
    """How often each node's output is taken."""
    ignored: int
    """Nodes of the file that feed nothing."""


def read_graph(raw_nodes: Iterable[RawNode]) -> Graph:
    """Find the one output and what feeds it; raises PolicyError."""
    nodes: dict[str, Node] = {}
    for raw in raw_nodes:
        node = _node(raw)
        if node.name in nodes:
            raise node.refuse("appears twice")
        nodes[node.name] = node

    output = _output(nodes)
    order = _ordered(nodes, output)
    uses = Counter(name for node in order for name in node.inputs)
    return Graph(order, output, uses, len(nodes) - len(order))


def _node(raw: RawNode) -> Node:
    message = raw.message
    if not message.name or not message.op:
        raise PolicyError(
            "the file is not a frozen TensorFlow graph: it has a node without a name or an operator "
            f"({plain(message.name)!r}, {plain(message.op)!r}); {EXPORT_AGAIN}"
        )
    controls = tuple(text[1:] for text in message.input if text.startswith("^"))
    places = [_place(text) for text in message.input if not text.startswith("^")]
    return Node(
        name=message.name,
        op=message.op,
        inputs=tuple(name for name, _ in places),
        controls=controls,
        ports=tuple(port for _, port in places),
        attributes=dict(message.attr),
        content=raw.content,
    )


def _place(text: str) -> tuple[str, int]:
    """Split `name:port`; a bare name means port 0."""
    name, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdecimal() and len(port) < 6:
        return name, int(port)
    return text, 0


def _output(nodes: dict[str, Node]) -> Node:
    """Return the one node that computes something from the inputs and feeds nothing."""
    consumed = {name for node in nodes.values() for name in node.inputs}
    ends = [node for node in nodes.values() if node.name not in consumed and node.op not in _SOURCES]
    feeding = {node.name: _ancestors(nodes, node) for node in ends}
    outputs = [
        node
        for node in ends
        if any(nodes[name].op == "Placeholder" for name in feeding[node.name] & nodes.keys())
    ]
    if len(outputs) == 1:
        (output,) = outputs
        if output.op not in OUTPUT_OPERATORS and output.name.rpartition("/")[2] != OUTPUT_LAST_NAME:
            raise output.refuse(
                "is where the graph ends, as if it were cut off", "Softmax, Identity or `policy`"
            )
        return output
    if outputs:
        names = ", ".join(repr(plain(node.name)) for node in outputs[:4])
        raise PolicyError(
            f"the TensorFlow graph has {len(outputs)} outputs ({names}), allowed is one, the policy's; "
            "export the frozen policy alone"
        )
    for node in ends:
        _refuse_missing(nodes, [nodes[name] for name in sorted(feeding[node.name] & nodes.keys())])
    _refuse_cycles(nodes)
    raise PolicyError(
        f"the TensorFlow graph has {len(nodes)} nodes and none of them computes an output from an input; "
        f"{EXPORT_AGAIN}"
    )


def _ancestors(nodes: dict[str, Node], end: Node) -> set[str]:
    """Return the names of a node and of all that feed it, missing ones among them."""
    seen = {end.name}
    waiting = [end]
    while waiting:
        for name in waiting.pop().inputs:
            if name not in seen:
                seen.add(name)
                if name in nodes:
                    waiting.append(nodes[name])
    return seen


def _ordered(nodes: dict[str, Node], output: Node) -> tuple[Node, ...]:
    needed = _ancestors(nodes, output)
    live = {name: node for name, node in nodes.items() if name in needed}
    _refuse_missing(nodes, live.values())
    for node in live.values():
        _check_node(node)

    waiting_for = {name: len(set(node.inputs)) for name, node in live.items()}
    takers: dict[str, list[str]] = {name: [] for name in live}
    for node in live.values():
        for name in dict.fromkeys(node.inputs):
            takers[name].append(node.name)
    ready = [name for name, count in waiting_for.items() if count == 0]
    ordered = []
    for name in ready:  # grows while we walk it
        ordered.append(live[name])
        for taker in takers[name]:
            waiting_for[taker] -= 1
            if waiting_for[taker] == 0:
                ready.append(taker)
    if len(ordered) < len(live):
        _refuse_cycles(live)
    return tuple(ordered)


def _refuse_missing(nodes: dict[str, Node], live: Iterable[Node]) -> None:
    for node in live:
        for name in node.inputs:
            if name not in nodes:
                raise node.refuse(f"takes {plain(name)!r}, which is not in the graph")


def _refuse_cycles(nodes: dict[str, Node]) -> None:
    """Refuse the first node that feeds itself, however indirectly."""
    left = dict(nodes)
    while True:
        free = [name for name, node in left.items() if not any(other in left for other in node.inputs)]
        if not free:
            break
        for name in free:
            del left[name]
    for node in left.values():
        raise node.refuse("feeds itself or waits for a loop", "a graph without loops")


def _check_node(node: Node) -> None:
    """Refuse what the operator alone gives away."""
    if node.op not in ATTRIBUTES:
        known = ", ".join(sorted(ATTRIBUTES))
        raise node.refuse("is an operator that is not understood", f"one of {known}")
    if node.controls:
        raise node.refuse(f"waits for {plain(node.controls[0])!r} without taking its value (a control input)")
    for name, port in zip(node.inputs, node.ports, strict=True):
        if port != 0:
            raise node.refuse(f"takes output {port} of {plain(name)!r}", "output 0")
    known_keys = ATTRIBUTES[node.op].split()
    for key in sorted(node.attributes):
        if key not in known_keys and not key.startswith("_"):
            raise node.refuse(f"has the attribute {plain(key)!r}, which is not understood")


def data_type(node: Node, key: str) -> str:
    """Return the name of the number type in an attribute; raises PolicyError when it is absent."""
    number = node.attribute(key, "type")
    if number is None:
        raise node.refuse(f"does not state {key!r}")
    return type_name(int(number))
