"""Finds the nodes and edges of a graph model that can be changed without changing a shape."""

from __future__ import annotations

import base64
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.artifact_faults.drawing import Fault, Site, one_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.artifact_faults.drawing import Array, Edit
    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.models.artifacts import Artifacts

    Node = Mapping[str, Any]

_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "Relu": ("Relu6", "Elu", "Tanh"),
    "Relu6": ("Relu", "Elu", "Sigmoid"),
    "Elu": ("Relu", "Tanh"),
    "Tanh": ("Sigmoid", "Relu"),
    "Sigmoid": ("Tanh", "Relu"),
    "Softmax": ("LogSoftmax",),
}
_FUSED = frozenset({"Relu", "Relu6", "Elu", "Sigmoid"})
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "AddV2": ("Mul", "Sub", "Maximum"),
    "Mul": ("AddV2", "Minimum"),
    "Sub": ("AddV2", "SquaredDifference"),
    "SquaredDifference": ("Sub",),
    "Maximum": ("Minimum",),
    "Mean": ("Sum", "Max"),
    "Rsqrt": ("Sqrt", "Reciprocal"),
    "ResizeNearestNeighbor": ("ResizeBilinear",),
}
_ORDERED = frozenset({"Sub", "RealDiv", "ConcatV2"})
_NO_LAYER = frozenset({"Const", "Placeholder", "NoOp"})


class GraphSites:
    """A graph model; `layers` are the rows of its comparison."""

    def __init__(self, artifacts: Artifacts, layers: Sequence[Layer]) -> None:
        self.weights: Mapping[str, Array] = artifacts.read_weights()
        self._nodes: dict[str, Node] = {node["name"]: node for node in artifacts.topology["node"]}
        self._row_of = {str(layer.tap["node"]): layer for layer in layers if layer.tap is not None}
        self._taken: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for node in self._nodes.values():
            for tensor in map(_tensor, node.get("input", ())):
                self._taken[tensor.rpartition(":")[0]].append((tensor, node["name"]))

    def rows_with(self, weight: str) -> tuple[str, ...]:
        """The compared layers that a weight enters."""
        return self._rows(weight)

    def sites(self) -> Iterator[Site]:
        """Where attributes, operations and edges could be others."""
        for node in self._nodes.values():
            rows = () if node["op"] in _NO_LAYER else self._rows(node["name"])
            for kind, variants in _variants(node) if rows else ():
                yield Site(kind, rows, one_of(kind, rows, variants))
            moved = list(self._moved(node)) if rows else []
            if moved:
                yield Site("edge moved", rows, one_of("edge moved", rows, moved))
        yield from self._paddings()

    def _rows(self, name: str) -> tuple[str, ...]:
        """The rows that are computed of a node's tensors, it among them, with no other row between."""
        own = [row.name for tensor, row in self._row_of.items() if tensor.rpartition(":")[0] == name]
        through = [taker for tensor, taker in self._taken[name] if tensor not in self._row_of]
        return tuple(dict.fromkeys((*own, *(row for taker in through for row in self._rows(taker)))))

    def _downstream(self, name: str) -> set[str]:
        seen, ahead = {name}, [name]
        while ahead:
            for _, taker in self._taken[ahead.pop()]:
                if taker not in seen:
                    seen.add(taker)
                    ahead.append(taker)
        return seen

    def _moved(self, node: Node) -> Iterator[tuple[str, Edit]]:
        """Each edge from one row's tensor, moved to the tensor of another row of its shape."""
        after = self._downstream(node["name"])
        for place, tensor in enumerate(map(_tensor, node.get("input", ()))):
            row = self._row_of.get(tensor)
            if row is None or row.dtype != "float32":
                continue
            for other, candidate in self._row_of.items():
                same = (candidate.shape, candidate.dtype) == (row.shape, row.dtype)
                if same and other != tensor and other.rpartition(":")[0] not in after:
                    description = f"input {place} of {node['name']!r} is {candidate.name!r}, not {row.name!r}"
                    yield description, _with_input(node["name"], place, other)

    def _paddings(self) -> Iterator[Site]:
        """Paddings of unequal sides, turned round."""
        for name, value in self.weights.items():
            rows = self._rows(name)
            if name.endswith("paddings") and (value[:, 0] != value[:, 1]).any() and rows:
                turned = Fault(
                    "padding turned round", repr(name), rows, weights={name: value[:, ::-1].copy()}
                )
                yield Site(turned.kind, rows, lambda _, fault=turned: fault)  # type: ignore[misc]


def _variants(node: Node) -> Iterator[tuple[str, list[tuple[str, Edit]]]]:
    """What could be wrong of a node by itself, by kind: in words, and as an edit of the topology."""
    name, op, attr = node["name"], node["op"], node.get("attr", {})
    for kind, others in (("activation", _ACTIVATIONS), ("operation", _OPERATIONS)):
        if op in others:
            yield kind, [(f"{name!r} is {other}, not {op}", _with_op(name, other)) for other in others[op]]
    fused = [
        base64.b64decode(text).decode() for text in attr.get("fused_ops", {}).get("list", {}).get("s", ())
    ]
    if fused and fused[-1] in _FUSED:
        others = [other for other in _ACTIVATIONS[fused[-1]] if other in _FUSED]
        yield (
            "activation",
            [
                (f"{name!r} ends in {other}, not {fused[-1]}", _with_fused(name, [*fused[:-1], other]))
                for other in others
            ],
        )
        yield "activation", [(f"{name!r} ends in no {fused[-1]}", _with_fused(name, fused[:-1]))]
    if op in _ORDERED and (op != "ConcatV2" or len(node["input"]) == 3):
        yield "inputs swapped", [(f"those of {name!r}", _with_swapped_inputs(name))]
    if op in ("MaxPool", "AvgPool"):
        other = "AvgPool" if op == "MaxPool" else "MaxPool"
        yield "operation", [(f"{name!r} is {other}, not {op}", _with_op(name, other))]
    if _keeps_size(attr) and _whole(attr, "dilations") == [1, 1, 1, 1]:
        yield "dilation", [(f"{name!r} is dilated by 2", _with_list(name, "dilations", [1, 2, 2, 1]))]


def _keeps_size(attr: Mapping[str, Any]) -> bool:
    """Whether a convolution with more than one tap gives maps of the size that it takes."""
    padding = base64.b64decode(attr.get("padding", {}).get("s", "")).decode()
    shapes = attr.get("_input_shapes", {}).get("list", {}).get("shape", ())
    kernel = [int(dim["size"]) for dim in shapes[1]["dim"]] if len(shapes) > 1 else []
    return padding == "SAME" and _whole(attr, "strides") == [1, 1, 1, 1] and kernel[:1] > [1]


def _whole(attr: Mapping[str, Any], name: str) -> list[int]:
    return [int(value) for value in attr.get(name, {}).get("list", {}).get("i", ())]


def _tensor(ref: str) -> str:
    """`node:0` for `node`; a control edge as it is."""
    return ref if ":" in ref else f"{ref}:0"


def _node(topology: Any, name: str) -> Any:
    return next(node for node in topology["node"] if node["name"] == name)


def _with_op(name: str, op: str) -> Edit:
    def edit(topology: Any) -> None:
        _node(topology, name)["op"] = op

    return edit


def _with_fused(name: str, fused: Sequence[str]) -> Edit:
    def edit(topology: Any) -> None:
        encoded = [base64.b64encode(text.encode()).decode() for text in fused]
        _node(topology, name)["attr"]["fused_ops"] = {"list": {"s": encoded}}

    return edit


def _with_list(name: str, attribute: str, values: Sequence[int]) -> Edit:
    def edit(topology: Any) -> None:
        _node(topology, name)["attr"][attribute] = {"list": {"i": [str(value) for value in values]}}

    return edit


def _with_input(name: str, place: int, tensor: str) -> Edit:
    def edit(topology: Any) -> None:
        _node(topology, name)["input"][place] = tensor.removesuffix(":0")

    return edit


def _with_swapped_inputs(name: str) -> Edit:
    def edit(topology: Any) -> None:
        inputs = _node(topology, name)["input"]
        inputs[:2] = inputs[1::-1]

    return edit
