"""The arithmetic of layers in files: magnitudes beside the activations, the small facts as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.arithmetic import Arithmetic
from pytest_tfjs.errors import SourceError
from pytest_tfjs.reference.activation_store import Stored
from pytest_tfjs.reference.rounding.magnitudes import UNKNOWN, Magnitudes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.reference.reference_model import ReferenceModel

Array = np.ndarray[Any, np.dtype[Any]]

_FACTS = "arithmetic.json"
_OF_BUDGET = 4
"""Magnitudes are held until they are this part of the budget: what computes the next needs the rest."""


@dataclass(frozen=True)
class StoredArithmetic:
    """The arithmetic of layers, for each feed; `facts` are what is small of it, by layer name."""

    facts: Sequence[Mapping[str, Mapping[str, Any]]]
    magnitudes: Stored

    @classmethod
    def open(cls, folder: Path) -> StoredArithmetic:
        """What `store_arithmetic` wrote into `folder`."""
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        return cls(facts, Stored.open(folder))

    def read(self, feed: int, names: Collection[str]) -> dict[str, Arithmetic]:
        """That of these layers; of one that is not among them nothing is known."""
        magnitudes = self.magnitudes.read(feed, names)
        facts = self.facts[feed]
        return {
            name: _arithmetic(facts[name], magnitudes.get(name)) if name in facts else UNKNOWN
            for name in names
        }


def store_arithmetic(
    folder: Path, model: ReferenceModel, feeds: Sequence[Feed], activations: Stored, *, budget: int
) -> None:
    """Computes the arithmetic of each layer whose activations are stored, and writes it into `folder`.

    About as much as `budget` bytes are held at once, or what the largest layer takes where that is more.
    Where TensorFlow cannot run the layers alone, nothing is known of any.
    """
    stored = Stored(folder)
    facts: list[dict[str, dict[str, Any]]] = [{} for _ in feeds]
    try:
        magnitudes = Magnitudes(model.alone(), model.folded_sizes())
    except SourceError:
        for number, _ in enumerate(feeds):
            stored.add(number, {})
    else:
        for number, feed in enumerate(feeds):
            for group in _groups(_each(magnitudes, feed, number, activations), budget // _OF_BUDGET):
                found = {name: one.magnitude for name, one in group.items() if one.magnitude is not None}
                stored.add(number, found)
                facts[number].update({name: _facts(one) for name, one in group.items()})
    stored.close()
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _each(
    magnitudes: Magnitudes, feed: Feed, number: int, activations: Stored
) -> Iterator[tuple[str, Arithmetic]]:
    for name in activations.sizes(number):
        needed = {*magnitudes.inputs_of(name), name}
        # Views of files: what is not looked at is not read.
        values = {**feed.reference, **activations.read(number, needed)}
        yield name, magnitudes.of(name, values, values[name])


def _groups(each: Iterator[tuple[str, Arithmetic]], limit: int) -> Iterator[dict[str, Arithmetic]]:
    """In groups whose magnitudes take `limit` bytes or a little more; at least one, if it is empty."""
    group: dict[str, Arithmetic] = {}
    total = 0
    for name, one in each:
        group[name] = one
        total += 0 if one.magnitude is None else one.magnitude.nbytes
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
        "tried": one.tried,
        "known": one.known,
    }


def _arithmetic(facts: Mapping[str, Any], magnitude: Array | None) -> Arithmetic:
    made = Arithmetic(**{**facts, "functions": tuple(facts["functions"])})
    return made if magnitude is None else replace(made, magnitude=magnitude)
