"""Recognises outputs that the artifacts return under each other's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.diagnosis.semantics import EXPLAINED, error_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]


def output_found_in(actual: Array, expected: Array, others: Mapping[str, Array]) -> str | None:
    """The name of the other output whose reference the browser's value is; None if there is none.

    `others`: the references of the other outputs, by name. One that is the same as `expected` up to a small
    share of their size cannot be told from it.
    """
    found = {
        name: error_left(actual, other, expected)
        for name, other in others.items()
        if other.dtype == actual.dtype and other.shape == actual.shape and _differ(other, expected)
    }
    best = min(found, key=lambda name: found[name], default=None)
    return best if best is not None and found[best] <= EXPLAINED else None


def swapped_text(name: str, other: str, *, mutual: bool) -> str:
    """Which outputs are swapped; `mutual`: the browser also gives the first in place of the second."""
    if mutual:
        return f"the outputs {name!r} and {other!r} are swapped: the browser gives each in place of the other"
    return f"the browser gives the output {other!r} in place of the output {name!r}"


def swapped_briefly(other: str, *, mutual: bool) -> str:
    """The same behind the first output's name."""
    return f"swapped with the output {other!r}" if mutual else f"the output {other!r} is in its place"


def _differ(one: Array, other: Array) -> bool:
    return one.shape != other.shape or error_left(one, other, np.zeros(one.shape)) > EXPLAINED
