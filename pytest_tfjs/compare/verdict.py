"""Gives a comparison one verdict, from the metrics of all layers, and the reason for it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_tfjs.compare.blame import blame, read_late
from pytest_tfjs.compare.lost_values import broken_by_compression
from pytest_tfjs.compare.numbers.metrics import nothing_wrong
from pytest_tfjs.compare.numbers.tolerances import is_inexact
from pytest_tfjs.compare.results import Alone, Blame, Judgement, LayerResult
from pytest_tfjs.compare.vacuity.vacuous import Vacuity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.numbers.compression import Compression
    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.numbers.tolerances import Tolerance
    from pytest_tfjs.compare.weight_check import WeightCheck

_NAMED = 3


def judge(
    layers: Sequence[Layer],
    metrics: Mapping[str, Metrics],
    tolerances: Mapping[str, Tolerance],
    *,
    alone: Alone | None = None,
    given: Collection[str] = (),
    weight_check: WeightCheck | None = None,
    compression: Compression | None = None,
    vacuity: Vacuity | None = None,
    steady: bool = True,
) -> Judgement:
    """The verdict on all layers; `metrics` and `tolerances` are by name, of the compared layers.

    A layer is close if its error in the whole run is within its tolerance and, if it was run `alone`, its
    local error is within its allowance. For layers named in `given`, whose tolerance is the user's own, that
    tolerance alone decides. If no layer is wrong alone and all outputs are close, an inner layer may exceed
    its tolerance: errors that grow and then fade do no harm. Layers in which quantised weights make NaN or
    Inf do not count as wrong, because the browser may treat these differently: the compression is to blame.

    The most severe verdict that applies is given: `diverged` (an activation is wrong), then `unmapped` (a
    layer was not compared), then `vacuous` (no activation could have been wrong), then `close`. `error` is
    not judged here: then nothing ran. A compared layer without metrics or without an activation is unmapped,
    and so is the whole if there are metrics of a name that is not a compared layer. A layer that is empty on
    both sides is eliminated. An output that is empty on both sides is close, as finding nothing is a result
    too; but if no other output could fail, the whole is vacuous. If all layers are close, the verdict is
    still `diverged` if a weight differs from the source's, or if quantised weights move an output too far.

    `steady`: whether two runs on the same feed give the same outputs. If not, activations of different runs
    are compared, and no error is said to grow from layer to layer.
    """
    alone = alone or Alone()
    results = _results(layers, metrics, tolerances, alone, given)
    results, blamed = _with_blame(results, alone, steady=steady)
    weights = _weights_reason(weight_check)
    broken = broken_by_compression(layers, compression, weight_check)
    if blamed.first:
        return _of_blamed(results, blamed, weights, broken if _follow(blamed, compression) else None)
    unmapped = _unmapped_reason(results, _not_requested(layers, metrics))
    vacuous = _nothing_could_fail(results, vacuity)
    is_proven = unmapped is None and vacuous is None
    too_strong = _compression_reason(layers, compression, broken, is_proven=is_proven)
    return _of_unblamed(results, weights or too_strong, unmapped, vacuous)


def _of_blamed(
    results: tuple[LayerResult, ...], blamed: Blame, weights: str | None, broken: str | None
) -> Judgement:
    """The judgement if a layer is blamed; `broken`: how quantised weights caused it, if they did."""
    if broken is not None and weights is None:
        return Judgement("diverged", broken, results)
    text = "; ".join(filter(None, (_diverged_reason(results, blamed), weights)))
    return Judgement("diverged", text, results, blamed)


def _of_unblamed(
    results: tuple[LayerResult, ...], wrong: str | None, unmapped: str | None, vacuous: str | None
) -> Judgement:
    """The judgement if no layer is blamed, by the first of these reasons that there is."""
    if wrong is not None:
        return Judgement("diverged", wrong, results)
    if unmapped is not None:
        return Judgement("unmapped", unmapped, results)
    if vacuous is not None:
        return Judgement("vacuous", vacuous, results)
    return Judgement("close", None, results)


def _results(
    layers: Sequence[Layer],
    metrics: Mapping[str, Metrics],
    tolerances: Mapping[str, Tolerance],
    alone: Alone,
    given: Collection[str],
) -> tuple[LayerResult, ...]:
    """The result of each layer, before any layer is blamed."""
    whole = (_result(layer, metrics.get(layer.name), tolerances.get(layer.name)) for layer in layers)
    return tuple(_with_local(result, alone, result.layer.name in given) for result in whole)


def _result(layer: Layer, metrics: Metrics | None, tolerance: Tolerance | None) -> LayerResult:
    if layer.coverage == "unmapped":
        return LayerResult(
            layer, "unmapped", None, None, layer.reason or "it has no counterpart in the artifacts"
        )
    if layer.coverage != "compared":
        return LayerResult(layer, None, None, None, layer.reason)
    if metrics is not None and metrics.empty and not layer.output:
        return LayerResult(replace(layer, coverage="eliminated"), None, None, None, metrics.reason)
    if metrics is not None and metrics.empty:
        return LayerResult(layer, "close", nothing_wrong(metrics), tolerance, metrics.reason)
    if metrics is None or metrics.missing:
        reason = "the browser returned no activation" if metrics is None else metrics.reason
        return LayerResult(layer, "unmapped", metrics, tolerance, reason)
    return LayerResult(layer, "close" if metrics.passed else "diverged", metrics, tolerance, metrics.reason)


def _only_drifts(results: Sequence[LayerResult], blamed: Blame) -> bool:
    """Whether all diverged layers are inner layers that are close alone.

    NaN and Inf are no drift, except where a layer is read after a later kernel wrote into its activation.
    """
    late = read_late(results)
    diverged = [result for result in results if result.verdict == "diverged"]
    return not (blamed.made or blamed.spoils or blamed.zeros) and all(
        result.local is not None
        and result.local.passed
        and not (result.given or result.layer.output)
        and result.metrics is not None
        and (math.isfinite(result.metrics.max_abs) or result.layer.name in late)
        for result in diverged
    )


def _with_blame(
    results: tuple[LayerResult, ...], alone: Alone, *, steady: bool
) -> tuple[tuple[LayerResult, ...], Blame]:
    """The results, in which layers that made others wrong are diverged too, and what is blamed.

    Inner layers that only drift are close, and nothing is blamed then.
    """
    blamed = blame(results, alone.unrepresentable)
    if not steady:
        blamed = replace(blamed, growth=None)
    results = tuple(_spoiling(result) if result.layer.name in blamed.spoils else result for result in results)
    results = tuple(_divided(result, blamed.zeros.get(result.layer.name)) for result in results)
    if _only_drifts(results, blamed):
        return tuple(map(_accepted, results)), Blame()
    return results, blamed


def _spoiling(result: LayerResult) -> LayerResult:
    """The result of a layer that is blamed for writing into its inputs."""
    inputs = " and ".join(map(repr, result.overwrites))
    return replace(
        result, verdict="diverged", spoils_inputs=True, reason=f"its kernel writes into its input {inputs}"
    )


def _divided(result: LayerResult, by: str | None) -> LayerResult:
    """The result of a layer that is blamed for zeros of the wrong sign, which the layer `by` divides by."""
    if by is None:
        return result
    reason = f"{result.wrong_zeros}, and {by!r} divides by {'it' if _is_one(result) else 'them'}"
    return replace(result, verdict="diverged", divided_by=by, reason=reason)


def _is_one(result: LayerResult) -> bool:
    return result.wrong_zeros is not None and result.wrong_zeros.count == 1


def _accepted(result: LayerResult) -> LayerResult:
    return replace(result, verdict="close") if result.verdict == "diverged" else result


def _with_local(result: LayerResult, alone: Alone, given: bool) -> LayerResult:
    """The result with those of the layer run alone, which may make it `diverged`."""
    name = result.layer.name
    is_empty = result.metrics is not None and result.metrics.empty
    if result.verdict not in ("close", "diverged") or is_empty:
        return result
    local = alone.local.get(name)
    result = replace(
        result,
        local=local,
        propagated=alone.propagated.get(name),
        given=given,
        not_alone=alone.reasons.get(name),
        overwrites=alone.overwrites.get(name, ()),
        wrong_zeros=alone.wrong_zeros.get(name),
    )
    if given or local is None or local.passed or result.verdict == "diverged":
        return result
    if result.layer.dtype is not None and result.layer.dtype.startswith(("int", "uint", "bool")):
        return replace(result, local=None, not_alone=_OTHERWISE_COMPUTED)
    return replace(result, verdict="diverged")


# TF.js computes small integers in JavaScript, unless they are on the GPU already: what ran before decides.
_OTHERWISE_COMPUTED = (
    "in the whole run its values are right, and where integers are computed depends on that run"
)


def _diverged_reason(results: Sequence[LayerResult], blamed: Blame) -> str:
    diverged = sum(result.verdict == "diverged" for result in results)
    compared = sum(result.layer.coverage == "compared" for result in results)
    text = f"{diverged} of {compared} compared layers diverged, first {_names(blamed.first)}"
    return text if blamed.growth is None else f"{text}; {blamed.growth}"


def _weights_reason(check: WeightCheck | None) -> str | None:
    if check is None or not check.differences:
        return None
    first, *others = check.differences
    more = f" (and {len(others)} more)" if others else ""
    return f"the artifacts' weight {first.name!r} differs from the source's{more}: {first.what}"


def _follow(blamed: Blame, compression: Compression | None) -> bool:
    """Whether the divergence begins only where quantised weights make NaN or Inf."""
    costs = {} if compression is None else compression.costs
    return all(name in costs and costs[name].broken for name in blamed.first)


def _compression_reason(
    layers: Sequence[Layer], compression: Compression | None, broken: str | None, *, is_proven: bool
) -> str | None:
    """Why the compression is too strong; `broken`: where it makes NaN or Inf. `is_proven`: all are close."""
    if compression is None or compression.worst is None or not compression.exceeded:
        return None
    known_as = {layer.name: layer.known_as for layer in layers}
    worst, name = compression.costs[compression.worst], known_as.get(compression.worst, compression.worst)
    if worst.broken and broken is not None:
        return f"{broken}; the browser computes the quantised model correctly" if is_proven else broken
    cost = f"by {worst.share:.1e} of its largest value" if math.isfinite(worst.share) else "to another shape"
    text = (
        f"quantising the weights to {compression.stored} changes {name!r} {cost}, "
        f"{compression.allowed:.1e} allowed"
    )
    return f"{text}; the browser computes the quantised model correctly" if is_proven else text


def _not_requested(layers: Sequence[Layer], metrics: Mapping[str, Metrics]) -> list[str]:
    """The names that have metrics, but are not those of compared layers."""
    compared = {layer.name for layer in layers if layer.coverage == "compared"}
    return [name for name in metrics if name not in compared]


def _unmapped_reason(results: Sequence[LayerResult], unknown: Sequence[str]) -> str | None:
    unmapped = [result for result in results if result.verdict == "unmapped"]
    if unmapped:
        counted = f"{len(unmapped)} of {len(results)} layers could not be compared"
        return f"{counted}: {_names_with_reasons(unmapped)}"
    if unknown:
        return f"the browser returned activations that were not requested: {_names(unknown)}"
    return None


def _nothing_could_fail(results: Sequence[LayerResult], vacuity: Vacuity | None) -> str | None:
    """Why the comparison proves nothing, in words; None if a layer could have failed."""
    vacuity = vacuity or Vacuity()
    return vacuity.reason or _empty_reason(results, vacuity) or _vacuous_reason(results, vacuity.allowed)


def _vacuous_reason(results: Sequence[LayerResult], allowed: Collection[str]) -> str | None:
    """Why no layer could have failed, in words; None if one could, or all are `allowed` not to."""
    seen = [result.metrics for result in results if result.metrics is not None]
    if not seen:
        return "no layer was compared, so nothing could have diverged"
    outputs = [result.layer for result in results if result.layer.output and result.metrics is not None]
    judged = outputs or [result.layer for result in results if result.metrics is not None]
    if any(map(_could_fail, _meaningful(results))) or all(layer.name in allowed for layer in judged):
        return None
    if any(metrics.scale > 0 for metrics in seen):
        return (
            "the tolerances allow activations that are all 0, so a broken model would pass too: "
            "lower the tolerances"
        )
    nonfinite = any(metrics.nan_reference or metrics.inf_reference for metrics in seen)
    what = "0, NaN or Inf" if nonfinite else "0"
    counted = "the one compared layer" if len(seen) == 1 else f"all {len(seen)} compared layers"
    ways_out = "feed other inputs"
    if outputs:
        names = ",".join(layer.known_as for layer in outputs[:_NAMED])
        ways_out += f" or, if this is intended, pass allow_vacuous={names!r}"
    return f"every element of {counted} is {what}, so a broken model would pass too: {ways_out}"


def _empty_reason(results: Sequence[LayerResult], vacuity: Vacuity) -> str | None:
    """Why empty outputs prove nothing, in words; None if there are none, or if another output could fail.

    An output that may be vacuous, because the user says so, is not one that could fail.
    """
    outputs = [result for result in results if result.layer.output and result.metrics is not None]
    able = [one for one in outputs if _could_fail(one) and one.layer.name not in vacuity.allowed]
    waiting = [one for one in outputs if one not in able and one.layer.name not in vacuity.allowed]
    empty = [one for one in waiting if one.metrics is not None and one.metrics.empty]
    if able or not empty:
        return None
    first = empty[0].layer
    others = ",".join(one.layer.known_as for one in waiting)
    return (
        f"the output {first.known_as!r} is empty (shape {list(first.shape or ())}) in the browser and in the "
        "reference, and no other output could have failed: a broken model could pass too. Feed inputs in "
        "which the model finds something, alone or in a list of feeds beside these. If nothing is to be "
        f"found, pass allow_vacuous={others!r}"
    )


def _meaningful(results: Sequence[LayerResult]) -> list[LayerResult]:
    """The outputs and the layers in floats; shapes are integers, which do not depend on the weights."""
    seen = [result for result in results if result.metrics is not None]
    floats = [one for one in seen if one.layer.dtype is None or is_inexact(one.layer.dtype)]
    return [one for one in seen if one.layer.output or one in floats] if floats else seen


def _could_fail(result: LayerResult) -> bool:
    """Whether an activation of zeros would have failed."""
    if result.metrics is None or result.tolerance is None:
        return False
    scale = result.metrics.scale
    return result.tolerance.floor(scale) + result.tolerance.rtol * scale < scale


def _names_with_reasons(unmapped: Sequence[LayerResult]) -> str:
    """The names, and the reason once if all have the same."""
    if len({result.reason for result in unmapped}) == 1:
        return f"{_names([result.layer.name for result in unmapped])} ({unmapped[0].reason})"
    listed = ", ".join(f"{result.layer.name!r} ({result.reason})" for result in unmapped[:_NAMED])
    return listed if len(unmapped) <= _NAMED else f"{listed} and {len(unmapped) - _NAMED} more"


def _names(names: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in names[:_NAMED])
    return listed if len(names) <= _NAMED else f"{listed} and {len(names) - _NAMED} more"
