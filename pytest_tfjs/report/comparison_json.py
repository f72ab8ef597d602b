"""Converts a comparison to JSON: an entry of `comparisons` in the `--tfjs-json` file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_tfjs.report.json_numbers import finite_or_none, strict_numbers

if TYPE_CHECKING:
    from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
    from pytest_tfjs.compare.numbers.compression import Compression, Cost
    from pytest_tfjs.compare.numbers.local_error import Local
    from pytest_tfjs.compare.results import Comparison, LayerResult, TargetFacts
    from pytest_tfjs.timing.samples import Timing

_NOT_ALONE = "the layer was not run alone"


def comparison_to_json(comparison: Comparison, *, expected: str | None = None) -> dict[str, Any]:
    """One entry of the JSON's `comparisons`: Python builtins only, and no NaN or Inf.

    `expected`: why the test expects this verdict, None if it does not. A number that is infinite or missing
    becomes None; `null_reasons` beside it gives the reason by key.
    """
    check, vacuity = comparison.weight_check, comparison.vacuity
    return {
        "test": comparison.test,
        "model": comparison.model,
        "format": comparison.format,
        "weights": comparison.weights,
        "tfjs_version": comparison.tfjs_version,
        "target": target_to_json(comparison.target),
        "verdict": comparison.verdict,
        "reason": comparison.reason,
        "expected": expected,
        "stage": comparison.stage,
        "stack": comparison.stack,
        "refused_layer": _refused_layer(comparison),
        "feeds": int(comparison.feeds),
        "first_divergence": list(comparison.first_divergence),
        "growth": None
        if comparison.growth is None
        else {
            "start": comparison.growth.start,
            "end": comparison.growth.end,
            "factor": comparison.growth.factor,
        },
        "outputs": list(comparison.outputs),
        "output_names": {name: list(names) for name, names in comparison.output_names.items()},
        "vacuous": [] if vacuity is None else [*vacuity.inputs, *vacuity.outputs],
        "dead_layers": None if vacuity is None else len(vacuity.dead),
        "reproducer": [
            {"layer": one.layer, "path": one.path, "note": one.note} for one in comparison.reproducers
        ],
        "observer_effect": {
            "checked": list(comparison.observation.checked),
            "altered": list(comparison.observation.altered),
            "cause": comparison.observation.cause,
            "read": comparison.observation.read,
            "settled": comparison.observation.settled,
            "told": str(comparison.observation) or None,
        },
        "retried": comparison.retried,
        "notes": list(comparison.notes),
        "layers": [_layer(result, comparison) for result in comparison.layers],
        "compression": None if comparison.compression is None else _compression(comparison.compression),
        "weights_checked": None if check is None else dict(check.counts),
        "weight_differences": [
            {"name": finding.name, "layer": finding.layer, "what": finding.what}
            for finding in (() if check is None else check.differences)
        ],
        "diagnosis": None if comparison.diagnosis is None else _diagnosis(comparison.diagnosis),
        "sensitivity": None if comparison.sensitivity is None else comparison.sensitivity.to_json(),
        "timing": None if comparison.timing is None else _timing(comparison.timing),
        "bytes": {name: int(count) for name, count in comparison.bytes.items()},
    }


def _refused_layer(comparison: Comparison) -> dict[str, Any] | None:
    layer = comparison.refused_layer
    if layer is None:
        return None
    return {
        "name": layer.name,
        "op": layer.op,
        "inputs": None if layer.inputs is None else list(layer.inputs),
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {**asdict(diagnosis), "evidence": list(diagnosis.evidence)}


def target_to_json(facts: TargetFacts) -> dict[str, Any]:
    """The target of a comparison or a task as JSON values."""
    flags, reasons = strict_numbers(dict(facts.flags), {})
    return {
        "browser": facts.browser,
        "browser_version": facts.browser_version,
        "backend": facts.backend,
        "variant": facts.variant,
        "flags": flags,
        "renderer": facts.renderer,
        "software": facts.software,
        "float32_textures": facts.float32_textures,
        "null_reasons": reasons,
    }


def _layer(result: LayerResult, comparison: Comparison) -> dict[str, Any]:
    layer, metrics, tolerance = result.layer, result.metrics, result.tolerance
    compression, vacuity = comparison.compression, comparison.vacuity
    numbers, reasons = strict_numbers(*_layer_numbers(result))
    return {
        "name": layer.name,
        "op": layer.op,
        "inputs": list(layer.inputs),
        "shape": None if layer.shape is None else [int(size) for size in layer.shape],
        "dtype": layer.dtype,
        "coverage": layer.coverage,
        "into": layer.into,
        "members": list(layer.members),
        "group": layer.group,
        "group_op": layer.group_op,
        "output": layer.output,
        "verdict": result.verdict,
        "reason": result.reason,
        "dead": None if vacuity is None else vacuity.dead.get(layer.name),
        **numbers,
        "elements": None if metrics is None else metrics.elements,
        "mismatched": None if metrics is None else metrics.mismatched,
        "worst": None if metrics is None or metrics.worst is None else list(metrics.worst),
        "worst_feed": None if metrics is None or metrics.worst is None else metrics.worst_feed,
        "nonfinite_mismatched": None if metrics is None else metrics.nonfinite_mismatched,
        "tolerance": None
        if tolerance is None
        else {"rtol": tolerance.rtol, "atol": tolerance.atol, "absolute": tolerance.absolute},
        "given": result.given,
        "local": None if result.local is None else _local(result.local),
        "compression": None
        if compression is None or layer.name not in compression.costs
        else _cost(compression.costs[layer.name]),
        "null_reasons": reasons,
    }


def _local(local: Local) -> dict[str, Any]:
    metrics = local.metrics
    values = {
        "max_abs": metrics.max_abs,
        "rms": metrics.rms,
        "worst_error": metrics.worst_error,
        "allowed": metrics.allowed,
        "rms_allowed": local.rms_allowed,
        "share": local.share,
        "needed": local.needed,
    }
    reason = "NaN or Inf are at different elements, or the shape or dtype differs"
    numbers, reasons = strict_numbers(values, dict.fromkeys(values, reason))
    return {
        **numbers,
        "worst": None if metrics.worst is None else list(metrics.worst),
        "worst_feed": None if metrics.worst is None else metrics.worst_feed,
        "mismatched": metrics.mismatched,
        "passed": local.passed,
        "failed_by": local.failed_by,
        "null_reasons": reasons,
    }


def _compression(compression: Compression) -> dict[str, Any]:
    worst = compression.worst
    share = None if worst is None else compression.costs[worst].share
    why = "no output was measured" if worst is None else _CHANGED["share"]
    numbers, reasons = strict_numbers({"share": share}, {"share": why})
    return {
        "stored": compression.stored,
        "output": worst,
        **numbers,
        "allowed": compression.allowed,
        "passed": not compression.exceeded,
        "null_reasons": reasons,
    }


_CHANGED = dict.fromkeys(
    ("max_abs", "rms", "share"), "NaN or Inf are at different elements, or the shape changed"
)


def _cost(cost: Cost) -> dict[str, Any]:
    numbers, reasons = strict_numbers(
        {"max_abs": cost.max_abs, "rms": cost.rms, "share": cost.share}, _CHANGED
    )
    return {**numbers, "null_reasons": reasons}


_LAYER_NUMBERS = ("max_abs", "max_rel", "rms", "allowed", "worst_error", "needed")


def _layer_numbers(result: LayerResult) -> tuple[dict[str, float | None], dict[str, str]]:
    """The layer's numbers by key, and the reasons for those that are missing or not finite."""
    metrics, local = result.metrics, result.local
    alone = {
        "local_error": None if local is None else local.metrics.max_abs,
        "propagated_error": result.propagated,
    }
    why = (
        "NaN or Inf are at different elements, or the shape differs"
        if local is not None
        else result.not_alone or _NOT_ALONE
    )
    reasons = dict.fromkeys(alone, why)
    if metrics is None:
        why = f"not compared: {result.layer.coverage}"
        return dict.fromkeys((*_LAYER_NUMBERS, *alone)), dict.fromkeys((*_LAYER_NUMBERS, *reasons), why)
    numbers = {name: getattr(metrics, name) for name in _LAYER_NUMBERS}
    if metrics.reason is not None:
        reasons |= dict.fromkeys(_LAYER_NUMBERS, metrics.reason)
    elif metrics.nonfinite_mismatched:
        places = "NaN or Inf are at different elements"
        reasons |= dict.fromkeys(("max_abs", "max_rel", "rms", "worst_error"), places)
        reasons |= {
            "allowed": "the reference is NaN or Inf at the worst element",
            "needed": "no tolerance would let the layer pass",
        }
    else:
        reasons |= {"allowed": "no element is finite", "needed": "no tolerance would let the layer pass"}
    return numbers | alone, reasons


def _timing(timing: Timing) -> dict[str, Any]:
    single = {name: getattr(timing, name) for name in ("load_ms", "first_ms", "median_ms", "p95_ms")}
    numbers, reasons = strict_numbers(single, dict.fromkeys(("median_ms", "p95_ms"), "there was no warm run"))
    numbers["warm_ms"] = [finite_or_none(run) for run in timing.warm_ms]
    return {**numbers, "null_reasons": reasons}
