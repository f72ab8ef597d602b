"""Converts the result of `agreement` to JSON: an entry of `task` in the `--tfjs-json` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.task import unproven
from pytest_tfjs.report.comparison_json import target_to_json
from pytest_tfjs.report.json_numbers import strict_numbers

if TYPE_CHECKING:
    from pytest_tfjs.compare.task import Agreement, Flip, Measure

_NO_INTERVAL = "no interval can be drawn"


def agreement_to_json(agreement: Agreement, *, expected: str | None = None) -> dict[str, Any]:
    """One entry of the JSON's `task`: Python builtins only, and no NaN or Inf.

    `expected`: why the test expects this verdict, None where it does not.
    """
    accuracy = agreement.accuracy or ()
    return {
        "test": agreement.test,
        "model": agreement.model,
        "format": agreement.format,
        "weights": agreement.weights,
        "tfjs_version": agreement.tfjs_version,
        "target": target_to_json(agreement.target),
        "verdict": agreement.verdict,
        "reason": agreement.reason,
        "expected": expected,
        "output": agreement.output,
        "output_name": agreement.output_name,
        "samples": agreement.samples,
        "measures": [_measure(one, agreement.samples) for one in agreement.measures],
        "accuracy": [_measure(one, agreement.samples) for one in accuracy],
        "flips": agreement.flips,
        "near_ties": agreement.near_ties,
        "worst_flips": [_flip(flip) for flip in agreement.worst_flips],
        "retried": agreement.retried,
        "notes": list(agreement.notes),
    }


def _measure(measure: Measure, samples: int) -> dict[str, Any]:
    low, high = measure.interval or (None, None)
    numbers, reasons = strict_numbers(
        {"value": measure.value, "low": low, "high": high}, {"low": _NO_INTERVAL, "high": _NO_INTERVAL}
    )
    return {
        "name": measure.name,
        **numbers,
        "method": None if measure.interval is None else measure.method,
        "least": measure.least,
        "passed": measure.passed,
        "proven": None if measure.least is None else measure.proven,
        "told": unproven(measure, samples),
        "null_reasons": reasons,
    }


def _flip(flip: Flip) -> dict[str, Any]:
    numbers, reasons = strict_numbers(
        {"margin": flip.margin}, {"margin": "the browser or the reference gives no scores, or NaN"}
    )
    return {
        "sample": flip.sample,
        "place": list(flip.place),
        "reference": flip.reference,
        "browser": flip.browser,
        **numbers,
        "near_tie": flip.near_tie,
        "null_reasons": reasons,
    }
