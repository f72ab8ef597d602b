"""Helpers of the false pass tests: a feed, a function, and the reason of a failure."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs import NotClose

X = np.array([[1, -2, 3], [0.5, 0.25, -4]], np.float32)


def reason_of(tfjs, model, feeds, verdict, **options):
    """The reason of a comparison with that verdict."""
    with pytest.raises(NotClose) as caught:
        tfjs.assert_close(model, feeds, **options)
    assert caught.value.comparison.verdict == verdict, caught.value
    return caught.value.comparison.reason


def two_outputs(tf):
    return lambda x: {"a": tf.tanh(x), "b": tf.sigmoid(x * 2.0)}
