"""`--tfjs-tap-budget` limits the activations that Python and the page hold at once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import CHUNK_LIMIT, Job
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.running.frozen_graph import FrozenGraph
from pytest_tfjs.reference.running.keras_model import TappedKerasModel
from pytest_tfjs.workflows.layer_measurement import chunks
from tests.support.comparisons import layer
from tests.support.page_jobs import open_page
from tests.support.tiny_graphs import node, placeholder, write_graph

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)


def reference(*feeds):
    """A reference whose layers have these sizes, one list for each feed."""
    names = [f"layer {number}" for number in range(len(feeds[0]))]
    rows = [layer(name, tap={"node": name}) for name in names]
    rows.append(layer("gone", coverage="eliminated"))
    sizes = [dict(zip(names, feed, strict=True)) for feed in feeds]
    return SimpleNamespace(plan=SimpleNamespace(layers=rows), feeds=len(feeds), sizes=sizes.__getitem__)


def chunk_lengths(given, budget):
    return [len(chunk) for chunk in chunks(given, budget)]


def test_layers_that_fit_the_budget_for_all_feeds_are_one_chunk():
    assert chunk_lengths(reference([10] * 8), 80) == [8]
    assert chunk_lengths(reference([10] * 4, [10] * 4), 80) == [4]


def test_two_chunks_fit_the_budget_together():
    assert chunk_lengths(reference([10] * 8), 79) == [3, 3, 2]
    assert chunk_lengths(reference([10] * 4, [10] * 4), 79) == [3, 1]


def test_chunks_are_sized_by_the_feed_with_the_largest_activation():
    assert chunk_lengths(reference([10, 10, 10, 10], [10, 10, 30, 10]), 80) == [2, 2]


def test_activation_above_the_budget_is_a_chunk_by_itself():
    assert chunk_lengths(reference([10, 500, 10, 10]), 40) == [1, 1, 2]


def test_chunks_stay_below_the_limit_of_a_job():
    assert chunk_lengths(reference([CHUNK_LIMIT // 3] * 2), 8 * CHUNK_LIMIT) == [1, 1]


def model(k):
    k.utils.set_random_seed(5)
    x = y = k.Input((6,), name="x")
    for number in range(6):
        y = k.layers.Dense(8, activation="tanh", name=f"dense_{number}")(y)
    return k.Model(x, k.layers.Dense(2, name="out")(y), name="deep")


@pytest.fixture
def passes(monkeypatch):
    """The bytes of the tensors computed by each pass through a source."""
    seen = []

    def watch(owner):
        def watched(self, feed, tensors, plain=owner.run):
            values = plain(self, feed, tensors)
            seen.append(sum(value.nbytes for value in values.values()))
            return values

        monkeypatch.setattr(owner, "run", watched)

    watch(FrozenGraph)
    watch(TappedKerasModel)
    return seen


def capture(source, feeds, cache, budget, **options):
    source = as_source(source)
    artifacts = convert(source, cache=cache, **options)
    feeds = normalise_feeds(feeds, artifacts.inputs)
    return capture_reference(source, artifacts, feeds, "all", cache, budget=budget)


@pytest.mark.convert
@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_reference_above_the_budget_is_computed_in_groups_below_it(passes, tmp_path, format_):
    source = model(pytest.importorskip("tf_keras"))
    found = []
    for name, budget in (("one", 1 << 20), ("many", 200)):
        with ContentCache(tmp_path / name) as cache:
            whole = capture(source, [X, X[:1]], cache, budget, format=format_)
            found.append([dict(whole.activations(feed)) for feed in (0, 1)])
            found[-1] = [{name: np.array(value) for name, value in feed.items()} for feed in found[-1]]
            files = [len(feed) for feed in whole.stored.files]
            if name == "one":
                assert (files, len(passes)) == ([1, 1], 2)
                total, last = passes
                passes.clear()
    assert max(passes) <= 200 < total
    assert len(passes) == sum(files) > 3
    assert sum(passes) == total + last
    for one, many in zip(*found, strict=True):
        assert one.keys() == many.keys()
        for name, value in one.items():
            np.testing.assert_allclose(many[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.convert
def test_dynamic_shapes_are_measured_within_the_budget(passes, tmp_path):
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
    def some(x):
        negative = tf.boolean_mask(x, x[:, 0] < 0)
        return {"a": tf.tanh(negative), "b": tf.exp(negative), "c": tf.sigmoid(x)}

    with ContentCache(tmp_path) as cache:
        reference = capture(some, X, cache, 40)
        shapes = {layer.op: layer.shape for layer in reference.plan.layers if layer.output}
    assert shapes == {"Tanh": (1, 6), "Exp": (1, 6), "Sigmoid": (2, 6)}
    # Each of these activations has 24 bytes or more: no two are computed together.
    assert max(passes) <= 48


@pytest.mark.convert
def test_full_disk_is_reported_before_the_reference_is_written(monkeypatch, tmp_path):
    free = SimpleNamespace(total=1000, used=901, free=99)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    with ContentCache(tmp_path) as cache, pytest.raises(TfjsError, match="has 99 left: free some space"):
        capture(model(pytest.importorskip("tf_keras")), X, cache, 1 << 20)


@pytest.mark.convert
def test_sizes_of_a_keras_model_with_unknown_sequence_length(tmp_path):
    k = pytest.importorskip("tf_keras")
    x = k.Input((None, 3), name="x")
    tapped = TappedKerasModel(k.Model(x, k.layers.Conv1D(4, 2, name="conv")(x)))
    feed = [np.ones((2, 7, 3), np.float32)]
    tensor = '[[], "conv", 0, 0]'
    assert tapped.sizes(feed, [tensor]) == {tensor: tapped.run(feed, [tensor])[tensor].nbytes}


@pytest.mark.browser
def test_page_holds_at_most_two_chunks_and_returns_the_same_activations(tmp_path):
    names = [f"node_{number}" for number in range(12)]
    nodes = [placeholder("x", -1, 6), *map(node, ["Tanh", "Neg"] * 6, names, ["x", *names[:-1]])]
    graph = write_graph(tmp_path, nodes, {}, inputs={"x": "x:0"}, outputs={"y": "node_11:0"})
    feed = {"x": np.tile(X, (500, 1))}
    size = feed["x"].nbytes
    rows = [layer(name, tap={"node": f"{name}:0"}) for name in names]
    fake = SimpleNamespace(
        plan=SimpleNamespace(layers=rows), feeds=1, sizes=lambda feed: dict.fromkeys(names, size)
    )
    harness = Harness(dist=Dist.shipped())
    try:
        found, held = [], []
        for budget in (12 * size, 4 * size):
            groups = chunks(fake, budget)
            page, tensors, most = open_page(harness), {}, []

            def take(activations, tensors=tensors, most=most):
                tensors.update(activations.tensors)
                memory = harness._browser._driver.execute_script("return tf.memory().numBytes")
                most.append(memory)

            page.run(Job(graph, "graph", (feed,), groups), take)
            found.append(tensors)
            held.append((len(groups), max(most)))
    finally:
        harness.close()
    (one, _), (many, most) = held
    assert (one, many) == (1, 6)
    # The feed and two chunks, which fill the budget.
    assert most <= size + 4 * size
    assert found[0].keys() == found[1].keys() == set(names)
    for name in names:
        np.testing.assert_array_equal(found[0][name], found[1][name])
