"""Measures each layer's error as its activation arrives; groups activations into chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.jobs import CHUNK_LIMIT, Activations, Tap
from pytest_tfjs.compare.carried_errors import AcceptedError, CarriedErrors, note_on_accepted
from pytest_tfjs.compare.numbers.allowance import allowance, rounded_at_start
from pytest_tfjs.compare.numbers.compression import Compression, Cost, cost, default_allowance, merge_costs
from pytest_tfjs.compare.numbers.element_check import allowed_by_allowance
from pytest_tfjs.compare.numbers.function_ulps import is_held
from pytest_tfjs.compare.numbers.local_error import Local, measure_local, merge_local
from pytest_tfjs.compare.numbers.metrics import Metrics, distance, measure, merge
from pytest_tfjs.compare.numbers.tolerances import is_inexact, resolve_tolerances
from pytest_tfjs.compare.numbers.zero_signs import WrongZeros, wrong_zeros
from pytest_tfjs.compare.observer_effect import differing, fingerprint
from pytest_tfjs.compare.results import Alone
from pytest_tfjs.compare.vacuity.vacuous import Vacuity, judge_vacuity
from pytest_tfjs.compare.zero_division import divided_layers
from pytest_tfjs.errors import PageError
from pytest_tfjs.reference.activation_store import grouped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.numbers.allowance import Allowance
    from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
    from pytest_tfjs.compare.numbers.tolerances import Tolerance, Tolerances
    from pytest_tfjs.models.alone.planner import AlonePlans
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.reference.capture import Reference
    from pytest_tfjs.settings.settings import Settings


_COPIES_ALONE = 3
"""A layer that is run alone has its inputs and its second activation in memory beside the first."""

_NAMED = 3
_NOTED = 0.01

Outputs = dict[tuple[int, str], tuple[bytes, Metrics]]
"""Fingerprint and metrics by feed and name."""


@dataclass(frozen=True)
class Precision:
    """The arithmetic of a target: its backend, and whether it computes in half precision.

    `packed`: whether its depthwise convolutions are webgl's packed ones.
    """

    backend: str
    half: bool
    packed: bool = False


class LayerMeasurements:
    """The metrics of each layer and feed, measured as the activations arrive; activations are not kept.

    `precision` None: layers are not run alone. Otherwise the activations of a chunk wait for those of its
    layers run alone, which the page sends next.
    """

    def __init__(
        self, reference: Reference, tolerances: Tolerances, precision: Precision | None = None
    ) -> None:
        self._reference = reference
        self._tolerances = tolerances
        self._precision = precision
        self._packed = precision is not None and precision.packed
        self._is_half = precision is not None and precision.half
        self._layers = {layer.name: layer for layer in reference.plan.layers}
        compared = [layer.name for layer in reference.plan.layers if layer.coverage == "compared"]
        self._metrics: dict[str, dict[int, Metrics]] = {name: {} for name in compared}
        self._alone: dict[str, dict[int, tuple[Local, float]]] = {}
        self._divided = divided_layers(reference.plan.layers)
        self._wrong_zeros: dict[str, WrongZeros] = {}
        self._outputs = {layer.name for layer in reference.plan.layers if layer.output}
        self._tapped: Outputs = {}
        self._plain: dict[int, Outputs] = {}
        self._waiting: Activations | None = None
        self._inputs = {layer.name: layer.inputs for layer in reference.plan.layers}
        self._carried: dict[int, CarriedErrors] = {}
        self._rounded_at_start: dict[str, None] = {}
        self._accepted: dict[str, AcceptedError] = {}
        self.nbytes = 0

    def add(self, activations: Activations) -> None:
        """Measures one chunk of one feed. Raises PageError for an activation that no tap reads."""
        for name in activations.tensors:
            if name not in self._metrics:
                raise PageError(f"the page returned an activation of {name!r}, which was not requested")
        if activations.plain_run is not None:
            self._measure_plain(activations, activations.plain_run)
        elif self._precision is None:
            self._measure(activations, {})
        elif not activations.alone:
            self.measure_waiting()
            self._waiting = activations
        elif self._waiting is None or self._waiting.feed != activations.feed:
            raise PageError(
                "the page returned the outputs of layers that it ran alone, but not the activations of these "
                "layers from the whole run"
            )
        else:
            tapped, self._waiting = self._waiting, None
            self._measure(tapped, activations.tensors)

    def measure_waiting(self) -> None:
        """Measures the chunk that waits, without its layers run alone: the page failed before them."""
        tapped, self._waiting = self._waiting, None
        if tapped is not None:
            self._measure(tapped, {})

    def _measure_plain(self, activations: Activations, run: int) -> None:
        expected = self._reference.activations(activations.feed, activations.tensors)
        for name, actual in activations.tensors.items():
            metrics = measure(actual, expected[name], self._tolerances.of(name, alone=False))
            self._run(run)[activations.feed, name] = (fingerprint(actual), metrics)

    def _measure(self, tapped: Activations, alone: Mapping[str, NDArray[Any]]) -> None:
        feed = tapped.feed
        expected = self._reference.activations(feed, tapped.tensors)
        arithmetic = self._reference.arithmetic(feed, alone) if alone else {}
        carried = self._carried.setdefault(feed, CarriedErrors(self._inputs))
        for name, actual in tapped.tensors.items():
            layer = self._layers[name]
            metrics = measure(actual, expected[name], self._tolerances.of(name, alone=name in alone))
            if name in alone:
                allowed = self._allowance(name, arithmetic[name], expected[name])
                local = measure_local(alone[name], expected[name], arithmetic[name], allowed)
                self._alone.setdefault(name, {})[feed] = (local, distance(actual, alone[name]))
                wrong = wrong_zeros(alone[name], expected[name]) if name in self._divided else None
                if wrong is not None:
                    self._wrong_zeros.setdefault(name, wrong)
                carried.add(name, local)
                if rounded_at_start(arithmetic[name], packed=self._packed) > _NOTED * metrics.scale > 0:
                    self._rounded_at_start[name] = None
            # A tolerance that the user gives is not widened.
            if not metrics.passed and name not in self._tolerances.by_user:
                pair = (actual, expected[name])
                metrics = self._widened(layer, metrics, pair, arithmetic.get(name), carried)
            self._metrics[name][feed] = metrics
            self.nbytes += actual.nbytes
            if name in self._outputs:
                self._tapped[feed, name] = (fingerprint(actual), metrics)

    def _widened(
        self,
        layer: Layer,
        narrow: Metrics,
        pair: tuple[NDArray[Any], NDArray[Any]],
        arithmetic: Arithmetic | None,
        carried: CarriedErrors,
    ) -> Metrics:
        """The metrics with all that the layer may be off by in the whole run.

        `narrow`: those with its tolerance alone, which it does not pass. `pair`: the activations of browser
        and reference. `arithmetic`: of a layer that was run alone.
        """
        tolerance = self._tolerances.of(layer.name, alone=arithmetic is not None)
        own = np.zeros(())
        if arithmetic is not None:
            # What the layer may be off by alone, it may be off by in the whole run.
            alone = self._allowance(layer.name, arithmetic, pair[1])
            own = allowed_by_allowance(alone, pair[1], arithmetic.magnitude)
        # What half precision loses the reference has, so it is no excuse for the layers behind.
        is_carried = is_inexact(pair[1].dtype.name) and not self._is_half
        passed_on = carried.allowed(layer.name, narrow, arithmetic) if is_carried else 0.0
        for extra in (own, own + passed_on):
            wide = measure(*pair, tolerance, extra=np.broadcast_to(extra, pair[1].shape))
            if wide.passed:
                self._accepted.setdefault(layer.name, carried.accept(layer.name, narrow))
                return wide
        return replace(wide, needed=narrow.needed)

    def notes(self) -> tuple[str, ...]:
        """What the user has to know of the errors of the target's kernels."""
        return (
            *_note_on_starts(list(self._rounded_at_start)),
            *note_on_accepted(self._layers, self._accepted),
        )

    def _allowance(self, name: str, arithmetic: Arithmetic, expected: NDArray[Any]) -> Allowance:
        assert self._precision is not None
        return allowance(
            self._layers[name],
            arithmetic,
            expected,
            backend=self._precision.backend,
            half=self._precision.half,
            packed=self._packed,
        )

    def plain(self, run: int) -> dict[tuple[int, str], bytes]:
        """The fingerprints of the outputs of a plain run, by feed and name."""
        return _fingerprints(self._run(run))

    def checked(self) -> tuple[str, ...]:
        """The outputs that both the first plain run and the run with taps gave."""
        return tuple(dict.fromkeys(name for feed, name in self._run(0) if (feed, name) in self._tapped))

    def replace_altered_outputs(self) -> tuple[str, ...]:
        """The outputs that differ in the first plain run; the metrics of that run replace theirs."""
        altered = differing(self.plain(0), _fingerprints(self._tapped))
        for (feed, name), (_, metrics) in self._run(0).items():
            if name in altered:
                self._metrics[name][feed] = metrics
        return altered

    def _run(self, number: int) -> Outputs:
        return self._plain.setdefault(number, {})

    def add_missing(self, feeds: int) -> None:
        """Counts each activation that did not arrive as missing, for each of the feeds."""
        for feed in range(feeds):
            missing = [name for name, seen in self._metrics.items() if feed not in seen]
            for name, expected in self._reference.activations(feed, missing).items():
                tolerance = self._tolerances.of(name, alone=False)
                self._metrics[name][feed] = measure(None, expected, tolerance)

    def merged(self) -> dict[str, Metrics]:
        """The metrics of each layer that was measured, merged over its feeds."""
        found = {name: [seen[feed] for feed in sorted(seen)] for name, seen in self._metrics.items()}
        return {name: merge(parts) for name, parts in found.items() if parts}

    def tolerances(self) -> dict[str, Tolerance]:
        """The tolerance of each compared layer's error in the whole run."""
        return {name: self._tolerances.of(name, alone=name in self._alone) for name in self._metrics}

    def alone(self, reasons: Mapping[str, str], overwrites: Mapping[str, tuple[str, ...]]) -> Alone:
        """The results of the layers run alone; `reasons`: why other layers were not.

        `overwrites`: see `Alone`.
        """
        found = {name: [seen[feed] for feed in sorted(seen)] for name, seen in self._alone.items()}
        return Alone(
            local={name: merge_local([local for local, _ in parts]) for name, parts in found.items()},
            propagated={name: max(size for _, size in parts) for name, parts in found.items()},
            reasons=reasons,
            unrepresentable=self._unrepresentable(),
            overwrites=overwrites,
            wrong_zeros=self._wrong_zeros,
        )

    def _unrepresentable(self) -> frozenset[str]:
        """The layers whose reference, for some feed, has values that the target cannot represent."""
        if self._precision is None:
            return frozenset()
        backend, half = self._precision.backend, self._precision.half
        return frozenset(
            name
            for name, seen in self._metrics.items()
            for metrics in seen.values()
            if not is_held(metrics.scale, self._layers[name].dtype, backend, half=half)
        )


def _note_on_starts(names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield (
            "webgl starts the sums of its packed depthwise convolution at 1e-15, and holds nothing below "
            f"1e-22: the values of {', '.join(map(repr, names[:_NAMED]))}{more} are so small that this error "
            "may be over 1 % of the largest. Feed inputs that give larger values"
        )


def _fingerprints(outputs: Outputs) -> dict[tuple[int, str], bytes]:
    return {key: digest for key, (digest, _) in outputs.items()}


def chunks(reference: Reference, budget: int, *, alone: bool = False) -> tuple[tuple[Tap, ...], ...]:
    """The taps in the order of computation, in groups that keep the page within `budget` bytes.

    If the activations of all feeds fit, there is one chunk, computed once. Otherwise a chunk of one feed
    takes half of the budget, because the next chunk is computed while the page sends this one; a larger
    activation is a chunk of its own. If each layer is run `alone` as well, a chunk takes a third of that.
    """
    share = _COPIES_ALONE if alone else 1
    sizes = [reference.sizes(feed) for feed in range(reference.feeds)]
    taps = [
        (Tap(layer.name, layer.tap), max(each[layer.name] for each in sizes))
        for layer in reference.plan.layers
        if layer.coverage == "compared" and layer.tap is not None
    ]
    everything = sum(sum(each.values()) for each in sizes)
    fits = share * everything <= budget
    return tuple(grouped(taps, min(budget if fits else budget // (2 * share), CHUNK_LIMIT // 2)))


def with_plans(groups: Sequence[Sequence[Tap]], plans: AlonePlans) -> tuple[tuple[Tap, ...], ...]:
    """The taps with the plans for running their layers alone, if there are any."""
    as_json = {name: plan.to_json() for name, plan in plans.plans.items()}
    return tuple(tuple(replace(tap, alone=as_json.get(tap.name)) for tap in group) for group in groups)


def tolerances_of(
    reference: Reference,
    target: Target,
    settings: Settings,
    per_layer: Mapping[str, Tolerance] | None,
) -> tuple[Tolerances, Precision | None]:
    """The layers' tolerances; and the target's precision, or None if layers are not run alone.

    Raises ToleranceError for an invalid tolerance.
    """
    tolerances = resolve_tolerances(
        reference.plan.layers,
        backend=target.backend,
        half=target.half,
        rtol=settings.rtol,
        atol=settings.atol,
        per_layer=per_layer,
    )
    alone = settings.layers == "all" and settings.alone == "all"
    return tolerances, Precision(target.backend, target.half, target.packed) if alone else None


def measure_compression(
    reference: Reference, stored: str, allowed: float | None, budget: int
) -> Compression | None:
    """How far storing the weights as `stored` moves each compared layer; None if they are not quantised.

    `allowed` None: the default for `stored`. At most `budget` bytes of activations are in memory at once.
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


def measure_vacuity(reference: Reference, feeds: Sequence[Feed], settings: Settings) -> Vacuity:
    """Which parts of the comparison could not have failed, other than those that `settings` allow.

    Raises SettingsError for a pattern of the call or the marker that matches nothing. Patterns of the command
    line and the ini file apply to all models of a run, so they may match nothing in some.
    """
    return judge_vacuity(
        reference.plan.layers,
        reference.spreads,
        {name: [feed.reference[name] for feed in feeds] for name in feeds[0].reference},
        settings.allow_vacuous,
        strict=settings.origin("allow_vacuous") in ("call", "marker"),
    )
