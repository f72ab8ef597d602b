"""Layers that keep a state begin each run without one, in the browser and in Python."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.convert]

SHAPE = (1, 4, 3)


def feeds(count, shape=SHAPE):
    rng = np.random.default_rng(4)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(count)]


def recurrent(keras, which):
    """A layer with a state, on sequences of `SHAPE`."""
    if which == "Bidirectional":
        return keras.layers.Bidirectional(keras.layers.LSTM(5, stateful=True), name="memory")
    kwargs = {"reset_after": False} if which == "GRU" else {}  # TF.js has no reset_after
    return getattr(keras.layers, which)(5, stateful=True, name="memory", **kwargs)


def build(keras, which, *, nested=False):
    keras.utils.set_random_seed(3)
    x = keras.Input(batch_shape=SHAPE, name="x")
    if nested:
        inner = keras.Input(batch_shape=SHAPE)
        part = keras.Model(inner, recurrent(keras, which)(inner), name="part")
        hidden = part(x)
    else:
        hidden = recurrent(keras, which)(x)
    out = keras.layers.Dense(2, name="out", bias_initializer="ones")(hidden)
    return keras.Model(x, out, name="stateful")


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize("which", ["LSTM", *(pytest.param(one, marks=pytest.mark.slow) for one in (
    "GRU", "SimpleRNN", "Bidirectional"))])  # fmt: skip
def test_a_layer_with_a_state_is_close_on_several_feeds(tfjs, which):
    keras = pytest.importorskip("tf_keras")
    model = build(keras, which)
    model.predict(feeds(1)[0], verbose=0)  # the user's model has a state, which is no part of the artifacts
    comparison = tfjs.assert_close(model, feeds(3), format="layers", alone="all")
    (memory,) = (row for row in comparison.layers if row.layer.name == "memory")
    assert memory.local is not None, memory.not_alone
    assert comparison.timing is not None


@pytest.mark.tfjs(backends="cpu", tap_budget=1)
def test_the_layers_of_a_chunk_are_computed_without_the_state_of_the_chunk_before(tfjs):
    keras = pytest.importorskip("tf_keras")
    # Every activation is a chunk of its own, and so a run of its own.
    tfjs.assert_close(build(keras, "LSTM", nested=True), feeds(2), format="layers")


@pytest.mark.slow
@pytest.mark.tfjs(backends="wasm,webgl")
def test_a_convolution_with_a_state_is_close(tfjs):
    keras = pytest.importorskip("tf_keras")
    shape = (1, 3, 6, 6, 2)
    x = keras.Input(batch_shape=shape, name="x")
    y = keras.layers.ConvLSTM2D(3, 3, stateful=True, name="memory")(x)
    tfjs.assert_close(keras.Model(x, keras.layers.Flatten(name="flat")(y)), feeds(2, shape), format="layers")
