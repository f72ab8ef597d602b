"""The judgement of one layer that ran alone in the browser, on the reference's own inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.numbers.elements import mismatches
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.symptoms import symptoms_of
from pytest_tfjs.compare.numbers.tolerances import Tolerance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.compare.numbers.allowance import Allowance
    from pytest_tfjs.compare.numbers.arithmetic import Arithmetic
    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.numbers.symptoms import Symptoms

Failing = Literal["element", "rms", "nonfinite", "shape", "dtype", "missing", "empty"]


@dataclass(frozen=True)
class Local:
    """What one layer makes of right inputs, over one or more feeds; every field holds Python builtins.

    Errors and values are in the activation's unit, as in `Metrics`.

    - `max_abs`: the greatest |error| of all feeds; infinite where NaN or Inf stand at different places, or
      where nothing could be compared.
    - `rms`, `rms_allowed`: the root mean square of the error of feed `worst_feed`, and what was allowed.
    - `worst`: index of the element with the greatest |error| in parts of what is allowed there, in the
      activation of feed `worst_feed`; `worst_error`, `worst_actual`, `worst_reference` and `allowed` are told
      there. None where no element is.
    - `share`: the error in parts of what is allowed: of the worst element, or of the root mean square where
      that is more. Above 1 where the layer is wrong, infinite where no allowance would have let it pass.
    - `failed_by`: which test it failed, the gravest of all feeds; `reason`: in words where nothing could be
      compared.
    - `elements`, `mismatched`: how many there are, and how many are over their allowance.
    - `nan_…`, `inf_…`: counts. `nonfinite_mismatched`: elements of which one is NaN or Inf and the other not
      the same.
    - `symptoms`: how the wrong elements of the worst feed look; None where none is wrong.
    """

    max_abs: float
    rms: float
    rms_allowed: float
    worst: tuple[int, ...] | None
    worst_feed: int
    worst_error: float
    worst_actual: float
    worst_reference: float
    allowed: float
    share: float
    passed: bool
    failed_by: Failing | None
    reason: str | None
    elements: int
    mismatched: int
    nan_actual: int
    nan_reference: int
    inf_actual: int
    inf_reference: int
    nonfinite_mismatched: int
    symptoms: Symptoms | None = None

    @property
    def needed(self) -> float:
        """The smallest multiple of the allowance that would have passed; 0 where nothing differs."""
        return math.inf if math.isnan(self.share) else max(self.share, 0.0)

    @property
    def empty(self) -> bool:
        """Whether it has no elements, as it should, for every feed: then there was nothing to judge."""
        return self.failed_by == "empty"


def measure_local(
    actual: NDArray[Any] | None,
    reference: NDArray[Any],
    arithmetic: Arithmetic,
    allowance: Allowance,
    *,
    symptoms: bool = True,
) -> Local:
    """How one layer did for one feed; any shape and dtype, differences are taken in float64.

    NaN and Inf must be the reference's, at the same places; what is not rounded must be the same. Whatever is
    wrong with `actual` is a result, as in `measure`, and `symptoms` as there. `arithmetic.magnitude` has the
    reference's shape.
    """
    reference = np.asarray(reference)
    tolerance = Tolerance(allowance.factor, allowance.floor, absolute=True)
    metrics = measure(actual, reference, tolerance, arithmetic.magnitude, symptoms=symptoms)
    failed_by = _failed_by(metrics, actual, reference, allowance)
    found = metrics.symptoms
    if symptoms and failed_by == "rms" and actual is not None:
        # Some error is over their root mean square, so that the mask is not empty.
        found = symptoms_of(actual, reference, mismatches(actual, reference, 0.0, allowance.rms))
    return Local(
        max_abs=metrics.max_abs,
        rms=metrics.rms,
        rms_allowed=allowance.rms,
        worst=metrics.worst,
        worst_feed=0,
        worst_error=metrics.worst_error,
        worst_actual=metrics.worst_actual,
        worst_reference=metrics.worst_reference,
        allowed=metrics.allowed,
        share=max(metrics.share, _share(metrics.rms, allowance.rms)),
        passed=failed_by is None,
        failed_by=failed_by,
        reason=metrics.reason,
        elements=metrics.elements,
        mismatched=metrics.mismatched,
        nan_actual=metrics.nan_actual,
        nan_reference=metrics.nan_reference,
        inf_actual=metrics.inf_actual,
        inf_reference=metrics.inf_reference,
        nonfinite_mismatched=metrics.nonfinite_mismatched,
        symptoms=found,
    )


def merge_local(found: Sequence[Local]) -> Local:
    """What one layer did over several feeds, given in the feeds' order; `worst_feed` counts from 0 in it.

    A feed for which the layer is empty, as it should be, adds nothing to the others. Raises ValueError where
    there is none.
    """
    if not found:
        raise ValueError("merge_local() needs what was found for at least one feed")
    numbers = [number for number, one in enumerate(found) if not one.empty] or list(range(len(found)))
    feed = max(numbers, key=lambda number: (found[number].share, found[number].worst_error))
    parts = [found[number] for number in numbers]
    return replace(
        found[feed],
        worst_feed=feed,
        max_abs=max(one.max_abs for one in parts),
        passed=all(one.passed for one in parts),
        elements=sum(one.elements for one in parts),
        mismatched=sum(one.mismatched for one in parts),
        nan_actual=sum(one.nan_actual for one in parts),
        nan_reference=sum(one.nan_reference for one in parts),
        inf_actual=sum(one.inf_actual for one in parts),
        inf_reference=sum(one.inf_reference for one in parts),
        nonfinite_mismatched=sum(one.nonfinite_mismatched for one in parts),
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
