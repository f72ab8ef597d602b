"""Divergences with NaN, Inf, zeros and very large or small numbers."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_GPU = "tfjs-backend-webgl/src/"
_SIGNED = np.float32([[1.5, -50.0, 0.25], [-2.0, 30.0, -0.5], [4.0, -1.0, 60.0]])
_POSITIVE_OR_NOT = np.float32([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0], [2.0, 1.0, 0.5]])
_WITH_ZEROS = np.float32([[0.0, 1.0, 2.0], [3.0, 0.0, 0.5]])


def _mean_of_none(tf, x):
    above = tf.nn.relu(x, name="above")
    return tf.realdiv(above, tf.multiply(above, 2.0, name="weights"), name="faulty")


def _equal_infinities(tf, x):
    steep = tf.multiply(x, 1e38, name="steep")
    return tf.realdiv(steep, tf.abs(steep, name="size"), name="faulty")


def _maximum_with_nan(tf, x):
    return tf.maximum(tf.cos(x, name="wave"), tf.sqrt(x, name="root"), name="faulty")


def _clipped_nan(tf, x):
    root = tf.sqrt(x, name="root")
    return tf.raw_ops.ClipByValue(t=root, clip_value_min=0.5, clip_value_max=1.5, name="faulty")


def _after_overflow(function):
    return lambda tf, x: function(tf)(tf.multiply(x, 1e38, name="steep"), name="faulty")


def _inverse_of_relu(tf, x):
    return tf.math.reciprocal(tf.nn.relu(x, name="above"), name="faulty")


def _written_over_infinity(tf, x):
    inverse = tf.math.reciprocal(x, name="inverse")
    return tf.tensor_scatter_nd_update(inverse, [[1]], tf.fill([1, 3], 2.5, name="row"), name="faulty")


def _power_of_zero(tf, x):
    return tf.pow(x, -3.0, name="faulty")


CASES = {
    "0 / 0": Known(
        "`RealDiv` (`/`, `tf.divide`)",
        "0 / 0, such as the mean of an empty group",
        "1 instead of NaN",
        "`tf.math.divide_no_nan`, or add a small constant to the divisor",
        f"{_GPU}kernels/RealDiv.ts#L25",
        _mean_of_none,
        {"x": _POSITIVE_OR_NOT},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "Inf / Inf": Known(
        "`RealDiv` (`/`, `tf.divide`)",
        "Inf / Inf: equal operands give 1, whatever they are",
        "1 instead of NaN",
        "bound the operands with `tf.clip_by_value`",
        f"{_GPU}kernels/RealDiv.ts#L25",
        _equal_infinities,
        {"x": np.abs(_SIGNED)},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "maximum with NaN": Known(
        "`Maximum`, `Minimum`",
        "one of the two operands is NaN",
        "the other operand instead of NaN",
        "test for NaN with `tf.math.is_nan` before it",
        "tfjs-backend-wasm/src/cc/kernels/Maximum.cc",
        _maximum_with_nan,
        {"x": _POSITIVE_OR_NOT},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "clip of NaN on wasm": Known(
        "`ClipByValue`",
        "an element is NaN",
        "the lower bound instead of NaN",
        "test for NaN with `tf.math.is_nan` before it",
        "tfjs-backend-wasm/src/cc/kernels/ClipByValue.cc",
        _clipped_nan,
        {"x": _POSITIVE_OR_NOT},
        ("wasm",),
        ("cpu",),
    ),
    "clip next to NaN": Known(
        "`ClipByValue`",
        "an element is NaN",
        "its neighbours in the same 2 by 2 block are not clipped",
        "replace NaN with `tf.where` before it, or set the flag `WEBGL_PACK_CLIP` to false",
        f"{_GPU}clip_packed_gpu.ts#L38",
        _clipped_nan,
        {"x": _POSITIVE_OR_NOT},
        ("webgl",),
        ("cpu",),
    ),
    "relu of -Inf": Known(
        "`Relu`",
        "the input is -Inf: it is multiplied by 0",
        "NaN instead of 0",
        "bound the input with `tf.maximum(x, -1e38)`",
        f"{_GPU}kernels/Relu.ts#L27",
        _after_overflow(lambda tf: tf.nn.relu),
        {"x": _SIGNED},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "relu of NaN": Known(
        "`Relu`, `Relu6`, alone and fused into a convolution or a matrix product",
        "the input is a NaN whose sign bit is set, as processors give for sqrt(-1) and Inf - Inf",
        "0 instead of NaN",
        "test for NaN with `tf.math.is_nan` before it",
        "tfjs-backend-wasm/src/cc/kernels/Relu.cc",
        lambda tf, x: tf.nn.relu(tf.sqrt(x, name="root"), name="faulty"),
        {"x": _POSITIVE_OR_NOT},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "relu6 of -Inf": Known(
        "`Relu6`",
        "the input is -Inf: it is multiplied by 0",
        "NaN instead of 0",
        "bound the input with `tf.maximum(x, -1e38)`",
        f"{_GPU}kernels/Relu6.ts#L27",
        _after_overflow(lambda tf: tf.nn.relu6),
        {"x": _SIGNED},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "leaky relu of Inf": Known(
        "`LeakyRelu`, `Prelu`",
        "the input is Inf or -Inf: it is multiplied by 0",
        "NaN instead of Inf",
        "bound the input with `tf.clip_by_value`",
        f"{_GPU}kernels/LeakyRelu.ts#L26",
        _after_overflow(lambda tf: tf.nn.leaky_relu),
        {"x": _SIGNED},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "softplus of NaN": Known(
        "`Softplus`, `Selu`",
        "the input is NaN",
        "Inf instead of NaN on SwiftShader; other GPUs may give another number",
        "test for NaN with `tf.math.is_nan` before it",
        f"{_GPU}kernels/Softplus.ts#L23",
        lambda tf, x: tf.nn.softplus(tf.sqrt(x, name="root"), name="faulty"),
        {"x": _POSITIVE_OR_NOT},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "softmax of a masked row": Known(
        "`Softmax`, `LogSoftmax`",
        "all elements of a row are -Inf, as in a row that is masked out",
        "1 everywhere instead of NaN: the largest element is -1e20, and 0 / 0 is 1",
        "mask with -1e9 instead of -Inf, which gives equal shares",
        f"{_GPU}reduce_gpu.ts#L43",
        lambda tf, x: tf.nn.softmax(tf.multiply(x, 1e38, name="steep"), name="faulty"),
        {"x": np.float32([[-50.0, -60.0, -70.0], [1e-37, 2e-37, 0.0]])},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "inverse of relu": Known(
        "`Relu`, `Relu6`",
        "a negative input, and a later layer that tells -0 from 0, such as `1 / x`",
        "-0 instead of 0, so that the later layer gives -Inf instead of Inf",
        "`tf.maximum(x, 0.0)` instead of `tf.nn.relu(x)`, or `tf.abs` after it",
        f"{_GPU}kernels/Relu.ts#L27",
        _inverse_of_relu,
        {"x": _POSITIVE_OR_NOT},
        ("webgl",),
        ("cpu", "wasm"),
        ("sign of zero",),
        blamed="above",
    ),
    "log of 0": Known(
        "`Log`",
        "the input is 0, where GLSL defines no result",
        "-88.03 instead of -Inf on SwiftShader; other GPUs may give another number",
        "`tf.math.log(x + 1e-7)`",
        f"{_GPU}kernels/Log.ts",
        lambda tf, x: tf.math.log(x, name="faulty"),
        {"x": _WITH_ZEROS},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "power of 0": Known(
        "`Pow`",
        "0 to a negative odd power: the sign of 0, which is 0, times Inf",
        "NaN instead of Inf on SwiftShader; other GPUs may give another number",
        "`tf.math.reciprocal` of a positive power",
        f"{_GPU}kernels/Pow.ts#L38",
        _power_of_zero,
        {"x": _WITH_ZEROS},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "largest of low numbers": Known(
        "`Max` (`tf.reduce_max`)",
        "all elements are below -1e20, or -Inf",
        "-1e20: the search for the largest element starts there",
        "mask with -1e9 instead of -Inf",
        f"{_GPU}reduce_gpu.ts#L43",
        lambda tf, x: tf.reduce_max(x, 1, name="faulty"),
        {"x": np.float32([[-1e21, -3e21, -np.inf], [4, 5, 6], [-np.inf, -np.inf, -np.inf]])},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "smallest of high numbers": Known(
        "`Min` (`tf.reduce_min`)",
        "all elements are above 1e20, or Inf",
        "1e20: the search for the smallest element starts there",
        "mask with 1e9 instead of Inf",
        f"{_GPU}reduce_gpu.ts#L39",
        lambda tf, x: tf.reduce_min(x, 1, name="faulty"),
        {"x": np.float32([[1e21, 3e21, np.inf], [4, 5, 6], [np.inf, np.inf, np.inf]])},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "write over Inf": Known(
        "`TensorScatterUpdate`, `SparseToDense`",
        "the tensor, or the default value, has Inf or -Inf",
        "NaN instead of Inf, and where it should be overwritten",
        "fill with a finite number such as -1e9",
        f"{_GPU}scatter_gpu.ts#L74",
        _written_over_infinity,
        {"x": np.float32([[0, 1, 2], [0, -1, 3], [4, 0, 1]])},
        ("webgl",),
        ("wasm",),
    ),
}
