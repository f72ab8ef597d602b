"""One array of the browser's held element by element against the reference and what is allowed there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.elements import partial_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfjs.compare.numbers.allowance import Allowance
    from pytest_tfjs.compare.numbers.tolerances import Tolerance


@dataclass(frozen=True)
class Held:
    """What holding found; Python builtins only.

    `wrong` of `elements` have a greater error than is allowed. `max_abs`: the greatest |error|, infinite
    where NaN or Inf stand at different places. `worst`: the index of the element whose error is greatest in
    parts of what is allowed there, `error` and `allowed` are told there. `rms`: the root mean square of the
    errors, and what is allowed of it, None where the elements alone decide. `reason`: why nothing could be
    held, in words; then all elements are wrong, and `worst` is None.
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
        """Whether no element is wrong, nor all together."""
        return self.wrong == 0 and self.reason is None and not self.exceeds_rms

    @property
    def exceeds_rms(self) -> bool:
        """Whether the errors together are over what is allowed."""
        return self.rms_allowed is not None and self.rms > self.rms_allowed


def hold(
    actual: NDArray[Any],
    reference: NDArray[Any],
    allowed: NDArray[np.float64],
    rms_allowed: float | None = None,
) -> Held:
    """Holds numbers or bools against each other; `allowed` is of the reference's shape, in its unit.

    NaN equals NaN at the same place, and Inf equals Inf of the same sign. Another shape or dtype is a result.
    The reproducer's page (`page/repro/holding.js`) does the same.
    """
    what = [f"shape {list(one.shape)}" for one in (actual, reference)]
    if what[0] == what[1]:
        what = [f"dtype {one.dtype.name}" for one in (actual, reference)]
    if what[0] != what[1] or reference.size == 0:
        reason = "there are no elements" if what[0] == what[1] else f"{what[0]}, {what[1]} in the reference"
        return Held(reference.size, reference.size, math.inf, None, math.inf, math.nan, reason=reason)
    error = errors(actual, reference)
    wrong = error > allowed
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(allowed > 0, error / allowed, np.where(error > 0, np.inf, 0.0))
    share[np.isinf(error)] = np.inf
    flat = error.reshape(-1)
    candidates = np.flatnonzero(share.reshape(-1) == share.max())
    at = int(candidates[np.argmax(flat[candidates])])
    return Held(
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
    """|actual - reference| of each element; 0 where both are NaN or the same Inf, infinite where one is."""
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    ours, theirs = actual.astype(wide), reference.astype(wide)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(ours - theirs)
    broken = ~np.isfinite(ours) | ~np.isfinite(theirs)
    return np.where(same, 0.0, np.where(broken, np.inf, error))


def tolerated(tolerance: Tolerance, reference: NDArray[Any]) -> NDArray[np.float64]:
    """What a tolerance allows at each element of a reference; of bools nothing, where it is not finite 0."""
    if reference.dtype.kind == "b":
        return np.zeros(reference.shape)
    size = np.abs(reference.astype(np.complex128 if reference.dtype.kind == "c" else np.float64))
    finite = np.isfinite(size)
    scale = float(size[finite].max(initial=0))
    return np.where(finite, tolerance.floor(scale) + tolerance.rtol * np.where(finite, size, 0), 0.0)


def granted(
    allowance: Allowance, reference: NDArray[Any], magnitude: NDArray[Any] | None
) -> NDArray[np.float64]:
    """What an allowance allows at each element of a reference, where `magnitude` enters; see `Allowance`."""
    wide = reference.astype(np.complex128 if reference.dtype.kind == "c" else np.float64)
    size = np.abs(np.where(np.isfinite(wide), wide, 0))
    if magnitude is not None and size.size:
        size = partial_sum(magnitude.astype(np.float64), size)
    elements: NDArray[np.float64] = allowance.factor * size + allowance.floor
    return elements
