"""Which tensor of the source's graph each node of the converted graph computes.

The converter folds, fuses and renames: a fused node may keep the name of the first operation it took in or
of the last, and a name may stay while its meaning changes. So nodes are not matched by name. Both graphs are
walked from the inputs on. Given which source tensors enter a converted node, the source tensors that could be
its output are those computed from just these and constants, by operations that the node's own operation and
`fused_ops` account for. Names decide only among candidates that have passed this: a node that has the name of
a source operation stands for operations of which that is one. Where a node's inputs are not known, it is
matched if it kept its name, its operation and the names of its inputs. Artifacts that were made of another
trace may have the scopes of other layers; so where weights show that, or names lead nowhere, the graphs are
matched without names.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
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
from pytest_tfjs.reference.matching.backtracking import Choices
from pytest_tfjs.reference.matching.evidence import Names, Weights, is_renamed
from pytest_tfjs.reference.matching.rewrites import (
    SWALLOWED,
    Account,
)
from pytest_tfjs.reference.matching.subgraphs import Operand, Regions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.graph import Graph, Node, Ref
    from pytest_tfjs.reference.matching.evidence import Evidence

_MOST_BACK = 6
"""How far before a node that stands for nothing a choice may have led there."""

FOLDED_KERNEL, FOLDED_OFFSET = "_weights", "_bn_offset"
"""The converter's names for the constants that a folded batch-norm leaves (`fold_batch_norms.py`)."""


@dataclass(frozen=True)
class Match:
    """The converted `node` computes what the source node `tail` does, output for output.

    `region` are the source operations it stands for, in the order of computation; `tail` is the last of them.
    """

    node: str
    tail: str
    region: tuple[str, ...]


@dataclass(frozen=True)
class Matching:
    """What became of the converted graph: matches by converted node, and why the rest has none.

    `stands_for` gives the source node for each converted one; None for constants.
    """

    matches: Mapping[str, Match]
    unmatched: Mapping[str, str]
    stands_for: Mapping[str, str | None]


def match_graphs(source: Graph, converted: Graph) -> Matching:
    """Matches the nodes of `converted` with those of `source`. Nodes inside loop bodies are left out."""
    weights, names = Weights(source, converted), Names(source, converted)
    if is_renamed(source, converted) or not names.claims:
        return _Matcher(source, converted, weights, names_tell=False).run()
    found = _Matcher(source, converted, names).run()
    if not found.unmatched and not _has_misnamed_parts(source, converted, found):
        return found
    nameless = _Matcher(source, converted, weights, names_tell=False).run()
    explains_more = not nameless.unmatched and len(nameless.matches) > len(found.matches)
    return nameless if explains_more else found


def _has_misnamed_parts(source: Graph, converted: Graph, found: Matching) -> bool:
    """Whether a node that has the name of a source operation is explained only with the one after it."""
    return any(
        name in source.nodes and name not in found.stands_for and node.op not in PASS_THROUGH
        for name, node in converted.nodes.items()
        if not converted.loop_depth[name]
    )


@dataclass(frozen=True)
class _Part:
    """A converted node that alone stands for no source tensor, but may together with the one after it.

    The optimiser makes such: a sum regrouped (`AddOpsRewrite_Leaf`), a convolution whose weights took in a
    batch-norm that follows as a BiasAdd, a concatenation before the Relu that was on each of its parts.
    """

    names: frozenset[str]
    ops: Counter[str]
    entering: Operand
    foldable: frozenset[str]


_State = tuple[dict[str, "str | None"], dict[str, Match], dict[str, str], dict[str, _Part]]


class _Matcher:
    def __init__(
        self, source: Graph, converted: Graph, evidence: Evidence, *, names_tell: bool = True
    ) -> None:
        self.source = source
        self.converted = converted
        self.evidence = evidence
        self.names_tell = names_tell
        self.stands_for: dict[str, str | None] = {}
        self.matches: dict[str, Match] = {}
        self.unmatched: dict[str, str] = {}
        self.parts: dict[str, _Part] = {}
        self.at = 0
        self.choices: Choices[_State] = Choices()
        self.regions = Regions(source)
        self.free = source.constants | source.shapes_only

    def run(self) -> Matching:
        order = self.converted.order
        while self.at < len(order):
            node = self.converted.nodes[order[self.at]]
            self._take(node)
            self.at += 1
            # Where names tell, they have told.
            if not self.names_tell and self._is_dead_end(node):
                retry = self.choices.after_dead_end(node.name, self._bearing(node))
                if retry is not None:
                    self.at = retry.at
                    self._restore(retry.before)
        return Matching(self.matches, self.unmatched, self.stands_for)

    def _take(self, node: Node) -> None:
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
        """Whether a node stands for nothing, and will not together with the one after it either."""
        if node.name not in self.unmatched:
            return False
        before = [name for name, _ in self.converted.inputs(node)]
        return any(name in self.unmatched for name in before) or not self.converted.consumers.get(node.name)

    def _bearing(self, node: Node) -> set[str]:
        """The nodes near before one: what they stand for decides what it can stand for."""
        found: set[str] = set()
        edge = [node]
        for _ in range(_MOST_BACK):
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
            # Whatever it is, an error in it shows in the activations whose shapes it gives.
            self.stands_for[node.name] = None
        else:
            self.unmatched[node.name] = found if found is not None else self._why_none(node)
            if None not in operands:
                self.parts[node.name] = self._part(node, operands)

    def _unchanged(self, node: Node) -> str | None:
        """The source node whose output `node` gives back, as an operation there does that was left out."""
        if node.neutral is None:
            return None
        name, index = self.converted.resolve(node.neutral)
        twin = self.stands_for.get(name)
        if index or twin is None:
            return None
        # The shift of a batch-norm that shifts nothing may be written out.
        shifts = ADDITIVE if self.source.nodes[twin].acts_as is not None else frozenset()
        left_out = self.regions.left_out.get(twin, frozenset()) | shifts
        return twin if same_operation(node.op) in left_out else None

    def _parts_of(self, node: Node) -> list[_Part]:
        return [
            self.parts[name]
            for name, index in self.converted.inputs(node)
            if name in self.parts and not index
        ]

    def _part(self, node: Node, operands: list[Operand | None]) -> _Part:
        before = self._parts_of(node)
        return _Part(
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

    # What a converted node computes, and from what.

    def _operands(self, node: Node) -> list[Operand | None]:
        """For each input of `node` the source tensors behind it; None for one that is not known."""
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
        ops = Counter(map(same_operation, (node.op, *node.fused_ops)))
        if node.op == "AddN":
            ops["Add"] = len(node.inputs) - 1
        for part in self._parts_of(node):
            ops += part.ops
        return ops

    def _foldable(self, node: Node) -> frozenset[str]:
        """What the constants of `node` may have taken in: a bias sums, weights products, both batch-norm."""
        found: frozenset[str] = frozenset().union(*(part.foldable for part in self._parts_of(node)))
        constant = [name in self.converted.constants for name, _ in node.inputs]
        operation = same_operation(node.op)
        if operation in FOLDING_CONTRACTIONS:
            found |= MULTIPLICATIVE if constant[1] else frozenset()
            found |= ADDITIVE if "BiasAdd" in node.fused_ops and constant[2] else frozenset()
        elif any(constant):
            found |= next((kind for kind in (ADDITIVE, MULTIPLICATIVE) if operation in kind), frozenset())
        return found | {BATCH_NORM} if found >= ADDITIVE | MULTIPLICATIVE else found

    # By what it computes.

    def _best(self, node: Node, operands: list[Operand | None]) -> Match | str | None:
        known = [operand for operand in operands if operand is not None]
        entering = frozenset().union(*known)
        if not entering or len(known) < len(operands) or node.op == "Exit":
            return None
        regions = {
            tail: region
            for tail, region in self.regions.leading_from(entering)
            if self._is_possible(node, region, entering) and self._in_order(node, known, region, entering)
        }
        regions = self._explained(node, regions)
        if not regions:
            return None
        if self.names_tell and node.name in regions:
            return Match(node.name, node.name, regions[node.name])
        if self.names_tell and len(regions) > 1 and self.evidence.owner(node) is None:
            regions = self._sharing_weights(node, regions)
        longest = sorted(regions, key=lambda name: -len(regions[name]))
        rivals = [other for other in regions if other not in regions[longest[0]]]
        if rivals:
            both = f"{longest[0]!r} and {rivals[0]!r}"
            return f"{node.op} matches both {both} in the source, and nothing distinguishes them"
        tail = self.choices.choose(node.name, self.at, longest, self._state)
        return Match(node.name, tail, regions[tail])

    def _explained(self, node: Node, regions: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The regions that the operations of `node` account for; in their order, if in any."""
        last = same_operation((node.op, *node.fused_ops)[-1])
        account = Account(self._ops(node), last, self._foldable(node))
        found = [
            tail
            for tail, region in regions.items()
            if account.explains(self.regions.ops(region), self.regions.last(tail))
            or (
                any(self.source.nodes[name].acts_as for name in region)
                and account.explains(
                    self.regions.ops(region, by_effect=True), self.regions.last(tail, by_effect=True)
                )
            )
        ]
        if not found and self._parts_of(node):
            found = [tail for tail in regions if account.rearranges(self.regions.ops(regions[tail]))]
        return {tail: regions[tail] for tail in found}

    def _is_possible(self, node: Node, region: tuple[str, ...], entering: Operand) -> bool:
        """Whether names allow it, the region takes all that enters, and a folded batch-norm is in it."""
        owner = self.evidence.owner(node)
        if owner is not None and owner not in region:
            return False
        absorbed = {node.name}.union(*(part.names for part in self._parts_of(node)))
        repeated = SWALLOWED.get(same_operation(node.op), frozenset())
        if any(
            self.evidence.claims.get(name, node.name) not in absorbed
            and self.source.nodes[name].op not in repeated
            for name in region
        ):
            return False
        used = {ref for name in region for ref in self.source.inputs(self.source.nodes[name])}
        if not used.issuperset(entering):
            return False
        return not self._has_folded(node) or bool(self.regions.ops(region)[BATCH_NORM])

    def _has_folded(self, node: Node) -> bool:
        """Whether the weights of `node` took in a batch-norm."""
        return any(
            i.endswith((FOLDED_OFFSET, FOLDED_KERNEL)) for i, _ in node.inputs if i not in self.source.nodes
        )

    def _in_order(
        self, node: Node, operands: list[Operand], region: tuple[str, ...], entering: Operand
    ) -> bool:
        """Whether one of its kind in `region` takes the same as `node` does, in the order that matters."""
        operation = same_operation(node.op)
        twins = [self.source.nodes[name] for name in region if not self.source.nodes[name].acts_as]
        taken = [self.regions.taken(twin, entering) for twin in twins if same_operation(twin.op) == operation]
        taken = [theirs for theirs in taken if len(theirs) == len(operands)]
        if not taken or self._parts_of(node):
            return True
        if operation in COMMUTATIVE:
            return any(Counter(operands) == Counter(theirs) for theirs in taken)
        return any(operands == theirs for theirs in taken)

    def _sharing_weights(self, node: Node, regions: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The regions that take constants of the same names as `node` does, if any do."""
        weights = {_unfolded(i) for i, _ in node.inputs if i in self.converted.constants}
        score = {tail: len(weights & self.regions.constant_names(region)) for tail, region in regions.items()}
        most = max(score.values())
        return {tail: regions[tail] for tail in regions if score[tail] == most}

    # By name, where not all inputs are known.

    def _by_name(self, node: Node, operands: list[Operand | None]) -> Match | None:
        """A node that kept name and operation, each of whose inputs is what it was or kept its name too."""
        twin = self.source.nodes.get(node.name) if self.names_tell else None
        if twin is None or same_operation(twin.op) != same_operation(node.op):
            return None
        if node.fused_ops or self._has_folded(node):
            return None
        ours, theirs = self._entering(self.converted, node), self._entering(self.source, twin)
        pairs = zip(ours, operands, strict=True)
        if node.op == "Exit":
            agrees = all(any(self._same(*pair, there) for there in theirs) for pair in pairs)
        else:
            agrees = len(ours) == len(theirs) and all(map(self._same, ours, operands, theirs))
        return Match(node.name, twin.name, (twin.name,)) if agrees else None

    def _same(self, ours: Ref, operand: Operand | None, theirs: Ref) -> bool:
        """Whether `ours`, behind which is `operand`, is the tensor `theirs`; by name if it is not known."""
        if ours[0] not in self.stands_for:
            return ours == theirs
        return operand == frozenset({theirs}) or (theirs[0] in self.free and not operand)


def _unfolded(name: str) -> str:
    for suffix in (FOLDED_OFFSET, FOLDED_KERNEL):
        name = name.removesuffix(suffix)
    return name
