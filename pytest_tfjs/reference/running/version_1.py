"""Freezes SavedModels of TensorFlow 1, whose graphs have their lookup tables as nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TABLES = "table_initializer"
"""The collection of the operations that fill the tables."""


@dataclass(frozen=True)
class FrozenVersion1:
    """A `tf.Graph` with constants in place of variables, and the operations that fill its lookup tables."""

    graph: Any
    initializers: Sequence[str]


def freeze_version_1(saved_model: Path, outputs: Sequence[str]) -> FrozenVersion1:
    """The graph that leads to `outputs`, frozen as the converter does it for such models."""
    import tensorflow as tf

    compat = tf.compat.v1
    with tf.Graph().as_default() as loaded, compat.Session() as session:
        meta_graph = compat.saved_model.load(session, ["serve"], str(saved_model))
        initializers = list(meta_graph.collection_def[_TABLES].node_list.value)
        frozen = compat.graph_util.convert_variables_to_constants(
            session, loaded.as_graph_def(), [*outputs, *initializers]
        )
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
    return FrozenVersion1(graph, initializers)
