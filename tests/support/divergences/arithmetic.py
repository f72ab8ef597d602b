"""Divergences in the arithmetic of floats: quotients, remainders, signs and functions."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_CPU, _GPU, _WASM = "tfjs-backend-cpu/src/", "tfjs-backend-webgl/src/", "tfjs-backend-wasm/src/"
_EVERYWHERE = ("semantics",)
_NUMBERS = np.random.default_rng(3).uniform(-9, 9, (4, 5)).astype(np.float32)


def _floordiv(tf, x):
    return tf.math.floordiv(x, 1.5, name="faulty")


def _wave(tf, steps):
    angle = tf.multiply(tf.cast(steps, tf.float32, name="steps_float"), 1000.0, name="angle")
    return tf.sin(angle, name="faulty")


CASES = {
    "floor of a quotient": Known(
        "`FloorDiv` (`//`) of floats",
        "always: the kernel gives integers",
        "int32 instead of float32, so numbers over 2147483647, NaN and Inf are lost",
        "`tf.floor(x / y)`",
        f"{_CPU}kernels/FloorDiv.ts#L26",
        _floordiv,
        {"x": _NUMBERS},
        ("cpu",),
        ("wasm",),
    ),
    "floor of a quotient on webgl": Known(
        "`FloorDiv` (`//`) of floats",
        "an operand is no whole number: both are rounded before they are divided",
        "another number: 5.4 // 1.5 is 2 instead of 3; and int32 instead of float32",
        "`tf.floor(x / y)`",
        f"{_GPU}kernels/FloorDiv.ts#L28",
        _floordiv,
        {"x": _NUMBERS},
        ("webgl",),
        ("wasm",),
    ),
    "remainder on webgl": Known(
        "`FloorMod` (`%`) of floats",
        "the operand is about a multiple of the divisor: 1.5 % 0.3",
        "about 0 instead of about the divisor, or the other way round",
        "compute with whole numbers, in a smaller unit",
        f"{_GPU}kernels/Mod.ts#L24",
        lambda tf, x: tf.math.floormod(x, 0.3, name="faulty"),
        {"x": np.float32([[0.9, 0.6, 0.3, 1.2], [2.1, -0.9, -0.3, 1.5]])},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "remainder of a small negative number": Known(
        "`FloorMod` (`%`) of floats",
        "a negative number that is tiny beside the divisor: -1e-9 % 3",
        "0 instead of the divisor",
        "`tf.maximum(x, 0.0)` before it, if the negative numbers are rounding errors",
        f"{_WASM}cc/kernels/Mod.cc",
        lambda tf, x: tf.math.floormod(x, 3.0, name="faulty"),
        {"x": np.float32([[-1e-9, -1e-10, 2.5], [3.7, -1.2, -1e-8]])},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "truncated remainder": Known(
        "`Mod` (`tf.raw_ops.Mod`, TensorFlow 1's `tf.mod` of old graphs)",
        "the operands have different signs",
        "a remainder with the sign of the divisor instead of the operand's",
        "`tf.math.floormod`, which is the same everywhere",
        "tfjs-converter/src/operations/executors/arithmetic_executor.ts",
        lambda tf, x: tf.raw_ops.Mod(x=x, y=0.5, name="faulty"),
        {"x": np.float32([[0.9, 0.6, -0.35, 1.2], [2.1, -0.95, -0.33, 1.5]])},
        ("cpu", "wasm", "webgl"),
        kinds=_EVERYWHERE,
    ),
    "sign of a small number": Known(
        "`Sign`",
        "numbers between -1.2e-7 and 1.2e-7",
        "0 instead of 1 or -1",
        "scale the numbers, or `tf.where(x > 0, 1.0, -1.0)`",
        f"{_WASM}cc/kernels/Sign.cc",
        lambda tf, x: tf.sign(x, name="faulty"),
        {"x": np.float32([[1e-8, -1e-9, 2.5], [3.7, -1.2, -1e-8]])},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "sign of NaN": Known(
        "`Sign`",
        "the input is NaN",
        "0 instead of NaN",
        "test for NaN with `tf.math.is_nan` before it",
        f"{_CPU}kernels/Sign.ts#L28",
        lambda tf, x: tf.sign(tf.sqrt(x, name="root"), name="faulty"),
        {"x": np.float32([[1, -1, 2.5], [3.7, -1.2, -1e-2]])},
        ("cpu", "wasm", "webgl"),
        kinds=_EVERYWHERE,
    ),
    "asinh": Known(
        "`Asinh`",
        "large negative numbers: log(x + sqrt(x * x + 1)) cancels; numbers over 1.8e19: x * x overflows",
        "another number: asinh(-1e4) is -88.03 instead of -9.9; Inf",
        "`tf.sign(x) * tf.asinh(tf.abs(x))`",
        f"{_GPU}kernels/Asinh.ts#L23",
        lambda tf, x: tf.asinh(x, name="faulty"),
        {"x": np.float32([[-1e4, -3e5, 2.5], [3.7, -1.2, -9e6]])},
        ("webgl",),
        ("cpu", "wasm"),
    ),
    "sine of large angles": Known(
        "`Sin`, `Cos`, `Tan`",
        "angles above some thousand",
        "off by 0.03 at 1e6",
        "`tf.math.floormod(x, 2 * pi)` before it, in Python if it can be",
        f"{_GPU}kernels/Sin.ts",
        _wave,
        {"steps": np.int32([[3, 999, 70], [300, 7, 1000]])},
        ("webgl", "webgpu"),
        ("cpu", "wasm"),
    ),
    "range of floats": Known(
        "`Range` (`tf.range`) of floats",
        "a step that float32 does not hold: each number is the one before plus the step",
        "numbers that drift: 4e-5 of the value after 4000 steps",
        "`tf.range` of integers, cast and multiplied by the step",
        f"{_CPU}kernels/Range_impl.ts#L43",
        lambda tf, step: tf.range(step, step * 4000.0, step, name="faulty"),
        {"step": np.float32(0.1)},
        ("cpu", "wasm", "webgl"),
        kinds=_EVERYWHERE,
    ),
}
