"""Which tensor of the source's graph each node of the converted graph computes.

The converter folds, fuses and renames: a fused node may keep the name of the first operation it took in or
of the last, and a name may stay while its meaning changes. So nodes are not matched by name. Both graphs are
walked from the inputs on. Given which source tensors enter a converted node, the source tensors that could be
its output are those computed from just these and constants, by operations that the node's own operation and
`fused_ops` account for. Names and weights decide only among candidates that have passed this.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfjs.reference.graphs import ALIASES, SOURCES, Graph, Node, Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SAME = {
    "AddV2": "Add",
    "BiasAdd": "Add",
    "AddN": "Add",
    "BatchMatMulV2": "BatchMatMul",
    "BatchMatMulV3": "BatchMatMul",
    "FusedBatchNorm": "FusedBatchNormV3",
    "FusedBatchNormV2": "FusedBatchNormV3",
    "_FusedConv2D": "Conv2D",
    "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative",
    "_FusedMatMul": "MatMul",
    "Div": "RealDiv",
}
"""Operations that compute the same under several names."""

CONTRACTIONS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv3D", "Conv2DBackpropInput"})

_ADDITIVE = frozenset({"Add", "Sub"})
_MULTIPLICATIVE = frozenset({"Mul", "RealDiv", "Neg"})
_BATCH_NORM = "FusedBatchNormV3"
_AFFINE = _ADDITIVE | _MULTIPLICATIVE | {_BATCH_NORM}
"""Operations with constants that the converter may move into the weights and the bias of another."""

_PRELU = Counter({"Relu": 2, "Neg": 1, "Mul": 1, "Add": 1})
"""What Keras writes for PReLU: relu(x) + (-alpha) * relu(-x)."""

_REACH = 10
"""How many source operations one converted node may stand for, in depth."""

_FOLDED_SUFFIXES = ("_bn_offset", "_weights")
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


def same_operation(op: str) -> str:
    """One name for operations that compute the same."""
    return _SAME.get(op, op)


def match_graphs(source: Graph, converted: Graph) -> Matching:
    """Matches the nodes of `converted` with those of `source`. Nodes inside loop bodies are left out."""
    return _Matcher(source, converted).run()


class _Matcher:
    def __init__(self, source: Graph, converted: Graph) -> None:
        self.source = source
        self.converted = converted
        self.stands_for: dict[str, str | None] = {}
        self.matches: dict[str, Match] = {}
        self.unmatched: dict[str, str] = {}
        self.partial: dict[str, tuple[Counter[str], tuple[Ref, ...]]] = {}
        self.position = {name: i for i, name in enumerate(source.order)}
        self.claimed = frozenset(
            name
            for name, node in converted.nodes.items()
            if name in source.nodes and node.op != "Const" and node.op not in ALIASES
        )

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
        entering = self._entering(node)
        known = [ref for ref in entering if ref is not None]
        if not known or None in entering or node.op == "Exit":
            found: Match | str | None = self._by_name(node, known)
        else:
            found = self._best(node, known)
        if isinstance(found, Match):
            self.matches[node.name] = found
            self.stands_for[node.name] = found.tail
            for part in self._parts(node):
                self.unmatched.pop(part, None)
            return
        if known and None not in entering:
            self.partial[node.name] = (self._own(node), tuple(known))
        self.unmatched[node.name] = found if found is not None else self._why_none(node)

    def _parts(self, node: Node) -> list[str]:
        """Converted nodes before `node` that alone stand for no source tensor, but may together with it.

        The converter's optimiser makes such: a sum regrouped (`AddOpsRewrite_Leaf`), a convolution whose
        weights took in a batch-norm that follows as a BiasAdd.
        """
        return [name for name, index in self.converted.inputs(node) if name in self.partial and index == 0]

    def _own(self, node: Node) -> Counter[str]:
        own = Counter(map(same_operation, (node.op, *node.fused_ops)))
        if node.op == "AddN":
            own["Add"] = len(node.inputs) - 1
        for part in self._parts(node):
            own += self.partial[part][0]
        return own

    def _why_none(self, node: Node) -> str:
        unknown = [i for i, _ in self.converted.inputs(node) if i in self.unmatched]
        if unknown:
            return f"its input {unknown[0]!r} stands for no tensor of the source"
        return f"no tensor of the source is computed by {node.op} from the same inputs"

    def _entering(self, node: Node) -> list[Ref | None]:
        """The source tensors that enter `node`, constants left out; None for one that is not known."""
        refs = self.converted.loop_inputs(node) if node.op == "Exit" else self.converted.inputs(node)
        entering: dict[Ref | None, None] = {}
        for name, index in refs:
            if name in self.partial and index == 0:
                entering.update(dict.fromkeys(self.partial[name][1]))
                continue
            twin = self.stands_for.get(name, "")
            if twin is not None:
                entering[(twin, index) if twin else None] = None
        return list(entering)

    def _by_name(self, node: Node, known: list[Ref]) -> Match | None:
        """A node that kept its name and its operation, none of whose known inputs contradicts it."""
        twin = self.source.nodes.get(node.name)
        if twin is None or node.fused_ops or same_operation(twin.op) != same_operation(node.op):
            return None
        theirs = self.source.loop_inputs(twin) if node.op == "Exit" else self.source.inputs(twin)
        if not set(known).issubset(theirs):
            return None
        return Match(node.name, twin.name, (twin.name,))

    def _best(self, node: Node, entering: list[Ref]) -> Match | str | None:
        regions = {
            tail: region
            for tail, region in self._candidates(entering)
            if self._accounts_for(node, tail, region, entering)
        }
        if not regions:
            return None
        named = {tail: region for tail, region in regions.items() if node.name in region}
        if node.name in named:
            regions = {node.name: named[node.name]}
        elif named:
            regions = named
        elif len(regions) > 1:
            regions = self._sharing_weights(node, regions)
        tail = max(regions, key=lambda name: len(regions[name]))
        rivals = [other for other in regions if other != tail and other not in regions[tail]]
        if rivals:
            return f"{node.op} may stand for {tail!r} or for {rivals[0]!r}, and nothing tells which"
        return Match(node.name, tail, regions[tail])

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

    def _candidates(self, entering: list[Ref]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Source nodes computed from `entering` and constants alone, each with all operations in between."""
        inside: dict[str, frozenset[str]] = {}
        edge = [name for taken, _ in entering for name in self.source.consumers.get(taken, ())]
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
        self, name: str, entering: list[Ref], inside: Mapping[str, frozenset[str]]
    ) -> frozenset[str] | None:
        region = {name}
        for ref in self.source.inputs(self.source.nodes[name]):
            if ref in entering or ref[0] in self.source.constants:
                continue
            if ref[0] not in inside:
                return None
            region |= inside[ref[0]]
        return frozenset(region)

    def _accounts_for(self, node: Node, tail: str, region: tuple[str, ...], entering: list[Ref]) -> bool:
        """Whether `node` computes what the operations of `region` do, ending in `tail`."""
        whole = not self._parts(node)
        if whole and any(name in self.claimed and name != node.name for name in region):
            return False
        used = {ref for name in region for ref in self.source.inputs(self.source.nodes[name])}
        if not used.issuperset(entering):
            return False
        ops = Counter(same_operation(self.source.nodes[name].op) for name in region)
        own = self._own(node)
        last = same_operation(self.source.nodes[tail].op)
        folded = any(i.endswith(_FOLDED_SUFFIXES) for i, _ in node.inputs if i not in self.source.nodes)
        if folded and not ops[_BATCH_NORM]:
            return False
        if "Prelu" in own:
            own = own - Counter({"Prelu": 1}) + _PRELU
            return last == "Add" and not (own - ops) and set(ops - own) <= _AFFINE
        if ops == own:
            return last == same_operation((node.op, *node.fused_ops)[-1])
        return _folds(node, own, ops, last, self._foldable(node))

    def _foldable(self, node: Node) -> frozenset[str]:
        """What the constants of `node` may have taken in: a bias sums, weights products, both batch-norm."""
        found: frozenset[str] = frozenset().union(*map(self._foldable, map(self._node, self._parts(node))))
        constant = [name in self.converted.constants for name, _ in node.inputs]
        operation = same_operation(node.op)
        if operation in CONTRACTIONS:
            found |= _MULTIPLICATIVE if constant[1] else frozenset()
            found |= _ADDITIVE if "BiasAdd" in node.fused_ops and constant[2] else frozenset()
        elif any(constant):
            found |= next((kind for kind in (_ADDITIVE, _MULTIPLICATIVE) if operation in kind), frozenset())
        return found | {_BATCH_NORM} if found >= _ADDITIVE | _MULTIPLICATIVE else found

    def _node(self, name: str) -> Node:
        return self.converted.nodes[name]


def _folds(node: Node, own: Counter[str], ops: Counter[str], last: str, foldable: frozenset[str]) -> bool:
    """Whether `ops` are those of `node` with constant affine operations moved into its weights and bias."""
    needed = Counter({op: count for op, count in own.items() if op not in _AFFINE})
    ending = same_operation((node.op, *node.fused_ops)[-1])
    ends_well = last in _AFFINE if ending in _AFFINE | CONTRACTIONS else last == ending
    return ends_well and not (needed - ops) and set(ops - own) <= foldable


def _unfolded(name: str) -> str:
    for suffix in _FOLDED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name
