"""How far constants that the converter computed are from the source's, for the allowances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import ROUNDOFF

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = np.ndarray[Any, np.dtype[Any]]

_MOST_UNITS = 16.0
"""Up to this many units of roundoff a difference counts relative to |value|, else the value as larger."""


@dataclass(frozen=True)
class ComputedConstant:
    """A constant that the converter computed, and how it is rounded.

    - `size`: the sum of the magnitudes that entered each element, at least |value|, in the constant's shape.
    - `roundings`: how many roundings may lie between it and the source's value, besides `error`.
    - `error`: the greatest measured |difference from the source's value| / `size`; 0 if it was not measured.
    """

    size: Array
    roundings: int
    error: float = 0.0


@dataclass(frozen=True)
class ComputedConstants:
    """What the converter computed of one model.

    - `by_name`: the constants that are known to differ from the source's by rounding, by name.
    - `layers`: the layers that use a constant without a value in the source. Such a constant may stand for
      several of the source's operations, so their roundings count as well.
    """

    by_name: Mapping[str, ComputedConstant] = field(default_factory=dict)
    layers: frozenset[str] = frozenset()


def measured(stored: Array, source: Array) -> ComputedConstant | None:
    """A constant that is not equal to the source's value, of the same shape; None if it is."""
    if np.array_equal(stored, source, equal_nan=True):
        return None
    value, exact = stored.astype(np.float64), source.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(value - exact)
    difference[~np.isfinite(difference)] = 0.0
    return with_error(np.maximum(np.abs(value), np.abs(exact)), difference)


def with_error(size: Array, difference: Array, roundings: int = 1) -> ComputedConstant:
    """A constant of the given size that differs from the source's by `difference` at each element.

    Where a difference is large for its element, as after cancellation, the size of that element grows, so
    that it does not widen the allowance of others.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(difference > 0, difference / size, 0.0)
    usual = max(_MOST_UNITS * ROUNDOFF, float(np.median(relative)))
    error = min(float(relative.max(initial=0.0)), usual)
    grown = np.maximum(size, difference / error) if error else size
    return ComputedConstant(np.asarray(grown, np.float32), roundings, error)
