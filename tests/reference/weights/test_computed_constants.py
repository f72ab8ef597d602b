"""Computed constants enter with what they differ by, element by element."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.reference.weights.computed_constants import measured, with_error

U = 2.0**-24
VALUES = np.random.default_rng(0).uniform(1, 2, 200).astype(np.float32)


def moved(values, units):
    return (values.view(np.int32) + units).astype(np.int32).view(np.float32)


def test_equal_constants_do_not_enter():
    assert measured(VALUES, VALUES.copy()) is None


@pytest.mark.parametrize("units", [1, -3, 7])
def test_the_error_is_the_difference_and_no_more(units):
    found = measured(moved(VALUES, units), VALUES)
    difference = np.abs(moved(VALUES, units).astype(np.float64) - VALUES)
    assert (found.error * found.size.astype(np.float64) >= difference * (1 - 1e-6)).all()
    assert abs(units) * U < found.error <= 2.001 * abs(units) * U
    np.testing.assert_allclose(found.size, VALUES, rtol=1e-5)
    assert found.roundings == 1


def test_a_difference_after_cancellation_does_not_widen_the_other_elements():
    values = VALUES.copy()
    values[7] = 1e-7
    found = measured(values + np.eye(1, 200, 7, dtype=np.float32)[0] * np.float32(1e-8), values)
    assert found.error <= 16 * U
    np.testing.assert_array_equal(np.delete(found.size, 7), np.delete(VALUES, 7))
    assert found.size[7] * found.error == pytest.approx(1e-8, rel=1e-2)


def test_constants_in_half_precision_have_an_error_of_its_roundoff():
    size = VALUES.astype(np.float64)
    found = with_error(size, np.abs(VALUES.astype(np.float16) - size))
    assert 2.0**-14 < found.error < 2.0**-11
    assert found.size.max() < 8
