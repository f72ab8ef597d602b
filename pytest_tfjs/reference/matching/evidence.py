"""Matches converted nodes with source operations by names, or by weights with equal values.

Names are reliable while both graphs come from one trace. In artifacts of another trace the scope `conv_1` may
belong to the layer `conv`; there equal weights identify the operation.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from pytest_tfjs.compare.operations import PASS_THROUGH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.graph import Graph, Node

_OPTIMISER = "ArithmeticOptimizer/"
"""TensorFlow's optimiser puts the nodes that it makes into this scope, as `Stage_name`."""


class Evidence(Protocol):
    """Which source operations and converted nodes belong together.

    `claims`: the converted node of a source operation, which it computes alone or together with others.
    """

    claims: Mapping[str, str]

    def owner(self, node: Node) -> str | None:
        """A source operation that `node` computes, possibly among others; None if unknown."""


class Names:
    """Matches nodes with the operations whose names they have, or whose names are in theirs."""

    def __init__(self, source: Graph, converted: Graph) -> None:
        self._source = source
        self.claims: Mapping[str, str] = {
            name: name
            for name, node in converted.nodes.items()
            if name in source.nodes and node.op != "Const" and node.op not in PASS_THROUGH
        }

    def owner(self, node: Node) -> str | None:
        """The source operation in the name of `node`: `a` for `a`, `a/Mul`, and an optimised `a`."""
        scope, optimised, stage = node.name.partition(_OPTIMISER)
        words = stage.split("_") if optimised else []
        optimised_names = (scope + "_".join(words[first:]) for first in range(1, len(words)))
        names = (node.name, *optimised_names, node.name.rpartition("/")[0])
        return next((name for name in names if self._is_operation(name)), None)

    def _is_operation(self, name: str) -> bool:
        node = self._source.nodes.get(name)
        return node is not None and node.op != "Const" and not node.is_alias


class Weights:
    """Matches nodes with operations that use the same weights, if only one operation uses them."""

    def __init__(self, source: Graph, converted: Graph) -> None:
        ours, theirs = _users(converted), _users(source)
        pairs = [
            (theirs[value][0], ours[value][0])
            for value in ours
            if len(ours[value]) == len(theirs.get(value, ())) == 1
        ]
        self.claims: Mapping[str, str] = dict(pairs)
        self._owners = {node: operation for operation, node in reversed(pairs)}

    def owner(self, node: Node) -> str | None:
        """The source operation that uses the first weight of `node`."""
        return self._owners.get(node.name)


def is_renamed(source: Graph, converted: Graph) -> bool:
    """Whether a weight of `converted` has the name of one source constant and the value of another."""
    # A folded constant may have kept the name of an operation although its value changed.
    constants = {name: node.value for name, node in source.nodes.items() if node.op == "Const"}
    values = set(constants.values()) - {None}
    return any(
        node.value in values and constants.get(name) not in (None, node.value)
        for name, node in converted.nodes.items()
    )


def _users(graph: Graph) -> Mapping[str, list[str]]:
    """For the value of each weight, the nodes that use it to compute something other than a constant."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, node in graph.nodes.items():
        if node.value is not None:
            users = graph.consumers.get(name, ())
            found[node.value].extend(user for user in users if user not in graph.constants)
    return found
