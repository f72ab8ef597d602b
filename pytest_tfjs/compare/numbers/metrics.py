"""Metrics of one layer: how far its activation in the browser is from the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.comparability import EMPTY, incomparable_reason
from pytest_tfjs.compare.numbers.element_loops import (
    Kind,
    kind_of,
    largest,
    mismatches,
    partial_sum,
    tally,
    text_elements,
)
from pytest_tfjs.compare.numbers.symptoms import permutation_of, symptoms_of
from pytest_tfjs.compare.numbers.tolerances import EXACT, is_inexact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.compare.numbers.element_loops import Tally
    from pytest_tfjs.compare.numbers.symptoms import Symptoms
    from pytest_tfjs.compare.numbers.tolerances import Tolerance

_LONGEST_TEXT = 80

MISSING = "the browser returned no activation"


@dataclass(frozen=True)
class Metrics:
    """How far one layer is from the reference over one or more feeds. All fields are Python builtins.

    Errors and values are in the activation's unit. For complex elements they are moduli; True is 1 and False
    0; a wrong string has error 1. All float fields except `needed` include only elements that are finite in
    browser and reference.

    - `elements`: the number in the reference. `finite`: those finite in both. `mismatched`: those neither
      equal nor within the tolerance.
    - `max_abs`, `rms`: greatest and root mean square |error|. `max_rel`: greatest |error| / |reference| over
      the elements whose reference is not 0. All three are infinite if NaN or Inf are at different places, or
      if nothing could be compared.
    - `worst`: the index of the element with the greatest |error| / allowed error (or |error|, if no error is
      allowed) in the activation of feed `worst_feed`; the first of several. `worst_actual`,
      `worst_reference`, `worst_error` and `allowed` are the values at that element. An element that is NaN or
      Inf in one and different in the other is worse than any finite one. None if there is no such element.
    - `worst_text`: for strings, the texts of browser and reference at `worst`. `worst_complex`: for complex
      elements, the numbers themselves.
    - `scale`: the largest finite |reference|.
    - `nan_…`, `inf_…`: counts. `nonfinite_mismatched`: the number of elements that are NaN or Inf in one and
      different in the other.
    - `needed`: the smallest `atol` that would have passed, with the tolerance's own `rtol` and scale;
      infinite if there is none.
    - `missing`: the browser returned no activation. `empty`: both activations have no elements, with the same
      shape and dtype, for every feed. `reason`: why nothing could be compared, in words.
    - `symptoms`: properties of the wrong elements of the worst feed; None if no element is wrong.
    """

    elements: int
    mismatched: int
    max_abs: float
    max_rel: float
    rms: float
    worst: tuple[int, ...] | None
    worst_feed: int
    worst_actual: float
    worst_reference: float
    worst_error: float
    allowed: float
    scale: float
    nan_actual: int
    nan_reference: int
    inf_actual: int
    inf_reference: int
    nonfinite_mismatched: int
    first_nonfinite_mismatch: tuple[int, ...] | None
    needed: float
    passed: bool
    reason: str | None = None
    finite: int = 0
    missing: bool = False
    empty: bool = False
    worst_text: tuple[str, str] | None = None
    worst_complex: tuple[complex, complex] | None = None
    symptoms: Symptoms | None = None

    @property
    def share(self) -> float:
        """The worst error / the error allowed there; above 1 if the layer did not pass.

        Infinite if the error is infinite, or above 0 where no error is allowed; -1 if no element is finite.
        """
        if math.isinf(self.worst_error):
            return math.inf
        if self.worst is None:
            return -1.0
        if self.allowed == 0:
            return math.inf if self.worst_error > 0 else 0.0
        return self.worst_error / self.allowed


def measure(
    actual: NDArray[Any] | None,
    reference: NDArray[Any],
    tolerance: Tolerance,
    magnitude: NDArray[Any] | None = None,
    *,
    extra: NDArray[Any] | None = None,
    symptoms: bool = True,
) -> Metrics:
    """The metrics of one layer for one feed.

    `actual` and `reference` have any shape and dtype; differences are taken in float64. NaN equals NaN at the
    same place, and Inf equals Inf of the same sign. Bools and strings must be equal at any tolerance.
    Nothing about `actual` raises an error: another shape or dtype than the reference's, no activation (None)
    and no elements are results that do not pass.

    `magnitude`, of the reference's shape: the sums of the magnitudes that enter its elements. With it, `rtol`
    and every result relative to |reference| are relative to the largest partial sum
    (`element_loops.partial_sum`). `extra`, of the reference's shape: an error by rounding that is allowed at
    each element beside that of `tolerance`, in the activation's unit; integers do not round, and get nothing.
    `symptoms` False leaves out `Metrics.symptoms`, which takes the most time.
    """
    reference = np.asarray(reference)
    if actual is None:
        return _incomparable(reference, MISSING, missing=True)
    actual = np.asarray(actual)
    reason = incomparable_reason(actual, reference)
    if reason is not None:
        permutation = permutation_of(actual, reference) if symptoms else None
        return _incomparable(reference, reason, empty=reason.startswith(EMPTY), symptoms=permutation)
    kind = kind_of(reference)
    if kind is Kind.TEXT:
        return _measure_text(actual, reference)
    allowed = EXACT if kind is Kind.BOOL else tolerance
    extra = extra if is_inexact(reference.dtype.name) else None
    return _measure_numbers(actual, reference, allowed, magnitude, extra, explain=symptoms)


def nothing_wrong(empty: Metrics) -> Metrics:
    """The metrics of a layer that is empty on both sides, where that counts as passed."""
    return replace(
        empty, passed=True, max_abs=0.0, max_rel=0.0, rms=0.0, worst_error=0.0, allowed=0.0, needed=0.0
    )


def merge(metrics: Sequence[Metrics]) -> Metrics:
    """The metrics of one layer over several feeds, from the metrics of each feed in order.

    `worst_feed` counts from 0 in that order. Feeds for which the layer is empty do not count beside others.
    Raises ValueError if `metrics` is empty.
    """
    if not metrics:
        raise ValueError("merge() needs the metrics of at least one feed")
    several = len(metrics) > 1
    numbers = [number for number, one in enumerate(metrics) if not one.empty] or list(range(len(metrics)))
    feed = max(numbers, key=lambda number: _badness(metrics[number]))
    worst, metrics = metrics[feed], [metrics[number] for number in numbers]
    finite = sum(one.finite for one in metrics)
    reason = worst.reason
    if reason is not None and several and not worst.empty:
        reason = f"in feed {feed}: {reason}"
    # hypot, because the squares of a tiny rms underflow.
    rms = math.hypot(*(one.rms * math.sqrt(one.finite / finite) for one in metrics)) if finite else worst.rms
    return replace(
        worst,
        worst_feed=feed,
        reason=reason,
        elements=sum(one.elements for one in metrics),
        finite=finite,
        mismatched=sum(one.mismatched for one in metrics),
        max_abs=max(one.max_abs for one in metrics),
        max_rel=max(one.max_rel for one in metrics),
        rms=math.inf if any(math.isinf(one.rms) for one in metrics) else rms,
        scale=max(one.scale for one in metrics),
        nan_actual=sum(one.nan_actual for one in metrics),
        nan_reference=sum(one.nan_reference for one in metrics),
        inf_actual=sum(one.inf_actual for one in metrics),
        inf_reference=sum(one.inf_reference for one in metrics),
        nonfinite_mismatched=sum(one.nonfinite_mismatched for one in metrics),
        needed=max(one.needed for one in metrics),
        passed=all(one.passed for one in metrics),
        missing=all(one.missing for one in metrics),
    )


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest |one - other| over the elements, in their unit; 1 if texts differ.

    Infinite if shapes, dtypes, or the places of NaN and Inf differ.
    """
    if one.shape != other.shape or kind_of(one) is not kind_of(other):
        return math.inf
    if kind_of(one) is Kind.TEXT:
        return float(text_elements(one) != text_elements(other))
    if one.size == 0:
        return 0.0
    counts = tally(one, other, 0.0, 0.0)
    return math.inf if counts.nonfinite_mismatched else counts.max_abs


def _badness(one: Metrics) -> tuple[float, float]:
    return one.share, one.worst_error


def _measure_numbers(
    actual: NDArray[Any],
    reference: NDArray[Any],
    tolerance: Tolerance,
    magnitude: NDArray[Any] | None,
    extra: NDArray[Any] | None,
    *,
    explain: bool,
) -> Metrics:
    scale = largest(reference)
    floor = tolerance.floor(scale)
    counts = tally(actual, reference, tolerance.rtol, floor, magnitude, extra=extra)
    broken = counts.nonfinite_mismatched > 0
    at = counts.first_nonfinite if broken else counts.worst_at
    found, expected = (math.nan, math.nan) if at is None else (_value(actual, at), _value(reference, at))
    symptoms = None
    if counts.mismatched and explain:
        wrong = mismatches(actual, reference, tolerance.rtol, floor, magnitude, extra=extra)
        symptoms = symptoms_of(actual, reference, wrong)
    return Metrics(
        elements=reference.size,
        finite=counts.finite,
        mismatched=counts.mismatched,
        max_abs=math.inf if broken else counts.max_abs,
        max_rel=math.inf if broken else counts.max_rel,
        rms=math.inf if broken else counts.rms,
        worst=_index(at, reference.shape),
        worst_feed=0,
        worst_actual=found,
        worst_reference=expected,
        worst_error=math.inf if broken else counts.worst_error,
        allowed=_allowed(
            tolerance, floor + (_value_at(extra, at) or 0.0), expected, _value_at(magnitude, at)
        ),
        scale=scale,
        nan_actual=counts.nan_actual,
        nan_reference=counts.nan_reference,
        inf_actual=counts.inf_actual,
        inf_reference=counts.inf_reference,
        nonfinite_mismatched=counts.nonfinite_mismatched,
        first_nonfinite_mismatch=_index(counts.first_nonfinite, reference.shape),
        needed=_needed(counts, tolerance, scale),
        passed=counts.mismatched == 0,
        worst_complex=_complex_pair(actual, reference, at),
        symptoms=symptoms,
    )


def _measure_text(actual: NDArray[Any], reference: NDArray[Any]) -> Metrics:
    found, expected = text_elements(actual), text_elements(reference)
    wrong = [place for place, (got, want) in enumerate(zip(found, expected, strict=True)) if got != want]
    at = wrong[0] if wrong else 0
    error = 1.0 if wrong else 0.0
    return Metrics(
        elements=reference.size,
        finite=reference.size,
        mismatched=len(wrong),
        max_abs=error,
        max_rel=error,
        rms=math.sqrt(len(wrong) / len(expected)),
        worst=_index(at, reference.shape),
        worst_feed=0,
        worst_actual=math.nan,
        worst_reference=math.nan,
        worst_error=error,
        allowed=0.0,
        scale=1.0 if any(expected) else 0.0,
        nan_actual=0,
        nan_reference=0,
        inf_actual=0,
        inf_reference=0,
        nonfinite_mismatched=0,
        first_nonfinite_mismatch=None,
        needed=math.inf if wrong else 0.0,
        passed=not wrong,
        worst_text=(_shortened(found[at]), _shortened(expected[at])),
    )


def _incomparable(
    reference: NDArray[Any],
    reason: str,
    *,
    missing: bool = False,
    empty: bool = False,
    symptoms: Symptoms | None = None,
) -> Metrics:
    return Metrics(
        elements=reference.size,
        mismatched=reference.size,
        max_abs=math.inf,
        max_rel=math.inf,
        rms=math.inf,
        worst=None,
        worst_feed=0,
        worst_actual=math.nan,
        worst_reference=math.nan,
        worst_error=math.inf,
        allowed=math.nan,
        scale=0.0,
        nan_actual=0,
        nan_reference=0,
        inf_actual=0,
        inf_reference=0,
        nonfinite_mismatched=0,
        first_nonfinite_mismatch=None,
        needed=math.inf,
        passed=False,
        reason=reason,
        missing=missing,
        empty=empty,
        symptoms=symptoms,
    )


def _needed(counts: Tally, tolerance: Tolerance, scale: float) -> float:
    if counts.nonfinite_mismatched:
        return math.inf
    if counts.excess <= 0:
        return 0.0
    unit = 1.0 if tolerance.absolute else scale
    if unit == 0:
        return math.inf
    # Both the division and the multiplication round: step up until the product is large enough.
    needed = counts.excess / unit
    while needed * unit < counts.excess:
        needed = math.nextafter(needed, math.inf)
    return needed


def _allowed(tolerance: Tolerance, floor: float, reference: float, entering: float | None) -> float:
    if not math.isfinite(reference):
        return math.nan
    size = abs(reference)
    if entering is not None:
        size = float(partial_sum(np.array([entering]), np.array([size]))[0])
    return floor + tolerance.rtol * size


def _value_at(magnitude: NDArray[Any] | None, at: int | None) -> float | None:
    return None if magnitude is None or at is None else _value(magnitude, at)


def _value(array: NDArray[Any], at: int) -> float:
    element = array.reshape(-1)[at].item()
    return float(abs(element)) if isinstance(element, complex) else float(element)


def _complex_pair(
    actual: NDArray[Any], reference: NDArray[Any], at: int | None
) -> tuple[complex, complex] | None:
    if at is None or reference.dtype.kind != "c":
        return None
    return complex(actual.reshape(-1)[at]), complex(reference.reshape(-1)[at])


def _index(at: int | None, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if at is None else tuple(int(place) for place in np.unravel_index(at, shape))


def _shortened(text: bytes) -> str:
    decoded = text.decode("utf-8", "backslashreplace")
    return decoded if len(decoded) <= _LONGEST_TEXT else f"{decoded[: _LONGEST_TEXT - 3]}..."
