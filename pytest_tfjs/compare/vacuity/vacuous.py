"""Decides whether a comparison is vacuous: a broken model would pass it too.

The feeds and the reference suffice to decide it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.layer_patterns import input_names, matches, matches_nothing, names_of
from pytest_tfjs.compare.numbers.tolerances import is_inexact
from pytest_tfjs.compare.operations import (
    FILLS,
    PARTS,
    PASS_THROUGH,
    PRODUCTS,
    RESHAPES,
    ROUNDS_TO_FEW,
    SATURATING,
)
from pytest_tfjs.compare.vacuity.spread import is_same, same_value, worded
from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.vacuity.spread import Spread

_NAMED = 3

_SATURATING_LAYERS = frozenset({"Activation", "Conv1D", "Conv2D", "Conv3D", "Dense"})
"""Keras layers, which may have such an activation function. Fused nodes name theirs: `Conv2D+Relu`."""

_MOVING = PASS_THROUGH | RESHAPES | {"Flatten", "Transpose"}
"""Operations and layers that do not change values."""


@dataclass(frozen=True)
class Vacuity:
    """Why a comparison is vacuous: by name of the input or output, what is wrong with it, in words.

    `dead`: the same for other layers, which do not make the comparison vacuous. `allowed`: the layers that
    may be vacuous. `known_as`: the names in the signature of outputs that have another name there.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, str] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()
    known_as: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Why the comparison is vacuous and what to do, in words; None if it is not vacuous."""
        if not self.inputs and not self.outputs:
            return None
        reasons = [f"the input {name!r} {what}" for name, what in self.inputs.items()]
        outputs = {self.known_as.get(name, name): what for name, what in self.outputs.items()}
        reasons += [f"the output {name!r} {what}" for name, what in outputs.items()]
        more = f" (and {len(reasons) - _NAMED} more)" if len(reasons) > _NAMED else ""
        trained = ", load trained weights" if self.outputs else ""
        names = ",".join([*self.inputs, *outputs][:_NAMED])
        return (
            f"{'; '.join(reasons[:_NAMED])}{more}: a broken model could pass too. Feed real inputs{trained} "
            f"or, if this is intended, pass allow_vacuous={names!r}"
        )


def deciding(layer: Layer, layers: Mapping[str, Layer]) -> tuple[str, ...]:
    """The names of the layers whose values show whether `layer` is vacuous.

    It is the layer itself, unless it gives integers, bools, strings or rounded numbers, which are often the
    same for good reason (a class, a count, a mask). Then it is the nearest layers before it that give other
    numbers, or itself if there are none. `layers`: all layers by name.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()
    ahead = [layer.name]
    while ahead:
        name = ahead.pop()
        if name in seen or name not in layers:
            continue
        seen.add(name)
        one = layers[name]
        if one.coverage == "compared" and not _is_discrete(one):
            found[name] = None
        else:
            ahead.extend(reversed(one.inputs))
    return tuple(found) or (layer.name,)


def squashes(layer: Layer, layers: Mapping[str, Layer]) -> bool:
    """Whether a layer's values are those of a sigmoid, a softmax or a tanh, perhaps in another shape."""
    seen: set[str] = set()
    while True:
        parts = set(layer.op.split("+"))
        if parts & SATURATING or layer.op in _SATURATING_LAYERS:
            return True
        if not parts <= _MOVING or len(layer.inputs) != 1 or layer.name in seen:
            return False
        seen.add(layer.name)
        before = layers.get(layer.inputs[0])
        if before is None:
            return False
        layer = before


def _is_discrete(layer: Layer) -> bool:
    # A layer without an activation has no dtype and counts as float.
    return (layer.dtype is not None and not is_inexact(layer.dtype)) or bool(
        ROUNDS_TO_FEW & set(layer.op.split("+"))
    )


def judge_vacuity(
    layers: Sequence[Layer],
    spreads: Mapping[str, Spread],
    feeds: Mapping[str, Sequence[NDArray[Any]]],
    allow: Sequence[str] = (),
    *,
    strict: bool = True,
) -> Vacuity:
    """Which inputs, outputs and layers of a comparison are vacuous.

    - `spreads`: those of the reference's activations, by layer.
    - `feeds`: by input name, its values in each feed.
    - `allow`: names or glob patterns of layers and inputs that may be vacuous; they match a layer's name,
      members and group.

    With `strict` raises SettingsError for a pattern that matches nothing.
    """
    inputs = _allowed(allow, {name: input_names(name) for name in feeds})
    names = {layer.name: names_of(layer) for layer in layers}
    allowed = _allowed(allow, names)
    if strict:
        _require_matches(allow, [*feeds, *itertools.chain(*names.values())], feeds)
    outputs: dict[str, str] = {}
    dead: dict[str, str] = {}
    for layer in layers:
        spread = spreads.get(layer.name)
        # Whether an empty output proves anything depends on the other outputs, which `judge` knows.
        if layer.coverage != "compared" or not (spread and spread.elements) or layer.name in allowed:
            continue
        if layer.output:
            what = _of_output(layer, spread, spreads)
            if what is not None:
                outputs[layer.name] = what
        elif spread.value is not None and not _is_discrete(layer):
            dead[layer.name] = f"is {spread.value} everywhere"
    for name in _dead_by_design(layers, dead):
        dead.pop(name, None)
    others = {name: values for name, values in feeds.items() if name not in inputs}
    known_as = {layer.name: layer.known_as for layer in layers if layer.known_as != layer.name}
    return Vacuity(_of_feeds(others), outputs, dead, frozenset(allowed), known_as)


def _of_output(layer: Layer, spread: Spread, spreads: Mapping[str, Spread]) -> str | None:
    """Why an output is vacuous, in words; None if it is not."""
    deciders = [one for one in spread.decided_by if one in spreads] or [layer.name]
    if deciders == [layer.name] and _is_discrete(layer):
        # Integers computed from integers: a count or a maximum may be the same for other values.
        return None if spread.value is None or spread.moved else f"is {spread.value} everywhere"
    found = {one: _of_values(spreads[one]) if spreads[one].elements else None for one in deciders}
    if any(what is None for what in found.values()):
        return None
    first, what = next(iter(found.items()))
    return what if first == layer.name else f"is computed from {first!r}, which {what}"


def _of_values(spread: Spread) -> str | None:
    if spread.value is not None and (spread.zero or not spread.moved):
        return f"is {spread.value} everywhere"
    if spread.saturated:
        return "is saturated (every element is 0, 1 or -1)"
    if spread.repeated == "feeds":
        return "is the same for all feeds, though they differ"
    if spread.repeated == "batch" and not spread.moved:
        return "is the same for every row of the batch, though the rows differ"
    if spread.moved is False:
        return "does not change when other values are fed"
    return None


def _of_feeds(feeds: Mapping[str, Sequence[NDArray[Any]]]) -> dict[str, str]:
    """Why the inputs are vacuous, if all are: one input with a single value beside others is common."""
    if not feeds:
        return {}
    several = len(next(iter(feeds.values()))) > 1
    if several and all(_all_same(values) for values in feeds.values()):
        return dict.fromkeys(feeds, "is the same in all feeds")
    sized = {name: values for name, values in feeds.items() if sum(value.size for value in values) > 1}
    found = {name: _one_value(values) for name, values in sized.items()}
    if not found or any(value is None for value in found.values()):
        return {}
    return {name: f"is {value} everywhere" for name, value in found.items()}


def _all_same(values: Sequence[NDArray[Any]]) -> bool:
    first, *others = values
    return all(first.shape == one.shape and is_same(first, one, exactly=True) for one in others)


def _one_value(values: Sequence[NDArray[Any]]) -> str | None:
    found = [same_value(value) for value in values]
    first = found[0]
    if first is None or any(one is None or not is_same(first, one, exactly=True) for one in found):
        return None
    return worded(first)


def _dead_by_design(layers: Sequence[Layer], dead: Collection[str]) -> set[str]:
    """Layers that have one value by design, or because their inputs do.

    By design: layers filled with one value, such as the first state of an LSTM, and parts sliced out of
    another layer. Of a product one factor decides.
    """
    found: set[str] = set()
    floats = {layer.name for layer in layers if not _is_discrete(layer)}
    for layer in layers:
        parts = set(layer.op.split("+"))
        # Integer inputs beside float inputs are shapes, axes and indices.
        from_dead = [name in found or name in dead for name in layer.inputs if name in floats]
        follows = bool(from_dead) and (any if parts & PRODUCTS else all)(from_dead)
        if parts & FILLS or (layer.name in dead and (parts <= PARTS or follows)):
            found.add(layer.name)
    return found


def _allowed(patterns: Sequence[str], names: Mapping[str, Collection[str]]) -> set[str]:
    """The keys of `names` with a name that one of the patterns matches."""
    return {key for key, ones in names.items() if any(matches(pattern, ones) for pattern in patterns)}


def _require_matches(patterns: Iterable[str], names: Sequence[str], inputs: Iterable[str]) -> None:
    others = [name for one in inputs for name in input_names(one)]
    for pattern in patterns:
        if not matches(pattern, names) and not matches(pattern, others):
            message = matches_nothing("allow_vacuous", pattern, "layer, output or input", names)
            raise SettingsError(message)
