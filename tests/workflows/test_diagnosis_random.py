"""Random numbers are told as that, with a seed or without one."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.sizes import slow_except

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="cpu")]

X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)

DRAWN = {
    "seeded": lambda tf, x: tf.random.normal(tf.shape(x), seed=7, name="noise"),
    "not seeded": lambda tf, x: tf.random.uniform([2, 4], name="noise"),
    "truncated": lambda tf, x: tf.random.truncated_normal(tf.shape(x), seed=3, name="noise"),
    "dropout": lambda tf, x: tf.nn.dropout(x, 0.5, name="noise"),
    "integers": lambda tf, x: tf.cast(tf.random.uniform([2, 4], 0, 9, tf.int32, name="noise"), tf.float32),
}


@pytest.mark.parametrize("alone", ["all", pytest.param("none", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", slow_except(["seeded", "not seeded"], DRAWN))
def test_random_numbers_of_a_graph_are_no_fault(tfjs, name, alone):
    tf = pytest.importorskip("tensorflow")

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def serve(self, x):
            noisy = tf.add(tf.multiply(x, 2.0, name="twice"), DRAWN[name](tf, x), name="noisy")
            return {"y": tf.nn.tanh(noisy, name="end")}

    comparison = tfjs.compare(Model(), X, alone=alone)
    assert comparison.verdict == "diverged"
    found = comparison.diagnosis
    assert found.kind == "random numbers", found
    assert "noise" in found.said
    assert "Make them an input of the model" in found.said
    assert comparison.growth is None
    assert comparison.first_divergence[0].startswith(("noise", "noisy"))


@pytest.mark.parametrize("class_name", slow_except(["Dropout"], ["Dropout", "GaussianNoise", "LSTM"]))
def test_random_layers_of_a_layers_model_are_no_fault(tfjs, class_name):
    keras = pytest.importorskip("tf_keras")
    x = keras.Input((3, 4), name="x")
    made = {"LSTM": lambda: keras.layers.LSTM(4, dropout=0.5, name="draws")}
    layer = made.get(class_name, lambda: getattr(keras.layers, class_name)(0.5, name="draws"))()
    out = keras.layers.Dense(2, name="out")(layer(x, training=True))
    feed = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    comparison = tfjs.compare(keras.Model(x, out, name="noisy"), feed, format="layers")
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", ("draws",))
    assert (comparison.diagnosis.kind, comparison.diagnosis.layer) == ("random numbers", "draws")
    assert "TF.js ignores training=True" in comparison.diagnosis.said


def test_the_same_layer_without_training_is_close(tfjs):
    keras = pytest.importorskip("tf_keras")
    x = keras.Input((4,), name="x")
    dropped = keras.layers.Dropout(0.5, name="draws")(x)
    model = keras.Model(x, keras.layers.Dense(2, bias_initializer="ones", name="out")(dropped))
    comparison = tfjs.assert_close(model, X, format="layers")
    assert all(row.local is not None for row in comparison.layers if row.layer.op == "Dense")
