"""Plans the comparison of a graph model: one row for each operation of the source's graph."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING

from pytest_tfjs.compare.layers import Coverage, Layer, named_output
from pytest_tfjs.compare.operations import (
    FOLDING_CONTRACTIONS,
    PASS_THROUGH,
    PLACEHOLDERS,
    WITHOUT_VALUE,
    is_random,
    same_operation,
)
from pytest_tfjs.reference.comparison_plan import Plan
from pytest_tfjs.reference.matching.graph_matching import match_graphs
from pytest_tfjs.reference.matching.groups import Grouping, by_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_tfjs.reference.graph import Graph, Node, Ref
    from pytest_tfjs.reference.matching.matches import Match, Matching

_HANDLES = {"variant": "tensor list", "resource": "resource"}
"""Dtypes of outputs that are not tensors, and their names for users."""


def plan_graph(
    source: Graph,
    converted: Graph,
    grouping: Grouping = by_scope,
    *,
    names: Sequence[tuple[str, ...]] = (),
) -> Plan:
    """A plan with every operation of `source` on which its outputs depend.

    The nodes of `source` have the dtypes of their outputs; both graphs' `outputs` are in signature order, as
    are the `names` of each in the signatures. `grouping` finds the layer of each operation of `source`.
    """
    source = source.distinguishing(converted.nodes)
    return _Planner(source, converted, match_graphs(source, converted), grouping).plan(names)


class _Planner:
    def __init__(self, source: Graph, converted: Graph, matching: Matching, grouping: Grouping) -> None:
        self.source = source
        self.converted = converted
        self.matching = matching
        self.grouping = grouping
        self.prefix = _common_scope(
            name
            for name in source.live
            if source.nodes[name].op not in PASS_THROUGH and source.nodes[name].inputs
        )
        self.owner: dict[str, Match] = {}
        for match in matching.matches.values():
            for name in match.subgraph:
                self.owner.setdefault(name, match)
        self.owner.update({match.tail: match for match in matching.matches.values()})
        self.layers: dict[str, Layer] = {}
        self.tensors: dict[str, str] = {}

    @cached_property
    def random(self) -> frozenset[str]:
        """The source's random operations, and all nodes that depend on them."""
        found: set[str] = set()
        for name in self.source.order:
            node = self.source.nodes[name]
            if is_random(node.op) or any(i in found for i, _ in node.inputs):
                found.add(name)
        return frozenset(found)

    def plan(self, names: Sequence[tuple[str, ...]]) -> Plan:
        for name in self.source.order:
            node = self.source.nodes[name]
            if name in self.source.live and node.op not in PLACEHOLDERS and not self._is_plumbing(node):
                self._add(node)
        for name, reason in self.matching.unmatched.items():
            if self.converted.branch_depth[name]:
                continue
            self._put(Layer(name, self.converted.nodes[name].op, (), None, None, "unmapped", reason=reason))
        pairs = zip(self.source.outputs, self.converted.outputs, strict=True)
        for pair, known_as in zip_longest(pairs, names, fillvalue=()):
            row = self._mark_output(*pair)
            self.layers[row] = named_output(self.layers[row], known_as)
        return Plan(tuple(self.layers.values()), self.tensors)

    def _put(self, layer: Layer, node: str | None = None) -> None:
        """Adds or replaces a row; `node` is the source operation that gave it its name."""
        group = None if node is None else self.grouping(node, self.short(node))
        if group is not None:
            layer = replace(layer, group=group.name, group_op=group.op)
        self.layers[layer.name] = layer

    def _is_plumbing(self, node: Node) -> bool:
        """Whether a node is a weight, or an identity added by freezing or inlining."""
        if node.op == "Const":
            return True
        inlined = node.name.startswith("Func/") or node.name in {name for name, _ in self.source.outputs}
        return node.op in PASS_THROUGH and (inlined or node.name in self.source.constants)

    def _add(self, node: Node) -> None:
        match = self.owner.get(node.name)
        if match is None or self.source.branch_depth[node.name]:
            coverage, reason = self._why_not(node)
            row = Layer(self.short(node.name), node.op, (), None, None, coverage, reason=reason)
            self._put(row, node.name)
            return
        if match.tail == node.name:
            self._add_compared(node, match)
        if node.name != self._core(match):
            into = self._name(match)
            tail = self.short(match.tail)
            reason = f"the browser computes it as part of {into!r}"
            reason += "" if node.name == match.tail else f", which is compared after {tail!r}"
            self._put(
                Layer(self.short(node.name), node.op, (), None, None, "fused", into=into, reason=reason),
                node.name,
            )

    def _add_compared(self, node: Node, match: Match) -> None:
        """Adds a row for each used output, or for the first one; handles cannot be read."""
        outputs = range(max(len(node.dtypes), 1))
        used = [index for index in outputs if self._is_used((node.name, index))]
        if not used or _handle(node, 0) is None:
            used = [0, *(index for index in used if index)]
        op = "+".join(self.source.nodes[part].op for part in match.subgraph)
        for index in used:
            name = self._name(match) + (f":{index}" if index else "")
            handle = _handle(node, index)
            if handle is not None:
                reason = f"{handle}: holds no tensor that could be read"
                self._put(
                    Layer(name, node.op, (), None, None, "eliminated", reason=reason), self._core(match)
                )
                continue
            self.tensors[name] = f"{node.name}:{index}"
            self._put(
                Layer(
                    name=name,
                    op=op,
                    inputs=self._inputs(match),
                    shape=None,
                    dtype=None,
                    coverage="compared",
                    tap={"node": f"{match.node}:{index}"},
                    members=tuple(
                        self.short(part) for part in match.subgraph if self.short(part) != self._name(match)
                    ),
                ),
                self._core(match),
            )

    def _is_used(self, ref: Ref) -> bool:
        if ref in map(self.source.resolve, self.source.outputs):
            return True
        users = (self.source.nodes[name] for name in self.source.consumers.get(ref[0], ()))
        return any(ref in self.source.inputs(node) for node in users if node.name in self.source.live)

    def _core(self, match: Match) -> str:
        """The operation that gives a row its name: the one with the weights, if any."""
        heavy = (name for name in match.subgraph if self.source.nodes[name].op in FOLDING_CONTRACTIONS)
        return next(heavy, match.tail)

    def _name(self, match: Match) -> str:
        return self.short(self._core(match))

    def short(self, name: str) -> str:
        """The node's name without the scopes that all nodes share."""
        return name.removeprefix(self.prefix)

    def _inputs(self, match: Match) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in match.subgraph:
            for ref in self._entering(self.source.nodes[name]):
                if ref[0] not in match.subgraph:
                    found.update(dict.fromkeys(self._rows_behind(ref)))
        return tuple(found)

    def _entering(self, node: Node) -> tuple[Ref, ...]:
        return self.source.loop_inputs(node) if node.op == "Exit" else self.source.inputs(node)

    def _rows_behind(self, start: Ref) -> list[str]:
        """The nearest compared layers on which the tensor `start` depends."""
        rows: list[str] = []
        seen: set[Ref] = set()
        stack = [start]
        while stack:
            ref = stack.pop()
            if ref in seen:
                continue
            seen.add(ref)
            match = self.owner.get(ref[0])
            row = None if match is None else self._name(match) + (f":{ref[1]}" if ref[1] else "")
            if row is not None and row in self.tensors:
                rows.append(row)
            else:
                stack.extend(reversed(self._entering(self.source.nodes[ref[0]])))
        return rows

    def _inside(self, node: Node) -> str | None:
        if self.source.loop_depth[node.name]:
            return "inside a loop body: it runs many times; the loop's results are compared"
        if self.source.branch_depth[node.name]:
            return "inside a branch: it may not run at all; the branch's results are compared"
        return None

    def _why_not(self, node: Node) -> tuple[Coverage, str]:
        inside = self._inside(node)
        if inside is not None:
            return "eliminated", inside
        if node.is_alias or node.op == "IdentityN":
            return "eliminated", "identity"
        if node.name not in self.source.needed:
            return "eliminated", "undone: the next operation reverses it"
        alone = self._without_feeds(node)
        if alone is not None:
            return "eliminated", alone
        twin = self.converted.nodes.get(node.name)
        if twin is not None and same_operation(twin.op) != same_operation(node.op) and twin.op != "Const":
            return "unmapped", f"the artifacts' node of this name is a {twin.op}, not a {node.op}"
        return "unmapped", "no matching node was found in the artifacts"

    def _without_feeds(self, node: Node) -> str | None:
        """Why a node is not compared, if its outputs do not depend on the feeds' values; else None."""
        is_constant = node.name in self.source.constants
        if not is_constant and node.name not in self.source.shapes_only:
            return None
        if node.name in self.random:
            return "random: the browser draws its own random numbers, which cannot be compared"
        if not is_constant:
            return "shape: shape arithmetic, folded during conversion"
        twin = self.converted.nodes.get(node.name)
        if twin is None or twin.op == "Const" or twin.op in PASS_THROUGH:
            return "constant: computed from weights during conversion"
        return "constant: computed from weights alone; an error in it shows in the layers that use it"

    def _mark_output(self, source_output: Ref, converted_output: Ref) -> str:
        """Marks the layer that computes an output; unmaps it if the signature contradicts the match.

        Gives the name of the row with the output.
        """
        tensor = self.source.resolve(source_output)
        node = self.converted.resolve(converted_output)
        match = self.matching.matches.get(node[0])
        row = None if match is None else self._name(match) + (f":{node[1]}" if node[1] else "")
        if match is not None and row in self.tensors and (match.tail, node[1]) == tensor:
            self._put(replace(self.layers[row], output=True))
            return row
        name = converted_output[0]
        tap = {"node": f"{converted_output[0]}:{converted_output[1]}"}
        self.tensors[name] = f"{source_output[0]}:{source_output[1]}"
        inputs = tuple(self._rows_behind(tensor))
        self._put(Layer(name, "Identity", inputs, None, None, "compared", tap=tap, output=True))
        if match is not None and row in self.layers and (match.tail, node[1]) != tensor:
            computed = self.short(tensor[0])
            reason = (
                f"the artifacts compute the output {name!r} in this layer,"
                f" but the source computes it in {computed!r}"
            )
            self.tensors.pop(row, None)
            self._put(replace(self.layers[row], coverage="unmapped", reason=reason, tap=None))
        return name


def _handle(node: Node, index: int) -> str | None:
    """What an output of `node` is, if it is not a tensor and cannot be read; else None."""
    if node.op in WITHOUT_VALUE:
        return "control flow"
    return _HANDLES.get(node.dtypes[index]) if index < len(node.dtypes) else None


def _common_scope(names: Iterable[str]) -> str:
    """The scopes (`a/b/`) with which every scoped name begins; empty if there are none."""
    scopes = [name.split("/")[:-1] for name in names if "/" in name]
    shared: list[str] = []
    for level in zip(*scopes, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{scope}/" for scope in shared)
