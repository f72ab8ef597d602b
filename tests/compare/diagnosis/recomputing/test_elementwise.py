"""Elementwise operations in numpy give what TensorFlow gives."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.recomputing.steps import Step
from tests.support.recomputed_steps import assert_steps_give, values

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.convert


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step("Elu", (values(50),)), tf.nn.elu(values(50))),
        (Step("Selu", (values(50),)), tf.nn.selu(values(50))),
        (Step("LeakyRelu", (values(50),), {"alpha": 0.3}), tf.nn.leaky_relu(values(50), 0.3)),
        (Step("Softplus", (values(50),)), tf.nn.softplus(values(50))),
        (Step("Softsign", (values(50),)), tf.nn.softsign(values(50))),
        (Step("Swish", (values(50),)), tf.nn.silu(values(50))),
        (Step("Gelu", (values(50),), {"approximate": True}), tf.nn.gelu(values(50), approximate=True)),
        (Step("Gelu", (values(50),)), tf.nn.gelu(values(50))),
        (Step("Sigmoid", (100 * values(50),)), tf.nn.sigmoid(100 * values(50))),
        (Step("Round", (np.float32([0.5, 1.5, 2.5, -0.5, -1.5]),)), tf.round([0.5, 1.5, 2.5, -0.5, -1.5])),
        (
            Step("FloorDiv", (np.int32([7, -7, 7]), np.int32([2, 2, -2]))),
            tf.math.floordiv([7, -7, 7], [2, 2, -2]),
        ),
        (
            Step("FloorMod", (np.int32([7, -7, 7]), np.int32([3, 3, -3]))),
            tf.math.floormod([7, -7, 7], [3, 3, -3]),
        ),
        (
            Step("FloorDiv", (np.int32([7, -7]), np.int32([2, 2])), {"division": "truncated"}),
            tf.raw_ops.TruncateDiv(x=[7, -7], y=[2, 2]),
        ),
        (
            Step("FloorMod", (np.int32([7, -7]), np.int32([3, 3])), {"division": "truncated"}),
            tf.raw_ops.TruncateMod(x=[7, -7], y=[3, 3]),
        ),
        (Step("Cast", (np.float32([-1.7, 1.7]),), {"DstT": "int32"}), tf.cast([-1.7, 1.7], tf.int32)),
        (Step("Mul", (np.int32([65537]), np.int32([65537]))), tf.constant([65537]) * tf.constant([65537])),
    ],
    ids=lambda value: value.op if isinstance(value, Step) else "",
)
def test_elementwise_operation_matches_tensorflow(step, expected):
    assert_steps_give([step], expected)
