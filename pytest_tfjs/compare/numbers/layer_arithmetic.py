"""The properties of a layer's computation that determine its rounding error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Arithmetic:
    """How a layer computes its activation for one feed, when it runs alone on the reference's inputs.

    - `exact`: the layer only copies, selects or compares, so that nothing is rounded.
    - `terms`: the largest number of products or numbers added up for one element; 1 if none are.
    - `magnitude`: the sum of the magnitudes that enter each element, such as |x|·|w| + |b| of a convolution,
      in the activation's shape and unit; None if it is |reference|.
    - `functions`: the functions evaluated (`Exp`, `Rsqrt`, ...), as names of graph operations.
    - `noise`: the root mean square of the differences between summing orders, measured in float32 on a sample
      of elements, divided by the root mean square of their magnitudes; None if nothing is summed.
    - `constants`: how far constants that the converter computed are from what the source computes in their
      place, relative to the magnitudes that they enter with.
    - `tried`: the layer has operations without a rule, such as a loop, and `magnitude` was measured by
      changing its inputs.
    - `known`: False if there is no rule for the layer; then the other fields have no meaning.
    """

    exact: bool = False
    terms: int = 1
    magnitude: NDArray[Any] | None = None
    functions: tuple[str, ...] = ()
    noise: float | None = None
    constants: float = 0.0
    tried: bool = False
    known: bool = True
