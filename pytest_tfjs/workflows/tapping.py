"""Takes a model's activations in as many jobs as it needs to alter nothing of its outputs by doing so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from pytest_tfjs.browsers.jobs import Tap
from pytest_tfjs.compare.observer_effect import Observation, differing, fewer
from pytest_tfjs.models.alone.planner import AlonePlans, plan_alone
from pytest_tfjs.workflows.measurement import Measured, Precision, chunks, with_plans

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pytest_tfjs.browsers.jobs import Activations, JobResult
    from pytest_tfjs.compare.numbers.tolerances import Tolerances
    from pytest_tfjs.compare.observer_effect import Extent
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.reference.capture import Array, Reference

Taps = tuple[Tap, ...]


class Perform(Protocol):
    """Does a job in the page over the feeds of the comparison; see `browsers.jobs.Job`."""

    def __call__(
        self,
        take: Callable[[Activations], None],
        *,
        chunks: tuple[Taps, ...],
        outputs: Taps,
        plain_runs: int,
        timed: bool,
        references: Callable[[int, Collection[str]], Mapping[str, Array]] | None = None,
    ) -> JobResult:
        """Raises PageError where the page fails."""


class Observing:
    """What was measured of a model, and whether measuring altered it.

    `reference` has the rows as they are accounted for in the end, `measured` their metrics, `result` what the
    first job told. All are of use also where `run` raised. With a `precision` each layer of `artifacts` also
    runs alone, and `not_alone` has the reasons of those that did not.
    """

    def __init__(
        self,
        reference: Reference,
        tolerances: Tolerances,
        budget: int,
        precision: Precision | None = None,
        artifacts: Artifacts | None = None,
    ) -> None:
        self._whole = self.reference = reference
        self._tolerances = tolerances
        self._budget = budget
        self._precision = precision
        self.measured = Measured(reference, tolerances, precision)
        self._plans = _NO_PLANS if artifacts is None or precision is None else _plans(artifacts, reference)
        self.not_alone: Mapping[str, str] = {}
        self.observation = Observation()
        self.result: JobResult | None = None
        self.nbytes = 0

    def run(self, perform: Perform) -> None:
        """Reads all activations; where that alters the outputs, those at fusion boundaries; else the outputs.

        Raises PageError where the page fails.
        """
        altered = self._read(perform, "all")
        self.observation = Observation(self.measured.checked(), altered)
        if not altered:
            return
        if self._is_nondeterministic(perform):
            self.observation = replace(self.observation, cause="nondeterministic", settled=False)
            return
        self.observation = replace(self.observation, cause="reading", settled=False)
        for extent in _FEWER:
            if self._reads_less(extent):
                still = self._read(perform, extent)
                self.observation = replace(self.observation, read=extent, settled=not still)
                if not still:
                    return

    def _read(self, perform: Perform, extent: Extent) -> tuple[str, ...]:
        """Measures the rows of an extent; gives the outputs that this altered."""
        plan = self._whole.plan
        self.reference = replace(self._whole, plan=replace(plan, layers=fewer(plan.layers, extent)))
        self.measured = Measured(self.reference, self._tolerances, self._precision)
        alone = self._precision is not None
        groups = with_plans(chunks(self.reference, self._budget, alone=alone), self._plans)
        try:
            result = perform(
                self.measured.take,
                chunks=groups,
                outputs=self._outputs(),
                plain_runs=1,
                timed=extent == "all",
                references=self._whole.activations if alone else None,
            )
        finally:
            self.measured.release()
            self.nbytes += self.measured.nbytes
        self.result = self.result or result
        reasons = {tap.name: self._plans.reasons.get(tap.name) for group in groups for tap in group}
        unplanned = {name: why for name, why in reasons.items() if why is not None}
        self.not_alone = {**unplanned, **result.not_alone}
        self.measured.note_missing(self.reference.feeds)
        return self.measured.settle()

    def _is_nondeterministic(self, perform: Perform) -> bool:
        again = Measured(self.reference, self._tolerances)
        perform(again.take, chunks=(), outputs=self._outputs(), plain_runs=2, timed=False)
        return bool(differing(again.plain(0), again.plain(1)))

    def _reads_less(self, extent: Extent) -> bool:
        def compared(reference: Reference, extent: Extent) -> int:
            return sum(layer.coverage == "compared" for layer in fewer(reference.plan.layers, extent))

        return compared(self._whole, extent) < compared(self.reference, "all")

    def _outputs(self) -> Taps:
        layers = self._whole.plan.layers
        return tuple(Tap(layer.name, layer.tap) for layer in layers if layer.output and layer.tap is not None)


def _plans(artifacts: Artifacts, reference: Reference) -> AlonePlans:
    """How each compared layer is run alone, from the nearest layers whose reference there is."""
    layers = [layer for layer in reference.plan.layers if layer.tap is not None]
    known = {layer.name: layer.tap for layer in layers if layer.tap is not None}
    compared = {layer.name: known[layer.name] for layer in layers if layer.coverage == "compared"}
    return plan_alone(artifacts, compared, known)


_NO_PLANS = AlonePlans({}, {})
_FEWER: tuple[Extent, ...] = ("boundaries", "outputs")
