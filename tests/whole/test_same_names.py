"""Converted nodes whose name belongs to another source tensor are matched by value."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import Prebuilt, as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.reference.running.frozen_graph import FrozenGraph
from tests.support.converted_graph import run_converted
from tests.whole.test_converted_models import IMAGE, SEQUENCE, built, residual

pytestmark = pytest.mark.convert


def meanings(model, given, cache):
    """For each node with the name of a source tensor, and the tensor matched with it: both, and its value."""
    source = as_source(model)
    artifacts = convert(source, cache=cache, format="graph")
    feeds = normalise_feeds(given, artifacts.inputs)
    reference = capture_reference(source, artifacts, feeds, "all", cache)
    assert not [layer for layer in reference.plan.layers if layer.coverage == "unmapped"]
    frozen = FrozenGraph(artifacts.saved_model, artifacts.signature, lower_control_flow=False)
    rows = [layer for layer in reference.plan.layers if layer.tap is not None]
    named = {row.name: row.tap["node"] for row in rows if row.tap["node"][:-2] in frozen.graph.nodes}
    inputs = {spec.name: spec.tensor for spec in artifacts.inputs}
    fed = {inputs[name]: value for name, value in feeds[0].reference.items()}
    same_named = frozen.run(fed, list(dict.fromkeys(named.values())))
    computed = run_converted(artifacts, feeds[0].reference, list(named.values()))
    return {
        row: (computed[node], same_named[node], reference.activations(0)[row]) for row, node in named.items()
    }


def agrees(value, other):
    return value.shape == other.shape and np.allclose(
        value, other, rtol=1e-4, atol=1e-4 * float(np.abs(other).max())
    )


def prelu(k, x):
    return k.PReLU(shared_axes=[1, 2], name="p")(k.Conv2D(4, 3, name="c")(x))


KERAS = {
    "fused depthwise of Keras 2": (
        "tf_keras",
        lambda k, x: k.ReLU(6.0, name="r")(k.BatchNormalization(name="n")(k.DepthwiseConv2D(3, name="d")(x))),
        "d/depthwise",
    ),
    "fused depthwise of Keras 3": (
        "keras",
        lambda k, x: k.BatchNormalization(name="n")(k.DepthwiseConv2D(3, name="d")(x)),
        "d_1/depthwise",
    ),
    "batch-norm folded": (
        "tf_keras",
        lambda k, x: k.Softmax(name="s")(
            k.BatchNormalization(name="n")(k.DepthwiseConv2D(3, use_bias=False, name="d")(x))
        ),
        "d/depthwise",
    ),
    "PReLU fused": ("tf_keras", prelu, "c/Conv2D"),
}


@pytest.mark.parametrize(("keras", "layers", "row"), KERAS.values(), ids=KERAS.keys())
def test_node_with_a_reused_name_is_matched_by_value(cache, keras, layers, row):
    model = built(pytest.importorskip(keras), IMAGE, layers)
    found = meanings(model, IMAGE, cache)
    computed, same_named, matched = found[row]
    assert not agrees(computed, same_named)
    assert agrees(computed, matched)
    assert all(agrees(value, right) for value, _, right in found.values())


def test_node_with_an_unchanged_name_matches_both(cache):
    found = meanings(built(pytest.importorskip("tf_keras"), IMAGE, residual), IMAGE, cache)
    assert all(agrees(value, named) and agrees(value, right) for value, named, right in found.values())


def test_renamed_scopes(cache):
    """Keras 3 numbers its scopes anew in each trace: one layer's scope may become another's."""
    tf = pytest.importorskip("tensorflow")
    kernels = np.random.default_rng(3).uniform(-0.5, 0.6, (3, 6, 6)).astype(np.float32)

    def stack(x, scopes):
        for scope, kernel in zip(scopes, kernels, strict=True):
            with tf.name_scope(scope):
                x = tf.nn.relu(tf.nn.bias_add(x @ kernel, kernel[0]))
        return x

    def traced(*scopes):
        spec = [tf.TensorSpec([None, 6], tf.float32, name="x")]
        return tf.function(lambda x: stack(x, scopes), input_signature=spec)

    feed = SEQUENCE[:, 0]
    other = convert(as_source(traced("dense_1", "dense_2", "dense_3")), cache=cache)
    ours = traced("dense", "dense_1", "dense_2")
    found = meanings(Prebuilt(other.model_json, ours), feed, cache)
    assert all(agrees(value, right) for value, _, right in found.values())
    misnamed = {row for row, (value, named, _) in found.items() if not agrees(value, named)}
    assert misnamed == {"dense/matmul", "dense_1/matmul"}


def test_renamed_scopes_of_equal_branches(cache):
    """Only weights distinguish the branches, and the weights' names are swapped too."""
    tf = pytest.importorskip("tensorflow")
    kernels = np.random.default_rng(3).uniform(-0.5, 0.6, (2, 6, 6)).astype(np.float32)

    def traced(*scopes):
        def branches(x):
            found = []
            for scope, kernel in zip(scopes, kernels, strict=True):
                with tf.name_scope(scope):
                    found.append(tf.nn.relu(tf.nn.bias_add(x @ tf.constant(kernel, name="k"), kernel[0])))
            return tf.concat(found, 1)

        spec = [tf.TensorSpec([None, 6], tf.float32, name="x")]
        return tf.function(branches, input_signature=spec)

    feed = SEQUENCE[:, 0]
    other = convert(as_source(traced("dense_1", "dense_2")), cache=cache)
    source = as_source(Prebuilt(other.model_json, traced("dense", "dense_1")))
    found = meanings(source, feed, cache)
    assert all(agrees(value, right) for value, _, right in found.values())
    assert {row for row, (value, named, _) in found.items() if not agrees(value, named)} == {"dense/matmul"}
    artifacts = convert(source, cache=cache)
    feeds = normalise_feeds(feed, artifacts.inputs)
    weights = load_reference_model(source, artifacts, feeds).check_weights(feeds[0])
    assert weights.counts["equal"] >= 2
    assert weights.counts.keys() <= {"equal", "folded"}
