"""Keras 2 layers, translated into steps, give what Keras gives."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.recomputing.keras_layers import keras_steps
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute
from tests.support.recomputed_steps import assert_steps_give, values

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.convert


def keras_cases():
    layers = pytest.importorskip("tf_keras").layers
    image, row = (2, 8, 6, 4), (2, 5, 3)
    return [
        (layers.Dense(3, activation="gelu"), (2, 4)),
        (layers.Conv2D(3, 3, strides=2, padding="same", activation="elu"), image),
        (layers.Conv2D(4, 3, groups=2, dilation_rate=2), image),
        (layers.Conv1D(3, 3, padding="same", strides=2), row),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), image),
        (layers.SeparableConv2D(3, 3, strides=2, padding="same"), image),
        (layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="softsign"), image),
        (layers.Conv2DTranspose(3, 4, strides=3), image),
        (layers.BatchNormalization(epsilon=0.1), image),
        (layers.BatchNormalization(scale=False, axis=1), image),
        (layers.LayerNormalization(), image),
        (layers.Activation("hard_sigmoid"), (2, 9)),
        (layers.ReLU(max_value=1.5), (2, 9)),
        (layers.ReLU(negative_slope=0.1, max_value=1.5), (2, 9)),
        (layers.ReLU(threshold=0.4), (2, 9)),
        (layers.ReLU(threshold=0.2, negative_slope=0.3, max_value=0.9), (2, 9)),
        (layers.LeakyReLU(), (2, 9)),
        (layers.ELU(0.7), (2, 9)),
        (layers.PReLU(), (2, 9)),
        (layers.Softmax(axis=1), row),
        (layers.MaxPooling2D(3, 2, padding="same"), image),
        (layers.AveragePooling2D(2), image),
        (layers.AveragePooling2D(3, 2, padding="same"), image),
        (layers.GlobalAveragePooling2D(keepdims=True), image),
        (layers.GlobalMaxPooling1D(), row),
        (layers.UpSampling2D(2, interpolation="bilinear"), image),
        (layers.UpSampling2D((3, 2)), image),
        (layers.Resizing(5, 9), image),
        (layers.Rescaling(1 / 127.5, offset=-1), image),
        (layers.ZeroPadding2D(((0, 1), (2, 0))), image),
        (layers.Flatten(), image),
        (layers.Reshape((6, 4, 8)), image),
        (layers.Permute((3, 1, 2)), image),
        (layers.GRU(4, return_sequences=True), row),
        (layers.GRU(4, reset_after=False, go_backwards=True, recurrent_activation="hard_sigmoid"), row),
        (layers.LSTM(4), row),
    ]


@pytest.mark.parametrize(
    "number", range(len(keras_cases())), ids=lambda n: f"{n}-{type(keras_cases()[n][0]).__name__}"
)
def test_steps_of_keras_layer_give_its_output(number):
    layer, shape = keras_cases()[number]
    x = values(*shape)
    layer.build(shape)
    layer.set_weights(
        [np.abs(values(*each.shape, seed=n)) + 0.1 for n, each in enumerate(layer.get_weights())]
    )
    assert_steps_give(
        keras_steps(type(layer).__name__, layer.get_config(), layer.get_weights(), [x]), layer(x)
    )


@pytest.mark.parametrize(
    "name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]
)
def test_steps_of_merging_keras_layer_give_its_output(name):
    layer, inputs = (
        getattr(pytest.importorskip("tf_keras").layers, name)(),
        [values(2, 3), values(2, 3, seed=1)],
    )
    assert_steps_give(keras_steps(name, layer.get_config(), [], inputs), layer(inputs))


def test_unknown_keras_layer_cannot_be_recomputed():
    with pytest.raises(CannotRecompute, match="Bidirectional cannot be recomputed in numpy"):
        keras_steps("Bidirectional", {}, [], [])
