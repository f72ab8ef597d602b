"""Casting activations to TF.js's dtypes: with a note, or an error if values do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.reference.running.casts import Casts

INT32 = np.iinfo(np.int32)


def cast(*values):
    """The `Casts` after one activation of a layer for each feed, and the last result."""
    casts = Casts()
    for value in values:
        found = casts.apply({"a": value})
    return casts, found.get("a")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.array([INT32.min, INT32.max], np.int64), "int32"),
        (np.array([0, INT32.max], np.uint32), "int32"),
        (np.array([0, INT32.max], np.uint64), "int32"),
        (np.array([1.5, -np.inf, np.nan, 3e38, 1e-320], np.float64), "float32"),
        (np.array([1 + 2j, complex(np.inf, 0)], np.complex128), "complex64"),
    ],
    ids=lambda value: getattr(value, "dtype", value),
)
def test_values_that_fit_are_narrowed_with_a_note(value, wanted):
    casts, found = cast(value)
    assert found.dtype == wanted
    np.testing.assert_array_equal(found, value.astype(wanted))
    assert casts.unfit == {}
    assert casts.notes == (
        f"the reference of 'a' was cast from {value.dtype} to {wanted}, because TF.js has no {value.dtype}",
    )


@pytest.mark.parametrize(
    "dtype", ["float32", "int32", "bool", "complex64", "float16", "int8", "uint16", "str"]
)
def test_casts_without_loss_have_no_note(dtype):
    casts, found = cast(np.ones(3, dtype))
    np.testing.assert_array_equal(found, np.ones(3, dtype))
    assert casts.notes == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.array([7, INT32.max + 1]), "int64 with values from 7 to 2147483648, but int32"),
        (np.array([INT32.min - 1, 7]), "int64 with values from -2147483649 to 7, but int32"),
        (np.array([INT32.max + 1], np.uint32), "uint32 with values from 2147483648 to 2147483648, but int32"),
        (np.array([1e300, np.inf]), "float64 with values up to 1e+300, beyond the range of float32"),
        (np.array([1e300 + 1j]), "complex128 with values up to 1e+300, beyond the range of complex64"),
    ],
    ids=lambda value: getattr(value, "dtype", ""),
)
def test_values_that_do_not_fit_are_left_out_with_a_reason(value, why):
    casts, found = cast(value)
    assert found is None
    assert why in casts.unfit["a"]
    assert casts.notes == ()


def test_a_layer_is_unfit_if_one_feed_does_not_fit():
    for feeds in ((np.array([1]), np.array([1 << 40])), (np.array([1 << 40]), np.array([1]))):
        casts, _ = cast(*feeds)
        assert "1099511627776" in casts.unfit["a"]
        assert casts.notes == ()


def test_many_layers_share_one_note():
    casts = Casts()
    casts.apply({name: np.ones(1) for name in "abcde"})
    assert casts.notes == (
        (
            "the reference of 'a', 'b', 'c' and 2 more was cast from float64 to float32, "
            "because TF.js has no float64"
        ),
    )


def test_an_empty_activation_fits():
    for dtype in ("int64", "float64"):
        _, found = cast(np.ones((0, 3), dtype))
        assert found.shape == (0, 3)
