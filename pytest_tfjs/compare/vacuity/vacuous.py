"""What makes a comparison one that could not have failed: read from the reference and the feeds alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.layer_patterns import matches, matches_nothing, names_of
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
"""Layers of Keras, which may have such an activation."""

_MOVING = PASS_THROUGH | RESHAPES | {"Flatten", "Transpose"}
"""Operations and layers that change no value."""


@dataclass(frozen=True)
class Vacuity:
    """What could not have failed: by name of the input or output, what is wrong with it, in words.

    `dead`: the same of other layers, which fail nothing. `allowed`: the layers whose vacuity is meant.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, str] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()

    @property
    def reason(self) -> str | None:
        """Why the comparison could not have failed, and what to do, in words; None where it could."""
        if not self.inputs and not self.outputs:
            return None
        said = [f"the input {name!r} {what}" for name, what in self.inputs.items()]
        said += [f"the output {name!r} {what}" for name, what in self.outputs.items()]
        more = f" (and {len(said) - _NAMED} more)" if len(said) > _NAMED else ""
        trained = ", load trained weights" if self.outputs else ""
        names = ",".join([*self.inputs, *self.outputs][:_NAMED])
        return (
            f"{'; '.join(said[:_NAMED])}{more}: a broken model could pass too. Feed real inputs{trained} "
            f"or, if this is intended, pass allow_vacuous={names!r}"
        )


def deciding(layer: Layer, layers: Mapping[str, Layer]) -> tuple[str, ...]:
    """The layers whose values tell whether `layer` could be wrong, of those in `layers`, by name.

    It is the layer itself, but of one that gives integers, bools, strings or rounded numbers, which are
    often right and yet the same (the class, the count, the mask), the nearest layers that it comes from
    which give others; again itself where there are none.
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
    """Whether a layer gives what a sigmoid, a softmax or a tanh gave, in another shape perhaps."""
    seen: set[str] = set()
    while True:
        parts = set(layer.op.split("+"))
        if parts & (SATURATING | _SATURATING_LAYERS):
            return True
        if not parts <= _MOVING or len(layer.inputs) != 1 or layer.name in seen:
            return False
        seen.add(layer.name)
        before = layers.get(layer.inputs[0])
        if before is None:
            return False
        layer = before


def _is_discrete(layer: Layer) -> bool:
    # Of a row that no activation was computed for the dtype is unknown: it is taken for a float.
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
    """What of a comparison could not have failed, however wrong the browser was.

    `spreads`: of the reference's activations, by layer. `feeds`: by input name its values in each feed.
    `allow`: the names or glob patterns of layers and inputs whose vacuity is meant; layers are known by their
    name, members and group too. With `strict` raises SettingsError for a pattern that matches nothing.
    """
    inputs = _allowed(allow, {name: (name,) for name in feeds})
    known = {layer.name: names_of(layer) for layer in layers}
    allowed = _allowed(allow, known)
    if strict:
        _require_matches(allow, [*feeds, *(name for names in known.values() for name in names)])
    outputs: dict[str, str] = {}
    dead: dict[str, str] = {}
    for layer in layers:
        spread = spreads.get(layer.name)
        if layer.coverage != "compared" or spread is None or layer.name in allowed:
            continue
        if layer.output:
            what = _of_output(layer, spread, spreads)
            if what is not None:
                outputs[layer.name] = what
        elif spread.value is not None and not _is_discrete(layer):
            dead[layer.name] = f"is {spread.value} everywhere"
    for name in _by_design(layers, dead):
        dead.pop(name, None)
    given = {name: values for name, values in feeds.items() if name not in inputs}
    return Vacuity(_of_feeds(given), outputs, dead, frozenset(allowed))


def _of_output(layer: Layer, spread: Spread, spreads: Mapping[str, Spread]) -> str | None:
    """What is wrong with an output, in words; None where a broken model would show there."""
    deciders = [one for one in spread.decided_by if one in spreads] or [layer.name]
    if deciders == [layer.name] and _is_discrete(layer):
        # Integers that integers make: a count or a maximum may well be the same for other values.
        return None if spread.value is None or spread.moved else f"is {spread.value} everywhere"
    found = {one: _of_values(spreads[one]) for one in deciders}
    if any(what is None for what in found.values()):
        return None
    first, what = next(iter(found.items()))
    return what if first == layer.name else f"follows from {first!r}, which {what}"


def _of_values(spread: Spread) -> str | None:
    if spread.value is not None and (spread.zero or not spread.moved):
        return f"is {spread.value} everywhere"
    if spread.saturated:
        return "is saturated: every element is 0, 1 or -1"
    if spread.repeated == "feeds":
        return "is the same for all feeds, though they differ"
    if spread.repeated == "batch" and not spread.moved:
        return "is the same for all of the batch, which differs"
    if spread.moved is False:
        return "does not change when other values are fed"
    return None


def _of_feeds(feeds: Mapping[str, Sequence[NDArray[Any]]]) -> dict[str, str]:
    """What is wrong with the inputs, if with all of them: an input of one value beside others is common."""
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


def _by_design(layers: Sequence[Layer], dead: Collection[str]) -> set[str]:
    """Layers that are filled with one value, as the first state of an LSTM, or follow from such or dead ones.

    Of a product one factor decides. A part that is cut out of a layer is one of many, and kills nothing.
    """
    found: set[str] = set()
    floats = {layer.name for layer in layers if not _is_discrete(layer)}
    for layer in layers:
        parts = set(layer.op.split("+"))
        # Integers beside floats are shapes, axes and indices.
        from_dead = [name in found or name in dead for name in layer.inputs if name in floats]
        follows = bool(from_dead) and (any if parts & PRODUCTS else all)(from_dead)
        if parts & FILLS or (layer.name in dead and (parts <= PARTS or follows)):
            found.add(layer.name)
    return found


def _allowed(patterns: Sequence[str], names: Mapping[str, Collection[str]]) -> set[str]:
    """The keys of `names` with a name that one of the patterns matches."""
    return {key for key, known in names.items() if any(matches(pattern, known) for pattern in patterns)}


def _require_matches(patterns: Iterable[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not matches(pattern, names):
            message = matches_nothing("allow_vacuous", pattern, "layer, output or input", names)
            raise SettingsError(message)
