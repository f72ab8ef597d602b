"""The activations of a job: in which groups the page gives them, and what is measured of each as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.browsers.jobs import Activations, Tap
from pytest_tfjs.compare.metrics import Metrics, measure, merge
from pytest_tfjs.errors import PageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfjs.compare.tolerances import Tolerance
    from pytest_tfjs.reference.capture import Reference

CHUNK_BYTES = 1 << 28
"""How many bytes of activations the page holds and sends at once."""


class Measured:
    """The metrics of each layer and feed, taken as the activations come; the activations are not kept."""

    def __init__(self, reference: Reference, tolerances: Mapping[str, Tolerance]) -> None:
        self._reference = reference
        self._tolerances = tolerances
        self._metrics: dict[str, dict[int, Metrics]] = {name: {} for name in tolerances}
        self.nbytes = 0

    def take(self, activations: Activations) -> None:
        """Measures one chunk of one feed. Raises PageError for an activation that was not asked for."""
        expected = self._reference.activations(activations.feed)
        for name, actual in activations.tensors.items():
            if name not in self._metrics:
                raise PageError(f"the page gave the activation of {name!r}, which was not asked for")
            self.nbytes += actual.nbytes
            self._metrics[name][activations.feed] = measure(actual, expected[name], self._tolerances[name])

    def note_missing(self, feeds: int) -> None:
        """Counts what did not come as missing: a layer that was seen for some feeds only is not close."""
        for feed in range(feeds):
            expected = self._reference.activations(feed)
            for name, seen in self._metrics.items():
                if feed not in seen:
                    seen[feed] = measure(None, expected[name], self._tolerances[name])

    def merged(self) -> dict[str, Metrics]:
        """One set of metrics for each layer of which anything is known."""
        found = {name: [seen[feed] for feed in sorted(seen)] for name, seen in self._metrics.items()}
        return {name: merge(parts) for name, parts in found.items() if parts}


def chunks(reference: Reference, feeds: int) -> Iterator[tuple[Tap, ...]]:
    """The taps in the order of computation, in groups that stay under the byte budget."""
    chunk: list[Tap] = []
    size = 0
    activations = [reference.activations(feed) for feed in range(feeds)]
    for layer in reference.plan.layers:
        if layer.coverage != "compared" or layer.tap is None:
            continue
        nbytes = max(each[layer.name].nbytes for each in activations)
        if chunk and size + nbytes > CHUNK_BYTES:
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(Tap(layer.name, layer.tap))
        size += nbytes
    if chunk:
        yield tuple(chunk)
