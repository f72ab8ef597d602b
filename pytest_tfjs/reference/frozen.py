"""Runs a SavedModel's signature as the frozen graph that the converter starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.reference.graphs import Graph, Node, parse_ref
from pytest_tfjs.reference.unchanged import unchanged_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Array = np.ndarray[Any, np.dtype[Any]]


class FrozenGraph:
    """The graph of one signature with its variables as constants and its functions inlined.

    `lower_control_flow` turns loops and branches into Switch and Merge, as in artifacts that have these.
    `graph` is the same as plain data, whose nodes carry the dtypes of their outputs.
    """

    def __init__(self, saved_model: Path, signature: str, *, lower_control_flow: bool) -> None:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        self._model = tf.saved_model.load(str(saved_model))
        function = self._model.signatures[signature]
        # As the converter does, so that the nodes have the same names here and in the artifacts.
        self._frozen = convert_variables_to_constants_v2(
            function, lower_control_flow=lower_control_flow, aggressive_inlining=True
        )
        self.graph = _plain(self._frozen.graph, [tensor.name for tensor in function.outputs])

    def run(self, feed: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """The values of `tensors` (`node:0`) in one pass; `feed` is by input tensor (`image:0`)."""
        import tensorflow as tf

        graph = self._frozen.graph
        taken = [name for name in feed if name.partition(":")[0] in self.graph.nodes]
        pruned = self._frozen.prune(
            [graph.get_tensor_by_name(name) for name in taken],
            [graph.get_tensor_by_name(name) for name in tensors],
        )
        given = [tf.constant(feed[name], dtype=graph.get_tensor_by_name(name).dtype) for name in taken]
        return {name: np.asarray(value.numpy()) for name, value in zip(tensors, pruned(*given), strict=True)}


def _plain(graph: Any, outputs: Iterable[str]) -> Graph:
    return Graph.of(map(_node, graph.get_operations()), map(parse_ref, outputs))


def _node(operation: Any) -> Node:
    unchanged = unchanged_input(operation)
    return Node(
        name=operation.name,
        op=operation.type,
        inputs=tuple(parse_ref(tensor.name) for tensor in operation.inputs),
        frame=operation.get_attr("frame_name").decode() if operation.type == "Enter" else None,
        dtypes=tuple(tensor.dtype.name for tensor in operation.outputs),
        same=None if unchanged is None else parse_ref(unchanged.name),
    )
