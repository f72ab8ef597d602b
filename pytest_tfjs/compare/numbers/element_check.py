"""Checks each element of an activation against the reference and the error allowed there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.element_loops import Kind, kind_of, partial_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfjs.compare.numbers.allowance import Allowance
    from pytest_tfjs.compare.numbers.tolerances import Tolerance


@dataclass(frozen=True)
class ElementCheck:
    """The result of checking the elements of one activation; all fields are Python builtins.

    - `wrong`: how many of `elements` have an error above the allowed one.
    - `max_abs`: the greatest |error|, in the activation's unit; infinite if NaN or Inf differ.
    - `worst`: the index of the element with the greatest error / allowed error; `error` and `allowed` are the
      error and the allowed error there.
    - `rms`, `rms_allowed`: the root mean square of the errors and its limit, which may be None.
    - `reason`: why the arrays cannot be compared; then all elements are wrong, and `worst` is None.
    """

    elements: int
    wrong: int
    max_abs: float
    worst: tuple[int, ...] | None
    error: float
    allowed: float
    rms: float = math.inf
    rms_allowed: float | None = None
    reason: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every element and the root mean square are within what is allowed."""
        return self.wrong == 0 and self.reason is None and not self.exceeds_rms

    @property
    def exceeds_rms(self) -> bool:
        """Whether the root mean square of the errors is above its limit."""
        return self.rms_allowed is not None and self.rms > self.rms_allowed


def check_elements(
    actual: NDArray[Any],
    reference: NDArray[Any],
    allowed: NDArray[np.float64],
    rms_allowed: float | None = None,
) -> ElementCheck:
    """Checks an activation of numbers or bools against the reference.

    `allowed`: the allowed |error| of each element, in the shape and unit of the reference. NaN equals NaN at
    the same place, and Inf equals Inf of the same sign. Arrays of different shape or dtype are wrong in all
    elements. The reproducer's page (`page/repro/element_check.js`) does the same in JavaScript.
    """
    descriptions = [f"shape {list(one.shape)}" for one in (actual, reference)]
    if descriptions[0] == descriptions[1]:
        descriptions = [f"dtype {one.dtype.name}" for one in (actual, reference)]
    if descriptions[0] != descriptions[1] or reference.size == 0:
        reason = (
            "there are no elements"
            if descriptions[0] == descriptions[1]
            else f"{descriptions[0]}, {descriptions[1]} in the reference"
        )
        return ElementCheck(reference.size, reference.size, math.inf, None, math.inf, math.nan, reason=reason)
    error = errors(actual, reference)
    wrong = error > allowed
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(allowed > 0, error / allowed, np.where(error > 0, np.inf, 0.0))
    share[np.isinf(error)] = np.inf
    flat = error.reshape(-1)
    candidates = np.flatnonzero(share.reshape(-1) == share.max())
    at = int(candidates[np.argmax(flat[candidates])])
    return ElementCheck(
        elements=reference.size,
        wrong=int(wrong.sum()),
        max_abs=float(error.max()),
        worst=tuple(int(place) for place in np.unravel_index(at, reference.shape)),
        error=float(flat[at]),
        allowed=float(allowed.reshape(-1)[at]),
        rms=float(np.sqrt(np.mean(np.square(flat)))),
        rms_allowed=rms_allowed,
    )


def errors(actual: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float64]:
    """|actual - reference| of each element, in float64.

    It is 0 where both are NaN or the same Inf, and infinite where only one is NaN or Inf.
    """
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    got, want = actual.astype(wide), reference.astype(wide)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got - want)
    broken = ~np.isfinite(got) | ~np.isfinite(want)
    return np.where(same, 0.0, np.where(broken, np.inf, error))


def allowed_by_tolerance(tolerance: Tolerance, reference: NDArray[Any]) -> NDArray[np.float64]:
    """The error that a tolerance allows at each element; 0 for bools, NaN and Inf."""
    if reference.dtype.kind == "b":
        return np.zeros(reference.shape)
    size = np.abs(reference.astype(np.complex128 if reference.dtype.kind == "c" else np.float64))
    finite = np.isfinite(size)
    scale = float(size[finite].max(initial=0))
    return np.where(finite, tolerance.floor(scale) + tolerance.rtol * np.where(finite, size, 0), 0.0)


def allowed_by_allowance(
    allowance: Allowance, reference: NDArray[Any], magnitude: NDArray[Any] | None
) -> NDArray[np.float64]:
    """The error that an allowance allows at each element; 0 for texts. `magnitude` as in `Arithmetic`."""
    if kind_of(reference) is Kind.TEXT:
        return np.zeros(reference.shape)
    wide = reference.astype(np.complex128 if reference.dtype.kind == "c" else np.float64)
    size = np.abs(np.where(np.isfinite(wide), wide, 0))
    if magnitude is not None and size.size:
        size = partial_sum(magnitude.astype(np.float64), size)
    elements: NDArray[np.float64] = allowance.factor * size + allowance.floor
    return elements if allowance.extra is None else elements + allowance.extra
