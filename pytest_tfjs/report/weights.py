"""What a comparison tells of its weights: whether they are the source's, and what quantising them costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfjs.report.text import fact, number, printable, quoted

if TYPE_CHECKING:
    from pytest_tfjs.compare.compression import Compression
    from pytest_tfjs.compare.verdict import Comparison, LayerResult
    from pytest_tfjs.compare.weights import WeightFinding

_MOST_LISTED = 8
_NAME_WIDTH = 60


def weight_facts(comparison: Comparison) -> list[str]:
    """The lines on the weights: those that differ from the source's, if any, and the cost of compression."""
    lines = []
    check = comparison.weight_check
    differences = () if check is None else check.differences
    for finding in differences[:_MOST_LISTED]:
        lines += fact("weights", _told(finding))
    if len(differences) > _MOST_LISTED:
        lines += fact("", f"and {len(differences) - _MOST_LISTED} more")
    if check is not None and comparison.compression is not None and not differences:
        counts = ", ".join(f"{count} {state}" for state, count in check.counts.items())
        lines += fact("weights", f"as those of the source: {counts}")
    if comparison.compression is not None:
        lines += fact("compression", _cost(comparison.compression))
    return lines


def wrong_weight_of(comparison: Comparison, result: LayerResult) -> str | None:
    """The name of a weight of this layer that is not the source's; None where there is none."""
    if comparison.weight_check is None:
        return None
    names = (result.layer.name, *result.layer.members)
    found = (
        finding.name
        for finding in comparison.weight_check.differences
        if finding.layer is not None
        and any(name == finding.layer or name.startswith(f"{finding.layer}/") for name in names)
    )
    return next(found, None)


def _told(finding: WeightFinding) -> str:
    of = "" if finding.layer is None else f" of {quoted(finding.layer, _NAME_WIDTH)}"
    return f"{quoted(finding.name)}{of} is not the source's: {printable(finding.what or 'it differs')}"


def _cost(compression: Compression) -> str:
    worst = compression.worst
    if worst is None:
        return f"to {compression.stored}: no output was measured"
    said = (
        f"to {compression.stored}: moves {_moved(compression, worst)}, {number(compression.allowed)} allowed"
    )
    most = max(compression.costs, key=lambda name: compression.costs[name].share)
    return said if most == worst else f"{said}; of all layers it moves {_moved(compression, most)} most"


def _moved(compression: Compression, name: str) -> str:
    share = compression.costs[name].share
    if not math.isfinite(share):
        return f"{quoted(name, _NAME_WIDTH)} to NaN, Inf or another shape"
    return f"{quoted(name, _NAME_WIDTH)} by {number(share)} of its largest value"
