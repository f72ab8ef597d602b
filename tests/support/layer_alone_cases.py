"""Converted models whose layers can be run alone in TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.reference.running.layer_alone import GraphAlone
from pytest_tfjs.reference.running.tapped_graph import Session, TappedGraph

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.reference.comparison_plan import Plan


@dataclass(frozen=True)
class Loaded:
    """A converted model: its plan, its layers alone, and the reference activations of one feed by name.

    Among the activations are the model's inputs.
    """

    plan: Plan
    alone: GraphAlone
    activations: Mapping[str, np.ndarray[Any, Any]]
    feed: Feed


def load(model: Any, given: Any, cache: ContentCache, **options: Any) -> Loaded:
    """Converts `model` and computes its reference for the feed `given`."""
    source = as_source(model)
    artifacts = convert(source, cache=cache, **options)
    feeds = normalise_feeds(given, artifacts.inputs)
    found = load_reference_model(source, artifacts, feeds)
    names = [layer.name for layer in found.plan.layers if layer.coverage == "compared"]
    run = found.from_artifacts if artifacts.quantised else found.from_source
    return Loaded(found.plan, found.alone(), {**feeds[0].reference, **run(feeds[0], names)}, feeds[0])


def one_layer(build: Any, **given: np.ndarray[Any, Any]) -> tuple[GraphAlone, np.ndarray[Any, Any]]:
    """A model of one layer `y`, which `build(tf, **inputs)` makes: the layer alone, and what it gives."""
    alone = graph_of(build, **given)
    return alone, alone.run("y", given)


def graph_of(build: Any, **given: np.ndarray[Any, Any]) -> GraphAlone:
    """The same, not run."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        inputs = {
            name: tf.compat.v1.placeholder(value.dtype, value.shape, name) for name, value in given.items()
        }
        made = tf.identity(build(tf, **inputs))
    return GraphAlone(
        TappedGraph(
            graph=graph,
            run=Session(graph).run,
            inputs={name: tensor.name for name, tensor in inputs.items()},
            taps={"y": made.op.inputs[0].name},
            weights={op.name: op.name for op in graph.get_operations() if op.type == "Const"},
            copies={},
        )
    )
