"""Short ways to write graphs for the tests of matching."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_tfjs.reference.graph import Graph, Node, parse_ref

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Case:
    """A source graph, the converted graph, and the source node of each converted node."""

    source: Graph
    converted: Graph
    expected: dict[str, str]
    names_suffice: bool = False


def node(name, op, *inputs, fused=(), dtypes=("float32",), same=None, frame=None) -> Node:
    """`inputs` are written as in a GraphDef: `conv`, `split:1`."""
    return Node(
        name,
        op,
        tuple(map(parse_ref, inputs)),
        fused_ops=tuple(fused),
        frame=frame,
        dtypes=dtypes,
        same=None if same is None else parse_ref(same),
    )


def graph(*nodes: Node, outputs: str = "", values: Mapping[str, str] | None = None) -> Graph:
    """`outputs` are separated by spaces. What is not given is an input (x, y, z) or else a constant.

    `values` tells the values of weights.
    """
    values = {} if values is None else values
    given = {entry.name for entry in nodes}
    missing = dict.fromkeys(name for entry in nodes for name, _ in entry.inputs if name not in given)
    leaves = [
        replace(node(name, "Placeholder" if name in ("x", "y", "z") else "Const"), value=values.get(name))
        for name in missing
    ]
    return Graph.of([*leaves, *nodes], map(parse_ref, outputs.split()))
