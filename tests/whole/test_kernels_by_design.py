"""Sound models are close where TF.js's kernels round other than TensorFlow's by design."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.report.failure_message import failure_message
from tests.support.sizes import slow_except

pytestmark = [pytest.mark.browser, pytest.mark.convert]

RNG = np.random.default_rng(5)


def normal(*shape, scale=1.0):
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def close(comparison):
    assert comparison.verdict == "close", failure_message(comparison)
    return comparison


def keras_model(keras, shape, *layers):
    x = y = keras.Input(shape, name="x")
    for one in layers:
        y = one(y)
    return keras.Model(x, y, name="designed")


# ---- webgl's packed depthwise convolution starts its sums at 1e-15 ----


def stack(keras, kind):
    layers = keras.layers
    depthwise = {"padding": "same", "use_bias": False, "name": "depthwise"}
    return {
        "plain": [layers.ReLU(), layers.DepthwiseConv2D(3, **depthwise)],
        "strides": [layers.DepthwiseConv2D(5, strides=2, **depthwise)],
        "activation": [layers.DepthwiseConv2D(3, activation="relu", **depthwise)],
        "normalised": [
            layers.DepthwiseConv2D(3, **depthwise),
            layers.BatchNormalization(gamma_initializer="he_normal", name="norm"),
            layers.ReLU(6.0),
        ],
        "signal": [layers.Reshape((72, 16)), layers.DepthwiseConv1D(3, **depthwise)],
        "separable": [layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="separable")],
        "large strides": [layers.DepthwiseConv2D(3, strides=3, **depthwise)],
        "multiplier": [layers.DepthwiseConv2D(3, depth_multiplier=2, **depthwise)],
    }[kind]


QUICK = ("plain layers", "normalised graph", "separable graph")
DEPTHWISE = (
    "plain layers", "strides layers", "activation layers", "normalised layers", "large strides layers",
    "multiplier layers", "plain graph", "strides graph", "activation graph", "normalised graph",
    "large strides graph", "multiplier graph", "signal graph", "separable graph",
)  # fmt: skip


@pytest.mark.tfjs(backends="webgl,webgl:unpacked")
@pytest.mark.parametrize("case", slow_except(QUICK, DEPTHWISE))
def test_tiny_values_of_depthwise_convolutions_are_close(tfjs, case):
    kind, _, format_ = case.rpartition(" ")
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(5)
    model = keras_model(keras, (12, 6, 16), *stack(keras, kind))
    # Several feeds in one comparison.
    feeds = [normal(1, 12, 6, 16, scale=scale) for scale in (1.0, 1e-8, 1e-12, 1e-16, 1e-20)]
    close(tfjs.compare(model, feeds, format=format_, alone="all", allow_vacuous="*"))


@pytest.mark.tfjs(backends="webgl,wasm")
def test_values_that_webgl_cannot_compute_are_noted(tfjs, tfjs_target):
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(5)
    model = keras_model(keras, (12, 6, 16), *stack(keras, "plain"), keras.layers.Dense(3, use_bias=False))
    for scale in (1e-22, 1e-12):
        feed = normal(1, 12, 6, 16, scale=scale)
        comparison = close(tfjs.compare(model, feed, alone="all", allow_vacuous="*"))
        expected = tfjs_target.backend == "webgl" and scale == 1e-22
        assert any("1e-15" in note for note in comparison.notes) == expected


# ---- wasm adds the products onto the bias; equal summands in some channels ----


def onto_bias(keras, kind):
    layers = keras.layers
    name = {"name": "sums"}
    return {
        "dense": ((1024,), layers.Dense(16, **name)),
        "dense on rows": ((4, 1024), layers.Dense(16, activation="relu", **name)),
        "pixels": ((4, 4, 512), layers.Conv2D(16, 1, **name)),
        "image": ((8, 8, 64), layers.Conv2D(16, 3, activation="relu", **name)),
        "signal": ((12, 256), layers.Conv1D(16, 3, **name)),
        "depthwise": ((12, 12, 16), layers.DepthwiseConv2D(9, **name)),
    }[kind]


KINDS = ("dense", "dense on rows", "pixels", "image", "signal", "depthwise")


@pytest.mark.tfjs(backends="wasm,webgl,cpu")
@pytest.mark.parametrize("format_", slow_except(["layers"], ["layers", "graph"]))
@pytest.mark.parametrize("kind", slow_except(["dense", "signal"], KINDS))
def test_products_far_below_the_bias_are_close(tfjs, kind, format_):
    keras = pytest.importorskip("tf_keras")
    shape, layer = onto_bias(keras, kind)
    model = keras_model(keras, shape, layer)
    kernel, bias = layer.get_weights()
    layer.set_weights([np.abs(normal(*kernel.shape, scale=0.05)), RNG.uniform(0.5, 1, bias.shape)])
    feeds = [RNG.uniform(0, most, (2, *shape)).astype(np.float32) for most in (1e-7, 1e-6, 1e-5, 1e-3)]
    close(tfjs.compare(model, feeds, format=format_, alone="all"))


@pytest.mark.tfjs(backends="wasm,webgl,cpu")
@pytest.mark.parametrize("format_", slow_except(["graph"], ["layers", "graph"]))
@pytest.mark.parametrize("kind", slow_except(["image"], [kind for kind in KINDS if kind != "depthwise"]))
def test_equal_summands_in_some_channels_are_close(tfjs, kind, format_):
    keras = pytest.importorskip("tf_keras")
    shape, layer = onto_bias(keras, kind)
    model = keras_model(keras, shape, layer)
    kernel, bias = (normal(*one.shape, scale=0.05) for one in layer.get_weights())
    kernel[..., :3] = 1 / np.prod(kernel.shape[:-1])
    layer.set_weights([kernel, bias])
    feeds = [np.full((2, *shape), value, np.float32) for value in (0.1, 0.7, 123.4, -3.3)]
    close(tfjs.compare(model, feeds, format=format_, alone="all", allow_vacuous="*"))


# ---- right alone, right as a whole ----


def rounding_much(keras, kind):
    """A layer whose kernel loses many digits of the feed beside it, and may."""
    layers = keras.layers
    if kind == "norm":
        # With a larger epsilon Keras 2 converts it to a batch-norm that TF.js computes wrongly.
        return layers.LayerNormalization(epsilon=1e-6), normal(2, 16, 64, scale=0.01) + np.float32(1000)
    if kind == "gru":
        return layers.GRU(12, reset_after=False), normal(2, 9, 16, scale=1e-16)
    return layers.Activation(kind), normal(4, 256, scale=1e-7)


ALONE_AND_WHOLE = (
    "norm layers", "elu layers", "selu layers", "tanh layers", "softsign layers", "gru layers",
    "norm graph", "elu graph", "selu graph", "tanh graph", "gru graph",
)  # fmt: skip


@pytest.mark.tfjs(backends="cpu,wasm,webgl")
@pytest.mark.parametrize("case", slow_except(("norm layers", "elu layers", "norm graph"), ALONE_AND_WHOLE))
def test_layers_behind_one_that_rounds_much_are_not_wrong(tfjs, case):
    kind, _, format_ = case.partition(" ")
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(5)
    layer, feed = rounding_much(keras, kind)
    behind = [keras.layers.Dense(5), keras.layers.ReLU(), keras.layers.Dense(3, name="last")]
    model = keras_model(keras, feed.shape[1:], layer, *behind)
    close(tfjs.compare(model, feed, format=format_, alone="all", allow_vacuous="*"))


@pytest.mark.tfjs(backends="cpu,wasm,webgl")
def test_an_activation_that_the_reference_loses_is_not_wrong(tfjs):
    keras = pytest.importorskip("tf_keras")
    model = keras_model(keras, (64,), keras.layers.ELU(), keras.layers.Dense(3), keras.layers.Dense(3))
    close(tfjs.compare(model, -(normal(4, 64, scale=1e-9) ** 2), alone="all", allow_vacuous="*"))


@pytest.mark.tfjs(backends="webgl")
def test_a_lost_activation_is_noted(tfjs):
    keras = pytest.importorskip("tf_keras")
    model = keras_model(keras, (64,), keras.layers.ELU(name="curved"), keras.layers.Dense(3, name="last"))
    (note,) = close(tfjs.compare(model, normal(4, 64, scale=1e-8), allow_vacuous="*")).notes
    assert note.startswith("'last' is off by ")
    assert "The error comes from 'curved' (ELU)" in note


# ---- webgl's mix() ----


@pytest.mark.tfjs(backends="webgl,webgl:unpacked,wasm")
@pytest.mark.parametrize("kind", slow_except(["update"], ["update", "rows", "dense", "one-hot", "repeated"]))
def test_scattered_values_are_close(tfjs, tfjs_target, kind):
    tf = pytest.importorskip("tensorflow")

    def made(x, rows):
        match kind:
            case "update":
                return tf.tensor_scatter_nd_update(x, [[1], [5]], rows, name="made")
            case "rows":
                return tf.tensor_scatter_nd_update(x, [[0, 3], [5, 60]], rows[:, 0] * 1.0, name="made")
            case "dense":
                return tf.raw_ops.SparseToDense(
                    sparse_indices=[[1], [40]],
                    output_shape=[64],
                    sparse_values=rows[:, 0] * 1.0,
                    default_value=0.3,
                )
            case "one-hot":
                return tf.one_hot(tf.cast(tf.abs(rows), tf.int32), 4, 0.9, 0.1, name="made")
        return tf.scatter_nd([[1], [1]], rows, [4, 64], name="made")

    class Model(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([8, 64], tf.float32, name="x"),
                tf.TensorSpec([2, 64], tf.float32, name="rows"),
            ]
        )
        def serve(self, x, rows):
            return {"y": made(x, rows), "z": tf.tanh(x * 1.5) + tf.reduce_sum(rows)}

    feeds = [{"x": normal(8, 64), "rows": normal(2, 64)} for _ in range(3)]
    if (kind, tfjs_target.backend) == ("one-hot", "wasm"):
        pytest.skip("wasm writes integers instead of the values: a known divergence")
    close(tfjs.compare(Model(), feeds, alone="all", allow_vacuous="*"))
