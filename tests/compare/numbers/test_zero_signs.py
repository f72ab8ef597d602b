"""Zeros of the wrong sign are counted, and nothing else is."""

from __future__ import annotations

import numpy as np

from pytest_tfjs.compare.numbers.zero_signs import WrongZeros, wrong_zeros
from tests.support.comparisons import f32


def test_zeros_of_the_wrong_sign_are_counted():
    assert wrong_zeros(f32(-0.0, 0, 1, -1), f32(0, 0, 1, -1)) == WrongZeros(1, 1)
    assert wrong_zeros(f32(0, 0, 1, -0.0), f32(-0.0, -0.0, 1, -0.0)) == WrongZeros(2, 0)
    assert wrong_zeros(f32(0, -0.0), f32(0, -0.0)) is None
    assert wrong_zeros(f32(-0.0), f32(1e-30)) is None
    assert wrong_zeros(np.int32([0]), np.int32([0])) is None
    assert wrong_zeros(f32(-0.0, -0.0), f32(0)) is None


def test_the_text_says_which_sign_is_where():
    assert str(WrongZeros(1, 1)) == "1 element is -0 in the browser and 0 in the reference"
    assert str(WrongZeros(3, 3)) == "3 elements are -0 in the browser and 0 in the reference"
    assert str(WrongZeros(2, 0)) == "2 elements are 0 in the browser and -0 in the reference"
    assert (
        str(WrongZeros(5, 3)) == "5 elements are 0 in the browser and in the reference, with different signs"
    )
