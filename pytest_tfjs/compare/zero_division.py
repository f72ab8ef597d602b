"""Blames the layer that gave a zero of the wrong sign, where a later layer divides by it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfjs.compare.operations import COPIES_ELEMENTS, PIECEWISE_LINEAR, QUOTIENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.results import LayerResult

DIVIDES = QUOTIENTS | {"Reciprocal", "Inv", "Rsqrt", "Pow", "Atan2"}
"""Operations whose result for 0 depends on its sign."""

_KEEPS_SIGN = (
    COPIES_ELEMENTS
    | PIECEWISE_LINEAR
    | {"Mul", "RealDiv", "Maximum", "Minimum", "Max", "Min", "MaxPool", "LeakyRelu", "Prelu", "Sqrt", "Elu"}
    | {"Selu", "Expm1", "Log1p", "Tanh", "Sin", "Tan", "Asin", "Atan", "Sinh", "Asinh", "Atanh", "Softsign"}
    | {"Floor", "Ceil", "Round", "Rint", "Sign", "Cast"}
)
"""Operations that give a zero of the sign of a zero that enters."""

_ANGLE = 1e-3
"""How far an error of an angle may be from π or 2·π, relative to that, if the sign of a zero made it."""


def divided_layers(layers: Sequence[Layer]) -> frozenset[str]:
    """The layers whose zeros may reach, with their sign, a layer that divides by them."""
    by_name = {layer.name: layer for layer in layers}
    found: set[str] = set()
    waiting = [name for layer in layers if _divides(layer) for name in layer.inputs]
    while waiting:
        layer = by_name.get(waiting.pop())
        if layer is not None and layer.name not in found:
            found.add(layer.name)
            waiting += layer.inputs if _keeps_sign(layer) else ()
    return frozenset(found)


def blamed_zeros(results: Sequence[LayerResult]) -> dict[str, str]:
    """The layers whose wrong zeros made another layer diverge, each with that layer, which divides by them.

    Such a layer is right alone, and wrong in the whole run: it has Inf of the wrong sign, or another angle.
    """
    by_name = {result.layer.name: result for result in results}
    found: dict[str, str] = {}
    for result in results:
        is_right_alone = result.local is not None and result.local.passed
        if result.verdict == "diverged" and is_right_alone and _is_by_sign(result):
            found.update(dict.fromkeys(_makers(result, by_name), result.layer.name))
    return found


def zero_sign_text(target: str, maker: Layer, divider: Layer) -> str:
    """What went wrong where `divider` divides by zeros of `maker`, and what to do."""
    return (
        f"{target}'s kernel of {maker.op} gives zeros of the other sign. They are equal as numbers, but for"
        f" them {divider.name!r} ({divider.op}) gives Inf of the other sign, or another angle. Keep what it"
        " takes away from 0, such as by maximum(x, 1e-7), or use divide_no_nan"
    )


def _makers(result: LayerResult, by_name: Mapping[str, LayerResult]) -> list[str]:
    """The layers before a dividing one that give wrong zeros when they are run alone."""
    found: list[str] = []
    waiting, seen = list(result.layer.inputs), set[str]()
    while waiting:
        name = waiting.pop()
        before = by_name.get(name)
        if before is None or name in seen:
            continue
        seen.add(name)
        if before.wrong_zeros is not None and before.local is not None and before.local.passed:
            found.append(name)
        if _keeps_sign(before.layer):
            waiting += before.layer.inputs
    return found


def _is_by_sign(result: LayerResult) -> bool:
    metrics = result.metrics
    if metrics is None or metrics.worst is None or not _divides(result.layer):
        return False
    if "Atan2" in result.layer.op.split("+"):
        half_turns = abs(metrics.worst_actual - metrics.worst_reference) / math.pi
        return any(math.isclose(half_turns, turns, rel_tol=_ANGLE) for turns in (1, 2))
    return math.isinf(metrics.worst_actual) and metrics.worst_actual == -metrics.worst_reference


def _divides(layer: Layer) -> bool:
    return not DIVIDES.isdisjoint(layer.op.split("+"))


def _keeps_sign(layer: Layer) -> bool:
    return _KEEPS_SIGN.issuperset(layer.op.split("+"))
