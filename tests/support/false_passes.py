"""Helpers of the false pass tests: marks, a feed, functions, and the reason of a failure."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs import NotClose

MARKS = [
    pytest.mark.browser,
    pytest.mark.convert,
    # Disables the weight check, which would find the fault without a browser.
    pytest.mark.tfjs(backends="cpu", weight_check="tell"),
]
X = np.array([[1, -2, 3], [0.5, 0.25, -4]], np.float32)


def reason_of(tfjs, model, feeds, verdict, **options):
    """The reason of a comparison with that verdict."""
    with pytest.raises(NotClose) as caught:
        tfjs.assert_close(model, feeds, **options)
    assert caught.value.comparison.verdict == verdict, caught.value
    return caught.value.comparison.reason


def two_outputs(tf):
    return lambda x: {"a": tf.tanh(x), "b": tf.sigmoid(x * 2.0)}


def serving(tf):
    """Makes a `tf.function` of one input `x`, from a function that gives outputs by name."""

    def make(compute, shape=(None, 3), dtype="float32"):
        return tf.function(compute, input_signature=[tf.TensorSpec(shape, dtype, name="x")])

    return make
