"""Converted graphs run in TensorFlow with the stored weights, or the error has a reason."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest

from pytest_tfjs.compare.operations import FUSED_ACTIVATIONS
from pytest_tfjs.errors import SourceError
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.running.converted_graph import ConvertedGraph
from tests.support.converted_graph import disagreements
from tests.support.tiny_graphs import constant, node, placeholder, write_graph

pytestmark = pytest.mark.convert
X = np.float32([[1, -2, 3], [0.5, 0, -1]])
KERNEL = np.float32([[0.3, -1.7], [0.9, 0.2], [-0.4, 1.1]])


@pytest.fixture
def cache(tmp_path):
    with ContentCache(tmp_path / "cache") as cache:
        yield cache


def test_lookup_tables_are_filled_by_their_initialiser(cache):
    tf = pytest.importorskip("tensorflow")

    class Words(tf.Module):
        def __init__(self):
            pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "ö"]), tf.constant([0, 1]))
            self.table = tf.lookup.StaticHashTable(pairs, 0)
            self.rows = tf.Variable(KERNEL.T)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
        def serve(self, words):
            return {"rows": tf.tanh(tf.gather(self.rows, self.table.lookup(words)))}

    source = as_source(Words())
    artifacts = convert(source, weights="uint8", cache=cache)
    feeds = normalise_feeds(np.array(["ö", "a", "other"]), artifacts.inputs)
    reference = capture_reference(source, artifacts, feeds, "all", cache)
    assert reference.weights.differences == ()
    assert disagreements(artifacts, feeds[0], reference) == {}
    (output,) = (layer.name for layer in reference.plan.layers if layer.output)
    exact = np.tanh(KERNEL.T[[1, 0, 0]])
    np.testing.assert_allclose(reference.source_activations(0, [output])[output], exact, rtol=1e-5)
    rounded = reference.activations(0)[output]
    assert 0 < np.abs(rounded - exact).max() < 0.02


@pytest.mark.parametrize("called", [False, True])
def test_only_functions_that_nodes_call_are_checked(cache, called):
    """Converter 3.7 leaves functions of training in the initialiser of a lookup table."""
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def function(x):
        return tf.tanh(x @ KERNEL)

    artifacts = convert(as_source(function), weights="uint8", cache=cache)

    def calling(name):
        return {"name": f"call_{name}", "op": "NoOp", "attr": {"f": {"func": {"name": name}}}}

    functions = [
        {"signature": {"name": "outer"}, "nodeDef": [calling("training")]},
        {"signature": {"name": "training"}, "nodeDef": [{"name": "inner", "op": "OptionalNone"}]},
    ]
    nodes = [*artifacts.topology["node"], *([calling("outer")] if called else [])]
    topology = {**artifacts.topology, "node": nodes, "library": {"function": functions}}
    changed = dataclasses.replace(artifacts, topology=topology)
    if called:
        with pytest.raises(SourceError, match="OptionalNone"):
            ConvertedGraph(changed)
    else:
        given = {artifacts.inputs[0].tensor: X}
        (value,) = ConvertedGraph(changed).run(given, [artifacts.outputs[0].tensor]).values()
        np.testing.assert_allclose(value, np.tanh(X @ KERNEL), atol=0.02)


def test_a_graph_that_tensorflow_cannot_run_is_rejected(cache):
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def function(x):
        return tf.tanh(x @ KERNEL)

    source = as_source(function)
    artifacts = convert(source, weights="uint8", cache=cache)
    nodes = [
        {**node, "op": "Strange"} if node["op"] == "Tanh" else node for node in artifacts.topology["node"]
    ]
    strange = dataclasses.replace(artifacts, topology={**artifacts.topology, "node": nodes})
    with pytest.raises(SourceError, match=r"cannot run.*Strange.*weights='float32'"):
        ConvertedGraph(strange)
    with pytest.raises(SourceError, match="cannot run"):
        capture_reference(source, strange, normalise_feeds(X, artifacts.inputs), "all", cache)
    wrong = np.ones((2, 4), np.float32)
    with pytest.raises(SourceError, match="cannot run"):
        ConvertedGraph(artifacts).run({artifacts.inputs[0].tensor: wrong}, [artifacts.outputs[0].tensor])


@pytest.mark.parametrize("op", [*sorted(FUSED_ACTIVATIONS - {"Prelu"}), "Tanh", "Selu", "Softplus"])
def test_only_activations_fused_by_tfjs_run_in_a_contraction(op, tmp_path):
    """TF.js rejects all other activations, so TensorFlow must not compute a reference with them."""
    tf = pytest.importorskip("tensorflow")
    fused = {"list": {"s": [base64.b64encode(op.encode()).decode()]}}
    nodes = [
        placeholder("x", -1, 3),
        constant("kernel", KERNEL),
        node("_FusedMatMul", "y", "x", "kernel", fused_ops=fused, leakyrelu_alpha={"f": 0.25}),
    ]
    path = write_graph(tmp_path, nodes, {"kernel": KERNEL}, inputs={"x": "x:0"}, outputs={"y": "y:0"})
    artifacts = read_artifacts(path)
    if op not in FUSED_ACTIVATIONS:
        with pytest.raises(SourceError, match=f"{op!r} fused in"):
            ConvertedGraph(artifacts)
        return
    exact = {"LeakyRelu": lambda x: tf.nn.leaky_relu(x, 0.25)}.get(op) or getattr(tf.nn, op.lower())
    found = ConvertedGraph(artifacts).run({"x:0": X}, ["y:0"])["y:0"]
    np.testing.assert_allclose(found, exact(X @ KERNEL), rtol=1e-5, atol=1e-6)
