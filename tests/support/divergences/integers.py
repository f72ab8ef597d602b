"""Divergences of integers and bools, and of the conversions between them and floats."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_CPU, _GPU, _WASM = "tfjs-backend-cpu/src/", "tfjs-backend-webgl/src/", "tfjs-backend-wasm/src/"
_EVERYWHERE = ("semantics",)
_IDS = np.tile(np.int32([3, 65537, 70, 300, 7, 50001, 46341, 9]), (160, 1))
"""160 integers: webgl computes fewer than 128 in JavaScript."""
_ROOTS = np.float32([[1, -1, 4], [2.5, -7.9, 9]])
_TWO_ROWS = np.int32([[3, 6, 70], [300, 7, 5]])
_IMAGE = np.arange(32, dtype=np.int32).reshape(1, 4, 4, 2)


def _product(tf, ids):
    return tf.multiply(ids, tf.maximum(ids, 2, name="at_least"), name="faulty")


def _occurrences(tf, ids):
    return tf.raw_ops.DenseBincount(
        input=ids, size=4, weights=tf.constant([], tf.int32), binary_output=True, name="faulty"
    )


def _resized(tf, image):
    return tf.raw_ops.ResizeNearestNeighbor(images=image, size=[8, 8], half_pixel_centers=True, name="faulty")


CASES = {
    "bool of a float": Known(
        "`Cast` to bool (`tf.cast(x, tf.bool)`)",
        "floats that are no whole numbers: the kernel cuts off the fraction",
        "False for 0.5; and for 256, of which it keeps 8 bits",
        "`tf.not_equal(x, 0.0)`",
        f"{_WASM}kernels/Cast.ts#L30",
        lambda tf, x: tf.cast(x, tf.bool, name="faulty"),
        {"x": np.float32([[0.5, 0, 2.7], [-0.25, 256, 1]])},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "bool of an integer": Known(
        "`Cast` to bool (`tf.cast(x, tf.bool)`)",
        "integers other than 0 and 1: the kernel keeps 8 bits",
        "False for 256; True for 3, but 3 instead of 1 if it is cast to a number again",
        "`tf.not_equal(x, 0)`",
        f"{_WASM}kernels/Cast.ts#L30",
        lambda tf, ids: tf.cast(ids, tf.bool, name="faulty"),
        {"ids": np.int32([[3, 0, 256], [-1, 7, 1]])},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "integer of a large float": Known(
        "`Cast` to int32",
        "floats over 2147483647",
        "the last 32 bits: 3e9 is -1294967296; Python gives -2147483648",
        "`tf.clip_by_value` before it; no result is right",
        f"{_CPU}kernels/Cast.ts#L31",
        lambda tf, x: tf.cast(x, tf.int32, name="faulty"),
        {"x": np.float32([[3e9, -3e9, 1e20], [2.5, -7.9, 5e9]])},
        ("cpu", "wasm"),
        ("webgl",),
    ),
    "integer of NaN": Known(
        "`Cast` to int32",
        "NaN",
        "0; Python gives -2147483648",
        "replace NaN with `tf.where` before it; no result is right",
        f"{_CPU}kernels/Cast.ts#L31",
        lambda tf, x: tf.cast(tf.sqrt(x, name="root"), tf.int32, name="faulty"),
        {"x": _ROOTS},
        ("cpu", "wasm"),
        ("webgl",),
    ),
    "strided slice of integers": Known(
        "`StridedSlice` (`x[:, ::2]`)",
        "integers or bools, with a stride other than 1",
        "the integers' bits as float32: 6 becomes 8.4e-45",
        "`tf.gather` with the indices",
        f"{_WASM}kernels/StridedSlice.ts#L96",
        lambda tf, ids: tf.strided_slice(ids, [0, 0], [4, 6], [1, 2], name="faulty"),
        {"ids": np.arange(24, dtype=np.int32).reshape(4, 6)},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "product of integers": Known(
        "`Mul` and all other operations on integers",
        "integers over 16777216 (2**24), which float32 does not hold, in tensors of 128 elements"
        " (webgpu: 1000) and more",
        "a number nearby: webgl holds all integers, and webgpu many of them, as float32",
        "keep integers below 2**24, or split the product",
        f"{_GPU}kernels/Multiply.ts",
        _product,
        {"ids": _IDS},
        ("webgl", "webgpu"),
        ("cpu", "wasm"),
    ),
    "power of integers": Known(
        "`Pow` of integers",
        "always: exp2(y * log2(x)), rounded down",
        "a number nearby: 10 ** 9 is 999999616; on webgpu 5 ** 3 is 124",
        "multiply: `x * x * x`",
        f"{_GPU}kernels/Pow.ts#L38",
        lambda tf, base, power: tf.pow(base, power, name="faulty"),
        {
            "base": np.tile(np.int32([3, 10, 2, 7, 5]), (30, 1)),
            "power": np.tile(np.int32([5, 9, 30, 3, 3]), (30, 1)),
        },
        ("webgl", "webgpu"),
        ("cpu", "wasm"),
    ),
    "whether a number occurs": Known(
        "`DenseBincount` (`tf.math.bincount`, Keras' `CategoryEncoding`) with `binary_output`",
        "a vector of numbers, of which some occur twice",
        "the count instead of 1",
        "`tf.minimum` with 1 after it",
        f"{_CPU}kernels/DenseBincount.ts",
        _occurrences,
        {"ids": np.int32([1, 2, 2, 3])},
        ("cpu", "webgl"),
        ("wasm",),
    ),
    "place of the largest": Known(
        "`ArgMax`, `ArgMin`",
        "a vector: the result is a scalar",
        "a vector with one element",
        "`tf.reshape` to `[]` after it",
        "tfjs-backend-webgpu/src/kernels/ArgMax.ts",
        lambda tf, x: tf.argmax(x, 0, output_type=tf.int32, name="faulty"),
        {"x": np.float32([1, 5, 3, 2])},
        ("webgpu",),
        ("cpu", "wasm", "webgl"),
    ),
    "square of integers": Known(
        "`Square` of integers",
        "squares over 2147483647",
        "a number nearby: the square is rounded to a double or a float before it wraps around",
        "`tf.multiply(x, x)` on cpu; keep integers below 2**24 on GPUs",
        f"{_CPU}kernels/Square.ts",
        lambda tf, ids: tf.square(tf.maximum(ids, 2, name="at_least"), name="faulty"),
        {"ids": _IDS},
        ("cpu", "webgl", "webgpu"),
        ("wasm",),
    ),
    "quotient of integers": Known(
        "`FloorDiv` (`//`) of integers",
        "integers over 16777216 (2**24), which float32 does not hold",
        "a number nearby: 16777217 // 1 is 16777216",
        "keep integers below 2**24",
        f"{_WASM}cc/kernels/FloorDiv.cc",
        lambda tf, a, b: tf.math.floordiv(a, b, name="faulty"),
        {
            "a": np.int32([[16777217, 99999999, 7, -7], [33554433, 123456789, 5, 9]]),
            "b": np.int32([[1, 10, 2, 2], [1, 100000, 2, 3]]),
        },
        ("wasm", "webgl"),
        ("cpu",),
    ),
    "truncated quotient": Known(
        "`Div` of integers (`tf.raw_ops.Div`, TensorFlow 1's `tf.div` of old graphs)",
        "the operands have different signs",
        "rounded down instead of towards 0: -7 / 2 is -4",
        "`tf.math.floordiv`, or divide floats and cast",
        "tfjs-core/src/ops/div.ts",
        lambda tf, ids: tf.raw_ops.Div(x=ids, y=2, name="faulty"),
        {"ids": np.int32([[-7, 7, 9], [5, -3, 8]])},
        ("cpu", "wasm", "webgl"),
        kinds=_EVERYWHERE,
    ),
    "mean of integers": Known(
        "`Mean` (`tf.reduce_mean`) of integers",
        "always",
        "the exact mean as float32, instead of the integer below it",
        "cast to float32 before it, or `tf.reduce_sum(x) // n`",
        f"{_CPU}kernels/Mean.ts",
        lambda tf, ids: tf.reduce_mean(ids, 1, name="faulty"),
        {"ids": _TWO_ROWS},
        ("cpu", "wasm", "webgl"),
        kinds=_EVERYWHERE,
    ),
    "resized integers": Known(
        "`ResizeNearestNeighbor` of integers (`tf.image.resize` of a mask of labels)",
        "always",
        "float32 instead of int32; the values are right",
        "cast to int32 after it",
        f"{_WASM}kernels/ResizeNearestNeighbor.ts",
        _resized,
        {"image": _IMAGE},
        ("wasm",),
        ("cpu", "webgl"),
    ),
}
