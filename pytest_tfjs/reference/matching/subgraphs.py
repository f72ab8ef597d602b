"""The parts of the source's graph that one node of the converted graph may stand for."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_tfjs.compare.operations import same_operation
from pytest_tfjs.reference.graph import Graph, Node, Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REACH = 10
"""How many source operations one converted node may stand for, in depth."""

Operand = frozenset[Ref]
"""The source tensors that one input of a node is computed from; none for a constant."""


class Regions:
    """Operations of the `source` that lead from given tensors to one, and what they compute together."""

    def __init__(self, source: Graph) -> None:
        self._source = source
        self._position = {name: i for i, name in enumerate(source.order)}
        self._free = source.constants | source.shapes_only

    @cached_property
    def left_out(self) -> Mapping[str, frozenset[str]]:
        """For each source node the operations that give back what it gives."""
        found: dict[str, set[str]] = defaultdict(set)
        for node in self._source.nodes.values():
            if node.same is not None:
                name, index = self._source.resolve(node.same)
                if not index:
                    found[name].add(same_operation(node.op))
        return {name: frozenset(ops) for name, ops in found.items()}

    def leading_from(self, entering: Operand) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Source nodes computed from `entering` and constants alone, each with all operations in between."""
        inside: dict[str, frozenset[str]] = {}
        edge = [name for taken, _ in sorted(entering) for name in self._source.consumers.get(taken, ())]
        for _ in range(_REACH):
            following: list[str] = []
            for name in dict.fromkeys(edge):
                region = self._region(name, entering, inside)
                if region is not None and inside.get(name) != region:
                    inside[name] = region
                    following.extend(self._source.consumers.get(name, ()))
            edge = following
        for name, region in inside.items():
            yield name, tuple(sorted(region, key=self._position.__getitem__))

    def _region(
        self, name: str, entering: Operand, inside: Mapping[str, frozenset[str]]
    ) -> frozenset[str] | None:
        region = {name}
        for ref in self._source.inputs(self._source.nodes[name]):
            if ref in entering or ref[0] in self._free:
                continue
            if ref[0] not in inside:
                return None
            region |= inside[ref[0]]
        return frozenset(region)

    def last(self, tail: str, *, by_effect: bool = False) -> str:
        """The operation that gives the result; `by_effect` as the simpler one that it is, where it is one."""
        node = self._source.nodes[tail]
        return same_operation((node.acts_as if by_effect else None) or node.op)

    def ops(self, region: tuple[str, ...], *, by_effect: bool = False) -> Counter[str]:
        """How often each operation is in a region; `by_effect` as in `last`."""
        ops: Counter[str] = Counter()
        for name in region:
            node = self._source.nodes[name]
            ops[self.last(name, by_effect=by_effect)] += len(node.inputs) - 1 if node.op == "AddN" else 1
        return ops

    def taken(self, twin: Node, entering: Operand) -> list[Operand]:
        """What each input of `twin` is computed from; a concatenation that it takes has its inputs there."""
        taken: list[Operand] = []
        for ref in self._source.inputs(twin):
            before = self._source.nodes[ref[0]]
            if twin.op == before.op == "ConcatV2" and ref not in entering and ref[0] not in self._free:
                taken += self.taken(before, entering)[:-1]  # without its axis
            else:
                taken.append(self._behind(ref, entering))
        return taken

    def _behind(self, ref: Ref, entering: Operand) -> Operand:
        """Which of the source tensors `entering` the source tensor `ref` is computed from."""
        if ref in entering:
            return frozenset({ref})
        if ref[0] in self._free:
            return frozenset()
        before = self._source.inputs(self._source.nodes[ref[0]])
        return frozenset().union(*(self._behind(earlier, entering) for earlier in before))

    def constant_names(self, region: tuple[str, ...]) -> set[str]:
        """The names of the operations in a region, and of what they take."""
        names = set(region)
        for name in region:
            names.update(i for i, _ in self._source.nodes[name].inputs)
            names.update(i for i, _ in self._source.inputs(self._source.nodes[name]))
        return names
