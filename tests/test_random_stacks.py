"""Random stacks of layers through the real converter: every row is right, and a changed weight is named.

What a browser would compute of the artifacts is computed by TensorFlow (`converted_graph.py`) and by Keras,
so that an example takes seconds. The examples are the same in every run; TFJS_STACKS=500 draws 500 others.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from converted_graph import disagreements, run_converted
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from random_stacks import build, feed, recipes

from pytest_tfjs.browsers.jobs import Activations
from pytest_tfjs.compare.tolerances import resolve_tolerances
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.measuring import Measured
from pytest_tfjs.models.artifacts import with_weights
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.layer_calls import read_calls
from pytest_tfjs.models.source import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.graphs import Graph, converted_node, parse_ref
from pytest_tfjs.reference.groups import by_layer

pytestmark = pytest.mark.convert

LONG = int(os.environ.get("TFJS_STACKS", "0"))
MOST_TRIED = 8
stacks = settings(
    max_examples=LONG or 15,
    derandomize=not LONG,
    database=None,
    deadline=None,
    # To make a failing stack smaller takes minutes.
    phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Run:
    """One recipe through the product's code: source, artifacts and reference."""

    def __init__(self, keras, recipe, format_, cache):
        self.model = build(pytest.importorskip(keras), recipe)
        source = as_source(self.model)
        self.artifacts = convert(source, format=format_, cache=cache)
        self.feeds = normalise_feeds(feed(recipe), self.artifacts.inputs)
        self.reference = capture_reference(source, self.artifacts, self.feeds, "all", cache)
        self.rows = [layer for layer in self.reference.plan.layers if layer.tap is not None]
        assert self.reference.weights.findings == ()

    def unmapped(self):
        layers = self.reference.plan.layers
        return {layer.name: layer.reason for layer in layers if layer.coverage == "unmapped"}

    def judge(self, activations):
        """The judgement on activations by row, as the product comes to it."""
        layers = self.reference.plan.layers
        tolerances = resolve_tolerances(
            layers, backend="wasm", half=False, rtol=None, atol=None, per_layer=None
        )
        measured = Measured(self.reference, tolerances)
        measured.take(Activations(0, activations))
        return judge(layers, measured.merged(), measured.tolerances())

    def changed(self, name, draw, folder):
        """The artifacts with one element of one weight changed by more than the weight's range."""
        weight = self.artifacts.read_weights()[name].copy()
        place = np.unravel_index(draw(st.integers(0, weight.size - 1)), weight.shape)
        weight[place] += 1 + 2 * np.abs(weight).max()
        return with_weights(self.artifacts, {name: weight}, folder)


@pytest.fixture(scope="module")
def cache():
    with tempfile.TemporaryDirectory() as folder, ContentCache(Path(folder)) as cache:
        yield cache


def graph_activations(run, artifacts):
    taps = {row.name: row.tap["node"] for row in run.rows}
    values = run_converted(artifacts, run.feeds[0].reference, list(taps.values()))
    return {name: np.asarray(values[node]) for name, node in taps.items()}


def rows_behind(run):
    """For each weight that one node takes: the rows whose value changes first when the weight does."""
    nodes = [converted_node(node.name, node.op, node.inputs, node.attr) for node in run.artifacts.nodes()]
    graph = Graph.of(nodes, [parse_ref(spec.tensor) for spec in run.artifacts.outputs])
    rows = defaultdict(set)
    for row in run.rows:
        rows[parse_ref(row.tap["node"])[0]].add(row.name)

    def after(node):
        own = rows.get(node, set())
        # A loop may give what it computed as a list of tensors, which is read only where it is stacked.
        if own and graph.nodes[node].op not in ("While", "StatelessWhile"):
            return own
        return own.union(*map(after, graph.consumers.get(node, ())))

    return {
        name: after(*graph.consumers[name])
        for name, value in run.artifacts.read_weights().items()
        if value.dtype.kind == "f" and value.size and len(graph.consumers.get(name, ())) == 1
    }


def layers_of(run, rows):
    """The Keras layers of rows, with those of what is fused into them."""
    layers = run.reference.plan.layers
    return {layer.group for layer in layers if layer.name in rows or layer.into in rows}


@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
@stacks
@given(recipe=recipes(), data=st.data())
def test_graph(cache, keras, recipe, data):
    run = Run(keras, recipe, "graph", cache)
    assert run.unmapped() == {}
    assert disagreements(run.artifacts, run.feeds[0], run.reference) == {}
    sound = graph_activations(run, run.artifacts)
    assert run.judge(sound).verdict in ("close", "vacuous")
    weights = rows_behind(run)
    assume(weights)
    for name in itertools.islice(data.draw(st.permutations(sorted(weights))), MOST_TRIED):
        with tempfile.TemporaryDirectory() as folder:
            damaged = run.changed(name, data.draw, folder)
            activations = graph_activations(run, damaged)
        judgement = run.judge(activations)
        diverged = {result.layer.name for result in judgement.results if result.verdict == "diverged"}
        if not diverged & weights[name]:
            # Behind a dead unit or within the tolerance: then it shows nowhere else either.
            assert not diverged, name
            continue
        event("a changed weight shows")
        assert judgement.verdict == "diverged"
        assert set(judgement.first_divergence) <= weights[name], name
        owner = by_layer(read_calls(run.artifacts.saved_model))(name, name)
        assert owner is None or owner.name in layers_of(run, judgement.first_divergence)
        return


@stacks
@given(recipe=recipes(), data=st.data())
def test_layers(cache, recipe, data):
    keras = pytest.importorskip("tf_keras")
    from pytest_tfjs.reference.keras_model import TappedKerasModel

    run = Run("tf_keras", recipe, "layers", cache)
    assert run.unmapped() == {}
    names = [weight.name.removesuffix(":0") for weight in run.model.weights]
    floats = [weight.name.removesuffix(":0") for weight in run.model.weights if "seed" not in weight.name]
    assume(floats)
    for name in itertools.islice(data.draw(st.permutations(sorted(set(floats)))), MOST_TRIED):
        with tempfile.TemporaryDirectory() as folder:
            stored = run.changed(name, data.draw, folder).read_weights()
        twin = keras.models.clone_model(run.model)
        twin.set_weights([stored[each] for each in names])
        values = TappedKerasModel(twin).run(
            list(run.feeds[0].reference.values()), list(run.reference.plan.tensors.values())
        )
        judgement = run.judge({row: values[at] for row, at in run.reference.plan.tensors.items()})
        if judgement.verdict != "diverged":
            continue
        event("a changed weight shows")
        assert judgement.first_divergence == (name.split("/")[0],)
        return
