"""The JUnit properties of a comparison: a few scalars, which pytest-xdist can transfer."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.labels import target_label
from pytest_tfjs.report.worst_layer import decisive, worst_layer

if TYPE_CHECKING:
    from collections.abc import Mapping


def junit_properties(comparison: Mapping[str, Any]) -> list[tuple[str, str | float]]:
    """Names and values for `user_properties`, from the dict of `comparison_to_json`: builtin scalars only.

    Missing values (no timing, no layer) get no property.
    """
    timing, worst = comparison["timing"] or {}, worst_layer(comparison)
    error, allowed = (None, None) if worst is None else decisive(worst)
    compression = comparison["compression"] or {}
    found = {
        "tfjs_model": comparison["model"],
        "tfjs_target": target_label(comparison["target"]),
        "tfjs_verdict": comparison["verdict"],
        "tfjs_reason": comparison["reason"],
        "tfjs_expected": comparison["expected"],
        "tfjs_first_divergence": ", ".join(comparison["first_divergence"]) or None,
        "tfjs_worst_layer": None if worst is None else worst["name"],
        "tfjs_error": error,
        "tfjs_allowed": allowed,
        "tfjs_compression": compression.get("share"),
        "tfjs_compression_allowed": compression.get("allowed"),
        "tfjs_first_ms": timing.get("first_ms"),
        "tfjs_median_ms": timing.get("median_ms"),
    }
    return [_property(name, value) for name, value in found.items() if value is not None]


@functools.lru_cache(maxsize=256, typed=True)
def _property(name: str, value: str | float) -> tuple[str, str | float]:
    """A property, shared by the tests that have the same: pytest keeps the properties of all of them."""
    return name, printable(value) if isinstance(value, str) else value
