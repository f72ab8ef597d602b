"""Reads evidence from the results of a comparison, before anything runs again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfjs.compare.diagnosis.evidence import Evidence
    from pytest_tfjs.compare.results import Comparison, LayerResult


def blamed_row(comparison: Comparison) -> LayerResult | None:
    """The first layer that the divergence begins at; None if no layer is blamed."""
    rows = {one.layer.name: one for one in comparison.layers}
    return next((rows[name] for name in comparison.first_divergence if name in rows), None)


def worst_feed(row: LayerResult) -> int:
    """The number of the feed with the layer's largest error: alone if that is too large, else as a whole."""
    if row.local is not None and not row.local.passed:
        return row.local.metrics.worst_feed
    return 0 if row.metrics is None else row.metrics.worst_feed


def unsteady(comparison: Comparison) -> str | None:
    """How the outputs of two runs on the same feeds differ, in words; None if they do not."""
    observation = comparison.observation
    return str(observation) if observation.cause == "nondeterministic" else None


def without_layer(comparison: Comparison, base: Evidence) -> Evidence:
    """The evidence if the comparison diverged and no layer did."""
    check, compression = comparison.weight_check, comparison.compression
    if check is not None and check.differences:
        return replace(base, weight=comparison.reason)
    if compression is not None and (compression.exceeded or compression.broken):
        return replace(base, compressed=comparison.reason)
    return base if comparison.growth is None else replace(base, growth=str(comparison.growth))
