"""Mutants: faults put into a layer, to see whether a comparison would catch them.

Each function returns the activation that the browser would have given with the fault, or the weights that it
would have used; it changes nothing in place. Random choices (which channels, which weight) come from the
generator that is passed in, so a seed repeats them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Array = np.ndarray[Any, np.dtype[Any]]

SCALED_BY = 1.001
WEIGHT_BY = 1.01
_MAP_RANK = 4
_PAIR = 2


MutantKind = Literal[
    "two channels swapped",
    "height and width swapped",
    "rounded to half precision",
    "output scaled by 1.001",
    "bias dropped",
    "one weight +1 %",
    "padding shifted by one",
    "batch-norm epsilon wrong",
    "activation swapped",
]
KINDS: tuple[MutantKind, ...] = get_args(MutantKind)


@dataclass(frozen=True)
class Mutated:
    """An array with the fault in it, and what was changed, in words.

    `harmless`: why the fault changes nothing if it changes nothing, in words; None if unknown.
    """

    value: Array
    what: str
    harmless: str | None = None


@dataclass(frozen=True)
class NotApplicable:
    """The reason, in words, why a layer cannot have such a fault."""

    why: str


Made = Mutated | NotApplicable


# Faults in the activation.


def swap_channels(activation: Array, rng: np.random.Generator) -> Made:
    """The activation with two entries of its last axis swapped; any dtype."""
    if activation.ndim < _PAIR or activation.shape[-1] < _PAIR:
        return NotApplicable("the activation has fewer than two channels")
    one, other = (int(place) for place in sorted(rng.choice(activation.shape[-1], _PAIR, replace=False)))
    value = activation.copy()
    value[..., [one, other]] = activation[..., [other, one]]
    return Mutated(value, f"channels {one} and {other}")


def transpose_map(activation: Array) -> Made:
    """A square map [batch, height, width, channels] with height and width swapped; any dtype."""
    if activation.ndim != _MAP_RANK or activation.shape[1] < _PAIR:
        return NotApplicable("the activation is not a map of at least 2 x 2")
    if activation.shape[1] != activation.shape[2]:
        return NotApplicable("the map is not square, so a transposed map would have another shape")
    return Mutated(activation.swapaxes(1, 2).copy(), "axes 1 and 2")


def round_to_half(activation: Array) -> Made:
    """The activation rounded to float16 and back; what is over 65504 becomes Inf."""
    if activation.dtype != np.float32:
        return NotApplicable(f"the activation is {activation.dtype.name}, not float32")
    with np.errstate(over="ignore"):
        return Mutated(activation.astype(np.float16).astype(np.float32), "to float16 and back")


def scale(activation: Array) -> Made:
    """The activation times `SCALED_BY`; float32 and complex64."""
    if activation.dtype.kind not in "fc":
        return NotApplicable(f"the activation is {activation.dtype.name}, not floating-point or complex")
    with np.errstate(all="ignore"):
        return Mutated(activation * activation.dtype.type(SCALED_BY), f"times {SCALED_BY}")


def shift_map(activation: Array) -> Made:
    """A map [batch, height, width, channels] moved by one pixel down and right, zeros where it came from.

    Of what enters a convolution or a pooling, this is padding with one more before and one less behind; of
    what a padding gives, the same.
    """
    if activation.ndim != _MAP_RANK or min(activation.shape[1:3]) < _PAIR:
        return NotApplicable("the padded activation is not a map of at least 2 x 2")
    value = np.zeros_like(activation)
    value[:, 1:, 1:] = activation[:, :-1, :-1]
    return Mutated(value, "by one pixel down and right")


# Faults in the weights.


def drop(weight: Array) -> Mutated:
    """A bias of zeros."""
    return Mutated(np.zeros_like(weight), f"{weight.size} values set to 0")


def change_one(weight: Array, rng: np.random.Generator) -> Made:
    """The weight with one element, drawn among those that are not 0, times `WEIGHT_BY`."""
    places = np.flatnonzero(weight)
    if weight.dtype.kind != "f" or not places.size:
        return NotApplicable("the weight has no floating-point value other than 0")
    at = int(rng.choice(places))
    value = weight.copy()
    with np.errstate(over="ignore"):
        value.reshape(-1)[at] *= weight.dtype.type(WEIGHT_BY)
    index = ", ".join(str(int(place)) for place in np.unravel_index(at, weight.shape))
    return Mutated(value, f"the weight at [{index}]")


def other_epsilon(epsilon: float) -> float:
    """The epsilon that a batch-norm of this one is mistaken for: Keras's default is 1e-3, PyTorch's 1e-5."""
    keras, pytorch = 1e-3, 1e-5
    return pytorch if epsilon > math.sqrt(keras * pytorch) else keras


# Faults in the activation function.


@dataclass(frozen=True)
class ActivationSwap:
    """Another activation in place of a layer's own, as a function of what enters that; float64.

    `harmless`: why no element shows the difference, if none does, in words.
    """

    what: str
    apply: Callable[[Array], Array]
    harmless: str


SWAPS: Mapping[str, ActivationSwap] = {
    "Relu6": ActivationSwap(
        "ReLU6 replaced by ReLU",
        lambda x: np.maximum(x, 0.0),
        "no input of the activation function exceeds 6 for these feeds",
    ),
    "Relu": ActivationSwap(
        "ReLU replaced by ReLU6",
        lambda x: np.clip(x, 0.0, 6.0),
        "no input of the activation function exceeds 6 for these feeds",
    ),
    "LeakyRelu": ActivationSwap(
        "LeakyReLU's slope replaced by PyTorch's 0.01",
        lambda x: np.where(x < 0, 0.01 * x, x),
        "no input of the activation function is negative for these feeds",
    ),
    "Elu": ActivationSwap(
        "ELU replaced by ReLU",
        lambda x: np.maximum(x, 0.0),
        "no input of the activation function is negative for these feeds",
    ),
    "Selu": ActivationSwap(
        "SELU replaced by ELU",
        lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0.0)), x),
        "every input of the activation function is 0 for these feeds",
    ),
    "Sigmoid": ActivationSwap(
        "sigmoid replaced by hard sigmoid",
        lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
        "every input of the activation function is 0 or in the saturated range for these feeds",
    ),
    "Tanh": ActivationSwap(
        "tanh replaced by hard tanh",
        lambda x: np.clip(x, -1.0, 1.0),
        "every input of the activation function is 0 or in the saturated range for these feeds",
    ),
    "Softplus": ActivationSwap(
        "softplus replaced by ReLU",
        lambda x: np.maximum(x, 0.0),
        "every input of the activation function is in the saturated range for these feeds",
    ),
}
"""By the graph operation of an activation; each is one that it is mistaken for."""


def swap_activation(op: str, entering: Array, dtype: np.dtype[Any]) -> Made:
    """What another activation than `op` (a graph operation's name) gives for what enters it, as `dtype`."""
    swap = SWAPS.get(op)
    if swap is None:
        return NotApplicable("no similar activation function exists to replace this layer's")
    with np.errstate(all="ignore"):
        value = swap.apply(entering.astype(np.float64)).astype(dtype)
    return Mutated(value, swap.what, swap.harmless)


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays are equal in shape, dtype and every element; NaN equals NaN, -0 equals 0."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
