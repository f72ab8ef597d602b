"""Comparing a weight with its source: exactly, after quantisation, or folded into another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_tfjs.compare.weight_check import (
    BY_EFFECT,
    BatchNorm,
    Storage,
    WeightCheck,
    WeightFinding,
    difference,
    wrong_weight,
)
from tests.support.comparisons import layer

RNG = np.random.default_rng(3)
VALUES = RNG.normal(size=(3, 4)).astype(np.float32)
LEVELS = {"uint8": 255, "uint16": 65535}


def quantised(values, dtype):
    """Quantises as the converter does: a range that includes 0 is moved so that 0 is on the grid."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return values, Storage(dtype, 1.0, low)
    scale = (high - low) / LEVELS[dtype]
    if low <= 0 <= high:
        low = -round(-low / scale) * scale
        high = LEVELS[dtype] * scale + low
    steps = np.round((values.astype(np.float64).clip(low, high) - low) / scale)
    return (steps * scale + low).astype(np.float32), Storage(dtype, scale, low)


def nudged(values, at=(1, 2)):
    changed = values.copy()
    changed[at] = np.nextafter(changed[at], np.float32(np.inf))
    return changed


def test_change_of_one_bit_is_found():
    assert difference(VALUES, VALUES, None) is None
    found = difference(nudged(VALUES), VALUES, None)
    assert found is not None
    assert found.startswith("1 of 12 values differ, the largest difference at [1, 2]: ")


@pytest.mark.parametrize(
    ("found", "source"),
    [
        (np.int32([1, -2]), np.int64([1, -2])),
        (np.float32([0.1, 2]), np.float64([0.1, 2])),
        (np.complex64([1 + 2j]), np.complex128([1 + 2j])),
        (np.float32([np.nan, np.inf]), np.float32([np.nan, np.inf])),
        (np.array([True, False]), np.array([True, False])),
        (np.array([b"a", b"\xc3\xa9"], object), np.array(["a", "é"], object)),
        (np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)),
    ],
)
def test_dtype_casts_of_tfjs_are_not_differences(found, source):
    assert difference(found, source, None) is None


@pytest.mark.parametrize(
    ("found", "source", "expected"),
    [
        (np.int32([1]), np.int64([2**32 + 1]), "1 of 1 values differ"),
        (np.int32([1]), np.float32([1]), "dtype int32 in the artifacts, float32 in the source"),
        (VALUES, VALUES.T, "shape [3, 4] in the artifacts, [4, 3] in the source"),
        (np.float32([np.nan]), np.float32([1]), "nan in the artifacts, 1 in the source"),
        (np.array([b"a", b"x"], object), np.array(["a", "b"], object), "1 of 2 strings differ, first b'x'"),
        (
            np.array([True, True]),
            np.array([True, False]),
            "1 of 2 values differ, the largest difference at [1]",
        ),
    ],
)
def test_other_dtypes_shapes_and_values_are_differences(found, source, expected):
    text = difference(found, source, None)
    assert text is not None
    assert expected in text


FLOATS = arrays.arrays(
    np.float32, st.integers(1, 30), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)


@pytest.mark.parametrize("dtype", LEVELS)
@given(values=FLOATS)
def test_quantised_weight_is_equal_within_half_a_step(dtype, values):
    found, storage = quantised(values, dtype)
    assert difference(found, values, storage) is None


@pytest.mark.parametrize("dtype", LEVELS)
def test_quantised_weight_off_by_one_step_differs(dtype):
    found, storage = quantised(VALUES, dtype)
    found = found.copy()
    found[0, 1] += np.float32(1.2 * storage.scale)
    assert difference(found, VALUES, storage) is not None


def test_too_coarse_quantisation_grid_differs():
    scale = float(np.ptp(VALUES)) / 4
    found = (np.round(VALUES / scale) * scale).astype(np.float32)
    assert difference(found, VALUES, Storage("uint8", scale, 0.0)) is not None


def test_float16_weight_must_be_the_rounded_source():
    storage = Storage("float16")
    found = VALUES.astype(np.float16).astype(np.float32)
    assert difference(found, VALUES, storage) is None
    assert difference(VALUES, VALUES, storage) is not None
    assert difference(found, VALUES, None) is not None


def batch_norm(**changes):
    rng = np.random.default_rng(5)
    made = {
        "kernel": rng.normal(size=(3, 3, 2, 4)),
        "bias": rng.normal(size=4),
        "gamma": rng.uniform(0.5, 2, 4),
        "beta": rng.normal(size=4),
        "mean": rng.normal(size=4),
        "variance": rng.uniform(0.1, 3, 4),
    }
    given = {name: value.astype(np.float32) for name, value in made.items()}
    return BatchNorm(**{**given, "epsilon": 1e-3, **changes})


def test_folded_batch_norm_equals_convolution_bias_and_batch_norm():
    norm = batch_norm()
    x = np.random.default_rng(6).normal(size=(5, 18))
    kernel, offset = norm.kernel_folded(depthwise=False)[0], norm.offset_folded()[0]
    convolved = x @ norm.kernel.reshape(18, 4) + norm.bias
    expected = (convolved - norm.mean) / np.sqrt(norm.variance + norm.epsilon) * norm.gamma + norm.beta
    np.testing.assert_allclose(x @ kernel.reshape(18, 4) + offset, expected, rtol=1e-4, atol=1e-5)


def test_depthwise_kernel_is_folded_over_its_last_two_axes():
    norm = batch_norm(kernel=np.ones((3, 3, 2, 2), np.float32))
    kernel, _ = norm.kernel_folded(depthwise=True)
    scale = norm.gamma / np.sqrt(norm.variance + norm.epsilon)
    np.testing.assert_allclose(kernel[0, 0], scale.reshape(2, 2), rtol=1e-6)


def test_folded_weight_may_differ_by_a_few_roundings_only():
    value, rounding = batch_norm().kernel_folded(depthwise=False)
    assert difference(nudged(value, (0, 0, 1, 3)), value, None, rounding) is None
    assert difference(value * np.float32(1 + 1e-5), value, None, rounding) is not None


def test_float16_midpoint_may_round_either_way():
    storage = Storage("float16")
    middle = np.float32(1 + 2**-11)  # between 1 and 1 + 2**-10
    for found in (1, 1 + 2**-10):
        assert difference(np.float32([found]), np.float32([middle]), storage, 1e-6) is None
    assert difference(np.float32([1 + 2**-9]), np.float32([middle]), storage, 1e-6) is not None


def test_weight_that_differs_directly_comes_before_one_known_by_effect():
    by_effect = WeightFinding("conv/kernel", "conv", "differs", f"{BY_EFFECT}: off by 1.0e+00")
    known = WeightFinding("norm/shift", "conv", "differs", "1 of 4 values differ")
    row = layer("conv")
    assert wrong_weight(WeightCheck.of([by_effect, known]), row) == known
    assert wrong_weight(WeightCheck.of([by_effect]), row) == by_effect
    assert wrong_weight(WeightCheck.of([known]), layer("other")) is None
