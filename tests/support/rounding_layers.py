"""Layers of one or a few operations, and their inputs, for the tests of rounding errors."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.reference.rounding.magnitudes import Magnitudes
from tests.support.layer_alone_cases import one_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfjs.reference.rounding.magnitudes import Arithmetic

    Build = Callable[..., Any]

U = 2.0**-24
LAMBDA = 3.0

_RNG = np.random.default_rng(11)
X = _RNG.normal(0, 2, (2, 9, 9, 6)).astype(np.float32)
KERNEL = _RNG.normal(0, 1, (3, 3, 6, 8)).astype(np.float32)
ROWS = _RNG.normal(0, 2, (5, 40)).astype(np.float32)
MATRIX = _RNG.normal(0, 1, (40, 7)).astype(np.float32)


def generator() -> np.random.Generator:
    """A new generator that continues after `MATRIX`, so that no module depends on another's draws."""
    return copy.deepcopy(_RNG)


def measured(build: Build, **inputs: NDArray[Any]) -> tuple[Arithmetic, NDArray[Any], NDArray[Any]]:
    """The arithmetic of a layer, its activation, and its activation in float64."""
    alone, value = one_layer(build, **inputs)
    wide = {name: v.astype(np.float64) if v.dtype.kind == "f" else v for name, v in inputs.items()}
    _, exact = one_layer(build, **wide)
    return Magnitudes(alone).of("y", inputs, value), value, exact


def const(tf: Any, value: Any, like: Any) -> Any:
    """`value` as a constant in the dtype of `like`."""
    return tf.constant(value, like.dtype)


def batch_norm(tf: Any, x: Any, per_channel: NDArray[Any], mean: NDArray[Any] | None = None) -> Any:
    """A batch-norm in elementary operations: x·s + (offset - mean·s).

    `per_channel`: scale, offset, mean and variance; `mean` replaces the third.
    """
    scale, offset, own_mean, variance = per_channel
    mean = own_mean if mean is None else mean
    return tf.compat.v1.nn.batch_normalization(
        x,
        *(const(tf, value, x) for value in (mean, variance, offset, scale)),
        1e-3,
    )


def layers(per_channel: NDArray[Any]) -> dict[str, Build]:
    """Functions of the module tensorflow and `x`, by name; the batch-norm has the given statistics."""
    return {
        "convolution": lambda tf, x: tf.nn.conv2d(x, const(tf, KERNEL, x), 2, "SAME"),
        "convolution, bias, relu6": lambda tf, x: tf.nn.relu6(
            tf.nn.conv2d(x, const(tf, KERNEL, x), 1, "VALID") + const(tf, KERNEL[0, 0, 0], x)
        ),
        "depthwise": lambda tf, x: tf.nn.depthwise_conv2d(
            x, const(tf, KERNEL[..., :2], x), [1, 1, 1, 1], "SAME"
        ),
        "transposed convolution": lambda tf, x: tf.nn.conv2d_transpose(
            x, const(tf, KERNEL.swapaxes(2, 3), x), [2, 18, 18, 8], 2, "SAME"
        ),
        "separable": lambda tf, x: tf.nn.separable_conv2d(
            x, const(tf, KERNEL[..., :1], x), const(tf, KERNEL[:1, :1], x), [1, 1, 1, 1], "SAME"
        ),
        "batch-norm": lambda tf, x: batch_norm(tf, x, per_channel),
        "average pool": lambda tf, x: tf.nn.avg_pool2d(x, 3, 2, "SAME"),
        "global average": lambda tf, x: tf.reduce_mean(x, [1, 2]),
        "layer norm": lambda tf, x: (
            (x - tf.reduce_mean(x, -1, keepdims=True))
            * tf.math.rsqrt(tf.math.reduce_variance(x, -1, keepdims=True) + const(tf, 1e-3, x))
        ),
        "sum of squares": lambda tf, x: tf.reduce_sum(tf.square(x), [1, 3]),
        "distance": lambda tf, x: tf.sqrt(tf.reduce_sum(tf.math.squared_difference(x, x[:, ::-1]), -1)),
        "running sum": lambda tf, x: tf.cumsum(x, 1, exclusive=True, reverse=True),
        "einsum": lambda tf, x: tf.einsum("bhwc,bhvc->bhwv", x, x),
        "batched product": lambda tf, x: tf.matmul(x, x, transpose_b=True),
        "product and softmax": lambda tf, x: tf.nn.softmax(tf.matmul(x, x, transpose_b=True)),
        "sums": lambda tf, x: tf.add_n([x, 2 * x, -3 * x[::-1]]),
        "differences": lambda tf, x: (x - x[:, :, ::-1]) * 3 + x,
        "a product of differences": lambda tf, x: (x - x[:, ::-1]) * (x + x[:, :, ::-1]),
        "a quotient": lambda tf, x: (x - x[:, ::-1]) / (tf.abs(x) + const(tf, 1, x)),
        "spectrum": lambda tf, x: tf.abs(tf.signal.rfft(tf.transpose(x, [0, 3, 1, 2]))),
        "leaky": lambda tf, x: tf.nn.leaky_relu(x - x[::-1], 0.3),
        "the greatest of sums": lambda tf, x: tf.reduce_max(x + x[:, ::-1], -1),
        "the greater of two": lambda tf, x: tf.maximum(x - x[:, ::-1], x * 3),
        "chosen sums": lambda tf, x: tf.where(x > 0, x + x[::-1], x),
        "clipped sums": lambda tf, x: tf.clip_by_value(x + x[::-1], const(tf, -1, x), const(tf, 1, x)),
        "a power": lambda tf, x: tf.pow(tf.abs(x) + const(tf, 0.5, x), const(tf, 2.5, x)),
    }
