"""Counts zeros of the wrong sign: -0 for 0, or 0 for -0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class WrongZeros:
    """Elements that are 0 in browser and reference with different signs.

    `minus` of them are -0 in the browser.
    """

    count: int
    minus: int

    def __str__(self) -> str:
        what = "element is" if self.count == 1 else "elements are"
        if 0 < self.minus < self.count:
            return f"{self.count} {what} 0 in the browser and in the reference, with different signs"
        signs = ("-0", "0") if self.minus else ("0", "-0")
        return f"{self.count} {what} {signs[0]} in the browser and {signs[1]} in the reference"


def wrong_zeros(actual: NDArray[Any], reference: NDArray[Any]) -> WrongZeros | None:
    """The zeros of `actual` that have the other sign in `reference`; None if there are none.

    Both have the same shape and are floats; otherwise there are none.
    """
    if actual.shape != reference.shape or actual.dtype.kind != "f" or reference.dtype.kind != "f":
        return None
    wrong = (reference == 0) & (actual == 0) & (np.signbit(actual) != np.signbit(reference))
    count = int(np.count_nonzero(wrong))
    return WrongZeros(count, int(np.count_nonzero(wrong & np.signbit(actual)))) if count else None
