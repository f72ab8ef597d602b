"""The layers around a divergence, and whether it was made there or came through the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.report.text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_tfjs.compare.verdict import Comparison, LayerResult

_BEFORE = 2
_AFTER = 3
_NAME_WIDTH = 40
_LARGE_SHARE = 0.5


def neighbours(
    comparison: Comparison, result: LayerResult, others: Sequence[LayerResult] = ()
) -> list[LayerResult]:
    """A layer with the nearest before and after it in the graph, and `others`, in the comparison's order."""
    inputs = {each.layer.name: each.layer.inputs for each in comparison.layers}
    consumers: dict[str, list[str]] = {}
    for name, entering in inputs.items():
        for each in entering:
            consumers.setdefault(each, []).append(name)
    kept = {result.layer.name, *(other.layer.name for other in others)}
    kept |= set(_nearest(result.layer.name, lambda name: inputs.get(name, ()), _BEFORE))
    kept |= set(_nearest(result.layer.name, lambda name: consumers.get(name, ()), _AFTER))
    return [each for each in comparison.layers if each.layer.name in kept]


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
        return f"its input {quoted(largest, _NAME_WIDTH)} is at {100 * shares[largest]:.0f}% of its tolerance"
    return "made there, not passed on"


def _nearest(start: str, step: Callable[[str], Iterable[str]], most: int) -> list[str]:
    """Up to `most` names that `step` leads to from `start`, the fewest steps first."""
    found: list[str] = []
    edge = [start]
    while edge and len(found) < most:
        edge = [name for each in edge for name in step(each) if name != start and name not in found]
        edge = list(dict.fromkeys(edge))
        found += edge
    return found[:most]
