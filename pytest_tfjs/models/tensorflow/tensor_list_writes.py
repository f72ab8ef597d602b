"""Reorders loop bodies so that TF.js 4.22 does not free tensors written into a tensor list.

At the end of a loop body TF.js frees every tensor except those that the body returns. A tensor written into
a list survives only if the body returns the very same tensor, which requires that the write runs before the
node that returns the tensor: otherwise that node returns a copy. Of several nodes that read one tensor, TF.js
runs the last one in `model.json` first. If the write is not the last, reading the list later fails with
"Cannot read properties of undefined (reading 'backend')".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITES = frozenset({"TensorListSetItem", "TensorListPushBack"})

WRITES_MOVED = (
    "in the bodies of loops, writes into tensor lists were moved to the end of the node list, because TF.js "
    "4.22 frees the written tensors otherwise. The order of nodes does not change results. "
    "Artifacts that the command tensorflowjs_converter writes have another order and may fail. To test the "
    "artifacts that you ship, pass them with Prebuilt(artifacts, source)"
)


def put_writes_last(topology: Mapping[str, Any]) -> bool:
    """Moves writes into tensor lists behind all other nodes of each function; returns whether any moved.

    `topology` is the `modelTopology` of a graph model. Its functions' node lists are sorted in place.
    """
    moved = False
    for function in topology.get("library", {}).get("function", ()):
        nodes = function.get("nodeDef", [])
        in_order = sorted(nodes, key=lambda node: node["op"] in _WRITES)
        moved = moved or in_order != nodes
        nodes[:] = in_order
    return moved
