"""Confidence intervals of a mean or a metric that was measured on a sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CONFIDENCE = 0.95
SEED = 0
RESAMPLES = 2000

_Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""

_BLOCK = 1 << 22

Interval = tuple[float, float]


def wilson(mean: float, samples: int) -> Interval:
    """The interval of a mean of values between 0 and 1, at CONFIDENCE.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", J. Am. Stat. Assoc.
    22 (1927), 209-212, for a share of samples. Of other values it is wider than need be: none of that mean
    vary more than shares of 0 or 1.
    """
    z2 = _Z * _Z
    middle = mean + z2 / (2 * samples)
    half = _Z * math.sqrt(mean * (1 - mean) / samples + z2 / (4 * samples * samples))
    low, high = ((middle + sign * half) / (1 + z2 / samples) for sign in (-1, 1))
    return (0.0 if mean == 0 else max(0.0, low), 1.0 if mean == 1 else min(1.0, high))


def samples_to_prove(least: float) -> int | None:
    """How many samples, if all agree, have a Wilson interval that begins at `least`; None for 1."""
    if least >= 1:
        return None
    needed = max(1, math.ceil(_Z * _Z * least / (1 - least)))
    return needed if wilson(1.0, needed)[0] >= least else needed + 1


def bootstrap_of_sums(
    parts: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float]
) -> Interval | None:
    """The interval of a statistic of the sum over the samples, which are the rows of `parts`.

    By percentiles of RESAMPLES resamples with repetition (B. Efron and R. Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13), with a fixed seed. None if all resamples give the same
    value: the samples then show no variation to estimate from.
    """
    count = len(parts)
    random = np.random.default_rng(SEED)
    found: list[float] = []
    while len(found) < RESAMPLES:
        rows = min(max(1, _BLOCK // count), RESAMPLES - len(found))
        drawn = random.multinomial(count, np.full(count, 1 / count), size=rows)
        found.extend(map(statistic, drawn @ parts))
    return _percentiles(found)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], samples: int, resamples: int
) -> Interval | None:
    """The interval of a statistic that is computed anew for each drawing of the samples' indices."""
    random = np.random.default_rng(SEED)
    return _percentiles([statistic(random.integers(samples, size=samples)) for _ in range(resamples)])


def _percentiles(found: list[float]) -> Interval | None:
    finite: NDArray[Any] = np.array(found)
    if not np.isfinite(finite).all() or finite.min() == finite.max():
        return None
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(finite, (tail, 100 - tail))
    return float(low), float(high)
