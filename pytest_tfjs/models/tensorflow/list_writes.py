"""The order in which TF.js 4.22 runs the body of a loop that writes into a tensor list.

TF.js frees what a body computed when it ends, but for what the body returns. A tensor that was written into a
list lives on only where the body returns that very tensor, and that it does if the write ran before the node
that passes the tensor on: else this one made a copy to return. Of the nodes that take one tensor, TF.js runs
the last of the `model.json` first. Where the write stands before another one, reading the list fails later
with "Cannot read properties of undefined (reading 'backend')".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITES = frozenset({"TensorListSetItem", "TensorListPushBack"})

WRITES_MOVED = (
    "in the bodies of loops, writes into tensor lists were moved to the end of the node list, because TF.js "
    "4.22 frees what they wrote where they stand before other nodes. The order means nothing to TensorFlow. "
    "Artifacts made by tensorflowjs_converter itself may fail here: compare those that you ship as Prebuilt"
)


def put_writes_last(topology: Mapping[str, Any]) -> bool:
    """Puts what writes into tensor lists behind all other nodes of each function; whether anything moved.

    `topology` is the `modelTopology` of a graph model; its functions' lists of nodes are sorted in place.
    """
    moved = False
    for function in topology.get("library", {}).get("function", ()):
        nodes = function.get("nodeDef", [])
        in_order = sorted(nodes, key=lambda node: node["op"] in _WRITES)
        moved = moved or in_order != nodes
        nodes[:] = in_order
    return moved
