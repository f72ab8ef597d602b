"""Short ways to write graphs for the tests of matching."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_tfjs.reference.graph import Graph, Node, parse_ref

if TYPE_CHECKING:
    from collections.abc import Mapping


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
