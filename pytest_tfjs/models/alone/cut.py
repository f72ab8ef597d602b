"""What an excerpt of artifacts holds, whatever their format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfjs.models.weights import Array


@dataclass(frozen=True)
class Fed:
    """One input of an excerpt: its name there, and the row or the model's input whose tensor it takes."""

    name: str
    row: str | None = None
    source_input: str | None = None

    @property
    def stands_for(self) -> str:
        """What it takes, in words."""
        if self.row is not None:
            return f"the reference's activation of {self.row!r}"
        return f"the model's input {self.source_input!r}"


@dataclass(frozen=True)
class Cut:
    """A part of a model: its inputs, where its one output is, and the names of the weights that it uses.

    `content` gives the model.json but for the weights, for inputs as they are given by name. `described` is
    what the part does, as values of JSON: its nodes or layers with their attributes.
    """

    fed: tuple[Fed, ...]
    address: Mapping[str, Any]
    weights: frozenset[str]
    content: Callable[[Mapping[str, Array]], dict[str, Any]] = field(repr=False)
    described: tuple[Mapping[str, Any], ...]


def unique(name: str, taken: set[str]) -> str:
    """`name`, numbered where it is taken; it is from then on."""
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    taken.add(chosen)
    return chosen
