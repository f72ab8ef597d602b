"""Algebraic rewrites by the converter's optimiser, and the source operations they replace.

Each rule lists the operations that the optimiser makes and the operations that they replace. A sum or product
of two activations is counted apart from one with a constant: only the latter can be folded into constants.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_tfjs.compare.operations import (
    ADDITIVE,
    BATCH_NORM,
    FOLDING_CONTRACTIONS,
    MULTIPLICATIVE,
    RESHAPES,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

AFFINE = ADDITIVE | MULTIPLICATIVE | {BATCH_NORM}
"""Operations that the converter may fold into another operation's weights and bias."""

_OF_TWO = " of two"


def of_two(op: str) -> str:
    """The name of an operation of `ADDITIVE` or `MULTIPLICATIVE` whose operands are both activations."""
    return op + _OF_TWO


def _plain(op: str) -> str:
    return op.removesuffix(_OF_TWO)


def counted(op: str, activations: int, constants: int) -> Counter[str]:
    """An operation (by `same_operation`) with so many operands that depend on the feeds, and constant ones.

    A sum of several operands is counted as sums of two.
    """
    if op not in ADDITIVE | MULTIPLICATIVE:
        return Counter({op: 1})
    return +Counter({of_two(op): activations - 1, op: constants if activations + constants > 1 else 1})


_REWRITES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("Square",), (of_two("Mul"),)),
    (("Square",), ("Pow",)),
    ((of_two("Mul"),), ("Pow",)),
    (("Sqrt",), ("Pow",)),
    (("Rsqrt",), ("Pow",)),
    (("Reciprocal",), ("Pow",)),
    (("Reciprocal",), ("RealDiv",)),
    (("Rsqrt",), ("Sqrt", "RealDiv")),
    (("Rsqrt",), ("Sqrt", "Reciprocal")),
    (("Rsqrt", "Mul"), ("Sqrt", "RealDiv")),
    (("Rsqrt", of_two("Mul")), ("Sqrt", of_two("RealDiv"))),
    (("Mul",), (of_two("Add"),)),
    (("Sub",), ("Neg", "Add")),
    ((of_two("Sub"),), ("Neg", of_two("Add"))),
    (("Add",), ("Neg", "Sub")),
    ((of_two("Add"),), ("Neg", of_two("Sub"))),
    (("SquaredDifference",), ("Sub", "Square")),
    (("SquaredDifference",), (of_two("Sub"), "Square")),
    (("SquaredDifference",), ("Sub", of_two("Mul"))),
    (("SquaredDifference",), (of_two("Sub"), of_two("Mul"))),
    (("Log1p",), ("Add", "Log")),
    (("Expm1",), ("Exp", "Sub")),
    (("LogSoftmax",), ("Softmax", "Log")),
    (("LessEqual",), ("Greater", "LogicalNot")),
    (("GreaterEqual",), ("Less", "LogicalNot")),
    (("Less",), ("GreaterEqual", "LogicalNot")),
    (("Greater",), ("LessEqual", "LogicalNot")),
    (("NotEqual",), ("Equal", "LogicalNot")),
    (("Equal",), ("NotEqual", "LogicalNot")),
    (("Mul",), ("RealDiv",)),
    (("Add",), ("Sub",)),
    (("Mul", "Add"), (BATCH_NORM,)),
    (("Conv2D", "Add"), ("Conv2D", BATCH_NORM)),
    (("DepthwiseConv2dNative", "Add"), ("DepthwiseConv2dNative", BATCH_NORM)),
    (("ExpandDims",), ("Pack",)),
    (("Tile",), ("Mul",)),
    (("Prelu",), ("Relu", "Neg", "Relu", "Mul", of_two("Add"))),
)
"""(made, replaced) operations; the last operation of each gives the result."""

_MOST_REWRITES = 2
"""How many rules may apply to one node."""

_REGROUPED = {"Sub": "Add", "RealDiv": "Mul", of_two("Sub"): of_two("Add"), of_two("RealDiv"): of_two("Mul")}

ABSORBED = {
    "Reshape": RESHAPES,
    "Transpose": frozenset({"Transpose"}),
    "Cast": frozenset({"Cast"}),
    "MatMul": frozenset({"Transpose"}),
    "BatchMatMul": frozenset({"Transpose"}),
    "ConcatV2": frozenset({"ConcatV2"}),
}
"""Preceding operations that the operation on the left may absorb."""


def _regrouped(ops: Counter[str]) -> Counter[str]:
    """The operations, with sums for differences and products for quotients."""
    found: Counter[str] = Counter()
    for op, count in ops.items():
        found[_REGROUPED.get(op, op)] += count
    return found


@dataclass(frozen=True)
class NodeOperations:
    """The operations of a converted node, with fused ones, as `counted`, and the name of the last of them.

    `foldable`: the source operations that may be folded into its constants.
    """

    ops: Counter[str]
    last: str
    foldable: frozenset[str] = frozenset()

    def explains(self, ops: Counter[str], last: str) -> bool:
        """Whether the node may compute the source operations `ops`; `last` is the one with the result."""
        return any(each.is_made_of(ops, last) for each in self._before_rewrites)

    def rearranges(self, ops: Counter[str]) -> bool:
        """Whether `ops` are the same operations in another order, or applied to each part before joining.

        A regrouped sum may have differences in other places, a regrouped product quotients.
        """
        if "ConcatV2" not in ops:
            mine, theirs = _regrouped(self.ops), _regrouped(ops)
            return not mine - theirs and (theirs - mine).keys() <= self.foldable
        return (
            ops["ConcatV2"] == self.ops["ConcatV2"] and ops.keys() == self.ops.keys() and not self.ops - ops
        )

    @cached_property
    def _before_rewrites(self) -> tuple[NodeOperations, ...]:
        """This object, and all sets of operations that the converter may have rewritten into it."""
        found = newest = [self]
        for _ in range(_MOST_REWRITES):
            newest = [after for each in newest for after in each.before_one_rewrite()]
            found = found + newest
        return tuple(found)

    def before_one_rewrite(self) -> Iterator[NodeOperations]:
        """The possible operations before one rewrite of the converter."""
        for made, of in _REWRITES:
            if Counter(made) - self.ops:
                continue
            rest = self.ops - Counter(made)
            ops = rest + Counter(of)
            if _plain(made[-1]) == self.last:
                yield NodeOperations(ops, _plain(of[-1]), self.foldable)
            if rest[self.last] or rest[of_two(self.last)]:
                yield NodeOperations(ops, self.last, self.foldable)

    def is_made_of(self, ops: Counter[str], last: str) -> bool:
        """Whether these are `ops`, unchanged or with operations folded into weights and bias."""
        if ops == self.ops:
            return last == self.last
        return self._folds(ops, last)

    def _folds(self, ops: Counter[str], last: str) -> bool:
        """Whether folding operations into weights and bias turns `ops` into these."""
        extra = ops - self.ops
        ends_well = last == self.last or (last in AFFINE and self.last in AFFINE | FOLDING_CONTRACTIONS)
        absorbed = frozenset().union(*(ABSORBED.get(op, ()) for op in self.ops))
        return ends_well and not self.ops - ops and extra.keys() <= self.foldable | absorbed
