"""Which source operations one operation of a converted graph may stand for.

The converter's optimiser rewrites algebra: what it makes is listed here, each rule with what it is made of.
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
"""Operations with constants that the converter may move into the weights and the bias of another."""

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
"""What the converter makes, and of what; of each the last operation gives the result."""

_MOST_REWRITES = 2
"""How many of these rules are tried at once."""

SWALLOWED = {
    "Reshape": RESHAPES,
    "Transpose": frozenset({"Transpose"}),
    "Cast": frozenset({"Cast"}),
    "MatMul": frozenset({"Transpose"}),
    "BatchMatMul": frozenset({"Transpose"}),
    "ConcatV2": frozenset({"ConcatV2"}),
}
"""Operations that the one on the left takes in when it follows them."""


@dataclass(frozen=True)
class Account:
    """What a converted node computes: its operations with those fused in, and which of them is the last.

    `foldable`: the source operations that its constants may have taken in.
    """

    ops: Counter[str]
    last: str
    foldable: frozenset[str] = frozenset()

    def explains(self, ops: Counter[str], last: str) -> bool:
        """Whether this may be what the source computes by `ops`, of which `last` gives the result."""
        return any(account.is_made_of(ops, last) for account in self._meanings)

    def rearranges(self, ops: Counter[str]) -> bool:
        """Whether the source computes by `ops` the same in another order, or part by part before it joins."""
        if "ConcatV2" not in ops:
            return ops == self.ops
        return (
            ops["ConcatV2"] == self.ops["ConcatV2"] and ops.keys() == self.ops.keys() and not self.ops - ops
        )

    @cached_property
    def _meanings(self) -> tuple[Account, ...]:
        """This account, and all that the converter may have rewritten into it."""
        found = newest = [self]
        for _ in range(_MOST_REWRITES):
            newest = [after for account in newest for after in account.rewritten()]
            found = found + newest
        return tuple(found)

    def rewritten(self) -> Iterator[Account]:
        """What this account is where one more of the converter's rules was applied."""
        for made, of in _REWRITES:
            if Counter(made) - self.ops:
                continue
            rest = self.ops - Counter(made)
            ops = rest + Counter(of)
            if made[-1] == self.last:
                yield Account(ops, of[-1], self.foldable)
            if rest[self.last]:
                yield Account(ops, self.last, self.foldable)

    def is_made_of(self, ops: Counter[str], last: str) -> bool:
        """Whether it is `ops` as they are, or with constant operations moved into weights and bias."""
        if ops == self.ops:
            return last == self.last
        return self._folds(ops, last)

    def _folds(self, ops: Counter[str], last: str) -> bool:
        """Whether `ops` are these with constant operations moved into the weights and the bias."""
        extra = ops - self.ops
        ends_well = last == self.last or (last in AFFINE and self.last in AFFINE | FOLDING_CONTRACTIONS)
        swallowed = frozenset().union(*(SWALLOWED.get(op, ()) for op in self.ops))
        return ends_well and not self.ops - ops and extra.keys() <= self.foldable | swallowed
