from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.comparability import incomparable_reason
from tests.support.comparisons import f32


@pytest.mark.parametrize(
    ("actual", "reference", "reason"),
    [
        (f32(1, 2), f32(1, 2, 3), "shape [2] in the browser, [3] in the reference"),
        (f32(), f32(), "empty: shape [0] holds no elements, so there is nothing to compare"),
        (
            np.array([1], np.int32),
            f32(1),
            "dtype int32 in the browser, float32 in the reference, of equal values",
        ),
        (np.array([2], np.int32), f32(1), "dtype int32 in the browser, float32 in the reference"),
        (np.array(["a"], object), f32(1), "dtype str in the browser, float32 in the reference"),
        (
            np.array([{}], object),
            f32(1),
            "dtype object in the browser, float32 in the reference: not comparable",
        ),
    ],
)
def test_the_reason_why_activations_cannot_be_compared(actual, reference, reason):
    assert incomparable_reason(actual, reference) == reason


@pytest.mark.parametrize(
    ("actual", "reference"),
    [
        (f32(1, np.nan), f32(2, np.inf)),
        (np.array([True]), np.array([False])),
        (np.array(["a"], object), np.array([b"b"], object)),
        (np.array([1j], np.complex64), np.array([2], np.complex64)),
    ],
)
def test_activations_of_one_shape_and_dtype_can_be_compared(actual, reference):
    assert incomparable_reason(actual, reference) is None
