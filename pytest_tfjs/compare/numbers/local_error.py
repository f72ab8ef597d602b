"""Local error: how far a layer run alone on the reference's inputs is from the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.numbers.element_loops import mismatches
from pytest_tfjs.compare.numbers.metrics import measure, merge
from pytest_tfjs.compare.numbers.symptoms import symptoms_of
from pytest_tfjs.compare.numbers.tolerances import Tolerance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.compare.numbers.allowance import Allowance
    from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
    from pytest_tfjs.compare.numbers.metrics import Metrics

Failing = Literal["element", "rms", "nonfinite", "shape", "dtype", "missing", "empty"]


@dataclass(frozen=True)
class Local:
    """The error that one layer makes on correct inputs, over one or more feeds; Python builtins only.

    - `metrics`: as of the whole run, with the layer's allowance as the tolerance; but over several feeds
      `rms` is that of feed `worst_feed`.
    - `rms_allowed`: what the root mean square of the error of feed `worst_feed` may be.
    - `share`: the error in parts of what is allowed: of the worst element, or of the root mean square where
      that is more. Above 1 where the layer is wrong, infinite where no allowance would have let it pass.
    - `passed`: whether the layer is within its allowance for every feed.
    - `failed_by`: which test feed `worst_feed` failed; None where it passed.
    """

    metrics: Metrics
    rms_allowed: float
    share: float
    passed: bool
    failed_by: Failing | None

    @property
    def needed(self) -> float:
        """The smallest multiple of the allowance that would have passed; 0 where nothing differs."""
        return math.inf if math.isnan(self.share) else max(self.share, 0.0)

    @property
    def empty(self) -> bool:
        """Whether the layer has no elements for every feed, as in the reference: nothing was judged."""
        return self.failed_by == "empty"


def measure_local(
    actual: NDArray[Any] | None,
    reference: NDArray[Any],
    arithmetic: Arithmetic,
    allowance: Allowance,
    *,
    symptoms: bool = True,
) -> Local:
    """The local error of one layer for one feed; any shape and dtype, differences are taken in float64.

    NaN and Inf must be the reference's, at the same places; what is not rounded must be the same. Whatever is
    wrong with `actual` is a result, as in `measure`, and `symptoms` as there. `arithmetic.magnitude` has the
    reference's shape.
    """
    reference = np.asarray(reference)
    tolerance = Tolerance(allowance.factor, allowance.floor, absolute=True)
    metrics = measure(
        actual, reference, tolerance, arithmetic.magnitude, extra=allowance.extra, symptoms=symptoms
    )
    failed_by = _failed_by(metrics, actual, reference, allowance)
    if symptoms and failed_by == "rms" and actual is not None:
        # Some error is over their root mean square, so that the mask is not empty.
        wrong = mismatches(actual, reference, 0.0, allowance.rms)
        metrics = replace(metrics, symptoms=symptoms_of(actual, reference, wrong))
    return Local(
        metrics=metrics,
        rms_allowed=allowance.rms,
        share=max(metrics.share, _share(metrics.rms, allowance.rms)),
        passed=failed_by is None,
        failed_by=failed_by,
    )


_TOTALS = (
    "elements",
    "finite",
    "mismatched",
    "max_abs",
    "max_rel",
    "scale",
    "nan_actual",
    "nan_reference",
    "inf_actual",
    "inf_reference",
    "nonfinite_mismatched",
    "needed",
    "passed",
    "missing",
)
"""The fields of `Metrics` that are of all feeds; the others are of the worst one."""


def merge_local(found: Sequence[Local]) -> Local:
    """The local error of one layer over several feeds, given in the feeds' order.

    `worst_feed` counts from 0 in that order. A feed for which the layer is empty, as in the reference, adds
    nothing to the others. Raises ValueError where `found` is empty.
    """
    if not found:
        raise ValueError("merge_local() needs the local error of at least one feed")
    numbers = [number for number, one in enumerate(found) if not one.empty] or list(range(len(found)))
    feed = max(numbers, key=lambda number: (found[number].share, found[number].metrics.worst_error))
    totals = merge([one.metrics for one in found])
    return replace(
        found[feed],
        metrics=replace(
            found[feed].metrics, worst_feed=feed, **{name: getattr(totals, name) for name in _TOTALS}
        ),
        passed=all(found[number].passed for number in numbers),
    )


def _failed_by(
    metrics: Metrics, actual: NDArray[Any] | None, reference: NDArray[Any], allowance: Allowance
) -> Failing | None:
    if metrics.passed:
        return "rms" if metrics.rms > allowance.rms else None
    if actual is None or metrics.empty:
        return "missing" if actual is None else "empty"
    if metrics.reason is not None:
        return "shape" if actual.shape != reference.shape else "dtype"
    return "nonfinite" if metrics.nonfinite_mismatched else "element"


def _share(rms: float, allowed: float) -> float:
    if math.isinf(allowed):
        return -1.0
    if allowed == 0:
        return math.inf if rms > 0 else 0.0
    return rms / allowed
