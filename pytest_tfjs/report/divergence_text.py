"""Describes one diverged layer: error, place, tolerance, and the results on other targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfjs.compare.blame import input_error_text
from pytest_tfjs.compare.numbers.symptoms import Symptoms
from pytest_tfjs.compare.numbers.tolerances import Tolerance, is_inexact
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.number_text import distinct_numbers, number, number_up
from pytest_tfjs.report.symptom_hints import DivergedLayer, symptom_hints
from pytest_tfjs.report.text_layout import fact, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
    from pytest_tfjs.compare.numbers.local_error import Local
    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.results import Comparison, LayerResult

_MOST_ELSEWHERE = 8
_LEAST_PERCENT = 0.1
_INPUT_NAME_WIDTH = 40
_LARGE_SHARE = 0.5
_DENORMAL = 1e-37
"""A smaller allowance only covers denormals, which GPUs flush to 0."""


def divergence_text(comparison: Comparison, result: LayerResult) -> str:
    """The divergence of one layer in one phrase, as the first line of a failure shows it."""
    metrics = result.metrics
    if metrics is None or metrics.reason is not None or metrics.worst is None:
        return printable(result.reason or "nothing could be compared")
    if result.right_by_itself:
        return printable(result.reason or "it makes other layers wrong")
    if result.made_error:
        return _made(comparison, result)
    where = _place(comparison, metrics)
    return _worst_element(result, metrics, where)


def _worst_element(result: LayerResult, metrics: Metrics, where: str) -> str:
    """The values where an error has no size, otherwise the error and the allowed one."""
    if metrics.nonfinite_mismatched or metrics.worst_text is not None or not is_inexact(result.layer.dtype):
        found, expected = _values(result, metrics)
        return f"{found} in the browser, {expected} in the reference at {where}"
    error, allowed = distinct_numbers(metrics.worst_error, metrics.allowed)
    what = "max |error|" if metrics.worst_error == metrics.max_abs else "|error|"
    return f"{what} {error} at {where}, {allowed} allowed"


def _made(comparison: Comparison, result: LayerResult) -> str:
    """The same for a layer whose local error is too large."""
    local = result.local
    assert local is not None
    metrics = local.metrics
    if local.failed_by == "rms":
        error, allowed = distinct_numbers(metrics.rms, local.rms_allowed)
        return f"root mean square error {error}, {allowed} allowed"
    if metrics.worst is None:
        return printable(metrics.reason or "nothing could be compared")
    return _worst_element(result, metrics, _place(comparison, metrics))


def divergence_facts(comparison: Comparison, result: LayerResult, others: Sequence[Comparison]) -> list[str]:
    """Labelled lines on a diverged layer: its numbers, the same layer on other targets, the likely cause."""
    metrics = result.metrics
    if metrics is None:
        return []
    elsewhere = [(other, found) for other in others for found in other.layers if _stands_for(found, result)]
    lines = []
    if metrics.reason is None and not result.right_by_itself:
        lines += _alone(result)
        lines += fact("mismatched", _mismatched(comparison, result, metrics))
        lines += fact("worst", _worst(comparison, result, metrics))
        lines += fact("tolerance", _tolerance(comparison, result, metrics))
        if is_inexact(result.layer.dtype):
            own = _decisive(result, metrics)
            lines += fact("NaN, Inf", _nonfinite(own if own.nonfinite_mismatched else metrics))
    lines += _fused(result)
    for other, found in elsewhere[:_MOST_ELSEWHERE]:
        lines += fact("elsewhere", f"{other.target}: {_elsewhere(other, found)}")
    case = DivergedLayer(comparison, result, metrics, metrics.symptoms or Symptoms(), elsewhere)
    return lines + likely_cause(comparison.diagnosis, symptom_hints(case))


def likely_cause(diagnosis: Diagnosis | None, hints: Sequence[str] = ()) -> list[str]:
    """The diagnosis with its evidence; without one, the hints from the numbers."""
    if diagnosis is None:
        return [line for one in hints for line in fact("likely", one)]
    label = "cause" if diagnosis.kind == "unknown" else "likely"
    lines = fact(label, f"{diagnosis.kind}: {diagnosis.said}")
    for place, one in enumerate((*hints, *diagnosis.evidence)):
        lines += fact("" if place else "evidence", one)
    return lines


def _alone(result: LayerResult) -> list[str]:
    """The local error against its allowance, and the propagated error."""
    local = result.local
    if local is None:
        return [] if result.not_alone is None else fact("run alone", f"no: {printable(result.not_alone)}")
    if result.propagated is None or not math.isfinite(local.metrics.max_abs):
        return []
    propagated = f"the errors of the inputs add {number(result.propagated)}"
    return fact("run alone", f"{_own_error(local)}; {propagated}")


def _own_error(local: Local) -> str:
    """The local error that decides, which the first line names too, and the largest if that is another."""
    metrics = local.metrics
    by_rms = local.failed_by == "rms"
    error, what = (metrics.rms, "root mean square error") if by_rms else (metrics.worst_error, "error")
    text = f"the layer's {what} on the reference's inputs is {number(error)}, {_against_allowance(local)}"
    if not by_rms and number(metrics.max_abs) != number(error):
        text += f" (the largest |error| is {number(metrics.max_abs)}, at an element with a larger allowance)"
    return text


def _against_allowance(local: Local) -> str:
    allowed = local.rms_allowed if local.failed_by == "rms" else local.metrics.allowed
    if local.share > 1 and not allowed > _DENORMAL:
        return "but the allowance is 0 because the layer rounds no value"
    if local.share > 1:
        return f"{local.share:.3g} times its allowance"
    return f"{100 * local.share:.0f}% of its allowance"


def _stands_for(found: LayerResult, result: LayerResult) -> bool:
    return found.layer.name == result.layer.name and found.verdict is not None


def _mismatched(comparison: Comparison, result: LayerResult, metrics: Metrics) -> str:
    local = result.local
    if result.made_error and not metrics.mismatched and local is not None:
        own = local.metrics
        if local.failed_by == "rms" and not own.mismatched:
            return f"0 / {own.elements} elements, but the layer's root mean square error is too large"
        return f"run alone: {own.mismatched} / {own.elements} elements; whole run: none"
    text = f"{metrics.mismatched} / {metrics.elements} elements ({_percent(metrics)})"
    box, shape = None if metrics.symptoms is None else metrics.symptoms.box, result.layer.shape
    if box is None or shape is None or metrics.mismatched == 1:
        return text
    if all(last - first + 1 == size for (first, last), size in zip(box, shape, strict=False)):
        return text
    ranges = ", ".join(str(first) if first == last else f"{first}..{last}" for first, last in box)
    those = f"those{_of_feed(comparison, metrics)}" if comparison.feeds > 1 else "all"
    return f"{text}, {those} within [{ranges}] of shape {_index(shape)}"


def _percent(metrics: Metrics) -> str:
    """The share of mismatched elements; 0% and 100% only if exact."""
    share = 100 * metrics.mismatched / metrics.elements
    if metrics.mismatched < metrics.elements:
        share = min(share, 100 - _LEAST_PERCENT)
    return f"{share:.1f}%" if share >= _LEAST_PERCENT else f"under {_LEAST_PERCENT}%"


def _worst(comparison: Comparison, result: LayerResult, metrics: Metrics) -> str:
    """The element that the first line names: of the layer run alone if it made the error."""
    own = _decisive(result, metrics)
    if own.worst is None:
        return "none: no element is finite"
    alone = "; run alone" if own.worst != metrics.worst else ""
    found, expected = _values(result, own)
    return f"{found} in the browser, {expected} in the reference at {_place(comparison, own)}{alone}"


def _decisive(result: LayerResult, metrics: Metrics) -> Metrics:
    """The metrics of the layer run alone if one of its elements made the layer diverge, else `metrics`."""
    local = result.local
    if (
        result.made_error
        and local is not None
        and local.failed_by != "rms"
        and local.metrics.worst is not None
    ):
        return local.metrics
    return metrics


def _tolerance(comparison: Comparison, result: LayerResult, metrics: Metrics) -> str:
    tolerance, dtype = result.tolerance, result.layer.dtype
    if tolerance is None or metrics.worst_text is not None or dtype == "bool":
        return f"exact: {dtype} values must be equal"
    if tolerance.rtol == tolerance.atol == 0 and not is_inexact(dtype):
        return f"exact, the default for {dtype}; {_would_pass(comparison, tolerance, metrics)}"
    scale = "" if tolerance.absolute else f" of the layer's largest |reference| {metrics.scale:.3g}"
    allowed = f"rtol={tolerance.rtol:g}, atol={tolerance.atol:g}{scale}"
    by_allowance = result.made_error and not result.given
    passing = _would_pass(comparison, tolerance, metrics, explicit=by_allowance)
    if _fails_for_weights(comparison):
        passing += "; the comparison would still fail because of the wrong weights"
    if by_allowance:
        return f"run alone: the layer's allowance; whole run: {allowed}; {passing}"
    return f"{allowed}; {passing}"


def _fails_for_weights(comparison: Comparison) -> bool:
    """Whether wrong weights fail the comparison, whatever the tolerance."""
    check = comparison.weight_check
    return check is not None and any(one.name in (comparison.reason or "") for one in check.differences)


def _would_pass(
    comparison: Comparison, tolerance: Tolerance, metrics: Metrics, *, explicit: bool = False
) -> str:
    """The tolerance with which the layer would be close, and all layers; `explicit`: if the user gave it."""
    if metrics.nonfinite_mismatched:
        return "no tolerance would let the layer pass"
    if not math.isfinite(metrics.needed):
        absolute = f"Tolerance(rtol=0, atol={number_up(metrics.max_abs)}, absolute=True)"
        return f"the reference is 0 everywhere, so only {absolute} would let the layer pass"
    enough = f"{'an explicit ' if explicit else ''}atol={number_up(metrics.needed)}"
    if not metrics.needed:
        enough = f"any {'explicit ' if explicit else ''}tolerance"
    overall = _needed_overall(comparison, tolerance)
    if overall is None:
        return f"{enough} would let the layer pass"
    if not math.isfinite(overall):
        return f"{enough} would let the layer pass, but no atol would let all layers pass"
    if number_up(overall) == number_up(metrics.needed):
        return f"{enough} would let all layers pass"
    return f"{enough} would let the layer pass; atol={number_up(overall)} would let all layers pass"


def _needed_overall(comparison: Comparison, tolerance: Tolerance) -> float | None:
    """The smallest `atol` that passes all layers; None if their tolerances differ in kind."""
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
    text = f"{browser}, {reference}"
    if metrics.first_nonfinite_mismatch is None:
        return f"{text}, at the same places"
    return (
        f"{text}; {metrics.nonfinite_mismatched} differ, first at {_index(metrics.first_nonfinite_mismatch)}"
    )


def _fused(result: LayerResult) -> list[str]:
    layer = result.layer
    if "+" not in layer.op:
        return []
    members = f", including {', '.join(quoted(name) for name in layer.members)}" if layer.members else ""
    return fact("compared", f"after {printable(layer.op)}, one fused operation in the browser{members}")


def _elsewhere(other: Comparison, found: LayerResult) -> str:
    first = found.layer.name in other.first_divergence
    text = "diverged first there too" if first else f"{found.verdict} there"
    return f"{text}: {divergence_text(other, found)}"


def _values(result: LayerResult, metrics: Metrics) -> tuple[str, str]:
    if metrics.worst_text is not None:
        found, expected = metrics.worst_text
        return quoted(found), quoted(expected)
    if metrics.worst_complex is not None:
        return _complex(metrics.worst_complex[0]), _complex(metrics.worst_complex[1])
    dtype = result.layer.dtype or "float32"
    return _value(metrics.worst_actual, dtype), _value(metrics.worst_reference, dtype)


def _complex(value: complex) -> str:
    imaginary = _value(abs(value.imag), "float32")
    sign = "-" if math.copysign(1.0, value.imag) < 0 and not math.isnan(value.imag) else "+"
    return f"{_value(value.real, 'float32')}{sign}{imaginary}j"


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


def _feed(comparison: Comparison, feed: int) -> str:
    return f" of feed {feed}" if comparison.feeds > 1 else ""


def _index(index: Iterable[int]) -> str:
    return f"[{', '.join(str(place) for place in index)}]"


def origin(comparison: Comparison, result: LayerResult) -> str:
    """Whether a first diverged layer made its error itself, as far as its inputs show."""
    unmapped = sum(each.verdict == "unmapped" for each in comparison.layers)
    if unmapped and (result.made_error or result.local is None):
        where = "the unmapped layer" if unmapped == 1 else f"one of {unmapped} unmapped layers"
        return f"made there or in {where}"
    if result.made_error or result.right_by_itself:
        return "made there, not passed on" if result.made_error else "its own values are right"
    if result.local is not None:
        return "made by rounding only" if result.given else input_error_text(comparison.layers, result)
    compared = [each for each in comparison.layers if each.layer.coverage == "compared"]
    if not result.layer.inputs and all(each.layer.output for each in compared):
        return "no layer before it was compared"
    entering = [each for each in compared if each.layer.name in result.layer.inputs]
    shares = {each.layer.name: each.metrics.share for each in entering if each.metrics is not None}
    largest = max(shares, key=lambda name: shares[name], default=None)
    if largest is not None and shares[largest] > _LARGE_SHARE:
        name = quoted(largest, _INPUT_NAME_WIDTH)
        return f"the error of its input {name} is {100 * shares[largest]:.0f}% of the tolerance"
    return "made there, not passed on"
