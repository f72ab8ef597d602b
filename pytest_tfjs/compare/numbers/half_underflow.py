"""Carries the underflow of half precision through square roots and other roots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import HALF_ULP, SMALLEST_NORMAL_HALF

if TYPE_CHECKING:
    from numpy.typing import NDArray


def exponent_of(op: str, exponent: float) -> float:
    """The exponent of a layer that gives a power of x with an exponent between 0 and 1; 0 for other layers.

    `op`: of the layer, in the names of graph operations. `exponent`: see `Arithmetic`.
    """
    return 0.5 if op.rsplit("+", maxsplit=1)[-1] == "Sqrt" else exponent


def underflow_of_root(exponent: float, reference: NDArray[Any], largest: float) -> NDArray[Any] | None:
    """How far storing the input of a root in half precision may move each element; None for other layers.

    `exponent`: from `exponent_of`, 0.5 of a square root; `largest`: the largest |reference|. Storing may
    change an input x by δ = 2**-14, where a GPU flushes smaller numbers to 0, but by no more than 2**-10 of
    the largest input. A square root then changes by |√(x ± δ) - √x|: at 0 by 2**-7, which first-order
    magnitudes do not show. The logarithm and the reciprocal root have no such bound at 0, and get none.
    """
    if not 0 < exponent < 1 or reference.dtype.kind != "f" or not largest > 0:
        return None
    root = np.abs(reference.astype(np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        entered = root ** (1 / exponent)
        change = min(SMALLEST_NORMAL_HALF, HALF_ULP * largest ** (1 / exponent))
        up = (entered + change) ** exponent - root
        down = root - np.maximum(entered - change, 0.0) ** exponent
        moved = np.maximum(up, down)
    found: NDArray[Any] = np.where(np.isfinite(moved), moved, 0.0).astype(np.float32)
    return found
