"""Why two activations cannot be compared: their shapes, their dtypes, or no elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.element_loops import Kind, kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = "empty"
"""How the reason begins if both activations have no elements, with the same shape and dtype."""


def incomparable_reason(actual: NDArray[Any], reference: NDArray[Any]) -> str | None:
    """Why the elements of two activations cannot be compared, in words; None if they can."""
    if actual.shape != reference.shape:
        return f"shape {_shape(actual)} in the browser, {_shape(reference)} in the reference"
    found, expected = kind_of(actual), kind_of(reference)
    if Kind.OTHER in (found, expected):
        return f"dtype {actual.dtype} in the browser, {reference.dtype} in the reference: not comparable"
    if found is not expected or (expected is not Kind.TEXT and actual.dtype.name != reference.dtype.name):
        equal = Kind.TEXT not in (found, expected) and reference.size and np.array_equal(actual, reference)
        reason = f"dtype {_dtype(actual)} in the browser, {_dtype(reference)} in the reference"
        return f"{reason}, of equal values" if equal else reason
    if reference.size == 0:
        return f"{EMPTY}: shape {_shape(reference)} holds no elements, so there is nothing to compare"
    return None


def _shape(array: NDArray[Any]) -> str:
    return f"[{', '.join(str(size) for size in array.shape)}]"


def _dtype(array: NDArray[Any]) -> str:
    return "str" if kind_of(array) is Kind.TEXT else array.dtype.name
