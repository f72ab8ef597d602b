"""The model that runs one layer alone: its inputs, weights and model.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfjs.models.weights import Array


@dataclass(frozen=True)
class ModelInput:
    """One input of the layer's model, and the activation or the whole model's input that it takes."""

    name: str
    row: str | None = None
    source_input: str | None = None

    @property
    def stands_for(self) -> str:
        """A description of what it takes."""
        if self.row is not None:
            return f"the reference's activation of {self.row!r}"
        return f"the model's input {self.source_input!r}"


@dataclass(frozen=True)
class AloneContent:
    """The inputs of a layer's model, the tap of its one output, and the names of the weights that it uses.

    `model_json` gives the content of model.json without the weights, for example inputs by name. `described`:
    the nodes or layers of the model with their attributes, as JSON values.
    """

    fed: tuple[ModelInput, ...]
    address: Mapping[str, Any]
    weights: frozenset[str]
    model_json: Callable[[Mapping[str, Array]], dict[str, Any]] = field(repr=False)
    described: tuple[Mapping[str, Any], ...]


def unique(name: str, taken: set[str]) -> str:
    """`name`, with a number where it is in `taken`; adds the result to `taken`."""
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}_{number}"
    taken.add(chosen)
    return chosen
