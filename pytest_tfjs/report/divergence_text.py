"""What the numbers of one diverged layer say, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfjs.compare.numbers.symptoms import Symptoms
from pytest_tfjs.compare.numbers.tolerances import Tolerance, is_inexact
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.number_text import distinct_numbers, number_up
from pytest_tfjs.report.symptom_hints import DivergedLayer, symptom_hints
from pytest_tfjs.report.text_layout import fact, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.results import Comparison, LayerResult

_MOST_ELSEWHERE = 8
_LEAST_PERCENT = 0.1
_INPUT_NAME_WIDTH = 40
_LARGE_SHARE = 0.5


def divergence_text(comparison: Comparison, result: LayerResult) -> str:
    """The divergence of one layer in a few words, numbers first."""
    metrics = result.metrics
    if metrics is None or metrics.reason is not None or metrics.worst is None:
        return printable(result.reason or "nothing could be compared")
    if result.made_error:
        return _made(comparison, result)
    where = _place(comparison, metrics)
    if metrics.nonfinite_mismatched or metrics.worst_text is not None or not is_inexact(result.layer.dtype):
        found, expected = _values(result, metrics)
        return f"{found} in the browser, {expected} in the reference at {where}"
    error, allowed = distinct_numbers(metrics.worst_error, metrics.allowed)
    what = "max |error|" if metrics.worst_error == metrics.max_abs else "|error|"
    return f"{what} {error} at {where}, {allowed} allowed"


def _made(comparison: Comparison, result: LayerResult) -> str:
    """What is wrong with the layer run alone."""
    local = result.local
    assert local is not None
    metrics = local.metrics
    if local.failed_by == "rms":
        error, allowed = distinct_numbers(metrics.rms, local.rms_allowed)
        return f"root mean square error {error}, {allowed} allowed"
    if metrics.worst is None:
        return printable(metrics.reason or "nothing could be compared")
    where = f"{_index(metrics.worst)}{_feed(comparison, metrics.worst_feed)}"
    if local.failed_by == "nonfinite" or not is_inexact(result.layer.dtype):
        dtype = result.layer.dtype or "float32"
        found, expected = _value(metrics.worst_actual, dtype), _value(metrics.worst_reference, dtype)
        return f"{found} in the browser, {expected} in the reference at {where}"
    error, allowed = distinct_numbers(metrics.worst_error, metrics.allowed)
    what = "max |error|" if metrics.worst_error == metrics.max_abs else "|error|"
    return f"{what} {error} at {where}, {allowed} allowed"


def divergence_facts(comparison: Comparison, result: LayerResult, others: Sequence[Comparison]) -> list[str]:
    """What a diverged layer's numbers say, what the other targets say of it, and why it may be so."""
    metrics = result.metrics
    if metrics is None:
        return []
    elsewhere = [(other, found) for other in others for found in other.layers if _stands_for(found, result)]
    lines = []
    if metrics.reason is None:
        lines += _alone(result)
        lines += fact("mismatched", _mismatched(comparison, result, metrics))
        lines += fact("worst", _worst(comparison, result, metrics))
        lines += fact("tolerance", _tolerance(comparison, result, metrics))
        if is_inexact(result.layer.dtype):
            lines += fact("NaN, Inf", _nonfinite(metrics))
    lines += _fused(result)
    for other, found in elsewhere[:_MOST_ELSEWHERE]:
        lines += fact("elsewhere", f"{other.target}: {_told(other, found)}")
    case = DivergedLayer(comparison, result, metrics, metrics.symptoms or Symptoms(), elsewhere)
    return lines + likely_cause(comparison.diagnosis, symptom_hints(case))


def likely_cause(diagnosis: Diagnosis | None, looks_like: Sequence[str] = ()) -> list[str]:
    """What made it diverge, and the evidence; where there is no diagnosis, what the numbers look like."""
    if diagnosis is None:
        return [line for one in looks_like for line in fact("likely", one)]
    lines = fact("likely", f"{diagnosis.kind}: {diagnosis.said}")
    for number, one in enumerate((*looks_like, *diagnosis.evidence)):
        lines += fact("" if number else "evidence", one)
    return lines


def _alone(result: LayerResult) -> list[str]:
    """What the layer does by itself, and what its inputs' error makes of it."""
    local = result.local
    if local is None:
        return [] if result.not_alone is None else fact("run alone", f"no: {printable(result.not_alone)}")
    if result.propagated is None or not math.isfinite(local.metrics.max_abs):
        return []
    share = f"{local.share:.3g} times" if local.share > 1 else f"{100 * local.share:.0f}% of"
    by = "in root mean square " if local.failed_by == "rms" else ""
    size = f"{local.metrics.max_abs:.1e}, {by}{share} what its arithmetic allows"
    handed = f"the error of its inputs makes {result.propagated:.1e} of it"
    return fact("run alone", f"on the reference's inputs its error is {size}; {handed}")


def _stands_for(found: LayerResult, result: LayerResult) -> bool:
    return found.layer.name == result.layer.name and found.verdict is not None


def _mismatched(comparison: Comparison, result: LayerResult, metrics: Metrics) -> str:
    local = result.local
    if result.made_error and not metrics.mismatched and local is not None:
        own = local.metrics
        alone = f"{own.mismatched} / {own.elements} elements run alone, none over the whole run"
        by_rms = local.failed_by == "rms" and not own.mismatched
        return f"{alone}: it is their root mean square that is too large" if by_rms else alone
    said = f"{metrics.mismatched} / {metrics.elements} elements ({_percent(metrics)})"
    box, shape = None if metrics.symptoms is None else metrics.symptoms.box, result.layer.shape
    if box is None or shape is None or metrics.mismatched == 1:
        return said
    if all(last - first + 1 == size for (first, last), size in zip(box, shape, strict=False)):
        return said
    ranges = ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in box)
    return f"{said}, all{_of_feed(comparison, metrics)} within [{ranges}] of {_index(shape)}"


def _percent(metrics: Metrics) -> str:
    """The share of the mismatched, which is 0% and 100% only where it is so."""
    share = 100 * metrics.mismatched / metrics.elements
    if metrics.mismatched < metrics.elements:
        share = min(share, 100 - _LEAST_PERCENT)
    return f"{share:.1f}%" if share >= _LEAST_PERCENT else f"under {_LEAST_PERCENT}%"


def _worst(comparison: Comparison, result: LayerResult, metrics: Metrics) -> str:
    if metrics.worst is None:
        return "none: no element is finite"
    found, expected = _values(result, metrics)
    return f"{found} in the browser, {expected} in the reference at {_place(comparison, metrics)}"


def _tolerance(comparison: Comparison, result: LayerResult, metrics: Metrics) -> str:
    tolerance, dtype = result.tolerance, result.layer.dtype
    if tolerance is None or metrics.worst_text is not None or dtype == "bool":
        return f"exact, as {dtype} always is"
    if tolerance.rtol == tolerance.atol == 0 and not is_inexact(dtype):
        return f"exact, as {dtype} is by default; {_would_have_passed(comparison, tolerance, metrics)}"
    scale = "" if tolerance.absolute else f" of the layer's largest |reference| {metrics.scale:.3g}"
    allowed = f"rtol={tolerance.rtol:g}, atol={tolerance.atol:g}{scale}"
    passing = _would_have_passed(comparison, tolerance, metrics)
    if _fails_for_weights(comparison):
        passing += ", but for the weights"
    if result.made_error and not result.given:
        allowed = f"what its arithmetic allows, and over the whole run {allowed}"
        return f"{allowed}; given in place of it, {passing}"
    return f"{allowed}; {passing}"


def _fails_for_weights(comparison: Comparison) -> bool:
    """Whether the weights alone would fail it, whatever the tolerance."""
    check = comparison.weight_check
    return check is not None and any(one.name in (comparison.reason or "") for one in check.differences)


def _would_have_passed(comparison: Comparison, tolerance: Tolerance, metrics: Metrics) -> str:
    if metrics.nonfinite_mismatched:
        return "no tolerance would have passed"
    if not math.isfinite(metrics.needed):
        absolute = f"Tolerance(rtol=0, atol={number_up(metrics.max_abs)}, absolute=True)"
        return f"as the reference is 0 everywhere, only {absolute} would have passed"
    here = f"atol={number_up(metrics.needed)}" if metrics.needed else "any tolerance"
    overall = _needed_overall(comparison, tolerance)
    if overall is None:
        return f"{here} would have passed here"
    if not math.isfinite(overall):
        return f"{here} would have passed here, none at all layers"
    if number_up(overall) == number_up(metrics.needed):
        return f"{here} would have passed, here and at all layers"
    return f"{here} would have passed here, atol={number_up(overall)} at all layers"


def _needed_overall(comparison: Comparison, tolerance: Tolerance) -> float | None:
    """The smallest `atol` for all layers; None where one number does not mean the same to all of them."""
    inexact = [one for one in comparison.layers if one.metrics is not None and is_inexact(one.layer.dtype)]
    kinds = {one.tolerance and (one.tolerance.rtol, one.tolerance.absolute) for one in inexact}
    if kinds != {(tolerance.rtol, tolerance.absolute)}:
        return None
    return max(one.metrics.needed for one in inexact if one.metrics is not None)


def _nonfinite(metrics: Metrics) -> str:
    if not (metrics.nan_actual or metrics.inf_actual or metrics.nan_reference or metrics.inf_reference):
        return "none in either"
    browser = f"{metrics.nan_actual} NaN and {metrics.inf_actual} Inf in the browser"
    reference = f"{metrics.nan_reference} NaN and {metrics.inf_reference} Inf in the reference"
    said = f"{browser}, {reference}"
    if metrics.first_nonfinite_mismatch is None:
        return f"{said}, at the same places"
    return (
        f"{said}; {metrics.nonfinite_mismatched} differ, first at {_index(metrics.first_nonfinite_mismatch)}"
    )


def _fused(result: LayerResult) -> list[str]:
    layer = result.layer
    if "+" not in layer.op:
        return []
    members = f", which took in {', '.join(quoted(name) for name in layer.members)}" if layer.members else ""
    return fact("compared", f"after {printable(layer.op)}, one fused operation in the browser{members}")


def _told(other: Comparison, found: LayerResult) -> str:
    first = found.layer.name in other.first_divergence
    said = "diverged first there too" if first else f"{found.verdict} there"
    return f"{said}: {divergence_text(other, found)}"


def _values(result: LayerResult, metrics: Metrics) -> tuple[str, str]:
    if metrics.worst_text is not None:
        found, expected = metrics.worst_text
        return quoted(found), quoted(expected)
    dtype = result.layer.dtype or ""
    modulus = "modulus " if dtype.startswith("complex") else ""
    return (
        modulus + _value(metrics.worst_actual, dtype),
        modulus + _value(metrics.worst_reference, dtype),
    )


def _value(value: float, dtype: str) -> str:
    if not math.isfinite(value):
        return {math.inf: "Inf", -math.inf: "-Inf"}.get(value, "NaN")
    if dtype == "bool":
        return str(bool(value))
    return f"{value:.9g}" if is_inexact(dtype) else f"{value:.0f}"


def _place(comparison: Comparison, metrics: Metrics) -> str:
    return f"{_index(metrics.worst or ())}{_of_feed(comparison, metrics)}"


def _of_feed(comparison: Comparison, metrics: Metrics) -> str:
    return _feed(comparison, metrics.worst_feed)


def _feed(comparison: Comparison, number: int) -> str:
    return f" of feed {number}" if comparison.feeds > 1 else ""


def _index(index: Iterable[int]) -> str:
    return f"[{', '.join(str(place) for place in index)}]"


def origin(comparison: Comparison, result: LayerResult) -> str:
    """Whether a first diverged layer made its error: by itself, or as far as its inputs allow to say."""
    unmapped = sum(each.verdict == "unmapped" for each in comparison.layers)
    if unmapped and (result.made_error or result.local is None):
        return f"made there or in an unmapped layer, of which there are {unmapped}"
    if result.made_error:
        return "made there, not passed on"
    if result.local is not None:
        return "made by rounding"
    compared = [each for each in comparison.layers if each.layer.coverage == "compared"]
    if not result.layer.inputs and all(each.layer.output for each in compared):
        return "no layer before it was compared"
    entering = [each for each in compared if each.layer.name in result.layer.inputs]
    shares = {each.layer.name: each.metrics.share for each in entering if each.metrics is not None}
    largest = max(shares, key=lambda name: shares[name], default=None)
    if largest is not None and shares[largest] > _LARGE_SHARE:
        name = quoted(largest, _INPUT_NAME_WIDTH)
        return f"its input {name} is at {100 * shares[largest]:.0f}% of its tolerance"
    return "made there, not passed on"
