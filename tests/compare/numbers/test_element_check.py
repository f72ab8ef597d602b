"""Finding the wrong elements of an activation, and the worst of them.

tests/page/holding.test.js has the same cases.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_tfjs.compare.numbers.allowance import Allowance
from pytest_tfjs.compare.numbers.element_check import (
    allowed_by_allowance,
    allowed_by_tolerance,
    check_elements,
    errors,
)
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import Tolerance

NAN, INF = math.nan, math.inf
VALUES = arrays.arrays(np.float32, (2, 3), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))
TOLERANCE = Tolerance(rtol=0.125, atol=0.0625)


def f32(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("actual", "reference", "error"),
    [
        (1, 1, 0),
        (1, 3, 2),
        (NAN, NAN, 0),
        (INF, INF, 0),
        (INF, -INF, INF),
        (NAN, 1, INF),
        (1, NAN, INF),
        (NAN, INF, INF),
        (0.0, -0.0, 0),
    ],
)
def test_the_error_of_one_element(actual, reference, error):
    assert errors(f32(actual), f32(reference)).tolist() == [error]


@given(VALUES, VALUES)
def test_the_check_agrees_with_the_metrics(actual, reference):
    metrics = measure(actual, reference, TOLERANCE)
    held = check_elements(actual, reference, allowed_by_tolerance(TOLERANCE, reference))
    assert held.passed == metrics.passed
    assert held.wrong == metrics.mismatched
    assert held.max_abs == metrics.max_abs
    if metrics.allowed > 0 and 0 < held.error < INF:
        assert (held.worst, held.error) == (metrics.worst, metrics.worst_error)
        assert held.allowed == pytest.approx(metrics.allowed)


def test_the_worst_element_has_the_greatest_error_relative_to_what_is_allowed():
    held = check_elements(f32(10, 2, 5), f32(0, 0, 5), np.array([10.0, 1.0, 0.0]))
    assert (held.worst, held.error, held.allowed, held.wrong) == ((1,), 2, 1, 1)


def test_if_no_error_is_allowed_the_largest_is_worst():
    held = check_elements(np.array([[1, 5], [9, 2]]), np.array([[1, 4], [2, 2]]), np.zeros((2, 2)))
    assert (held.worst, held.error, held.max_abs) == ((1, 0), 7, 7)


def test_the_error_of_complex_numbers_is_a_modulus():
    held = check_elements(np.array([3 + 4j], np.complex64), np.array([0j], np.complex64), np.array([1.0]))
    assert (held.error, held.wrong) == (5, 1)


def test_bools_are_exact():
    reference = np.array([True, False])
    held = check_elements(~reference, reference, allowed_by_tolerance(TOLERANCE, reference))
    assert (held.wrong, held.allowed) == (2, 0)


@pytest.mark.parametrize(
    ("actual", "reference", "reason"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "shape [2, 3], shape [3, 2] in the reference"),
        (np.zeros(2, np.int32), np.zeros(2, np.float32), "dtype int32, dtype float32 in the reference"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "there are no elements"),
    ],
)
def test_arrays_that_cannot_be_compared_are_wrong(actual, reference, reason):
    held = check_elements(actual, reference, np.full(reference.shape, INF))
    assert not held.passed
    assert (held.reason, held.worst) == (reason, None)


def test_the_root_mean_square_may_exceed_its_limit():
    actual, reference = f32(1, 1, 1, 1), f32(0, 0, 0, 0)
    assert check_elements(actual, reference, np.ones(4), 1.0).passed
    held = check_elements(actual, reference, np.ones(4), 0.5)
    assert (held.wrong, held.exceeds_rms, held.passed) == (0, True, False)


def test_an_allowance_by_the_largest_partial_sum():
    reference = np.array([[1.0, -2.0]], np.float32)
    magnitude = np.array([[3.0, 2.0]], np.float32)
    assert allowed_by_allowance(Allowance(0.5, 0.25), reference, magnitude).tolist() == [[1.25, 1.25]]
    assert allowed_by_allowance(Allowance(0.5, 0.25), reference, None).tolist() == [[0.75, 1.25]]
    assert allowed_by_allowance(Allowance(0.5, 0.25), f32(NAN, INF), None).tolist() == [0.25, 0.25]
    uneven = Allowance(0.5, 0.25, extra=f32(1, 0).reshape(1, 2))
    assert allowed_by_allowance(uneven, reference, None).tolist() == [[1.75, 1.25]]


def test_an_allowance_allows_no_error_of_texts():
    texts = np.array([b"a,b", b"c"], object)
    assert np.array_equal(allowed_by_allowance(Allowance(factor=1.0, floor=1.0), texts, None), [0, 0])
