"""Matches between converted nodes and source nodes, one by one or as a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from pytest_tfjs.reference.matching.subgraphs import Operand


@dataclass(frozen=True)
class Match:
    """The converted `node` computes what the source node `tail` does, output for output.

    `subgraph`: the source operations that it computes, in order; `tail` is the last of them.
    """

    node: str
    tail: str
    subgraph: tuple[str, ...]


@dataclass(frozen=True)
class Matching:
    """What became of the converted graph: matches by converted node, and why the rest has none.

    `stands_for` gives the source node for each converted one; None for constants.
    """

    matches: Mapping[str, Match]
    unmatched: Mapping[str, str]
    stands_for: Mapping[str, str | None]


@dataclass(frozen=True)
class Part:
    """A converted node that computes no source tensor alone, but may do so together with a later node.

    The optimiser makes such nodes: a regrouped sum (`AddOpsRewrite_Leaf`), a convolution with a folded
    batch-norm whose offset follows as a BiasAdd, a concatenation moved before the Relus of its parts.
    """

    names: frozenset[str]
    ops: Counter[str]
    entering: Operand
    foldable: frozenset[str]
