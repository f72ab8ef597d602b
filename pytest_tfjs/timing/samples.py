"""The inference times of one model on one target, and the statistics drawn from them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one model on one target.

    `load_ms`: fetching and building the model. `first_ms`: the first inference, shader compilation included.
    `warm_ms`: each later inference, in the order they ran.
    """

    load_ms: float
    first_ms: float
    warm_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float | None:
        """The median of the warm runs, of an even number the mean of the middle two; None without any."""
        return statistics.median(self.warm_ms) if self.warm_ms else None

    @property
    def p95_ms(self) -> float | None:
        """The 95th percentile of the warm runs by nearest rank; None without a warm run.

        That is the ceil(0.95 n)-th smallest of n runs: always a run that happened, and the slowest one while
        n < 20.
        """
        if not self.warm_ms:
            return None
        # Not 0.95 * n, which rounds: for some n it lands above the integer.
        rank = math.ceil(95 * len(self.warm_ms) / 100)
        return sorted(self.warm_ms)[rank - 1]
