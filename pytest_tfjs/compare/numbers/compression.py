"""The cost of quantisation: how far outputs move when weights are stored in fewer bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.element_loops import Kind, kind_of, largest, tally, text_elements
from pytest_tfjs.compare.numbers.tolerances import is_inexact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_DEFAULTS = {"float32": 0.0, "uint16": 0.01, "float16": 0.05, "uint8": 0.1}
"""A few times the cost of the sample models, except MobileNetV2 as uint8; see docs/tolerances.md."""


@dataclass(frozen=True)
class Cost:
    """How far quantisation moved one layer, over one or more feeds.

    - `max_abs`, `rms`: of the error, in the activation's unit, over the `elements` that are finite in both; a
      wrong bool or string has error 1.
    - `share`: the largest |error| / the largest |value| of the original in the feed; for integers, bools and
      strings the share of elements that changed. It is what `Compression.allowed` limits.

    All are infinite if NaN, Inf or the shape changed; `broken`: NaN or Inf are at other elements.
    """

    max_abs: float
    rms: float
    share: float
    elements: int
    broken: bool = False


@dataclass(frozen=True)
class Compression:
    """The cost of storing weights as `stored`, by layer; only the model's outputs are judged.

    `allowed` is the greatest `Cost.share` of an output that passes.
    """

    stored: str
    allowed: float
    costs: Mapping[str, Cost]
    outputs: tuple[str, ...]

    @property
    def worst(self) -> str | None:
        """The output that moved most; None if no output was measured."""
        measured = [name for name in self.outputs if name in self.costs]
        return max(measured, key=lambda name: self.costs[name].share, default=None)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """The outputs without a cost, because TF.js cannot represent their values."""
        return tuple(name for name in self.outputs if name not in self.costs)

    @property
    def broken(self) -> bool:
        """Whether the stored weights make NaN or Inf in a layer, or lose them."""
        return any(cost.broken for cost in self.costs.values())

    @property
    def exceeded(self) -> bool:
        """Whether an output moved further than `allowed`."""
        return self.worst is not None and self.costs[self.worst].share > self.allowed


def default_allowance(stored: str) -> float:
    """The default of `Compression.allowed`: that of the coarsest dtype in `stored` (`uint8+float16`)."""
    return max(_DEFAULTS[dtype] for dtype in stored.split("+"))


def cost(stored: NDArray[Any], original: NDArray[Any]) -> Cost:
    """The cost of one layer for one feed; any shape and dtype, differences are taken in float64."""
    stored, original = np.asarray(stored), np.asarray(original)
    kind = kind_of(original)
    if stored.shape != original.shape or kind is not kind_of(stored):
        return Cost(math.inf, math.inf, math.inf, original.size)
    if original.size == 0:
        return Cost(0.0, 0.0, 0.0, 0)
    if kind is Kind.NUMBER and is_inexact(original.dtype.name):
        return _cost_of_numbers(stored, original)
    return _cost_of_discrete(stored, original, kind)


def merge_costs(costs: Sequence[Cost]) -> Cost:
    """The cost of one layer over several feeds. Raises ValueError if `costs` is empty."""
    elements = sum(one.elements for one in costs)
    rms = math.hypot(*(one.rms * math.sqrt(one.elements / elements) for one in costs)) if elements else 0.0
    return Cost(
        max_abs=max(one.max_abs for one in costs),
        rms=math.inf if any(math.isinf(one.rms) for one in costs) else rms,
        share=max(one.share for one in costs),
        elements=elements,
        broken=any(one.broken for one in costs),
    )


def _cost_of_numbers(stored: NDArray[Any], original: NDArray[Any]) -> Cost:
    counts = tally(stored, original, 0.0, 0.0)
    if counts.nonfinite_mismatched:
        return Cost(math.inf, math.inf, math.inf, counts.finite, broken=True)
    scale = largest(original)
    unmoved = 0.0 if counts.max_abs == 0 else math.inf
    share = counts.max_abs / scale if scale else unmoved
    return Cost(counts.max_abs, counts.rms, share, counts.finite)


def _cost_of_discrete(stored: NDArray[Any], original: NDArray[Any], kind: Kind) -> Cost:
    if kind is Kind.TEXT:
        pairs = zip(text_elements(stored), text_elements(original), strict=True)
        error = np.array([got != want for got, want in pairs], np.float64)
    else:
        error = np.abs(stored.astype(np.float64) - original.astype(np.float64)).reshape(-1)
    return Cost(
        max_abs=float(error.max()),
        rms=math.sqrt(float(np.mean(error**2))),
        share=np.count_nonzero(error) / error.size,
        elements=error.size,
    )
