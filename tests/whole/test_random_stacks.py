"""Random stacks of layers through the real converter: rows and changed weights are right.

What a browser would compute of the artifacts is computed by TensorFlow (`converted_graph.py`) and by Keras,
so that an example takes seconds. The examples are the same in every run; TFJS_STACKS=500 draws 500 others in
place of the 15 of the slow tests.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from pytest_tfjs.models.tensorflow.layer_calls import read_calls
from pytest_tfjs.reference.graph import Graph, converted_node, parse_ref
from pytest_tfjs.reference.matching.groups import by_layer
from tests.support.converted_graph import disagreements
from tests.support.offline_run import OfflineRun, graph_activations
from tests.support.random_stacks import build, feed, recipes

pytestmark = pytest.mark.convert

LONG = int(os.environ.get("TFJS_STACKS", "0"))
MOST_TRIED = 8
sizes = pytest.mark.parametrize("size", [2, pytest.param(LONG or 15, marks=pytest.mark.slow)])
STACKS = settings(
    derandomize=not LONG,
    database=None,
    deadline=None,
    # Shrinking a failing stack takes minutes.
    phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def rows_behind(run):
    """For each weight of a single node: the first rows that change with the weight."""
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
    """The Keras layers of rows, including layers fused into them."""
    layers = run.reference.plan.layers
    return {layer.group for layer in layers if layer.name in rows or layer.into in rows}


def of_stacks(size, check):
    """Calls `check` with `size` random stacks."""

    @settings(STACKS, max_examples=size)
    @given(recipe=recipes(), data=st.data())
    def each(recipe, data):
        check(recipe, data)

    each()


@sizes
@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
def test_graph(cache, keras, size):
    of_stacks(size, lambda recipe, data: check_graph(cache, keras, recipe, data))


def check_graph(cache, keras, recipe, data):
    run = OfflineRun(build(pytest.importorskip(keras), recipe), feed(recipe), "graph", cache)
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
            # Behind a dead unit or within the tolerance, the change shows in no layer.
            assert not diverged, name
            continue
        event("a changed weight shows")
        assert judgement.verdict == "diverged"
        assert set(judgement.first_divergence) <= weights[name], name
        owner = by_layer(read_calls(run.artifacts.saved_model))(name, name)
        assert owner is None or owner.name in layers_of(run, judgement.first_divergence)
        return


@sizes
def test_layers(cache, size):
    of_stacks(size, lambda recipe, data: check_layers(cache, recipe, data))


def check_layers(cache, recipe, data):
    keras = pytest.importorskip("tf_keras")
    from pytest_tfjs.reference.running.keras_model import TappedKerasModel

    run = OfflineRun(build(keras, recipe), feed(recipe), "layers", cache)
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
