"""Describes the weights: differences from the source's, and the cost of quantising."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_tfjs.compare.weight_check import wrong_weight
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.number_text import number
from pytest_tfjs.report.text_layout import fact, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfjs.compare.numbers.compression import Compression
    from pytest_tfjs.compare.results import Comparison, LayerResult
    from pytest_tfjs.compare.weight_check import WeightFinding

_MOST_LISTED = 8
_MOST_TOGETHER = 2
_NAME_WIDTH = 60


def weight_facts(comparison: Comparison) -> list[str]:
    """Labelled lines on the weights: which differ or were not checked, and the cost of quantising."""
    lines = []
    check = comparison.weight_check
    differences = () if check is None else check.differences
    sentences = _sentences(differences)
    for sentence in sentences[:_MOST_LISTED]:
        lines += fact("weights", sentence)
    if len(sentences) > _MOST_LISTED:
        lines += fact("", f"and {len(sentences) - _MOST_LISTED} more")
    unverified = () if check is None else check.unverified
    if check is not None and comparison.compression is not None and not differences:
        sound = {state: count for state, count in check.counts.items() if state != "unverified"}
        counts = ", ".join(f"{count} {state}" for state, count in sound.items())
        lines += fact("weights", f"same as the source's: {counts}") if sound else []
    for finding in unverified[:_MOST_LISTED]:
        lines += fact(
            "unverified", f"{_named(finding)}: {printable(finding.what or 'the weight was not checked')}"
        )
    if len(unverified) > _MOST_LISTED:
        lines += fact("", f"and {len(unverified) - _MOST_LISTED} more")
    is_broken = comparison.compression is not None and comparison.compression.broken
    for finding in check.lost[:_MOST_LISTED] if check is not None and is_broken else ():
        lines += fact("weights", f"{_named(finding)}: {printable(finding.what or '')}")
    if comparison.compression is not None:
        lines += fact("compression", _cost(comparison.compression))
    return lines


def wrong_weight_of(comparison: Comparison, result: LayerResult) -> str | None:
    """A phrase on a weight of this layer that differs from the source's; None if there is none."""
    found = wrong_weight(comparison.weight_check, result.layer)
    if found is None:
        return None
    name = f"its weight {quoted(found.name, _NAME_WIDTH)}"
    return f"{name} may differ from the source's" if found.by_effect else f"{name} differs from the source's"


def _sentences(differences: Sequence[WeightFinding]) -> list[str]:
    """A sentence for each weight, and one for all weights known only by the same effect."""
    together: dict[tuple[str | None, str], list[WeightFinding]] = defaultdict(list)
    for finding in differences:
        what = finding.what or "the values differ"
        together[finding.layer, what if finding.by_effect else finding.name].append(finding)
    return [_sentence(findings) for findings in together.values()]


def _sentence(findings: Sequence[WeightFinding]) -> str:
    first, what = findings[0], printable(findings[0].what or "the values differ")
    if not first.by_effect:
        return f"{_named(first)} differs from the source's: {what}"
    names = [quoted(finding.name) for finding in findings]
    more = f" or {len(names) - 1} more" if len(names) > _MOST_TOGETHER else ""
    listed = names[:1] if more else names
    of = "" if first.layer is None else f" of {quoted(first.layer, _NAME_WIDTH)}"
    return f"{' or '.join(listed)}{more}{of} may differ from the source's: {what}"


def _named(finding: WeightFinding) -> str:
    of = "" if finding.layer is None else f" of {quoted(finding.layer, _NAME_WIDTH)}"
    return f"{quoted(finding.name)}{of}"


def _cost(compression: Compression) -> str:
    worst = compression.worst
    if worst is None:
        return f"no output was measured with weights quantised to {compression.stored}"
    change = _moved(compression, worst)
    text = f"quantising to {compression.stored} changes {change}, {number(compression.allowed)} allowed"
    most = max(compression.costs, key=lambda name: compression.costs[name].share)
    if most != worst:
        text += f"; largest change of any layer: {_moved(compression, most)}"
    if compression.unmeasured:
        outputs = ", ".join(quoted(name, _NAME_WIDTH) for name in compression.unmeasured)
        text += f"; not measured for {outputs}, because TF.js does not hold the values"
    return text


def _moved(compression: Compression, name: str) -> str:
    share = compression.costs[name].share
    if not math.isfinite(share):
        to = "NaN or Inf" if compression.costs[name].broken else "another shape"
        return f"{quoted(name, _NAME_WIDTH)} to {to}"
    return f"{quoted(name, _NAME_WIDTH)} by {number(share)} of its largest value"
