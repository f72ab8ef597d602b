"""What tells, beside structure, which source operation a converted node has to do with: names, or weights.

Names do as long as both graphs are of one trace. In artifacts of another trace the scope `conv_1` may be that
of the layer `conv`; there a weight that kept its value tells whose it is.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from pytest_tfjs.compare.operations import PASS_THROUGH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.graph import Graph, Node

_OPTIMISER = "ArithmeticOptimizer/"
"""The scope in which TensorFlow's optimiser puts the nodes that it makes, as `Stage_name`."""


class Evidence(Protocol):
    """Which source operations and converted nodes belong together.

    `claims`: source operations that a converted node stands for, alone or with others, each with that node.
    """

    claims: Mapping[str, str]

    def owner(self, node: Node) -> str | None:
        """A source operation that is among those `node` stands for; None where nothing tells one."""


class Names:
    """Nodes stand for operations whose names they have, or were made of."""

    def __init__(self, source: Graph, converted: Graph) -> None:
        self._source = source
        self.claims: Mapping[str, str] = {
            name: name
            for name, node in converted.nodes.items()
            if name in source.nodes and node.op != "Const" and node.op not in PASS_THROUGH
        }

    def owner(self, node: Node) -> str | None:
        """The source operation that `node` has its name from: `a` for `a`, `a/Mul`, and an optimised `a`."""
        scope, optimised, stage = node.name.partition(_OPTIMISER)
        words = stage.split("_") if optimised else []
        optimised_names = (scope + "_".join(words[first:]) for first in range(1, len(words)))
        names = (node.name, *optimised_names, node.name.rpartition("/")[0])
        return next((name for name in names if self._is_operation(name)), None)

    def _is_operation(self, name: str) -> bool:
        node = self._source.nodes.get(name)
        return node is not None and node.op != "Const" and not node.is_alias


class Weights:
    """Nodes stand for the operations that take the same weights, where but one operation takes them."""

    def __init__(self, source: Graph, converted: Graph) -> None:
        ours, theirs = _takers(converted), _takers(source)
        pairs = [
            (theirs[value][0], ours[value][0])
            for value in ours
            if len(ours[value]) == len(theirs.get(value, ())) == 1
        ]
        self.claims: Mapping[str, str] = dict(pairs)
        self._owners = {node: operation for operation, node in reversed(pairs)}

    def owner(self, node: Node) -> str | None:
        """The source operation that takes the first weight of `node`."""
        return self._owners.get(node.name)


def is_renamed(source: Graph, converted: Graph) -> bool:
    """Whether a weight of `converted` has the name of one source constant and the value of another."""
    # What is computed from constants may have kept the name of an operation and lost its sign.
    constants = {name: node.value for name, node in source.nodes.items() if node.op == "Const"}
    values = set(constants.values()) - {None}
    return any(
        node.value in values and constants.get(name) not in (None, node.value)
        for name, node in converted.nodes.items()
    )


def _takers(graph: Graph) -> Mapping[str, list[str]]:
    """For the value of each weight the nodes that compute with it what is no weight."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, node in graph.nodes.items():
        if node.value is not None:
            takers = graph.consumers.get(name, ())
            found[node.value].extend(taker for taker in takers if taker not in graph.constants)
    return found
