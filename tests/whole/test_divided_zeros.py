"""webgl's ReLU gives -0: it is named where a later layer divides by it, else close."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="webgl")]

X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)

DIVIDING = {
    "reciprocal": lambda tf, x: tf.math.reciprocal(x, name="divided"),
    "quotient": lambda tf, x: tf.divide(2.0, x, name="divided"),
    "root": lambda tf, x: tf.math.rsqrt(x, name="divided"),
    "angle": lambda tf, x: tf.math.atan2(x, tf.fill(tf.shape(x), -1.0), name="divided"),
    "through copies": lambda tf, x: tf.math.reciprocal(tf.reshape(tf.transpose(x), [-1]), name="divided"),
}


def module_of(compute):
    tf = pytest.importorskip("tensorflow")

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
        def serve(self, x):
            return {"y": compute(tf, tf.nn.relu(x, name="above"))}

    return Module()


@pytest.mark.parametrize(
    "which", [pytest.param(one, marks=[] if one == "quotient" else pytest.mark.slow) for one in DIVIDING]
)
def test_the_layer_that_gives_the_zero_is_named(tfjs, which):
    def compute(tf, x):
        divided = DIVIDING[which](tf, x)
        return tf.where(tf.math.is_finite(divided), divided, 0.0)

    comparison = tfjs.compare(module_of(compute), X)
    assert comparison.first_divergence == ("above",)
    assert (comparison.diagnosis.kind, comparison.diagnosis.layer) == ("sign of zero", "above")
    assert "'divided'" in comparison.diagnosis.said
    assert next(one for one in comparison.layers if one.layer.name == "above").divided_by == "divided"


def test_zeros_are_equal_where_nothing_divides(tfjs):
    tfjs.assert_close(module_of(lambda tf, x: tf.transpose(x)), X)


def test_a_guarded_division_is_close(tfjs):
    tfjs.assert_close(module_of(lambda tf, x: 2.0 / tf.maximum(x, 1e-7)), X)
