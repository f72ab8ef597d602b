"""Finds which layers made the errors of a comparison, and which only propagated them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfjs.compare.results import Blame, Growth
from pytest_tfjs.compare.zero_division import blamed_zeros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pytest_tfjs.compare.results import LayerResult

# Rounding alone changes the relative error by this factor from layer to layer: an error within this factor of
# the smallest one has not grown yet.
_NOT_GROWN = 4.0


def blame(results: Sequence[LayerResult], unrepresentable: Collection[str] = ()) -> Blame:
    """The wrong layers whose inputs are correct.

    A layer that was run alone on the reference's inputs is blamed if its local error is too large: its inputs
    were correct, so each such layer is a fault of its own, also downstream of another. A layer that could not
    be run alone is blamed if it diverged and no diverged layer leads to it. If there is neither, no layer is
    wrong alone: then the layers where the divergence begins are named, and the growth of the error.

    A layer whose kernel writes into an input is right alone and makes other layers wrong: those that take the
    same input, and the input itself, which is read after. It is blamed if such a layer diverged, unless that
    is only the input, and the input is no output of the model: then no layer took the changed values. So is
    a layer that gives zeros of the wrong sign, if a layer that divides by them diverged.

    `unrepresentable`: layers whose reference has values that the target cannot represent, such as values
    above 65504 in half precision. A layer downstream of a wrong one of these cannot have correct inputs, and
    is not blamed.
    """
    wrong = {result.layer.name for result in results if result.made_error}
    lost = _lost(results, wrong & set(unrepresentable), unrepresentable)
    made = frozenset(
        result.layer.name
        for result in results
        if result.layer.name in wrong and not lost & set(result.layer.inputs)
    )
    spoiled = {
        result.layer.name: _spoiled_by(result, results, made) for result in results if result.overwrites
    }
    late = read_late(results)
    spoils = frozenset(name for name, wrong_then in spoiled.items() if wrong_then - late and name not in made)
    explained = frozenset().union(*(spoiled[name] for name in spoils))
    zeros = blamed_zeros(results)
    edge = frontier(results)
    alone = {result.layer.name for result in results if result.local is not None}
    first = tuple(
        result.layer.name
        for result in results
        if result.layer.name in made | spoils | zeros.keys()
        or (result.layer.name in edge and result.layer.name not in alone | explained)
    )
    if first or not edge:
        return Blame(first, made, spoils, zeros)
    return Blame(edge, growth=_growth(results, edge[0]))


def read_late(results: Sequence[LayerResult]) -> frozenset[str]:
    """The inner layers that are right alone, and into whose activation a later kernel writes.

    Their activations are read after that, so that an error there says nothing about the model.
    """
    overwritten = {name for result in results for name in result.overwrites}
    return frozenset(
        result.layer.name
        for result in results
        if result.layer.name in overwritten
        and not (result.layer.output or result.given)
        and result.local is not None
        and result.local.passed
    )


def _spoiled_by(result: LayerResult, results: Sequence[LayerResult], made: Collection[str]) -> frozenset[str]:
    """The diverged layers whose error is explained by a layer that writes into its inputs.

    What depends on a model's input or constant is not known, so all layers may; and a constant stays changed
    for the next feed, where the layer itself takes it. Errors that come from a layer of `made` are explained
    already.
    """
    consumers = _consumers(results)
    names = {one.layer.name for one in results}
    passed_on = set(made).union(*(_downstream(name, consumers) for name in made))
    taking: set[str] = set()
    for name in result.overwrites:
        taking |= {name} | _downstream(name, consumers) - {result.layer.name} if name in names else names
    return frozenset(
        one.layer.name
        for one in results
        if one.verdict == "diverged" and one.layer.name in taking - passed_on
    )


def input_error_text(results: Sequence[LayerResult], result: LayerResult) -> str:
    """Where the error of a layer that is right alone comes from, in words.

    The inputs were not read if no compared layer before it has an error.
    """
    text = "the error came in through its inputs"
    before = [one for one in results if one.layer.name in result.layer.inputs]
    seen = any(one.metrics is not None and one.metrics.max_abs != 0 for one in before)
    return text if seen else f"{text}, whose activations were not read"


def _lost(results: Sequence[LayerResult], wrong: Collection[str], names: Collection[str]) -> set[str]:
    """The wrong layers, and those of `names` that are downstream of them through layers of `names`."""
    inputs = {result.layer.name: result.layer.inputs for result in results if result.layer.name in names}
    lost, new = set(wrong), set(wrong)
    while new:
        new = {name for name, entering in inputs.items() if lost & set(entering)} - lost
        lost |= new
    return lost


def frontier(results: Sequence[LayerResult]) -> tuple[str, ...]:
    """The diverged layers that no diverged layer leads to, in the order of `results`.

    A layer further downstream is not named even if the layers between are close: an error below their
    tolerance may have passed through them. Of a cycle of diverged layers, the first is named.
    """
    consumers = _consumers(results)
    diverged = [result.layer.name for result in results if result.verdict == "diverged"]
    remaining = set(diverged)
    first: list[str] = []
    for name in diverged:
        if name not in remaining:
            continue
        downstream = _downstream(name, consumers)
        remaining -= downstream
        # A later row may lead back to an earlier one, which then is not first.
        first = [other for other in first if other not in downstream] + [name]
    return tuple(first)


def _consumers(results: Sequence[LayerResult]) -> dict[str, list[str]]:
    """The layers that take each layer's activation."""
    consumers: dict[str, list[str]] = {}
    for result in results:
        for name in result.layer.inputs:
            consumers.setdefault(name, []).append(result.layer.name)
    return consumers


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
    """The growth of the error up to `end`; None if it is not finite, or no layer before `end` has one."""
    by_name = {result.layer.name: result for result in results}
    way = list(_way_up(by_name, end))
    sizes = {name: size for name in way if (size := _relative(by_name[name])) is not None}
    last = sizes.pop(end, None)
    if last is None or not sizes or not math.isfinite(last):
        return None
    least = min(sizes.values())
    start = next(name for name, size in sizes.items() if size <= _NOT_GROWN * least)
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
    """The greatest error relative to the layer's largest value; None if it is 0 or unknown."""
    metrics = result.metrics
    if metrics is None or metrics.scale == 0 or metrics.max_abs == 0:
        return None
    return metrics.max_abs / metrics.scale
