"""Reads activations; reads fewer if reading them changed the outputs of the model."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_tfjs.browsers.jobs import Job, Tap, TimingPlan
from pytest_tfjs.compare.observer_effect import Observation, differing, fewer
from pytest_tfjs.errors import PageError
from pytest_tfjs.models.alone.planner import AlonePlans, plan_alone
from pytest_tfjs.workflows.layer_measurement import LayerMeasurements, Precision, chunks, with_plans
from pytest_tfjs.workflows.retry import unopened_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_tfjs.browsers.harness import Page
    from pytest_tfjs.browsers.jobs import JobResult
    from pytest_tfjs.compare.numbers.tolerances import Tolerances
    from pytest_tfjs.compare.observer_effect import Extent
    from pytest_tfjs.compare.results import TargetFacts
    from pytest_tfjs.reference.capture import Reference
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.preparation import PreparedModel

_TIMING = TimingPlan(warmup=0, runs=5, budget_ms=1000.0)
_SMALLER_EXTENTS: tuple[Extent, ...] = ("boundaries", "outputs")


class ActivationReader:
    """Reads and measures a model's activations in one page; the results remain valid if `run` raises.

    `facts`: what the page runs on. `reference` has the layers that were read in the end, `measurements` their
    metrics, `result` the result of the first job. With a `precision` each layer is run alone as well;
    `not_alone` says why a layer was not. `overwrites`: which layers wrote into their inputs; `changed_feeds`:
    which inputs of the model were written into.
    """

    def __init__(
        self, model: PreparedModel, tolerances: Tolerances, precision: Precision | None, context: Context
    ) -> None:
        self._model = model
        self._tolerances = tolerances
        self._precision = precision
        self._context = context
        self._plans = AlonePlans({}, {}) if precision is None else _plans(model)
        self.facts: TargetFacts = unopened_facts(context.target)
        self.tfjs_version: str | None = None
        self.reference: Reference = model.reference
        self.measurements = LayerMeasurements(model.reference, tolerances, precision)
        self.not_alone: Mapping[str, str] = {}
        self.overwrites: Mapping[str, tuple[str, ...]] = {}
        self.changed_feeds: tuple[str, ...] = ()
        self.observation = Observation()
        self.result: JobResult | None = None
        self.nbytes = 0

    def run(self, page: Page) -> None:
        """Reads all activations; if that alters the outputs, those at fusion boundaries; else the outputs.

        Raises PageError if the page fails.
        """
        self.facts, self.tfjs_version = page.facts, page.facts.tfjs_version
        try:
            altered = self._read(page, "all")
        except PageError as error:
            if error.layer is not None and error.layer.computable:
                self._read_before(page, error.layer.computable)
            raise
        self.observation = Observation(self.measurements.checked(), altered)
        if not altered:
            return
        if self._is_nondeterministic(page):
            self.observation = replace(self.observation, cause="nondeterministic", settled=False)
            return
        self.observation = replace(self.observation, cause="reading", settled=False)
        for extent in _SMALLER_EXTENTS:
            if self._reads_less(extent):
                altered = self._read(page, extent)
                self.observation = replace(self.observation, read=extent, settled=not altered)
                if not altered:
                    return

    def _read(self, page: Page, extent: Extent) -> tuple[str, ...]:
        """Measures the layers of an extent; gives the outputs that reading them altered."""
        whole = self._model.reference
        self.reference = replace(whole, plan=replace(whole.plan, layers=fewer(whole.plan.layers, extent)))
        self.measurements = LayerMeasurements(self.reference, self._tolerances, self._precision)
        alone = self._precision is not None
        groups = with_plans(
            chunks(self.reference, self._context.settings.tap_budget, alone=alone), self._plans
        )
        job = replace(
            self._job(groups),
            timing=_TIMING if extent == "all" else None,
            outputs=self._output_taps(),
            plain_runs=1,
        )
        try:
            result = self._run(page, job, self.measurements)
        finally:
            self.measurements.measure_waiting()
            self.nbytes += self.measurements.nbytes
        self.result = self.result or result
        names = [tap.name for group in groups for tap in group]
        unplanned = {name: self._plans.reasons[name] for name in names if name in self._plans.reasons}
        self.not_alone = {**unplanned, **result.not_alone}
        self.overwrites = _by_layer(result.overwrites)
        self.changed_feeds = result.changed_feeds
        self.measurements.add_missing(self.reference.feeds)
        return self.measurements.replace_altered_outputs()

    def _job(self, groups: tuple[tuple[Tap, ...], ...]) -> Job:
        """A job that reads these activations of all feeds."""
        return Job(
            self._model.artifacts.model_json,
            self._model.artifacts.format,
            tuple(feed.browser for feed in self._model.feeds),
            chunks=groups,
            references=None if self._precision is None else self._model.reference.activations,
        )

    def _read_before(self, page: Page, count: int) -> None:
        """Measures the first `count` activations, which TF.js computes although it refuses a later layer."""
        whole = self._model.reference
        alone = self._precision is not None
        taps = [tap for group in chunks(whole, self._context.settings.tap_budget) for tap in group][:count]
        read = {tap.name for tap in taps}
        layers = tuple(layer for layer in whole.plan.layers if layer.name in read)
        part = replace(whole, plan=replace(whole.plan, layers=layers))
        groups = chunks(part, self._context.settings.tap_budget, alone=alone)
        job = self._job(with_plans(groups, self._plans))
        self.measurements = LayerMeasurements(self.reference, self._tolerances, self._precision)
        # The refusal is what the user has to see, whatever happens here.
        with contextlib.suppress(PageError):
            result = self._run(page, job, self.measurements)
            self.not_alone = result.not_alone
        self.measurements.measure_waiting()

    def _is_nondeterministic(self, page: Page) -> bool:
        """Whether two runs that read the outputs alone differ."""
        job = Job(
            self._model.artifacts.model_json,
            self._model.artifacts.format,
            tuple(feed.browser for feed in self._model.feeds),
            chunks=(),
            outputs=self._output_taps(),
            plain_runs=2,
        )
        measurements = LayerMeasurements(self.reference, self._tolerances)
        self._run(page, job, measurements)
        return bool(differing(measurements.plain(0), measurements.plain(1)))

    def _run(self, page: Page, job: Job, measurements: LayerMeasurements) -> JobResult:
        return page.run(
            job,
            measurements.add,
            timeout_s=self._context.settings.timeout,
            on_progress=self._context.progress,
        )

    def _reads_less(self, extent: Extent) -> bool:
        def compared(reference: Reference, extent: Extent) -> int:
            return sum(layer.coverage == "compared" for layer in fewer(reference.plan.layers, extent))

        return compared(self._model.reference, extent) < compared(self.reference, "all")

    def _output_taps(self) -> tuple[Tap, ...]:
        layers = self._model.reference.plan.layers
        return tuple(Tap(layer.name, layer.tap) for layer in layers if layer.output and layer.tap is not None)


def _by_layer(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for layer, taken in pairs:
        found[layer] = (*found.get(layer, ()), taken)
    return found


def _plans(model: PreparedModel) -> AlonePlans:
    """How each compared layer runs alone, from the nearest layers that have a reference."""
    layers = [layer for layer in model.reference.plan.layers if layer.tap is not None]
    known = {layer.name: layer.tap for layer in layers if layer.tap is not None}
    compared = {layer.name: known[layer.name] for layer in layers if layer.coverage == "compared"}
    return plan_alone(model.artifacts, compared, known)
