"""Algebraic rewrites by the converter's optimiser, and the source operations they replace.

Each rule lists the operations that the optimiser makes and the operations that they replace.
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

_REWRITES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("Square",), ("Mul",)),
    (("Square",), ("Pow",)),
    (("Mul",), ("Pow",)),
    (("Sqrt",), ("Pow",)),
    (("Rsqrt",), ("Pow",)),
    (("Reciprocal",), ("Pow",)),
    (("Reciprocal",), ("RealDiv",)),
    (("Rsqrt",), ("Sqrt", "RealDiv")),
    (("Rsqrt",), ("Sqrt", "Reciprocal")),
    (("Rsqrt", "Mul"), ("Sqrt", "RealDiv")),
    (("Mul",), ("Add",)),
    (("Sub",), ("Neg", "Add")),
    (("Add",), ("Neg", "Sub")),
    (("SquaredDifference",), ("Sub", "Square")),
    (("SquaredDifference",), ("Sub", "Mul")),
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
    (("Prelu",), ("Relu", "Neg", "Relu", "Mul", "Add")),
)
"""(made, replaced) operations; the last operation of each gives the result."""

_MOST_REWRITES = 2
"""How many rules may apply to one node."""

ABSORBED = {
    "Reshape": RESHAPES,
    "Transpose": frozenset({"Transpose"}),
    "Cast": frozenset({"Cast"}),
    "MatMul": frozenset({"Transpose"}),
    "BatchMatMul": frozenset({"Transpose"}),
    "ConcatV2": frozenset({"ConcatV2"}),
}
"""Preceding operations that the operation on the left may absorb."""


@dataclass(frozen=True)
class NodeOperations:
    """The operations of a converted node, with fused ones, and the last of them.

    `foldable`: the source operations that may be folded into its constants.
    """

    ops: Counter[str]
    last: str
    foldable: frozenset[str] = frozenset()

    def explains(self, ops: Counter[str], last: str) -> bool:
        """Whether the node may compute the source operations `ops`; `last` is the one with the result."""
        return any(each.is_made_of(ops, last) for each in self._before_rewrites)

    def rearranges(self, ops: Counter[str]) -> bool:
        """Whether `ops` are the same operations in another order, or applied to each part before joining."""
        if "ConcatV2" not in ops:
            return ops == self.ops
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
            if made[-1] == self.last:
                yield NodeOperations(ops, of[-1], self.foldable)
            if rest[self.last]:
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
