from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import Tolerance
from tests.support.comparisons import f32

if TYPE_CHECKING:
    from pytest_tfjs.compare.numbers.symptoms import Symptoms

NAN, INF = math.nan, math.inf
WIDE = Tolerance(rtol=1e-2, atol=1e-2)


def c64(*values: complex) -> np.ndarray:
    return np.array(values, dtype=np.complex64)


def symptoms(actual: np.ndarray, reference: np.ndarray, tolerance: Tolerance = WIDE) -> Symptoms:
    found = measure(actual, reference, tolerance).symptoms
    assert found is not None
    return found


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_a_ratio_is_found():
    found = symptoms(2 * random(4, 5), random(4, 5))
    assert found.ratio == pytest.approx(2, rel=1e-6)
    assert found.offset is None


def test_an_offset_is_found():
    found = symptoms(random(4, 5) + np.float32(0.5), random(4, 5))
    assert found.offset == pytest.approx(0.5, rel=1e-4)
    assert found.ratio is None


def test_the_better_of_a_ratio_and_an_offset_is_set():
    reference = 100 + np.linspace(0, 0.5, 20, dtype=np.float32)
    assert symptoms(reference + 5, reference).offset == pytest.approx(5, rel=1e-3)
    assert symptoms(reference * 2, reference).ratio == pytest.approx(2, rel=1e-3)


def test_equal_elements_have_neither_ratio_nor_offset():
    found = symptoms(np.full(9, 2, np.float32), np.ones(9, np.float32))
    assert (found.ratio, found.offset) == (None, None)


@pytest.mark.parametrize("value", [0.0, 1e-39, 1e-12, 3.4e38, -3.4e38])
@pytest.mark.parametrize("spread", [0.0, 1e-3])
def test_values_that_do_not_follow_the_reference_have_neither_ratio_nor_offset(value, spread):
    reference = random(40)
    noise = np.random.default_rng(3).uniform(1 - spread, 1, 40)
    found = symptoms((value * noise).astype(np.float32), reference)
    assert (found.ratio, found.offset) == (None, None)


def test_a_small_and_a_large_ratio_are_found():
    assert symptoms(random(40) * np.float32(1e-6), random(40)).ratio == pytest.approx(1e-6, rel=1e-3)
    assert symptoms(random(40) * np.float32(1e6), random(40)).ratio == pytest.approx(1e6, rel=1e-3)


@pytest.mark.parametrize("size", [1, 2, 50])
def test_noise_has_no_ratio(size):
    noise = np.random.default_rng(2).standard_normal(size).astype(np.float32)
    found = symptoms(random(size) + noise, random(size))
    assert (found.ratio, found.offset) == (None, None)


def test_the_channel_is_found():
    reference = random(2, 3, 4)
    actual = reference.copy()
    actual[..., 2] += 9
    assert symptoms(actual, reference).box == ((0, 1), (0, 2), (2, 2))


def test_an_all_zero_activation_is_found():
    found = symptoms(0 * random(9), random(9))
    assert found.all_zero
    assert found.zeros == 9
    assert found.ratio is None


def test_the_range_of_mismatched_elements():
    found = symptoms(f32(1, 2, 0, 0), f32(1, 2, 65600, -70000))
    assert (found.low, found.high, found.zeros) == (pytest.approx(65600), pytest.approx(70000), 2)


@pytest.mark.parametrize("order", [order for order in itertools.permutations(range(3)) if order != (0, 1, 2)])
@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 3, 4)])
def test_permuted_axes_are_found(order, shape):
    assert symptoms(random(*shape).transpose(order), random(*shape)).permutation == order


def test_axes_of_length_one_are_not_permuted():
    reference = random(1, 1, 5)
    tight = Tolerance(rtol=1e-6, atol=1e-6)
    assert symptoms(reference * np.float32(1.001), reference, tight).permutation is None
