"""One comparison: a model whose artifacts and reference are there, run on one target and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.jobs import Job, TimingPlan
from pytest_tfjs.compare.numbers.tolerances import resolve_tolerances
from pytest_tfjs.compare.results import Comparison, LayerResult, TargetFacts
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.errors import PageError
from pytest_tfjs.timing.samples import Timing
from pytest_tfjs.workflows.measurement import Precision, measure_compression, measure_vacuity
from pytest_tfjs.workflows.tapping import Observing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_tfjs.browsers.harness import Page
    from pytest_tfjs.browsers.jobs import Activations, JobResult
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.numbers.tolerances import Tolerance, Tolerances
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.reference.capture import Reference
    from pytest_tfjs.settings.settings import Settings
    from pytest_tfjs.workflows.retry import InBrowser

    Rules = tuple[Tolerances, Precision | None]

_TIMING = TimingPlan(warmup=0, runs=5, budget_ms=1000.0)


@dataclass(frozen=True)
class Subject:
    """What is compared: a model and its artifacts, the feeds, and what Python computes for these."""

    source: Source
    artifacts: Artifacts
    feeds: tuple[Feed, ...]
    reference: Reference

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the artifacts, the feeds and the reference that the user has to know."""
        of_feeds = (note for feed in self.feeds for note in feed.notes)
        return tuple(dict.fromkeys((*self.artifacts.notes, *of_feeds, *self.reference.plan.notes)))


class _Run:
    """One run of a comparison in the browser, as far as it came: on what it ran, and what was observed."""

    def __init__(self, subject: Subject, target: Target, settings: Settings, rules: Rules) -> None:
        self._subject = subject
        self.facts = unopened(target)
        self.tfjs_version: str | None = None
        tolerances, precision = rules
        self.observing = Observing(
            subject.reference, tolerances, settings.tap_budget, precision, subject.artifacts
        )

    def run(self, browser: InBrowser) -> None:
        """Runs the model and judges each activation as it comes. Raises PageError where the page fails."""
        page = browser.open()
        self.facts, self.tfjs_version = facts_of(page), page.facts.tfjs_version

        def perform(take: Callable[[Activations], None], *, timed: bool, **asked: Any) -> JobResult:
            timing = _TIMING if timed else None
            return browser.perform(
                page, job_of(self._subject.artifacts, self._subject.feeds, timing, **asked), take
            )

        self.observing.run(perform)


def compare(
    subject: Subject,
    target: Target,
    settings: Settings,
    per_layer: Mapping[str, Tolerance] | None,
    browser: InBrowser,
) -> Comparison:
    """Runs the model and judges it; a failure of the page is a verdict.

    Raises ToleranceError for what is no tolerance, and SettingsError for a pattern of `allow_vacuous` that
    matches nothing, before anything runs; TargetUnavailableError where the machine cannot have the target.
    """
    reference = subject.reference
    rules = rules_of(reference, target, settings, per_layer)
    cost = measure_compression(
        reference, subject.artifacts.weights, settings.compression, settings.tap_budget
    )
    vacuity = measure_vacuity(reference, subject.feeds, settings)
    attempt = browser.attempt(lambda: _Run(subject, target, settings, rules), lambda run: run.run(browser))
    run, observing = attempt.state, attempt.state.observing
    layers, measured = observing.reference.plan.layers, observing.measured
    judgement = judge(
        layers,
        measured.merged(),
        measured.tolerances(),
        alone=measured.alone(observing.not_alone),
        given=rules[0].by_user,
        weight_check=reference.weights if settings.weight_check == "fail" else None,
        compression=cost,
        vacuity=vacuity,
    )
    comparison = Comparison(
        model=subject.source.label,
        format=subject.artifacts.format,
        weights=subject.artifacts.weights,
        target=run.facts,
        verdict=judgement.verdict,
        reason=judgement.reason,
        layers=judgement.results,
        first_divergence=judgement.first_divergence,
        growth=judgement.blame.growth,
        outputs=tuple(layer.name for layer in layers if layer.output),
        timing=None if observing.result is None else timing_of(observing.result),
        bytes={"artifacts": subject.artifacts.bytes, "activations": observing.nbytes},
        feeds=len(subject.feeds),
        test="",
        tfjs_version=run.tfjs_version,
        observation=observing.observation,
        weight_check=reference.weights,
        compression=cost,
        vacuity=vacuity,
        retried=attempt.retried,
        notes=subject.notes,
    )
    if comparison.verdict == "close" and attempt.failure is None:
        return comparison
    failure = changed(subject) or attempt.failure
    return comparison if failure is None else _failed(comparison, target, failure)


def changed(subject: Subject) -> PageError | None:
    """The failure of a comparison whose artifacts are no longer those that its reference is of, if so."""
    how = subject.artifacts.changed()
    if how is None:
        return None
    return PageError(
        f"the artifacts changed during the comparison: {how}. Run it again while nothing else writes to them"
    )


def rules_of(
    reference: Reference,
    target: Target,
    settings: Settings,
    per_layer: Mapping[str, Tolerance] | None,
) -> tuple[Tolerances, Precision | None]:
    """The tolerances, and the precision of the target where each layer is run alone as well.

    Raises ToleranceError for what is no tolerance.
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
    return tolerances, Precision(target.backend, target.half) if alone else None


def job_of(artifacts: Artifacts, feeds: Sequence[Feed], timing: TimingPlan | None, **asked: Any) -> Job:
    """A job over the feeds; `asked`: see `browsers.jobs.Job`."""
    browser = tuple(feed.browser for feed in feeds)
    return Job(artifacts.model_json, artifacts.format, browser, timing=timing, **asked)


def timing_of(result: JobResult) -> Timing:
    """The times of a job that was timed."""
    assert result.load_ms is not None
    assert result.first_ms is not None
    return Timing(load_ms=result.load_ms, first_ms=result.first_ms, warm_ms=result.warm_ms)


def facts_of(page: Page) -> TargetFacts:
    """What the page runs on, as it told."""
    facts = page.facts
    return TargetFacts(
        browser=facts.browser,
        browser_version=facts.browser_version,
        backend=facts.backend,
        variant=facts.variant,
        flags=facts.flags,
        renderer=facts.renderer,
        software=facts.software,
        float32_textures=facts.float32_textures,
    )


def unopened(target: Target) -> TargetFacts:
    """What is known of a target whose page did not come up."""
    return TargetFacts(
        browser=target.browser,
        browser_version="",
        backend=target.backend,
        variant=target.variant,
        flags=dict(target.flags),
        renderer=None,
        software=None,
        float32_textures=None,
    )


def _failed(comparison: Comparison, target: Target, failure: PageError) -> Comparison:
    return replace(
        comparison,
        verdict="error",
        reason=failure.reason.removeprefix(f"{target}: "),
        layers=tuple(map(_not_run, comparison.layers)),
        first_divergence=(),
        growth=None,
        stage=failure.stage,
        stack=failure.stack,
        refused=failure.refused,
    )


def _not_run(result: LayerResult) -> LayerResult:
    """The row of a layer of which nothing was heard: that the page failed is told once, of the whole."""
    heard = result.metrics is not None or result.layer.coverage != "compared"
    return result if heard else replace(result, verdict=None, reason="not reached: the page failed earlier")
