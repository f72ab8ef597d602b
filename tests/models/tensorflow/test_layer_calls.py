"""Recording which Keras layer makes each node, during the export of real models."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.models.tensorflow.layer_calls import _name, _Trace
from pytest_tfjs.reference.capture import capture_reference
from tests.whole.test_converted_models import IMAGE, SEQUENCE, built

pytestmark = pytest.mark.convert


def rows_of(model, inputs, cache):
    source = as_source(model)
    artifacts = convert(source, format="graph", cache=cache)
    feeds = normalise_feeds(inputs, artifacts.inputs)
    return capture_reference(source, artifacts, feeds, "all", cache).plan.layers


def compared(rows):
    """For each compared row its group, without the numbers that Keras 3 adds to scopes."""
    return {row.name: (row.group, row.group_op) for row in rows if row.coverage == "compared"}


@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
def test_each_row_has_the_layer_that_created_its_node(cache, keras):
    def layers(k, x):
        for name in ("conv", "conv_1", "conv_2"):
            x = k.Conv2D(3, 3, name=name)(x)
        return x

    found = compared(rows_of(built(pytest.importorskip(keras), IMAGE, layers), IMAGE, cache))
    assert list(found.values()) == [(name, "Conv2D") for name in ("conv", "conv_1", "conv_2")]
    if keras == "keras":
        # The scope of one layer has the name of another: scopes alone would give wrong layers.
        assert [name.split("/")[0] for name in found][:2] == ["conv_1", "conv_1_2"]


@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
def test_nested_models_shared_layers_and_wrappers(cache, keras):
    module = pytest.importorskip(keras)

    def layers(k, x):
        inner = module.Sequential(
            [module.Input((10, 6)), k.Dense(6, activation="tanh", name="dense")], name="inner"
        )
        shared = k.Dense(6, activation="relu", name="shared")
        x = shared(inner(inner(shared(x))))
        x = k.TimeDistributed(k.Dense(4, name="deep"), name="timed")(x)
        return k.Bidirectional(k.LSTM(3, name="lstm"), name="both")(x)

    rows = rows_of(built(module, SEQUENCE, layers), SEQUENCE, cache)
    groups = dict.fromkeys((row.group, row.group_op) for row in rows if row.coverage != "eliminated")
    assert list(groups) == [
        ("shared", "Dense"),
        ("inner/dense", "Dense"),
        ("inner#2/dense", "Dense"),
        ("shared#2", "Dense"),
        ("timed", "TimeDistributed"),
        ("both", "Bidirectional"),
    ]
    assert None not in {row.group for row in rows if row.coverage == "compared"}


def test_calls_are_counted_per_graph_even_if_ids_are_reused():
    class Traced:
        """A graph that gets the id of the previous, deleted one."""

    def numbered():
        return _name(trace, Traced(), "dense")

    trace = _Trace()
    assert [numbered() for _ in range(5)] == ["dense"] * 5
    assert len(trace.counts) == 0
    graph = Traced()
    assert [_name(trace, graph, "dense") for _ in range(2)] == ["dense", "dense#2"]


def test_groups_of_a_saved_model_are_its_scopes(cache, tmp_path):
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
    def serve(x):
        with tf.name_scope("body"):
            with tf.name_scope("left"):
                y = tf.tanh(x)
            with tf.name_scope("right"):
                z = tf.nn.softplus(x)
        return y * z

    tf.saved_model.save(module, str(tmp_path / "saved"), serve)
    found = compared(rows_of(tmp_path / "saved", SEQUENCE[:, 0], cache))
    assert {group for group, _ in found.values()} == {"body/left", "body/right", None}
    assert {op for _, op in found.values()} == {None}


def test_tracing_keeps_autograph_and_restores_keras(cache):
    """Autograph still compiles the loops of a layer, and Keras is unchanged afterwards."""
    keras = pytest.importorskip("tf_keras")
    tf = pytest.importorskip("tensorflow")

    class Doubling(keras.layers.Layer):
        def call(self, x):
            while tf.reduce_max(tf.abs(x)) < 9.0:
                x = x * 2.0
            return x

    before = keras.layers.Layer.__call__
    x = keras.Input((6,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="after")(Doubling(name="loop")(x)), name="m")
    model.set_weights([np.full(weight.shape, 0.3) for weight in model.get_weights()])
    rows = rows_of(model, SEQUENCE[:, 0], cache)
    assert keras.layers.Layer.__call__ is before
    assert {("loop", "Doubling"), ("after", "Dense")} <= set(compared(rows).values())
