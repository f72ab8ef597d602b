"""Matches each node of the converted graph with the source tensor that it computes.

The converter folds, fuses and renames: a fused node may have the name of its first or its last operation, and
a name may stay while its meaning changes. So nodes are not matched by name. The matching goes through both
graphs from the inputs on. Once the source tensors that enter a converted node are known, its output can only
be a source tensor computed from these tensors and constants, by operations that the node's own operation and
its `fused_ops` explain. Names only decide between such candidates: a node with the name of a source operation
computes that operation, alone or with others. A node with unmatched inputs is matched if its name, its
operation and the names of its inputs are unchanged. Artifacts of another trace may have the scopes of other
layers; where weights show that, or names lead to no match, the graphs are matched without names.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_tfjs.compare.operations import (
    ADDITIVE,
    BATCH_NORM,
    COMMUTATIVE,
    FOLDING_CONTRACTIONS,
    MULTIPLICATIVE,
    PASS_THROUGH,
    PLACEHOLDERS,
    same_operation,
)
from pytest_tfjs.reference.matching.backtracking import Backtracking
from pytest_tfjs.reference.matching.evidence import Names, Weights, is_renamed
from pytest_tfjs.reference.matching.matches import Match, Matching, Part
from pytest_tfjs.reference.matching.rewrites import (
    ABSORBED,
    NodeOperations,
    counted,
)
from pytest_tfjs.reference.matching.subgraphs import Operand, Subgraphs

if TYPE_CHECKING:
    from pytest_tfjs.reference.graph import Graph, Node, Ref
    from pytest_tfjs.reference.matching.evidence import Evidence

_MAX_BACKTRACK_DISTANCE = 6
"""How many nodes before an unmatched one a decision may be the reason."""

FOLDED_KERNEL, FOLDED_OFFSET = "_weights", "_bn_offset"
"""The suffixes of constants made by folding a batch-norm (`fold_batch_norms.py` of the converter)."""


def match_graphs(source: Graph, converted: Graph) -> Matching:
    """Matches the nodes of `converted` with those of `source`. Nodes inside loop bodies are left out."""
    weights, names = Weights(source, converted), Names(source, converted)
    if is_renamed(source, converted) or not names.claims:
        return _Matcher(source, converted, weights, use_names=False).run()
    found = _Matcher(source, converted, names).run()
    if not found.unmatched and not _has_misnamed_parts(source, converted, found):
        return found
    nameless = _Matcher(source, converted, weights, use_names=False).run()
    explains_more = not nameless.unmatched and len(nameless.matches) > len(found.matches)
    return nameless if explains_more and _has_same_outputs(source, converted, nameless) else found


def _has_same_outputs(source: Graph, converted: Graph, found: Matching) -> bool:
    """Whether each node that computes an output of the artifacts matches the source's output there."""
    outputs = zip(map(source.resolve, source.outputs), map(converted.resolve, converted.outputs), strict=True)
    return all(
        (found.stands_for.get(name), index) == output
        for output, (name, index) in outputs
        if name not in converted.constants
    )


def _has_misnamed_parts(source: Graph, converted: Graph, found: Matching) -> bool:
    """Whether a node with the name of a source operation has a match only together with a later node."""
    return any(
        name in source.nodes and name not in found.stands_for and node.op not in PASS_THROUGH
        for name, node in converted.nodes.items()
        if not converted.loop_depth[name]
    )


_State = tuple[dict[str, "str | None"], dict[str, Match], dict[str, str], dict[str, Part]]


class _Matcher:
    def __init__(
        self, source: Graph, converted: Graph, evidence: Evidence, *, use_names: bool = True
    ) -> None:
        self.source = source
        self.converted = converted
        self.evidence = evidence
        self.use_names = use_names
        self.stands_for: dict[str, str | None] = {}
        self.matches: dict[str, Match] = {}
        self.unmatched: dict[str, str] = {}
        self.parts: dict[str, Part] = {}
        self.at = 0
        self.backtracking: Backtracking[_State] = Backtracking()
        self.subgraphs = Subgraphs(source)
        self.free = source.constants | source.shapes_only
        self.converted_free = converted.constants | converted.shapes_only

    def run(self) -> Matching:
        order = self.converted.order
        while self.at < len(order):
            node = self.converted.nodes[order[self.at]]
            self._match(node)
            self.at += 1
            # With names, there are no alternatives to try.
            if not self.use_names and self._is_dead_end(node):
                restart = self.backtracking.after_dead_end(node.name, self._nodes_before(node))
                if restart is not None:
                    self.at = restart.position
                    self._restore(restart.state)
        return Matching(self.matches, self.unmatched, self.stands_for)

    def _match(self, node: Node) -> None:
        if node.name in self.converted.constants:
            self.stands_for[node.name] = None
        elif node.op in PLACEHOLDERS:
            self._record_source(node)
        elif (
            node.op not in PASS_THROUGH
            and node.op != "IdentityN"
            and not self.converted.loop_depth[node.name]
        ):
            self._record(node)

    def _restore(self, state: _State) -> None:
        stands_for, matches, unmatched, parts = state
        self.stands_for, self.matches = dict(stands_for), dict(matches)
        self.unmatched, self.parts = dict(unmatched), dict(parts)

    def _state(self) -> _State:
        return dict(self.stands_for), dict(self.matches), dict(self.unmatched), dict(self.parts)

    def _is_dead_end(self, node: Node) -> bool:
        """Whether a node has no match, and cannot get one together with a later node."""
        if node.name not in self.unmatched:
            return False
        before = [name for name, _ in self.converted.inputs(node)]
        return any(name in self.unmatched for name in before) or not self.converted.consumers.get(node.name)

    def _nodes_before(self, node: Node) -> set[str]:
        """The nodes shortly before one, whose matches decide how it can be matched."""
        found: set[str] = set()
        edge = [node]
        for _ in range(_MAX_BACKTRACK_DISTANCE):
            names = {name for one in edge for name, _ in self.converted.inputs(one)} - found
            found |= names
            edge = [self.converted.nodes[name] for name in names]
        return found

    def _record_source(self, node: Node) -> None:
        if node.name in self.source.nodes:
            self.stands_for[node.name] = node.name
        else:
            self.unmatched[node.name] = "the source has no input of this name"

    def _record(self, node: Node) -> None:
        operands = self._operands(node)
        found = self._best(node, operands)
        if isinstance(found, Match):
            for part in self._parts_of(node):
                for name in part.names:
                    self.unmatched.pop(name, None)
        elif found is None:
            found = self._by_name(node, operands)
        if isinstance(found, Match):
            self.matches[node.name] = found
            self.stands_for[node.name] = found.tail
        elif (unchanged := self._unchanged(node)) is not None:
            self.stands_for[node.name] = unchanged
        elif node.name in self.converted.shapes_only:
            # An error in it would show in the activations whose shapes it computes.
            self.stands_for[node.name] = None
        else:
            self.unmatched[node.name] = found if found is not None else self._why_none(node)
            if None not in operands:
                self.parts[node.name] = self._part(node, operands)

    def _unchanged(self, node: Node) -> str | None:
        """The source node whose output `node` returns unchanged, if the source has such an operation too."""
        if node.neutral is None:
            return None
        name, index = self.converted.resolve(node.neutral)
        twin = self.stands_for.get(name)
        if index or twin is None:
            return None
        # The converter may write out a batch-norm's shift by zero.
        shifts = ADDITIVE if self.source.nodes[twin].acts_as is not None else frozenset()
        left_out = self.subgraphs.left_out.get(twin, frozenset()) | shifts
        return twin if same_operation(node.op) in left_out else None

    def _parts_of(self, node: Node) -> list[Part]:
        return [
            self.parts[name]
            for name, index in self.converted.inputs(node)
            if name in self.parts and not index
        ]

    def _part(self, node: Node, operands: list[Operand | None]) -> Part:
        before = self._parts_of(node)
        return Part(
            names=frozenset({node.name}).union(*(part.names for part in before)),
            ops=self._ops(node),
            entering=frozenset().union(*(operand for operand in operands if operand is not None)),
            foldable=self._foldable(node),
        )

    def _why_none(self, node: Node) -> str:
        unknown = [i for i, _ in self.converted.inputs(node) if i in self.unmatched]
        if unknown:
            return f"its input {unknown[0]!r} has no counterpart in the source's graph"
        return f"the source's graph has no {node.op} with the same inputs"

    # The operations and operands of a converted node.

    def _operands(self, node: Node) -> list[Operand | None]:
        """For each input of `node`, the source tensors behind it; None for an unmatched input."""
        return [self._operand(ref) for ref in self._entering(self.converted, node)]

    def _operand(self, ref: Ref) -> Operand | None:
        name, index = ref
        if name in self.parts and index == 0:
            return self.parts[name].entering
        if name not in self.stands_for:
            return None
        twin = self.stands_for[name]
        return frozenset() if twin is None else frozenset({(twin, index)})

    def _entering(self, graph: Graph, node: Node) -> tuple[Ref, ...]:
        return graph.loop_inputs(node) if node.op == "Exit" else graph.inputs(node)

    def _ops(self, node: Node) -> Counter[str]:
        constant = [name in self.converted_free for name, _ in node.inputs]
        if node.fused_ops:
            ops = Counter({same_operation(node.op): 1})
            for op in map(same_operation, node.fused_ops):
                ops += counted(op, 1, 1) if op != "Add" or constant[2] else counted(op, 2, 0)
        else:
            ops = counted(same_operation(node.op), constant.count(False), constant.count(True))
        return sum((part.ops for part in self._parts_of(node)), ops)

    def _foldable(self, node: Node) -> frozenset[str]:
        """Operations that may be folded into constants: sums into a bias, products into weights."""
        found: frozenset[str] = frozenset().union(*(part.foldable for part in self._parts_of(node)))
        constant = [name in self.converted.constants for name, _ in node.inputs]
        operation = same_operation(node.op)
        if operation in FOLDING_CONTRACTIONS:
            found |= MULTIPLICATIVE if constant[1] else frozenset()
            found |= ADDITIVE if "BiasAdd" in node.fused_ops and constant[2] else frozenset()
        elif any(constant):
            found |= next((kind for kind in (ADDITIVE, MULTIPLICATIVE) if operation in kind), frozenset())
        return found | {BATCH_NORM} if found >= ADDITIVE | MULTIPLICATIVE else found

    # Matches by computation.

    def _best(self, node: Node, operands: list[Operand | None]) -> Match | str | None:
        known = [operand for operand in operands if operand is not None]
        entering = frozenset().union(*known)
        if not entering or len(known) < len(operands) or node.op == "Exit":
            return None
        candidates = {
            tail: subgraph
            for tail, subgraph in self.subgraphs.leading_from(entering)
            if self._is_possible(node, subgraph, entering) and self._in_order(node, known, subgraph, entering)
        }
        candidates = self._explained(node, candidates)
        if not candidates:
            return None
        if self.use_names and node.name in candidates:
            return Match(node.name, node.name, candidates[node.name])
        if self.use_names and len(candidates) > 1 and self.evidence.owner(node) is None:
            candidates = self._sharing_weights(node, candidates)
        longest = sorted(candidates, key=lambda name: -len(candidates[name]))
        rivals = [other for other in candidates if other not in candidates[longest[0]]]
        if rivals:
            both = f"{longest[0]!r} and {rivals[0]!r}"
            return f"{node.op} matches both {both} in the source, and nothing distinguishes them"
        tail = self.backtracking.decide(node.name, self.at, longest, self._state)
        return Match(node.name, tail, candidates[tail])

    def _explained(self, node: Node, candidates: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The candidates whose operations `node` explains: in their order, or else rearranged."""
        last = same_operation((node.op, *node.fused_ops)[-1])
        explained = NodeOperations(self._ops(node), last, self._foldable(node))
        found = [
            tail
            for tail, subgraph in candidates.items()
            if explained.explains(self.subgraphs.ops(subgraph), self.subgraphs.last(tail))
            or (
                any(self.source.nodes[name].acts_as for name in subgraph)
                and explained.explains(
                    self.subgraphs.ops(subgraph, by_effect=True), self.subgraphs.last(tail, by_effect=True)
                )
            )
        ]
        if not found and self._parts_of(node):
            found = [
                tail for tail in candidates if explained.rearranges(self.subgraphs.ops(candidates[tail]))
            ]
        return {tail: candidates[tail] for tail in found}

    def _is_possible(self, node: Node, subgraph: tuple[str, ...], entering: Operand) -> bool:
        """Whether names allow the subgraph, and it uses all of `entering` and has any folded batch-norm."""
        owner = self.evidence.owner(node)
        if owner is not None and owner not in subgraph:
            return False
        absorbed = {node.name}.union(*(part.names for part in self._parts_of(node)))
        repeated = ABSORBED.get(same_operation(node.op), frozenset())
        if any(
            self.evidence.claims.get(name, node.name) not in absorbed
            and self.source.nodes[name].op not in repeated
            for name in subgraph
        ):
            return False
        used = {ref for name in subgraph for ref in self.source.inputs(self.source.nodes[name])}
        if not used.issuperset(entering):
            return False
        return not self._has_folded(node) or bool(self.subgraphs.ops(subgraph)[BATCH_NORM])

    def _has_folded(self, node: Node) -> bool:
        """Whether a batch-norm is folded into the weights of `node`."""
        return any(
            i.endswith((FOLDED_OFFSET, FOLDED_KERNEL)) for i, _ in node.inputs if i not in self.source.nodes
        )

    def _in_order(
        self, node: Node, operands: list[Operand], subgraph: tuple[str, ...], entering: Operand
    ) -> bool:
        """Whether the same operation in `subgraph` has the operands of `node`, in order if that matters."""
        operation = same_operation(node.op)
        twins = [self.source.nodes[name] for name in subgraph if not self.source.nodes[name].acts_as]
        same = (twin for twin in twins if same_operation(twin.op) == operation)
        candidates = [self.subgraphs.operands(twin, entering) for twin in same]
        candidates = [candidate for candidate in candidates if len(candidate) == len(operands)]
        if not candidates or self._parts_of(node):
            return True
        if operation in COMMUTATIVE:
            return any(Counter(operands) == Counter(candidate) for candidate in candidates)
        return any(operands == candidate for candidate in candidates)

    def _sharing_weights(
        self, node: Node, candidates: dict[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        """The candidates that share most names of constants with `node`."""
        weights = {_unfolded(i) for i, _ in node.inputs if i in self.converted.constants}
        score = {
            tail: len(weights & self.subgraphs.constant_names(subgraph))
            for tail, subgraph in candidates.items()
        }
        most = max(score.values())
        return {tail: candidates[tail] for tail in candidates if score[tail] == most}

    # Matches by name, for nodes with unmatched inputs.

    def _by_name(self, node: Node, operands: list[Operand | None]) -> Match | None:
        """The match of a node whose name, operation and inputs are unchanged; inputs may be equal by name."""
        twin = self.source.nodes.get(node.name) if self.use_names else None
        if twin is None or same_operation(twin.op) != same_operation(node.op):
            return None
        if node.fused_ops or self._has_folded(node):
            return None
        inputs, source_inputs = self._entering(self.converted, node), self._entering(self.source, twin)
        pairs = zip(inputs, operands, strict=True)
        if node.op == "Exit":
            agrees = all(any(self._same(*pair, ref) for ref in source_inputs) for pair in pairs)
        else:
            agrees = len(inputs) == len(source_inputs) and all(
                map(self._same, inputs, operands, source_inputs)
            )
        return Match(node.name, twin.name, (twin.name,)) if agrees else None

    def _same(self, ref: Ref, operand: Operand | None, source_ref: Ref) -> bool:
        """Whether `ref`, computed from `operand`, is the tensor `source_ref`; by name if it is unmatched."""
        if ref[0] not in self.stands_for:
            return ref == source_ref
        return operand == frozenset({source_ref}) or (source_ref[0] in self.free and not operand)


def _unfolded(name: str) -> str:
    for suffix in (FOLDED_OFFSET, FOLDED_KERNEL):
        name = name.removesuffix(suffix)
    return name
