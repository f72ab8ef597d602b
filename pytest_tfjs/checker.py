"""The `tfjs` object: leads one model through conversion, reference, browser and judgement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.jobs import Activations, Job, JobResult, Progress, TimingPlan
from pytest_tfjs.compare.tolerances import Tolerance, resolve_tolerances
from pytest_tfjs.compare.verdict import Comparison, LayerResult, TargetFacts, judge
from pytest_tfjs.errors import PageError, SettingsError
from pytest_tfjs.measuring import measure_compression
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import Feed, normalise_feeds
from pytest_tfjs.models.isolation import here
from pytest_tfjs.models.source import as_source
from pytest_tfjs.observing import Observing
from pytest_tfjs.reference.capture import Reference, capture_reference
from pytest_tfjs.report.message import failure_message
from pytest_tfjs.timing.samples import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_tfjs.browsers.harness import Harness, Page
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.compression import Compression
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.isolation import Isolation, Place
    from pytest_tfjs.models.source import Source
    from pytest_tfjs.settings import Settings

_COMPARE_TIMING = TimingPlan(warmup=0, runs=5, budget_ms=1000.0)
_TIME_WARMUP = 3
_TIME_RUNS = 20


class NotClose(AssertionError):  # noqa: N818 (a verdict on the model)
    """The browser does not compute what Python computes, or nothing proves that it does.

    `comparison` holds the verdict and all layers.
    """

    def __init__(self, message: str, comparison: Comparison) -> None:
        super().__init__(message)
        self.comparison = comparison


NotClose.__module__ = "pytest_tfjs"


@dataclass(frozen=True)
class Context:
    """What the checker tells the test it works for, and knows of it.

    `test` is the node id and `repeat` the command that runs just this; `earlier` are the run's comparisons so
    far. `record` takes each comparison, `attach` a title and a text for the failure's report, and
    `progress` what is being done.
    """

    test: str
    repeat: str
    earlier: Sequence[Comparison]
    record: Callable[[Comparison], None]
    attach: Callable[[str, str], None]
    progress: Callable[[Progress], None]


class Checker:
    """Compares and times models on one target; a test gets it as the fixture `tfjs`."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        harness: Harness,
        cache: ContentCache,
        *,
        isolation: Isolation,
        context: Context,
    ) -> None:
        self._settings = settings
        self._asked = target
        self._harness = harness
        self._cache = cache
        self._isolation = isolation
        self._context = context

    def __repr__(self) -> str:
        return f"<tfjs: {self._asked}>"

    @property
    def target(self) -> TargetFacts:
        """Browser, backend, variant, flags and renderer of this test; starts the browser if need be."""
        return _facts(self._open())

    def assert_close(
        self,
        model: Any,
        inputs: Any,
        *,
        layers: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        per_layer: Mapping[str, Tolerance] | None = None,
        compression: float | None = None,
        format: str | None = None,  # noqa: A002
        weights: str | Mapping[str, Any] | None = None,
    ) -> Comparison:
        """The comparison of `model` in the browser with Python, if it is close at every layer.

        `model`: a Keras model, a `.keras` or `.h5` file, a SavedModel, a tf.function or tf.Module with a
        signature, or `Prebuilt(artifacts, source)`. `inputs`: an array, a dict by input name, a tuple in
        signature order, or a list of these: several feeds. An element is close where
        |browser - reference| <= atol * (the layer's largest |reference|) + rtol * |reference|;
        `per_layer` maps glob patterns over layer names to tolerances of their own.

        `weights` is how weights are stored: a dtype, or a mapping from dtypes to glob patterns over weight
        names (True: all others). The reference then computes with the weights as they are stored, and
        `compression` is how far they may move an output from that of the source, relative to its largest
        value.

        What is not given comes from the marker, the command line, the ini file or the default. Raises
        NotClose on any verdict but `close`, and TfjsError for what cannot be compared at all.
        """
        __tracebackhide__ = True
        comparison = self.compare(
            model,
            inputs,
            layers=layers,
            rtol=rtol,
            atol=atol,
            per_layer=per_layer,
            compression=compression,
            format=format,
            weights=weights,
        )
        if comparison.verdict == "close":
            return comparison
        others = [other for other in self._context.earlier if _same_but_target(other, comparison)]
        message = failure_message(comparison, others=others, repeat=self._context.repeat)
        raise NotClose(message, comparison)

    def compare(
        self,
        model: Any,
        inputs: Any,
        *,
        layers: str | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        per_layer: Mapping[str, Tolerance] | None = None,
        compression: float | None = None,
        format: str | None = None,  # noqa: A002
        weights: str | Mapping[str, Any] | None = None,
    ) -> Comparison:
        """As `assert_close`, whatever the verdict; raises TfjsError for what cannot be compared at all."""
        __tracebackhide__ = True
        settings = self._call(
            layers=layers, rtol=rtol, atol=atol, compression=compression, format=format, weights=weights
        )
        source = as_source(model)
        source.require_origin()
        artifacts = self._convert(source, settings)
        feeds = normalise_feeds(inputs, artifacts.inputs)
        self._context.progress(Progress("computing the reference"))
        reference = capture_reference(
            source,
            artifacts,
            feeds,
            settings.layers,
            self._cache,
            budget=settings.tap_budget,
            place=self._place(source),
        )
        tolerances = resolve_tolerances(
            reference.plan.layers,
            backend=self._asked.backend,
            half=self._asked.half,
            rtol=settings.rtol,
            atol=settings.atol,
            per_layer=per_layer,
        )
        cost = measure_compression(
            reference, artifacts.weights, settings.compression, self._settings.tap_budget
        )
        comparison = self._run(source, artifacts, feeds, reference, tolerances, compression=cost)
        self._context.record(comparison)
        return comparison

    def time(self, model: Any, inputs: Any, *, runs: int | None = None, warmup: int | None = None) -> Timing:
        """Milliseconds of loading `model` in the browser, of its first inference and of `runs` warm ones.

        `warmup` inferences between the first and the counted ones are left out (if not given 3, and 20 runs).
        Each ends when the outputs are in memory. With several feeds the first is used. The model timed is
        never one that activations are read from. Raises PageError where the model does not run.
        """
        plan = TimingPlan(
            warmup=_count("warmup", _TIME_WARMUP if warmup is None else warmup, least=0),
            runs=_count("runs", _TIME_RUNS if runs is None else runs, least=1),
            budget_ms=1000.0 * self._settings.timeout,  # all runs, or none: the job ends then anyway
        )
        source = as_source(model)
        artifacts = self._convert(source, self._settings)
        feeds = normalise_feeds(inputs, artifacts.inputs)
        result = self._perform(self._open(), _job(artifacts, feeds[:1], plan, chunks=()), lambda _: None)
        return _timing(result)

    def convert(
        self,
        model: Any,
        *,
        format: str | None = None,  # noqa: A002
        weights: str | Mapping[str, Any] | None = None,
    ) -> Artifacts:
        """The artifacts of `model`, converted now or cached. Raises ConversionError and SourceError."""
        return self._convert(as_source(model), self._call(format=format, weights=weights))

    def _call(self, **values: Any) -> Settings:
        return self._settings.updated(values, "call")

    def _convert(self, source: Source, settings: Settings) -> Artifacts:
        self._context.progress(Progress("converting"))
        return convert(
            source,
            format=settings.format,
            weights=settings.weights,
            cache=self._cache,
            place=self._place(source),
        )

    def _place(self, source: Source) -> Place:
        """Where TensorFlow runs for this source: one that is in memory is in this process's."""
        return self._isolation if source.in_files else here

    def _open(self) -> Page:
        return self._harness.open(self._asked)

    def _run(
        self,
        source: Source,
        artifacts: Artifacts,
        feeds: Sequence[Feed],
        reference: Reference,
        tolerances: Mapping[str, Tolerance],
        *,
        compression: Compression | None,
    ) -> Comparison:
        """Runs the model and judges each activation as it comes; a failure of the page is a verdict."""
        observing = Observing(reference, tolerances, self._settings.tap_budget)
        target = _unopened(self._asked)
        tfjs_version = None
        failure = None
        try:
            page = self._open()
            target, tfjs_version = _facts(page), page.facts.tfjs_version

            def perform(take: Callable[[Activations], None], *, timed: bool, **asked: Any) -> JobResult:
                job = _job(artifacts, feeds, _COMPARE_TIMING if timed else None, **asked)
                return self._perform(page, job, take)

            observing.run(perform)
        except PageError as error:
            failure = error
        layers, measured = observing.reference.plan.layers, observing.measured
        judgement = judge(
            layers,
            measured.merged(),
            observing.tolerances,
            weight_check=reference.weights if self._settings.weight_check == "fail" else None,
            compression=compression,
        )
        result = observing.result
        failed = failure is not None
        return Comparison(
            model=source.label,
            format=artifacts.format,
            weights=artifacts.weights,
            target=target,
            verdict="error" if failed else judgement.verdict,
            reason=judgement.reason if failure is None else failure.reason.removeprefix(f"{self._asked}: "),
            layers=tuple(map(_not_run, judgement.results)) if failed else judgement.results,
            first_divergence=() if failed else judgement.first_divergence,
            outputs=tuple(layer.name for layer in layers if layer.output),
            timing=None if result is None else _timing(result),
            bytes={"artifacts": artifacts.bytes, "activations": observing.nbytes},
            feeds=len(feeds),
            test=self._context.test,
            tfjs_version=tfjs_version,
            stage=None if failure is None else failure.stage,
            stack=None if failure is None else failure.stack,
            observation=observing.observation,
            weight_check=reference.weights,
            compression=compression,
            notes=_notes(artifacts, feeds, reference),
        )

    def _perform(self, page: Page, job: Job, take: Callable[[Activations], None]) -> JobResult:
        """Runs a job; what the page's console said meanwhile goes into the test's report."""
        try:
            return page.run(job, take)
        finally:
            for what, entries in (("console", page.console), ("JavaScript errors", page.errors)):
                if entries:
                    self._context.attach(f"tfjs {what}", "\n".join(map(str, entries)))
                    entries.clear()


def _count(name: str, value: int, *, least: int) -> int:
    if value < least:
        raise SettingsError(f"{name}={value!r}: expected a whole number, {least} or greater")
    return value


def _job(artifacts: Artifacts, feeds: Sequence[Feed], timing: TimingPlan | None, **asked: Any) -> Job:
    browser = tuple(feed.browser for feed in feeds)
    return Job(artifacts.model_json, artifacts.format, browser, timing=timing, **asked)


def _notes(artifacts: Artifacts, feeds: Sequence[Feed], reference: Reference) -> tuple[str, ...]:
    of_feeds = (note for feed in feeds for note in feed.notes)
    return tuple(dict.fromkeys((*artifacts.notes, *of_feeds, *reference.plan.notes)))


def _timing(result: JobResult) -> Timing:
    assert result.load_ms is not None
    assert result.first_ms is not None
    return Timing(load_ms=result.load_ms, first_ms=result.first_ms, warm_ms=result.warm_ms)


def _facts(page: Page) -> TargetFacts:
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


def _unopened(target: Target) -> TargetFacts:
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


def _not_run(result: LayerResult) -> LayerResult:
    """The row of a layer of which nothing was heard: that the page failed is told once, of the whole."""
    heard = result.metrics is not None or result.layer.coverage != "compared"
    return result if heard else replace(result, verdict=None, reason="not reached: the page failed before")


def _same_but_target(one: Comparison, other: Comparison) -> bool:
    """Whether these are the same comparison of the same test on two targets."""
    return (
        one is not other
        and one.test.partition("[")[0] == other.test.partition("[")[0]
        and (one.model, one.format, one.weights) == (other.model, other.format, other.weights)
    )
