"""Loops, branches and tables run in a real page without leaks or warnings.

Errors of TF.js 4.22 in control flow are reported.
"""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.families import FAMILIES
from pytest_tfjs.browsers.jobs import Job, TimingPlan
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from tests.support.control_flow_v1 import lowered
from tests.support.page_jobs import node_tap, open_page, run

pytestmark = [pytest.mark.browser, pytest.mark.convert]
X = np.random.default_rng(3).standard_normal((2, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def derived(cache, tmp_path_factory):
    """Artifacts, feeds and reference of a model, computed once."""
    made = {}

    def derive(name, source, inputs):
        if name not in made:
            source = as_source(source())
            artifacts = convert(source, format="graph", cache=cache)
            feeds = normalise_feeds([inputs, inputs], artifacts.inputs)
            made[name] = artifacts, feeds, capture_reference(source, artifacts, feeds, "all", cache)
        return made[name]

    def family(name, keras=None, *, v1=False):
        family = FAMILIES[name]
        folder = tmp_path_factory.mktemp("model")

        def source():
            path = family.save(keras, folder)
            return lowered(path, folder) if v1 else path

        return derive((name, keras, v1), source, family.inputs())

    derive.family = family
    return derive


def check(page, artifacts, feeds, reference):
    """Runs a model as for a comparison that is also timed, in two chunks; its console must stay empty."""
    layers = [layer for layer in reference.plan.layers if layer.tap is not None]
    taps = [node_tap(layer.tap["node"]) for layer in layers]
    half = len(taps) // 2
    chunks = tuple(filter(None, (tuple(taps[:half]), tuple(taps[half:]))))
    given = tuple(feed.browser for feed in feeds)
    result, received = run(
        page,
        Job(artifacts.model_json, "graph", given, chunks, TimingPlan(warmup=1, runs=2, budget_ms=60_000)),
    )
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
    assert [str(entry) for entry in (*page.console, *page.errors)] == []
    for feed, tensors in received:
        expected = reference.activations(feed)
        for layer in layers:
            if layer.tap["node"] in tensors:
                np.testing.assert_allclose(
                    tensors[layer.tap["node"]], expected[layer.name], rtol=1e-3, atol=1e-4
                )
    return {layer.name: layer for layer in layers}


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl"])
class TestOnEachBackend:
    def test_nested_loops_and_branches(self, harness, derived, backend):
        rows = check(open_page(harness, backend), *derived.family("control_flow"))
        assert {name for name, row in rows.items() if row.output} == {"while:3", "while:4", "cond"}

    def test_the_same_as_older_converters_wrote_them(self, harness, derived, backend):
        artifacts, feeds, reference = derived.family("control_flow", v1=True)
        assert {"Switch", "Merge", "Enter", "Exit"} <= {node.op for node in artifacts.nodes()}
        rows = check(open_page(harness, backend), artifacts, feeds, reference)
        assert sorted(row.op for row in rows.values() if row.output) == ["Exit", "Exit", "Merge"]
        assert {row.coverage for row in reference.plan.layers} == {"compared", "eliminated"}

    def test_a_table(self, harness, derived, backend):
        check(open_page(harness, backend), *derived.family("hash_table"))

    def test_a_recurrent_layer(self, harness, derived, backend):
        check(open_page(harness, backend), *derived.family("simple_rnn", 3))

    def test_a_branch_and_a_loop_that_give_back_what_they_were_given(self, harness, derived, tf, backend):
        weight = tf.constant([[1.0, 2.0, 3.0]])

        def source():
            @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
            def serve(x):
                low = tf.reduce_max(x) < 1000.0
                kept = tf.cond(low, lambda: x, lambda: x * 2.0)
                constant = tf.cond(low, lambda: weight, lambda: x[:1])
                looped = tf.while_loop(lambda a: tf.reduce_sum(a) > 1e6, lambda a: (a / 2.0,), (x,))[0]
                return {"kept": kept, "constant": constant, "looped": looped}

            return serve

        check(open_page(harness, backend), *derived("given back", source, X))


def test_tensor_list_is_read_in_any_node_order(derived):
    artifacts, _, _ = derived.family("simple_rnn", 3)
    (note,) = artifacts.notes
    assert "writes into tensor lists" in note


@pytest.mark.tfjs(backends="cpu,wasm,webgl")
def test_empty_activations_and_outputs_are_close_beside_others(tfjs, tf):
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x):
        none = tf.tanh(tf.boolean_mask(x, x[:, 0] > 1000.0) / 2000.0)
        return {"y": tf.concat([tf.nn.relu(x), none], 0), "none": none}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def inside(x):
        return serve(x)["y"]

    comparison = tfjs.assert_close(inside, X)
    empty = [row for row in comparison.layers if (row.reason or "").startswith("empty: ")]
    assert {row.layer.op for row in empty} >= {"Tanh"}
    assert {row.layer.coverage for row in empty} == {"eliminated"}
    found = tfjs.assert_close(serve, X)
    (none,) = [row for row in found.layers if "none" in row.layer.output_names]
    assert none.reason == "empty: shape [0, 3] holds no elements, so there is nothing to compare"
    both = tfjs.assert_close(serve, [X, X + 2000.0])  # compared only for the feed with elements
    assert [row.verdict for row in both.layers if row.layer.op == "Tanh"] == ["close"]


@pytest.mark.tfjs(backends="cpu")
def test_casts_are_noted_and_int32_overflow_is_unmapped(tfjs, tf):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="n")])
    def serve(n):
        return {"small": n + 1, "large": n * 1_000_000 + 1}

    comparison = tfjs.compare(serve, np.array([5000, 7]))
    rows = {row.layer.op: row for row in comparison.layers}
    assert comparison.notes == (
        "input 'n' was cast from int64 to int32, its dtype in the browser",
        "the reference of 'add' was cast from int64 to int32, because TF.js has no int64",
    )
    assert comparison.verdict == "unmapped"
    assert "with values from 7000000 to 5000000000, but int32" in rows["Mul"].reason


@pytest.mark.tfjs(backends="cpu")
def test_loop_returning_inner_loop_values_diverges(tfjs, tf):
    """TF.js returns the last inner value for every output."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32, name="n")])
    def serve(n):
        low, high = tf.constant(0), tf.constant(100)
        for _ in tf.range(n):
            for _ in tf.range(2):
                low, high = low + 1, high + 10
        return {"low": low, "high": high}

    comparison = tfjs.compare(serve, np.array(3, np.int32))
    assert comparison.verdict == "diverged"
    assert len(comparison.first_divergence) == 1


@pytest.mark.tfjs(backends="cpu")
def test_loop_dropping_its_tensor_list_is_an_error(tfjs, tf):
    """TF.js disposes the list with the loop's body."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x):
        return tf.map_fn(lambda row: tf.tanh(row) * 2.0, x)

    comparison = tfjs.compare(serve, X)
    assert comparison.verdict == "error"
    assert "Cannot read properties of undefined" in comparison.reason


@pytest.mark.tfjs(backends="cpu")
def test_complex_operands_of_different_ranks_diverge(tfjs, tf):
    """TF.js returns NaN for all elements except the first on cpu."""

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.complex64, name="x")])
    def serve(x):
        return {"y": tf.math.real(x * tf.constant([1 + 1j, 2j, 3], tf.complex64))}

    comparison = tfjs.compare(serve, X.astype(np.complex64))
    assert comparison.verdict == "diverged"
