"""Numbers as the user reads them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.report.number_text import distinct_numbers, number_up


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_number_up_never_rounds_down(value):
    assert value <= float(number_up(value)) <= value * 1.12


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        ((3.1e-2, 1e-4), ("3.1e-02", "1.0e-04")),
        ((1.004e-4, 1e-4), ("1.004e-04", "1.000e-04")),
        ((1.0, 1.0), ("1.0e+00", "1.0e+00")),
        ((math.nextafter(1, 2), 1.0), ("1.0000000000000002", "1.0")),
        ((math.inf, 0.0), ("inf", "0")),
    ],
)
def test_distinct_numbers_have_enough_digits_to_differ(pair, shown):
    assert distinct_numbers(*pair) == shown
