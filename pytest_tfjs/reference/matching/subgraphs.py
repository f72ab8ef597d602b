"""Finds the parts of the source's graph that one node of the converted graph may compute."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_tfjs.compare.operations import same_operation
from pytest_tfjs.reference.graph import Graph, Node, Ref
from pytest_tfjs.reference.matching.rewrites import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REACH = 10
"""How many source operations deep one converted node may reach."""

Operand = frozenset[Ref]
"""The source tensors from which one input of a node is computed; empty for a constant."""


class Subgraphs:
    """Sets of source operations that compute one tensor from given tensors."""

    def __init__(self, source: Graph) -> None:
        self._source = source
        self._position = {name: i for i, name in enumerate(source.order)}
        self._free = source.constants | source.shapes_only

    @cached_property
    def left_out(self) -> Mapping[str, frozenset[str]]:
        """For each source node, the operations that return its output unchanged."""
        found: dict[str, set[str]] = defaultdict(set)
        for node in self._source.nodes.values():
            if node.same is not None:
                name, index = self._source.resolve(node.same)
                if not index:
                    found[name].add(same_operation(node.op))
        return {name: frozenset(ops) for name, ops in found.items()}

    def leading_from(self, entering: Operand) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Source nodes computed from `entering` and constants alone, each with the operations in between."""
        inside: dict[str, frozenset[str]] = {}
        edge = [name for used, _ in sorted(entering) for name in self._source.consumers.get(used, ())]
        for _ in range(_REACH):
            following: list[str] = []
            for name in dict.fromkeys(edge):
                subgraph = self._subgraph(name, entering, inside)
                if subgraph is not None and inside.get(name) != subgraph:
                    inside[name] = subgraph
                    following.extend(self._source.consumers.get(name, ()))
            edge = following
        for name, subgraph in inside.items():
            yield name, tuple(sorted(subgraph, key=self._position.__getitem__))

    def _subgraph(
        self, name: str, entering: Operand, inside: Mapping[str, frozenset[str]]
    ) -> frozenset[str] | None:
        subgraph = {name}
        for ref in self._source.inputs(self._source.nodes[name]):
            if ref in entering or ref[0] in self._free:
                continue
            if ref[0] not in inside:
                return None
            subgraph |= inside[ref[0]]
        return frozenset(subgraph)

    def last(self, tail: str, *, by_effect: bool = False) -> str:
        """The operation of `tail`; `by_effect`: the simpler operation that it amounts to, if any."""
        node = self._source.nodes[tail]
        return same_operation((node.acts_as if by_effect else None) or node.op)

    def ops(self, subgraph: tuple[str, ...], *, by_effect: bool = False) -> Counter[str]:
        """How often each operation is in a subgraph, as `counted`; `by_effect` as in `last`."""
        ops: Counter[str] = Counter()
        for name in subgraph:
            node = self._source.nodes[name]
            constant = sum(used in self._free for used, _ in self._source.inputs(node))
            ops += counted(self.last(name, by_effect=by_effect), len(node.inputs) - constant, constant)
        return ops

    def operands(self, twin: Node, entering: Operand) -> list[Operand]:
        """The tensors behind each input of `twin`; a concatenated input is replaced by its parts."""
        operands: list[Operand] = []
        for ref in self._source.inputs(twin):
            before = self._source.nodes[ref[0]]
            if twin.op == before.op == "ConcatV2" and ref not in entering and ref[0] not in self._free:
                operands += self.operands(before, entering)[:-1]  # without its axis
            else:
                operands.append(self._behind(ref, entering))
        return operands

    def _behind(self, ref: Ref, entering: Operand) -> Operand:
        """The tensors of `entering` from which the source tensor `ref` is computed."""
        if ref in entering:
            return frozenset({ref})
        if ref[0] in self._free:
            return frozenset()
        before = self._source.inputs(self._source.nodes[ref[0]])
        return frozenset().union(*(self._behind(earlier, entering) for earlier in before))

    def constant_names(self, subgraph: tuple[str, ...]) -> set[str]:
        """The names of the operations in a subgraph, and of their inputs."""
        names = set(subgraph)
        for name in subgraph:
            names.update(i for i, _ in self._source.nodes[name].inputs)
            names.update(i for i, _ in self._source.inputs(self._source.nodes[name]))
        return names
