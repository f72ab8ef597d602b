"""Which layers made the errors of a comparison, and which were only handed them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfjs.compare.results import Blame, Growth

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pytest_tfjs.compare.results import LayerResult

# A layer still counts as one that holds what it was given where its relative error is within this factor of
# the least on the way: rounding alone moves it about by as much.
_HELD = 4.0


def blame(results: Sequence[LayerResult], unheld: Collection[str] = ()) -> Blame:
    """The wrong layers whose inputs are right.

    A layer that was run alone on the reference's inputs is one of them where its local error is too large:
    its inputs were right, so each such layer is a fault by itself, also below another. One that could not be
    run alone is, where it diverged and no diverged layer leads to it. Where there is neither, nothing that
    was run alone is wrong: then those are named that the divergence begins at, and how the error grew.

    A layer that takes what a wrong one should have given and the target has no numbers for (`unheld`, as half
    precision has none over 65504) could not be given right inputs: it is not blamed for what it makes.
    """
    wrong = {result.layer.name for result in results if result.made_error}
    lost = _lost(results, wrong & set(unheld), unheld)
    made = frozenset(
        result.layer.name
        for result in results
        if result.layer.name in wrong and not lost & set(result.layer.inputs)
    )
    edge = frontier(results)
    alone = {result.layer.name for result in results if result.local is not None}
    first = tuple(
        result.layer.name
        for result in results
        if result.layer.name in made or (result.layer.name in edge and result.layer.name not in alone)
    )
    if first or not edge:
        return Blame(first, made)
    return Blame(edge, growth=_growth(results, edge[0]))


def _lost(results: Sequence[LayerResult], wrong: Collection[str], unheld: Collection[str]) -> set[str]:
    """The wrong ones, and what is made of them that the target has no numbers for either."""
    inputs = {result.layer.name: result.layer.inputs for result in results if result.layer.name in unheld}
    lost, new = set(wrong), set(wrong)
    while new:
        new = {name for name, entering in inputs.items() if lost & set(entering)} - lost
        lost |= new
    return lost


def frontier(results: Sequence[LayerResult]) -> tuple[str, ...]:
    """The diverged layers that no diverged layer leads to, in the order of `results`.

    A layer further down is not named even where the layers between are close: an error below their tolerance
    may have gone through them. In a cycle of diverged layers that nothing leads to, the first one is named.
    """
    consumers: dict[str, list[str]] = {}
    for result in results:
        for name in result.layer.inputs:
            consumers.setdefault(name, []).append(result.layer.name)
    diverged = [result.layer.name for result in results if result.verdict == "diverged"]
    remaining = set(diverged)
    first: list[str] = []
    for name in diverged:
        if name not in remaining:
            continue
        downstream = _downstream(name, consumers)
        remaining -= downstream
        # A later row may lead back to an earlier one, which then is not first after all.
        first = [other for other in first if other not in downstream] + [name]
    return tuple(first)


def _downstream(name: str, consumers: Mapping[str, Sequence[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(consumers.get(name, ()))
    while ahead:
        other = ahead.pop()
        if other not in seen:
            seen.add(other)
            ahead.extend(consumers.get(other, ()))
    return seen


def _growth(results: Sequence[LayerResult], end: str) -> Growth | None:
    """How the error came to be what it is at `end`; None where it is not finite or nothing before has any."""
    by_name = {result.layer.name: result for result in results}
    way = list(_way_up(by_name, end))
    sizes = {name: size for name in way if (size := _relative(by_name[name])) is not None}
    last = sizes.pop(end, None)
    if last is None or not sizes or not math.isfinite(last):
        return None
    least = min(sizes.values())
    start = next(name for name, size in sizes.items() if size <= _HELD * least)
    return Growth(start, end, last / sizes[start])


def _way_up(by_name: Mapping[str, LayerResult], end: str) -> Iterator[str]:
    """From `end` towards the model's inputs, always to the input with the greatest relative error."""
    name: str | None = end
    seen: set[str] = set()
    while name is not None and name not in seen:
        seen.add(name)
        yield name
        before = [one for one in by_name[name].layer.inputs if one in by_name]
        name = max(before, key=lambda one: _relative(by_name[one]) or 0.0, default=None)


def _relative(result: LayerResult) -> float | None:
    """The greatest error in parts of the layer's largest value; None where it is 0 or not known."""
    metrics = result.metrics
    if metrics is None or metrics.scale == 0 or metrics.max_abs == 0:
        return None
    return metrics.max_abs / metrics.scale
