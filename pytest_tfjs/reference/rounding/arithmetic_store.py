"""Stores each layer's rounding properties: those by element as tensors, the rest as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.errors import SourceError
from pytest_tfjs.reference.activation_store import Stored
from pytest_tfjs.reference.rounding.magnitudes import UNKNOWN, Magnitudes, of_both_sides

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.reference.reference_model import ReferenceModel

Array = np.ndarray[Any, np.dtype[Any]]

_FACTS = "arithmetic.json"
_ARRAYS = ("magnitude", "excess", "mixed")
_PART_OF_BUDGET = 4
"""Magnitudes are written once they take this part of the budget; computing the next needs the rest."""


@dataclass(frozen=True)
class StoredArithmetic:
    """The arithmetic of layers. `facts`: for each feed, all but the magnitude, by layer name."""

    facts: Sequence[Mapping[str, Mapping[str, Any]]]
    magnitudes: Stored

    @classmethod
    def open(cls, folder: Path) -> StoredArithmetic:
        """Opens what `store_arithmetic` wrote into `folder`."""
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        return cls(facts, Stored.open(folder))

    def read(self, feed: int, names: Collection[str]) -> dict[str, Arithmetic]:
        """The arithmetic of these layers, by name; `UNKNOWN` for a layer that was not stored."""
        facts = self.facts[feed]
        stored = {_key(name, kind) for name in names for kind in _ARRAYS}
        arrays = self.magnitudes.read(feed, stored)
        return {
            name: _arithmetic(
                facts[name],
                {kind: arrays[_key(name, kind)] for kind in _ARRAYS if _key(name, kind) in arrays},
            )
            if name in facts
            else UNKNOWN
            for name in names
        }


def store_arithmetic(
    folder: Path, model: ReferenceModel, feeds: Sequence[Feed], activations: Stored, *, budget: int
) -> None:
    """Computes the arithmetic of each layer whose activations are stored, and writes it into `folder`.

    Holds about `budget` bytes at once, or the size of the largest layer if that is more. Stores nothing where
    TensorFlow cannot run the layers alone.
    """
    stored = Stored(folder)
    facts: list[dict[str, dict[str, Any]]] = [{} for _ in feeds]
    try:
        arithmetic = LayerArithmetic(model)
    except SourceError:
        for number, _ in enumerate(feeds):
            stored.add(number, {})
    else:
        for number, feed in enumerate(feeds):
            each = _arithmetic_of_each(arithmetic, feed, number, activations)
            for group in _groups(each, budget // _PART_OF_BUDGET):
                stored.add(
                    number,
                    {_key(name, kind): value for name, one in group.items() for kind, value in _arrays(one)},
                )
                facts[number].update({name: _facts(one) for name, one in group.items()})
    stored.close()
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


class LayerArithmetic:
    """Finds the arithmetic of a model's layers, from the artifacts and, where it counts, from the source."""

    def __init__(self, model: ReferenceModel) -> None:
        computed = model.computed_constants()
        self._ours = Magnitudes(model.alone(), computed.by_name)
        self._source = Magnitudes(model.source_alone()) if computed.layers else None
        self._of_both = computed.layers

    def inputs_of(self, name: str) -> set[str]:
        """The layers and model inputs whose activations `of` needs."""
        sides = (self._ours, self._source if name in self._of_both else None)
        return {entering for side in sides if side is not None for entering in side.inputs_of(name)}

    def of(self, name: str, inputs: Mapping[str, Array], reference: Array) -> Arithmetic:
        """The arithmetic of a layer that gives `reference` for `inputs`."""
        found = self._ours.of(name, inputs, reference)
        if self._source is None or name not in self._of_both:
            return found
        return of_both_sides(found, self._source.of(name, inputs, reference), reference)


def _arithmetic_of_each(
    arithmetic: LayerArithmetic, feed: Feed, number: int, activations: Stored
) -> Iterator[tuple[str, Arithmetic]]:
    for name in activations.sizes(number):
        needed = {*arithmetic.inputs_of(name), name}
        # Views of files: only what is used is read.
        values = {**feed.reference, **activations.read(number, needed)}
        yield name, arithmetic.of(name, values, values[name])


def _groups(each: Iterator[tuple[str, Arithmetic]], limit: int) -> Iterator[dict[str, Arithmetic]]:
    """Groups whose arrays take `limit` bytes or a little more; at least one group, even if empty."""
    group: dict[str, Arithmetic] = {}
    total = 0
    for name, one in each:
        group[name] = one
        total += sum(value.nbytes for _, value in _arrays(one))
        if total > limit:
            yield group
            group, total = {}, 0
    yield group


def _facts(one: Arithmetic) -> dict[str, Any]:
    return {
        "exact": one.exact,
        "terms": one.terms,
        "functions": list(one.functions),
        "noise": one.noise,
        "constants": one.constants,
        "tried": one.tried,
        "known": one.known,
        "started": one.started,
        "exponent": one.exponent,
    }


def _arrays(one: Arithmetic) -> Iterator[tuple[str, Array]]:
    for kind in _ARRAYS:
        value = getattr(one, kind)
        if value is not None:
            yield kind, value


def _key(name: str, kind: str) -> str:
    return name if kind == "magnitude" else f"{name} {kind}"


def _arithmetic(facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Arithmetic:
    return Arithmetic(**{**facts, "functions": tuple(facts["functions"]), **arrays})
