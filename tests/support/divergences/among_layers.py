"""Networks in which one operation, among correct layers, is computed wrongly by TF.js.

Correct layers stand before the node, beside it and after it, and what is wrong goes on through the latter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

IDS = np.int32([[3, 65537, 70, 300, 7, 9], [1, 46341, 3, 65535, 8, 2], [50001, 255, 99999, 257, 5, 4]])
REPEATED = 60
"""Over 1000 elements: TF.js computes fewer integers in JavaScript on webgl and webgpu, and rightly."""

FEED = {
    "x": np.random.default_rng(11).standard_normal((3 * REPEATED, 6)).astype(np.float32),
    "ids": np.tile(IDS, (REPEATED, 1)),
}


@dataclass(frozen=True)
class Divergence:
    """A node that TF.js computes wrongly.

    `node` makes it of `left` (relu, 0 or greater), `right` (tanh, of both signs), both (n, 6) float32, and
    `ids` (n, 6) int32. `op`: what it is converted to. `wrong`: by target, what the failure's first line says
    of it and what its cause is said to be. `right`: the targets where it is close.
    """

    node: Callable[[Any, Any, Any, Any], Any]
    op: str
    wrong: Mapping[str, tuple[str, str]]
    right: tuple[str, ...]


def _mean_of_none(tf, left, right, ids):
    """The mean of the elements above 0, of which some rows have none."""
    return tf.realdiv(left, tf.nn.relu(tf.multiply(left, 2.0, name="weights"), name="total"), name="faulty")


def _floor_under_nan(tf, left, right, ids):
    return tf.maximum(left, tf.sqrt(right, name="root"), name="faulty")


def _wave(tf, left, right, ids):
    """The angles are integers up to 1e6, exact in float32, so only the sine differs."""
    steps = tf.cast(tf.minimum(ids, 1000, name="steps"), tf.float32, name="steps_float")
    return tf.sin(tf.multiply(steps, 1000.0, name="angle"), name="faulty")


def _product(tf, left, right, ids):
    return tf.multiply(ids, tf.maximum(ids, 2, name="at_least"), name="faulty")


def _square(tf, left, right, ids):
    return tf.square(tf.maximum(ids, 2, name="at_least"), name="faulty")


def _large_product(tf, left, right, ids):
    """Products over 2**53, which JavaScript rounds before truncating to 32 bits."""
    large = tf.multiply(ids, 20001, name="large")
    return tf.multiply(large, tf.maximum(large, 2, name="at_least"), name="faulty")


def _large_ids(tf, left, right, ids):
    return tf.multiply(tf.minimum(ids, 500, name="at_most"), 1000, name="faulty")


def _large_exp(tf, left, right, ids):
    return tf.exp(tf.multiply(right, 20.0, name="logits"), name="faulty")


def _small_exp(tf, left, right, ids):
    return tf.exp(tf.subtract(right, 20.0, name="logits"), name="faulty")


_WRAPS = "int32 overflow wraps around in Python but not in TF.js"
_INTEGERS = "webgl holds integers as float32, which is exact only up to 2**24"
_PRODUCTS = "webgpu multiplies integers as float32, which is exact only up to 2**24"
_LOST_ANGLE = ("|error| ", "GPU sines of large angles are inexact: this input reaches 1.0e+06")
_WHOLE = "in the browser, "

DIVERGENCES = {
    "0/0": Divergence(
        _mean_of_none,
        "RealDiv",
        {"webgl": ("1 in the browser, NaN in the reference", "webgl computes 0/0 as 1")},
        right=("cpu", "wasm", "webgpu"),
    ),
    "maximum with NaN": Divergence(
        _floor_under_nan,
        "Maximum",
        {"wasm": ("in the browser, NaN in the reference", "wasm's maximum and minimum ignore NaN")},
        right=("cpu", "webgl", "webgpu"),
    ),
    "sine of large angles": Divergence(
        _wave,
        "Sin",
        {"webgl": _LOST_ANGLE, "webgpu": _LOST_ANGLE},
        right=("cpu", "wasm"),
    ),
    "product of integers": Divergence(
        _product,
        "Mul",
        {"webgl": (_WHOLE, _INTEGERS), "webgpu": (_WHOLE, _PRODUCTS)},
        right=("cpu", "wasm"),
    ),
    "square of integers": Divergence(
        _square,
        "Square",
        {"webgl": (_WHOLE, _INTEGERS), "webgpu": (_WHOLE, _PRODUCTS), "cpu": (_WHOLE, _WRAPS)},
        right=("wasm",),
    ),
    "product of large integers": Divergence(
        _large_product, "Mul", {"cpu": (_WHOLE, _WRAPS)}, right=("wasm",)
    ),
    "integers over 65504": Divergence(
        _large_ids, "Mul", {"webgl:f16": (_WHOLE, "half precision overflows above 65504")}, right=("webgl",)
    ),
    "exp of 20": Divergence(
        _large_exp, "Exp", {"webgl:f16": (_WHOLE, "half precision")}, right=("webgl",)
    ),
    "exp of -20": Divergence(
        _small_exp,
        "Exp",
        {"webgl:f16": ("|error| ", "half precision flushes values below 6.1e-05 to 0")},
        right=("webgl",),
    ),
}  # fmt: skip


def save(divergence: Divergence, folder: Path) -> Path:
    """Saves the network as a SavedModel in `folder`."""
    import tensorflow as tf

    module = build(tf, divergence)
    tf.saved_model.save(module, str(folder / "model"), signatures=module.serve)
    return folder / "model"


def build(tf: Any, divergence: Divergence) -> Any:
    """A module whose `serve` has the node `faulty` among correct layers."""
    rng = np.random.default_rng(12)
    kernels = [tf.constant((rng.standard_normal((6, 6)) / 2).astype(np.float32)) for _ in range(3)]
    bias = tf.constant(rng.uniform(0.1, 0.4, 6).astype(np.float32))
    scale = tf.constant(rng.uniform(0.5, 1.5, 6).astype(np.float32))

    class Model(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 6], tf.float32, name="x"),
                tf.TensorSpec([None, 6], tf.int32, name="ids"),
            ]
        )
        def serve(self, x, ids):
            left = tf.nn.relu(tf.matmul(x, kernels[0], name="left") + bias, name="left_relu")
            right = tf.nn.tanh(tf.matmul(x, kernels[1], name="right"), name="right_tanh")
            whole = tf.maximum(ids, 1, name="whole")
            faulty = tf.cast(divergence.node(tf, left, right, whole), tf.float32, name="as_float")
            # Element by element: NaN stays where it is.
            after = tf.nn.bias_add(tf.multiply(faulty, scale, name="after"), bias, name="after_bias")
            beside = tf.nn.elu(tf.matmul(right, kernels[2], name="beside"), name="beside_elu")
            joined = tf.subtract(tf.add(after, beside, name="joined"), left, name="end")
            count = tf.add(tf.reduce_sum(whole, 1, name="sum"), 1, name="count")
            return {"out": joined, "beside": tf.nn.softmax(beside, name="shares"), "count": count}

    return Model()
