"""The underflow of half precision is allowed for behind a square root, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.allowance import allowance
from pytest_tfjs.compare.numbers.half_underflow import exponent_of, underflow_of_root
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local
from tests.support.comparisons import f32, layer

X = np.concatenate([np.geomspace(1e-9, 1e-3, 50), np.linspace(0.01, 4, 50)]).astype(np.float32)


def judged(actual, expected, *, op="Sqrt", half=True, exponent=0.0):
    arithmetic = Arithmetic(functions=(op,), exponent=exponent)
    allowed = allowance(layer("root", op=op), arithmetic, expected, backend="webgl", half=half)
    return measure_local(actual, expected, arithmetic, allowed)


def stored(values, *, flushed):
    """The values in half precision, with denormals or without."""
    half = values.astype(np.float16).astype(np.float32)
    return np.where(half < 2.0**-14, 0, half).astype(np.float32) if flushed else half


@pytest.mark.parametrize("flushed", [True, False])
def test_the_root_of_what_half_precision_holds_is_close(flushed):
    found = judged(np.sqrt(stored(X, flushed=flushed)), np.sqrt(X))
    assert found.passed, found.share


def test_in_float32_it_is_not():
    assert not judged(np.sqrt(stored(X, flushed=True)), np.sqrt(X), half=False).passed


def test_a_root_of_larger_numbers_may_not_be_0():
    expected = f32(0.02, 1)
    assert not judged(f32(0, 1), expected).passed
    assert not judged(f32(0.02, 1.01), expected).passed


def test_a_layer_of_small_roots_only_may_not_be_0():
    expected = np.sqrt(f32(1e-7, 2e-7))
    assert not judged(np.zeros(2, np.float32), expected).passed


def test_other_operations_get_nothing():
    root = np.sqrt(X)
    assert [exponent_of(op, 0.0) for op in ("Log", "Rsqrt", "Sqrt+Mul", "Sum+Sqrt")] == [0, 0, 0, 0.5]
    assert underflow_of_root(0.0, root, 2.0) is None
    assert underflow_of_root(0.5, root, 2.0) is not None
    assert np.isfinite(underflow_of_root(0.5, f32(np.inf, np.nan, 1), 1.0)).all()


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize("exponent", [1 / 3, 0.5, 0.8])
def test_the_power_of_what_half_precision_holds_is_close(exponent, flushed):
    got, want = (values.astype(np.float64) ** exponent for values in (stored(X, flushed=flushed), X))
    found = judged(got.astype(np.float32), want.astype(np.float32), op="Pow", exponent=exponent)
    assert found.passed, found.share
    if exponent <= 0.5:
        assert not judged(got.astype(np.float32), want.astype(np.float32), op="Pow").passed
