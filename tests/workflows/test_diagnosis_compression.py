"""Quantised weights that make NaN or Inf are named as the cause."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.convert]

tf = pytest.importorskip("tensorflow")
tf_keras = pytest.importorskip("tf_keras")

SCORES = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
ABSENT = np.float32([[0, 0, 0], [0, 0, 1]])


def module(function, *shapes):
    specs = [tf.TensorSpec(shape, tf.float32, name=f"x{at}") for at, shape in enumerate(shapes)]
    made = tf.Module()
    made.call = tf.function(function, input_signature=specs)
    return made


def masked(scores, absent):
    return {"y": tf.nn.softmax(scores + tf.multiply(absent, -1e9, name="bias"), name="weights")}


def divided(x, deviation):
    del deviation
    return {"y": tf.tanh(x / tf.constant(np.float32([1e-9, 1e-9, 1e-9])), name="scaled")}


@pytest.mark.tfjs(backends="cpu,wasm,webgl")
@pytest.mark.parametrize(
    ("function", "weight"),
    [
        (masked, "the value -1e+09 becomes -Inf as float16"),
        # The converter stores the reciprocals, 1e9.
        (divided, "3 of 3 values are NaN or Inf as float16"),
    ],
)
def test_a_half_constant_that_makes_nan_or_inf_is_named(tfjs, function, weight):
    model = module(function, [None, 3], [None, 3])
    comparison = tfjs.compare(model, (SCORES * np.float32([[1], [0]]), ABSENT), weights="float16")
    assert comparison.verdict == "diverged"
    assert comparison.diagnosis.kind == "quantised weights", comparison.diagnosis
    assert weight in comparison.reason
    assert comparison.diagnosis.said == comparison.reason


@pytest.mark.tfjs(backends="cpu")
def test_a_half_weight_of_a_layers_model_is_named(tfjs):
    x = tf_keras.Input((3,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2, name="large")(x), name="large")
    kernel, bias = model.get_weights()
    kernel[1, 0] = 1e5
    model.set_weights([kernel, bias])
    comparison = tfjs.compare(model, SCORES, weights="float16")
    assert comparison.diagnosis.kind == "quantised weights", comparison.diagnosis
    assert (
        "'large/kernel' 1 of 6 values becomes Inf as float16, the first at [1, 0]: 100000"
        in comparison.reason
    )
    assert tfjs.compare(model, SCORES).verdict == "close"
