"""Plans how to compute a node of a graph model alone, from the nearest layers before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.operations import PASS_THROUGH, is_random
from pytest_tfjs.models.alone.plan import CannotRunAloneError, Fed, GraphPlan, RandomNumbersError
from pytest_tfjs.models.topology import functions_called, graph_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.topology import GraphNode


@dataclass
class _Walk:
    """What a walk back from a node met. `read`: the tensors of each node that are taken."""

    fed: dict[str, Fed] = field(default_factory=dict)
    nodes: dict[str, None] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)
    resources: set[str] = field(default_factory=set)
    read: dict[str, set[str]] = field(default_factory=dict)

    def ambiguous(self) -> set[str]:
        """The nodes that are fed one output while another is taken.

        TF.js's executor takes one fed tensor for all outputs of its node, so such a node is computed itself.
        """
        fed = (node_of(tensor) for tensor, origin in self.fed.items() if origin.row is not None)
        return {node for node in fed if len(self.read[node]) > 1}


class GraphPlanner:
    """Plans of the nodes of one graph model. `known`: the taps of the layers whose reference can be fed."""

    def __init__(self, artifacts: Artifacts, known: Mapping[str, Mapping[str, Any]]) -> None:
        self._nodes = {node.name: node for node in artifacts.nodes()}
        self._library = graph_functions(artifacts.topology)
        self._weights = frozenset(artifacts.weight_names())
        self._inputs = {node_of(str(spec.tensor)): spec.name for spec in artifacts.inputs}
        self._resources = frozenset(map(node_of, artifacts.resources))
        self._exact: dict[str, str] = {}
        for row, address in known.items():
            tensor = tensor_name(str(address["node"]))
            if node_of(tensor) in self._nodes:
                self._exact.setdefault(tensor, row)
        self._passed_on: dict[str, str] = {}
        for tensor, row in self._exact.items():
            for former in self._formers(tensor):
                self._passed_on.setdefault(former, row)
        self._random = cache(self._find_random)

    def plan(self, tap: Mapping[str, Any]) -> GraphPlan:
        """The plan for the tensor at `tap`. Raises CannotRunAloneError, with the reason."""
        target = tensor_name(str(tap["node"]))
        name = node_of(target)
        if name in self._weights:
            raise CannotRunAloneError("the layer is a weight, which is not computed")
        row_of = self._rows_before(target)
        computed = {name}
        while True:
            walk = self._walk(name, row_of, computed)
            ambiguous = walk.ambiguous()
            if not ambiguous:
                return GraphPlan(
                    target, walk.fed, tuple(walk.nodes), frozenset(walk.weights), frozenset(walk.resources)
                )
            computed |= ambiguous

    def _rows_before(self, target: str) -> Callable[[str], str | None]:
        """The layer whose reference a tensor can be fed, for computing `target`."""
        root = self._root(target)

        def row_of(tensor: str) -> str | None:
            row = self._exact.get(tensor)
            if row is not None:
                return row
            # A tensor that the target passes on unchanged is not fed from the target's own reference.
            return None if self._root(tensor) == root else self._passed_on.get(tensor)

        return row_of

    def _walk(self, target: str, row_of: Callable[[str], str | None], computed: set[str]) -> _Walk:
        """Walks back from a node to what is fed; the nodes of `computed` are computed and not fed."""
        walk = _Walk()
        # The first input of a node is visited first, so that `fed` is in the order of the artifacts.
        ahead = [f"{target}:0"]
        while ahead:
            tensor = ahead.pop()
            name = node_of(tensor)
            if name in self._weights:
                walk.weights.add(name)
                continue
            if name in self._resources:
                walk.resources.add(name)
                continue
            walk.read.setdefault(name, set()).add(tensor)
            row = None if name in computed else row_of(tensor)
            if row is not None:
                walk.fed.setdefault(tensor, Fed(row=row))
            elif name in self._inputs and name != target:
                walk.fed.setdefault(f"{name}:0", Fed(source_input=self._inputs[name]))
            elif name not in walk.nodes:
                node = self._computable(name)
                walk.nodes[name] = None
                ahead += reversed([tensor_name(ref) for ref in node.inputs])
        return walk

    def _computable(self, name: str) -> GraphNode:
        node = self._node(name)
        if name in self._inputs:
            raise CannotRunAloneError(f"the layer is the model's input {self._inputs[name]!r}")
        if node.op.startswith("Placeholder") and not node.inputs:
            raise CannotRunAloneError(f"the layer depends on {name!r}, which is not in the feed")
        random = self._random(name)
        if random is not None:
            raise RandomNumbersError(
                f"the node {random[0]!r} ({random[1]}) draws random numbers, which are not the same in TF.js"
                " and in TensorFlow, even if both use the same seed"
            )
        return node

    def _find_random(self, name: str) -> tuple[str, str] | None:
        """Name and operation of a node that gives random numbers: this one, or one in functions it calls."""
        node = self._nodes[name]
        if is_random(node.op):
            return name, node.op
        called = list(functions_called(node.attr))
        for function in called:
            for inner in self._library.get(function, {}).get("nodeDef", ()):
                if is_random(inner["op"]):
                    return inner["name"], inner["op"]
                more = functions_called(inner.get("attr", {}))
                called += [other for other in more if other not in called]
        return None

    def _root(self, tensor: str) -> str:
        formers = self._formers(tensor)
        return formers[-1] if formers else tensor

    def _formers(self, tensor: str) -> list[str]:
        """The tensors that `tensor` is passed on from unchanged, the nearest first."""
        found: list[str] = []
        node = self._nodes.get(node_of(tensor))
        while node is not None and node.op in PASS_THROUGH and node.inputs:
            former = tensor_name(node.inputs[0])
            if former in found:
                break
            found.append(former)
            node = self._nodes.get(node_of(former))
        return found

    def _node(self, name: str) -> GraphNode:
        node = self._nodes.get(name)
        if node is None:
            raise CannotRunAloneError(f"the artifacts have no node {name!r}")
        return node


def tensor_name(reference: str) -> str:
    """`node:index` of a reference to a tensor: `node`, `node:index`, `node:output:index`, `^node`.

    TF.js computes control inputs (`^node`) like any other.
    """
    node, *rest = reference.removeprefix("^").split(":")
    return f"{node}:{rest[-1] if rest else 0}"


def node_of(tensor: str) -> str:
    """The node's name in a tensor's."""
    return tensor.partition(":")[0]
