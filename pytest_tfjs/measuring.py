"""The activations of a job: in which groups the page gives them, and what is measured of each as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.browsers.jobs import CHUNK_LIMIT, Activations, Tap
from pytest_tfjs.compare.compression import Compression, Cost, cost, default_allowance, merge_costs
from pytest_tfjs.compare.metrics import Metrics, measure, merge
from pytest_tfjs.compare.observer import differing, fingerprint
from pytest_tfjs.errors import PageError
from pytest_tfjs.reference.stored import grouped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.compare.tolerances import Tolerance
    from pytest_tfjs.reference.capture import Reference


Outputs = dict[tuple[int, str], tuple[bytes, Metrics]]
"""Fingerprint and metrics by feed and name."""


class Measured:
    """The metrics of each layer and feed, taken as the activations come; the activations are not kept."""

    def __init__(self, reference: Reference, tolerances: Mapping[str, Tolerance]) -> None:
        self._reference = reference
        self._tolerances = tolerances
        self._metrics: dict[str, dict[int, Metrics]] = {name: {} for name in tolerances}
        self._outputs = {layer.name for layer in reference.plan.layers if layer.output}
        self._tapped: Outputs = {}
        self._plain: dict[int, Outputs] = {}
        self.nbytes = 0

    def take(self, activations: Activations) -> None:
        """Measures one chunk of one feed. Raises PageError for an activation that was not asked for."""
        for name in activations.tensors:
            if name not in self._metrics:
                raise PageError(f"the page gave the activation of {name!r}, which was not asked for")
        expected = self._reference.activations(activations.feed, activations.tensors)
        for name, actual in activations.tensors.items():
            metrics = measure(actual, expected[name], self._tolerances[name])
            if activations.plain_run is None:
                self._metrics[name][activations.feed] = metrics
                self.nbytes += actual.nbytes
            if name in self._outputs:
                run = self._tapped if activations.plain_run is None else self._run(activations.plain_run)
                run[activations.feed, name] = (fingerprint(actual), metrics)

    def plain(self, run: int) -> dict[tuple[int, str], bytes]:
        """The fingerprints of the outputs that a plain run gave, by feed and name."""
        return _fingerprints(self._run(run))

    def checked(self) -> tuple[str, ...]:
        """The outputs that came both of the first plain run and with the other activations."""
        return tuple(dict.fromkeys(name for feed, name in self._run(0) if (feed, name) in self._tapped))

    def settle(self) -> tuple[str, ...]:
        """The outputs that differ in the first plain run; what counts of these is what that run gave."""
        altered = differing(self.plain(0), _fingerprints(self._tapped))
        for (feed, name), (_, metrics) in self._run(0).items():
            if name in altered:
                self._metrics[name][feed] = metrics
        return altered

    def _run(self, number: int) -> Outputs:
        return self._plain.setdefault(number, {})

    def note_missing(self, feeds: int) -> None:
        """Counts what did not come as missing: a layer that was seen for some feeds only is not close."""
        for feed in range(feeds):
            missing = [name for name, seen in self._metrics.items() if feed not in seen]
            for name, expected in self._reference.activations(feed, missing).items():
                self._metrics[name][feed] = measure(None, expected, self._tolerances[name])

    def merged(self) -> dict[str, Metrics]:
        """One set of metrics for each layer of which anything is known."""
        found = {name: [seen[feed] for feed in sorted(seen)] for name, seen in self._metrics.items()}
        return {name: merge(parts) for name, parts in found.items() if parts}


def _fingerprints(outputs: Outputs) -> dict[tuple[int, str], bytes]:
    return {key: digest for key, (digest, _) in outputs.items()}


def chunks(reference: Reference, budget: int) -> tuple[tuple[Tap, ...], ...]:
    """The taps in the order of computation, in groups that keep the page within `budget` bytes of them.

    Where everything fits, for all feeds, it is one chunk, computed once. Else a chunk of one feed takes half
    of the budget, as the next is computed while it is on its way; a larger activation is a chunk by itself.
    """
    sizes = [reference.sizes(feed) for feed in range(reference.feeds)]
    taps = [
        (Tap(layer.name, layer.tap), max(each[layer.name] for each in sizes))
        for layer in reference.plan.layers
        if layer.coverage == "compared" and layer.tap is not None
    ]
    everything = sum(sum(each.values()) for each in sizes)
    return tuple(grouped(taps, min(budget if everything <= budget else budget // 2, CHUNK_LIMIT // 2)))


def measure_compression(
    reference: Reference, stored: str, allowed: float | None, budget: int
) -> Compression | None:
    """What it costs that the weights are stored as `stored`, with at most `budget` bytes in memory at once.

    None where they are not quantised. `allowed` None: by `stored`. A layer that is not compared, as TF.js
    does not hold its values with the one or the other weights, has no cost.
    """
    if not reference.quantised:
        return None
    compared = {layer.name for layer in reference.plan.layers if layer.coverage == "compared"}
    costs: dict[str, list[Cost]] = {}
    for feed in range(reference.feeds):
        sizes = [(name, size) for name, size in reference.sizes(feed).items() if name in compared]
        for names in grouped(sizes, budget // 2):
            source, activations = (
                reference.source_activations(feed, names),
                reference.activations(feed, names),
            )
            for name in names:
                costs.setdefault(name, []).append(cost(activations[name], source[name]))
    return Compression(
        stored="+".join(dtype for dtype in stored.split("+") if dtype != "float32"),
        allowed=default_allowance(stored) if allowed is None else allowed,
        costs={name: merge_costs(found) for name, found in costs.items()},
        outputs=tuple(layer.name for layer in reference.plan.layers if layer.output),
    )
