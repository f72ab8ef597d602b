"""Carries the underflow of half precision through square roots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import HALF_ULP, SMALLEST_NORMAL_HALF

if TYPE_CHECKING:
    from numpy.typing import NDArray


def underflow_of_root(op: str, reference: NDArray[Any], largest: float) -> NDArray[Any] | None:
    """How far storing the input of a square root in half precision may move each element; None for others.

    `op`: of the layer, in the names of graph operations; `largest`: the largest |reference|. Storing may
    change an input x by δ = 2**-14, where a GPU flushes smaller numbers to 0, but by no more than 2**-10 of
    the largest input. The root then changes by |√(x ± δ) - √x|: at 0 by 2**-7, which first-order magnitudes
    do not show. The logarithm and the reciprocal root have no such bound at 0, and get none.
    """
    if op.rsplit("+", maxsplit=1)[-1] != "Sqrt" or reference.dtype.kind != "f" or not largest > 0:
        return None
    root = np.abs(reference.astype(np.float64))
    change = min(SMALLEST_NORMAL_HALF, HALF_ULP * largest**2)
    with np.errstate(invalid="ignore", over="ignore"):
        up = np.sqrt(np.square(root) + change) - root
        down = root - np.sqrt(np.maximum(np.square(root) - change, 0.0))
        moved = np.maximum(up, down)
    found: NDArray[Any] = np.where(np.isfinite(moved), moved, 0.0).astype(np.float32)
    return found
