"""Makes mutants of a layer: puts faults into its activation, weights, inputs or operations."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfjs.compare.mutants import (
    Mutated,
    NotApplicable,
    change_one,
    drop,
    other_epsilon,
    round_to_half,
    scale,
    shift_map,
    swap_activation,
    swap_channels,
    transpose_map,
)
from pytest_tfjs.errors import SourceError
from pytest_tfjs.reference.faults.layer_parts import parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pytest_tfjs.compare.mutants import Made, MutantKind
    from pytest_tfjs.reference.faults.layer_parts import LayerParts
    from pytest_tfjs.reference.running.layer_alone import GraphAlone

Array = np.ndarray[Any, np.dtype[Any]]

SEED = 0
"""Seed for choosing channels and weights, together with the layer's name and the kind of fault."""


class Refold(Protocol):
    """Computes the folded weights for another epsilon of the batch-norms in them."""

    def __call__(self, weights: Collection[str], epsilon: Callable[[float], float], /) -> Mapping[str, Array]:
        """Those of `weights` that a batch-norm is folded into; `epsilon` gives the other of its own."""


@dataclass(frozen=True)
class Mutant:
    """One fault in one layer for one feed; `right`: the activation without it, computed the same way."""

    kind: MutantKind
    made: Made
    right: Array


class LayerMutants:
    """Makes the mutants of a model's layers."""

    def __init__(self, alone: GraphAlone, refold: Refold) -> None:
        self._alone = alone
        self._refold = refold

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """The layers and model inputs from which a layer's mutants are computed."""
        return () if self._alone.obstacle(name) else self._alone.inputs_of(name)

    def mutants(
        self, name: str, activation: Array, inputs: Mapping[str, Array], kinds: Collection[MutantKind]
    ) -> Iterator[Mutant]:
        """One mutant of each of `kinds`, made one by one; the same channels and weight change in each feed.

        `activation` is the reference's for the layer; `inputs` holds the reference's for those of
        `inputs_of`, and may hold others.
        """
        for kind in (kind for kind in _CHANGED if kind in kinds):
            yield Mutant(kind, _CHANGED[kind](activation, _generator(name, kind)), activation)
        computed = [kind for kind in _COMPUTED if kind in kinds]
        if not computed:
            return
        entering = {one: inputs[one] for one in self.inputs_of(name) if one in inputs}
        layer = LayerAlone(self._alone, self._refold, name, activation.dtype, entering)
        try:
            right, obstacle = layer.right, None
        except SourceError as error:
            right, obstacle = activation, str(error)
        for kind in computed:
            made = NotApplicable(obstacle) if obstacle else _COMPUTED[kind](layer, _generator(name, kind))
            yield Mutant(kind, made, right)


@dataclass(frozen=True)
class LayerAlone:
    """A layer run alone on `inputs`, those of `GraphAlone.inputs_of`; its activations have `dtype`."""

    alone: GraphAlone
    refold: Refold
    name: str
    dtype: np.dtype[Any]
    inputs: Mapping[str, Array]

    @cached_property
    def right(self) -> Array:
        """The activation without a fault. Raises SourceError where the layer cannot be run alone."""
        return self.run()

    @cached_property
    def parts(self) -> LayerParts:
        """The layer's parts."""
        return parts_of(self.alone, self.name)

    @cached_property
    def weights(self) -> Mapping[str, Array]:
        """The layer's weights, as the artifacts store them."""
        return self.alone.weights_of(self.name)

    def run(
        self,
        weights: Mapping[str, Array] | None = None,
        *,
        inputs: Mapping[str, Array] | None = None,
        before_activation: bool = False,
    ) -> Array:
        """The activation with these weights and inputs in place of the layer's own."""
        fed = {**self.inputs, **(inputs or {})}
        return self.alone.run(self.name, fed, weights, before_activation=before_activation).astype(self.dtype)


def _without_bias(layer: LayerAlone, _: np.random.Generator) -> Made:
    name = layer.parts.bias
    if name is None:
        return NotApplicable("the layer has no bias")
    dropped = drop(layer.weights[name])
    return Mutated(layer.run({name: dropped.value}), dropped.what)


def _with_one_weight_changed(layer: LayerAlone, rng: np.random.Generator) -> Made:
    name = layer.parts.kernel
    if name is None:
        return NotApplicable("the layer does not multiply by a weight")
    changed = change_one(layer.weights[name], rng)
    if isinstance(changed, NotApplicable):
        return changed
    return Mutated(layer.run({name: changed.value}), f"{changed.what} of {name!r}")


def _with_shifted_padding(layer: LayerAlone, _: np.random.Generator) -> Made:
    if layer.parts.pads == "output":
        return shift_map(layer.right)
    entering = next(iter(layer.inputs), None)
    if layer.parts.pads is None or entering is None:
        return NotApplicable("the layer has no padding")
    shifted = shift_map(layer.inputs[entering])
    if isinstance(shifted, NotApplicable):
        return shifted
    return Mutated(layer.run(inputs={entering: shifted.value}), f"its input moved {shifted.what}")


def _with_other_epsilon(layer: LayerAlone, _: np.random.Generator) -> Made:
    variance, epsilon = layer.parts.variance, layer.parts.epsilon
    if variance is not None and epsilon is not None:
        other = other_epsilon(epsilon)
        # The right epsilon with this variance gives the same as the other epsilon with the right one.
        moved = layer.weights[variance] + np.float32(other - epsilon)
        return Mutated(layer.run({variance: moved}), f"{other:g} instead of {epsilon:g}")
    refolded = layer.refold(layer.weights.keys(), other_epsilon)
    if not refolded:
        return NotApplicable(
            "the layer has no batch-norm, neither as an operation nor folded into its weights"
        )
    return Mutated(layer.run(refolded), "of the batch-norm folded into its weights")


def _with_other_activation(layer: LayerAlone, _: np.random.Generator) -> Made:
    if layer.parts.activation is None:
        return NotApplicable("the layer does not end in an activation function")
    return swap_activation(layer.parts.activation, layer.run(before_activation=True), layer.dtype)


_CHANGED: Mapping[MutantKind, Callable[[Array, np.random.Generator], Made]] = {
    "two channels swapped": swap_channels,
    "height and width swapped": lambda activation, _: transpose_map(activation),
    "rounded to half precision": lambda activation, _: round_to_half(activation),
    "output scaled by 1.001": lambda activation, _: scale(activation),
}
"""Faults that change an activation."""

_COMPUTED: Mapping[MutantKind, Callable[[LayerAlone, np.random.Generator], Made]] = {
    "bias dropped": _without_bias,
    "one weight +1 %": _with_one_weight_changed,
    "padding shifted by one": _with_shifted_padding,
    "batch-norm epsilon wrong": _with_other_epsilon,
    "activation swapped": _with_other_activation,
}
"""Faults with which an activation is computed."""


def _generator(name: str, kind: MutantKind) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(name.encode()), zlib.crc32(kind.encode())])
