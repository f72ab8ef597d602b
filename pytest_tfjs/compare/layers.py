"""A layer, one row of a comparison: its inputs, its coverage, and where its activation is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Coverage = Literal["compared", "fused", "eliminated", "unmapped"]


@dataclass(frozen=True)
class Layer:
    """One row of the comparison, as the reference sees it; it holds no numbers.

    `name`: unique within the comparison. `op`: the Keras class or the graph op; of a fused one all of them,
    joined by "+". `inputs`: the names of the compared layers whose activations enter this one. `shape`: of
    the reference activation for the first feed, None when not compared. `dtype`: the numpy name of what the
    browser should give (`float32`, `int32`, `bool`, `str`, `complex64`). `into`: the layer that took a fused
    one in. `reason`: why a layer is fused, eliminated or unmapped, in words; an eliminated one's begins with
    a word or two that can be counted, ended by a colon if more follows. `tap`: where the page finds the
    activation, set when compared. `output`: whether it is one of the model's outputs. `members`: the layers
    fused into this one, and other names that a user may know it by. `group`: of a graph node the Keras layer
    that it is part of, else its scope; None where there is none, and in a layers model. `group_op`: the
    Keras class of that layer, None where the group is a scope. `output_names`: of an output, its names in
    the model's signature; several where the model returns one tensor several times.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...] | None
    dtype: str | None
    coverage: Coverage
    into: str | None = None
    reason: str | None = None
    tap: Mapping[str, Any] | None = None
    output: bool = False
    members: tuple[str, ...] = ()
    group: str | None = None
    group_op: str | None = None
    output_names: tuple[str, ...] = ()

    @property
    def output_name(self) -> str | None:
        """The output's name in the signature; None if it says no more than the layer's own name does."""
        if not self.output or not self.output_names:
            return None
        first = self.output_names[0]
        return None if first == self.group or f"{self.name}/".startswith(f"{first}/") else first

    @property
    def known_as(self) -> str:
        """The name by which a user knows the layer: of an output, that in the signature."""
        return self.output_name or self.name


def named_output(layer: Layer, names: Iterable[str]) -> Layer:
    """The layer with further names of it as an output."""
    return replace(layer, output_names=tuple(dict.fromkeys((*layer.output_names, *names))))


def layers_before(inputs: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """The layers that lead to the layer `name`, the nearest first; `inputs`: those of each layer."""
    found = dict.fromkeys(inputs.get(name, ()))
    ahead = list(found)
    for one in ahead:
        more = [other for other in inputs.get(one, ()) if other not in found]
        found |= dict.fromkeys(more)
        ahead += more
    return list(found)
