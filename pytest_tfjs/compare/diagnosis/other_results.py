"""Compares what another backend or TensorFlow gives for the blamed layer with both sides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.evidence import OtherResult
from pytest_tfjs.compare.diagnosis.semantics import error_left
from pytest_tfjs.compare.dtypes import browser_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def other_result(who: str, value: Array, actual: Array, expected: Array) -> OtherResult:
    """How far `value` is from Python's `expected` and from the failing target's `actual`.

    Values of another dtype or shape agree with neither. If `actual` and `expected` differ in dtype only, so
    that there is no error, the differences are relative to the values.
    """
    off, apart = _left(expected, value, actual), _left(actual, value, expected)
    of = "the error"
    if _is_same(actual, expected):
        off, apart, of = _relative(expected, value), _relative(actual, value), "the values"
    return OtherResult(who, off, apart, _difference(value, expected), of)


def _left(one: Array, value: Array, other: Array) -> float:
    return math.inf if _dtype(one) != _dtype(value) else error_left(one, value, other)


def _relative(one: Array, value: Array) -> float:
    """The RMS of the difference relative to that of the values."""
    return _left(one, value, np.zeros(one.shape))


def _is_same(actual: Array, expected: Array) -> bool:
    return actual.shape == expected.shape and error_left(actual, expected, np.zeros(actual.shape)) == 0


def _difference(value: Array, expected: Array) -> str:
    if value.shape != expected.shape:
        return f"shape {list(value.shape)} instead of {list(expected.shape)}"
    if _dtype(value) != _dtype(expected):
        return f"dtype {_dtype(value)} instead of {_dtype(expected)}"
    return "NaN or Inf at different elements"


def _dtype(array: Array) -> str:
    """The dtype in which TF.js would hold the values; all texts have one."""
    return "str" if array.dtype.kind in "OSU" else browser_dtype(array.dtype) or array.dtype.name
