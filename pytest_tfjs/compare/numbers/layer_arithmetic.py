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
    - `excess`: by how much the roundings of each element may exceed what `terms` and `magnitude` tell, in
      units of u, in the activation's shape and unit; None if nowhere.
    - `started`: the error that webgl's packed depthwise convolution makes by starting its sums at 1e-15, in
      units of u and the activation's unit; 0 for a layer that does not use it.
    - `mixed`: the error that webgl makes at each element by GLSL's mix(), where other backends copy; as
      `excess`.
    - `exponent`: p where the layer's last operation is x**p with one p between 0 and 1; otherwise 0.
    - `known`: False if there is no rule for the layer; then the other fields have no meaning.
    """

    exact: bool = False
    terms: int = 1
    magnitude: NDArray[Any] | None = None
    functions: tuple[str, ...] = ()
    noise: float | None = None
    constants: float = 0.0
    tried: bool = False
    excess: NDArray[Any] | None = None
    started: float = 0.0
    mixed: NDArray[Any] | None = None
    exponent: float = 0.0
    known: bool = True
