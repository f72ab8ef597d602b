"""What the rounding of one layer's activation depends on: how it is computed, out of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Arithmetic:
    """How a layer computes its activation for one feed, where it is run alone on the reference's inputs.

    - `exact`: it copies, selects or compares only, so that nothing is rounded.
    - `terms`: how many products or numbers are added for one element, at most; 1 where none are.
    - `magnitude`: the sum of the magnitudes that enter each element, as |x|·|w| + |b| of a convolution, in
      the activation's shape and unit; None: |reference| stands for it.
    - `functions`: the functions evaluated (`Exp`, `Rsqrt`, ...), by their graph operations' names.
    - `noise`: the root mean square of what summing in other orders changes, measured on a sample of
      elements in float32, over the root mean square of their magnitudes; None where nothing is summed.
    - `tried`: it is of operations without a rule, as a loop, and `magnitude` was found by trying.
    - `known`: False where nobody told how such a layer computes, so that the other fields say nothing.
    """

    exact: bool = False
    terms: int = 1
    magnitude: NDArray[Any] | None = None
    functions: tuple[str, ...] = ()
    noise: float | None = None
    tried: bool = False
    known: bool = True
