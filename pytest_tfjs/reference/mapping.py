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

from pytest_tfjs.reference.evidence import Names, Weights, is_renamed
from pytest_tfjs.reference.graphs import ALIASES, SOURCES, Graph, Node, Ref
from pytest_tfjs.reference.operations import (
    ADDITIVE,
    BATCH_NORM,
    COMMUTATIVE,
    CONTRACTIONS,
    MULTIPLICATIVE,
    SWALLOWED,
    Account,
    same_operation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfjs.reference.evidence import Evidence

_REACH = 10
"""How many source operations one converted node may stand for, in depth."""

FOLDED_KERNEL, FOLDED_OFFSET = "_weights", "_bn_offset"
"""The converter's names for the constants that a folded batch-norm leaves (`fold_batch_norms.py`)."""

_Operand = frozenset[Ref]
"""The source tensors that one input of a node is computed from; none for a constant."""


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
    weights = Weights(source, converted)
    if is_renamed(source, converted):
        return _Matcher(source, converted, weights, names_tell=False).run()
    found = _Matcher(source, converted, Names(source, converted)).run()
    if not found.unmatched and not _has_misnamed_parts(source, converted, found):
        return found
    nameless = _Matcher(source, converted, weights, names_tell=False).run()
    explains_more = not nameless.unmatched and len(nameless.matches) > len(found.matches)
    return nameless if explains_more else found


def _has_misnamed_parts(source: Graph, converted: Graph, found: Matching) -> bool:
    """Whether a node that has the name of a source operation is explained only with the one after it."""
    return any(
        name in source.nodes and name not in found.stands_for and node.op not in ALIASES
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
    entering: _Operand
    foldable: frozenset[str]


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
        self.position = {name: i for i, name in enumerate(source.order)}
        self.free = source.constants | source.shapes_only

    def run(self) -> Matching:
        for name in self.converted.order:
            node = self.converted.nodes[name]
            if name in self.converted.constants:
                self.stands_for[name] = None
            elif node.op in SOURCES:
                self._record_source(node)
            elif node.op not in ALIASES and node.op != "IdentityN" and not self.converted.loop_depth[name]:
                self._record(node)
        return Matching(self.matches, self.unmatched, self.stands_for)

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
        elif node.name in self.converted.shapes_only:
            # Whatever it is, an error in it shows in the activations whose shapes it gives.
            self.stands_for[node.name] = None
        else:
            self.unmatched[node.name] = found if found is not None else self._why_none(node)
            if None not in operands:
                self.parts[node.name] = self._part(node, operands)

    def _parts_of(self, node: Node) -> list[_Part]:
        return [
            self.parts[name]
            for name, index in self.converted.inputs(node)
            if name in self.parts and not index
        ]

    def _part(self, node: Node, operands: list[_Operand | None]) -> _Part:
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
            return f"its input {unknown[0]!r} stands for no tensor of the source"
        return f"no tensor of the source is computed by {node.op} from the same inputs"

    # What a converted node computes, and from what.

    def _operands(self, node: Node) -> list[_Operand | None]:
        """For each input of `node` the source tensors behind it; None for one that is not known."""
        return [self._operand(ref) for ref in self._entering(self.converted, node)]

    def _operand(self, ref: Ref) -> _Operand | None:
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
        if operation in CONTRACTIONS:
            found |= MULTIPLICATIVE if constant[1] else frozenset()
            found |= ADDITIVE if "BiasAdd" in node.fused_ops and constant[2] else frozenset()
        elif any(constant):
            found |= next((kind for kind in (ADDITIVE, MULTIPLICATIVE) if operation in kind), frozenset())
        return found | {BATCH_NORM} if found >= ADDITIVE | MULTIPLICATIVE else found

    # By what it computes.

    def _best(self, node: Node, operands: list[_Operand | None]) -> Match | str | None:
        known = [operand for operand in operands if operand is not None]
        entering = frozenset().union(*known)
        if not entering or len(known) < len(operands) or node.op == "Exit":
            return None
        regions = {
            tail: region
            for tail, region in self._candidates(entering)
            if self._is_possible(node, region, entering) and self._in_order(node, known, region, entering)
        }
        regions = self._explained(node, regions)
        if not regions:
            return None
        if self.names_tell and node.name in regions:
            return Match(node.name, node.name, regions[node.name])
        if self.names_tell and len(regions) > 1 and self.evidence.owner(node) is None:
            regions = self._sharing_weights(node, regions)
        tail = max(regions, key=lambda name: len(regions[name]))
        rivals = [other for other in regions if other not in regions[tail]]
        if rivals:
            return f"{node.op} may stand for {tail!r} or for {rivals[0]!r}, and nothing tells which"
        return Match(node.name, tail, regions[tail])

    def _explained(self, node: Node, regions: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The regions that the operations of `node` account for; in their order, if in any."""
        last = same_operation((node.op, *node.fused_ops)[-1])
        account = Account(self._ops(node), last, self._foldable(node))
        found = [
            tail
            for tail, region in regions.items()
            if account.explains(self._region_ops(region), self._last(tail))
            or (
                any(self.source.nodes[name].acts_as for name in region)
                and account.explains(
                    self._region_ops(region, by_effect=True), self._last(tail, by_effect=True)
                )
            )
        ]
        if not found and self._parts_of(node):
            found = [tail for tail in regions if account.rearranges(self._region_ops(regions[tail]))]
        return {tail: regions[tail] for tail in found}

    def _last(self, tail: str, *, by_effect: bool = False) -> str:
        node = self.source.nodes[tail]
        return same_operation((node.acts_as if by_effect else None) or node.op)

    def _is_possible(self, node: Node, region: tuple[str, ...], entering: _Operand) -> bool:
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
        return not self._has_folded(node) or bool(self._region_ops(region)[BATCH_NORM])

    def _has_folded(self, node: Node) -> bool:
        """Whether the weights of `node` took in a batch-norm."""
        return any(
            i.endswith((FOLDED_OFFSET, FOLDED_KERNEL)) for i, _ in node.inputs if i not in self.source.nodes
        )

    def _region_ops(self, region: tuple[str, ...], *, by_effect: bool = False) -> Counter[str]:
        ops: Counter[str] = Counter()
        for name in region:
            node = self.source.nodes[name]
            ops[self._last(name, by_effect=by_effect)] += len(node.inputs) - 1 if node.op == "AddN" else 1
        return ops

    def _in_order(
        self, node: Node, operands: list[_Operand], region: tuple[str, ...], entering: _Operand
    ) -> bool:
        """Whether one of its kind in `region` takes the same as `node` does, in the order that matters."""
        operation = same_operation(node.op)
        twins = [self.source.nodes[name] for name in region if not self.source.nodes[name].acts_as]
        taken = [self._taken(twin, entering) for twin in twins if same_operation(twin.op) == operation]
        taken = [theirs for theirs in taken if len(theirs) == len(operands)]
        if not taken or self._parts_of(node):
            return True
        if operation in COMMUTATIVE:
            return any(Counter(operands) == Counter(theirs) for theirs in taken)
        return any(operands == theirs for theirs in taken)

    def _taken(self, twin: Node, entering: _Operand) -> list[_Operand]:
        """What each input of `twin` is computed from; a concatenation that it takes has its inputs there."""
        taken: list[_Operand] = []
        for ref in self.source.inputs(twin):
            before = self.source.nodes[ref[0]]
            if twin.op == before.op == "ConcatV2" and ref not in entering and ref[0] not in self.free:
                taken += self._taken(before, entering)[:-1]  # without its axis
            else:
                taken.append(self._behind(ref, entering))
        return taken

    def _behind(self, ref: Ref, entering: _Operand) -> _Operand:
        """Which of the source tensors `entering` the source tensor `ref` is computed from."""
        if ref in entering:
            return frozenset({ref})
        if ref[0] in self.free:
            return frozenset()
        before = self.source.inputs(self.source.nodes[ref[0]])
        return frozenset().union(*(self._behind(earlier, entering) for earlier in before))

    def _sharing_weights(self, node: Node, regions: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The regions that take constants of the same names as `node` does, if any do."""
        weights = {_unfolded(i) for i, _ in node.inputs if i in self.converted.constants}
        score = {tail: len(weights & self._constant_names(region)) for tail, region in regions.items()}
        most = max(score.values())
        return {tail: regions[tail] for tail in regions if score[tail] == most}

    def _constant_names(self, region: tuple[str, ...]) -> set[str]:
        names = set(region)
        for name in region:
            names.update(i for i, _ in self.source.nodes[name].inputs)
            names.update(i for i, _ in self.source.inputs(self.source.nodes[name]))
        return names

    def _candidates(self, entering: _Operand) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Source nodes computed from `entering` and constants alone, each with all operations in between."""
        inside: dict[str, frozenset[str]] = {}
        edge = [name for taken, _ in sorted(entering) for name in self.source.consumers.get(taken, ())]
        for _ in range(_REACH):
            following: list[str] = []
            for name in dict.fromkeys(edge):
                region = self._region(name, entering, inside)
                if region is not None and inside.get(name) != region:
                    inside[name] = region
                    following.extend(self.source.consumers.get(name, ()))
            edge = following
        for name, region in inside.items():
            yield name, tuple(sorted(region, key=self.position.__getitem__))

    def _region(
        self, name: str, entering: _Operand, inside: Mapping[str, frozenset[str]]
    ) -> frozenset[str] | None:
        region = {name}
        for ref in self.source.inputs(self.source.nodes[name]):
            if ref in entering or ref[0] in self.free:
                continue
            if ref[0] not in inside:
                return None
            region |= inside[ref[0]]
        return frozenset(region)

    # By name, where not all inputs are known.

    def _by_name(self, node: Node, operands: list[_Operand | None]) -> Match | None:
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

    def _same(self, ours: Ref, operand: _Operand | None, theirs: Ref) -> bool:
        """Whether `ours`, behind which is `operand`, is the tensor `theirs`; by name if it is not known."""
        if ours[0] not in self.stands_for:
            return ours == theirs
        return operand == frozenset({theirs}) or (theirs[0] in self.free and not operand)


def _unfolded(name: str) -> str:
    for suffix in (FOLDED_OFFSET, FOLDED_KERNEL):
        name = name.removesuffix(suffix)
    return name
