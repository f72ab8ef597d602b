"""A model with NaN, Inf and tiny numbers raises no warning of numpy."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.filterwarnings("error::RuntimeWarning"),
    pytest.mark.filterwarnings("error:Casting complex values:Warning"),
]

tf = pytest.importorskip("tensorflow")

SPECIAL = np.float32([0, -0.0, 1e-40, 1e-20, 1, -2, 7e4, 1e20, 3.3e38, -3.3e38, np.inf, -np.inf])


def weights(*shape):
    return tf.constant(np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32))


def images(x):
    kernel, depthwise = weights(3, 3, 4, 5), weights(3, 3, 4, 1)
    convolved = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), weights(5))
    outputs = {
        "convolved": tf.nn.relu(convolved),
        "depthwise": tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "SAME"),
        "pooled": tf.nn.avg_pool2d(x, 2, 2, "VALID"),
        "largest": tf.nn.max_pool2d(x, 2, 2, "VALID"),
        "resized": tf.image.resize(x, [5, 5]),
    }
    mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
    return {**outputs, "normed": (x - mean) * tf.math.rsqrt(variance + 1e-3)}


def rows(x):
    product = tf.matmul(x, weights(12, 6))
    return {
        "product": tf.where(tf.math.is_nan(product), 0.0, product),
        "log": tf.math.log(tf.nn.relu(x)),
        "exp": tf.exp(x),
        "softmax": tf.nn.softmax(x),
        "quotient": x / (x * x),
        "sums": tf.cumsum(x, axis=1),
        "mean": tf.reduce_mean(x, axis=1),
        "root": tf.sqrt(x),
        "classes": tf.argmax(product, axis=1, output_type=tf.int32),
        "rounded": tf.math.floordiv(x, 1.5),
    }


FEEDS = {
    images: np.resize(SPECIAL, (1, 4, 6, 4)),
    rows: np.stack([np.roll(SPECIAL, step) for step in range(4)]),
}


def compared(tfjs, function, **options):
    feed = FEEDS[function]
    made = tf.Module()
    spec = tf.TensorSpec([None, *feed.shape[1:]], tf.float32, name="x")
    made.call = tf.function(function, input_signature=[spec])
    return tfjs.compare(made, feed, allow_vacuous="*", **options)


@pytest.mark.tfjs(backends="cpu,wasm,webgl,webgl:f16")
@pytest.mark.parametrize("function", [images, rows])
def test_no_warning_while_comparing(tfjs, function):
    assert compared(tfjs, function).verdict in ("close", "diverged")


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize("function", [images, rows])
@pytest.mark.parametrize("stored", ["float16", pytest.param("uint8", marks=pytest.mark.slow)])
def test_no_warning_with_quantised_weights(tfjs, function, stored):
    assert compared(tfjs, function, weights=stored).verdict in ("close", "diverged")
