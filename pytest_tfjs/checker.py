"""The `tfjs` object: leads one model through conversion, reference, browser and judgement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.jobs import TimingPlan
from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.browsers.targets import parse_variants
from pytest_tfjs.errors import SettingsError, TfjsError
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.models.tensorflow.process import run_here
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.report.agreement_message import task_message
from pytest_tfjs.report.failure_message import failure_message
from pytest_tfjs.workflows.agreement import NotAgreed, agree, batched
from pytest_tfjs.workflows.arguments import CompareAsked, SensitivityAsked, require_known
from pytest_tfjs.workflows.comparison import Subject, compare, facts_of, job_of, rules_of, timing_of
from pytest_tfjs.workflows.diagnosis import Bench, diagnosed
from pytest_tfjs.workflows.reproducer import Reproducing, folder_of
from pytest_tfjs.workflows.retry import InBrowser
from pytest_tfjs.workflows.sensitivity import Judge, measure_sensitivity
from pytest_tfjs.workflows.task_arguments import Asked, require_minimum, task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Unpack

    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.numbers.tolerances import Tolerance
    from pytest_tfjs.compare.results import Comparison, TargetFacts
    from pytest_tfjs.compare.sensitivity import Sensitivity
    from pytest_tfjs.compare.task import Agreement
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.models.tensorflow.process import Runner, TensorFlowProcess
    from pytest_tfjs.report.run_results import Earlier
    from pytest_tfjs.settings.settings import Settings
    from pytest_tfjs.timing.samples import Timing

_TIME_WARMUP = 3
_TIME_RUNS = 20
_BATCH = 32


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
    far. `record` takes each comparison, `record_task` each agreement, `attach` a title and a text for the
    failure's report, `progress` what is being done, and `lost` how a browser was lost; what it was doing is
    then done once more.
    """

    test: str
    repeat: str
    earlier: Earlier
    record: Callable[[Comparison], None]
    record_task: Callable[[Agreement], None]
    attach: Callable[[str, str], None]
    progress: Callable[[Progress], None]
    lost: Callable[[str], None]


class Checker:
    """Compares and times models on one target; a test gets it as the fixture `tfjs`."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        harness: Harness,
        cache: ContentCache,
        *,
        tensorflow: TensorFlowProcess,
        context: Context,
    ) -> None:
        self._settings = settings
        self._asked = target
        self._harness = harness
        self._cache = cache
        self._tensorflow = tensorflow
        self._context = context
        self._browser = InBrowser(harness, target, attach=context.attach, lost=context.lost)

    def __repr__(self) -> str:
        return f"<tfjs: {self._asked}>"

    @property
    def target(self) -> TargetFacts:
        """Browser, backend, variant, flags and renderer of this test; starts the browser if need be."""
        return self._browser.result(lambda: facts_of(self._browser.open()))

    def assert_close(self, model: Any, inputs: Any, **asked: Unpack[CompareAsked]) -> Comparison:
        """The comparison of `model` in the browser with Python, if it is close at every layer.

        `model`: a Keras model, a `.keras` or `.h5` file, a SavedModel, a tf.function or tf.Module with a
        signature, or `Prebuilt(artifacts, source)`. `inputs`: an array, a dict by input name, a tuple in
        signature order, or a list of these: several feeds. `layers`: "all" or "outputs". `format`: "auto",
        "layers" or "graph".

        Each layer is also run alone, on the reference's own inputs (`alone="none"`: it is not), and a layer
        is close where the error that it makes by itself is one that its arithmetic explains. Where `rtol` or
        `atol` is given, they decide alone: an element is close where |browser - reference| <= atol * (the
        layer's largest |reference|) + rtol * |reference|; `per_layer` maps glob patterns over layer names to
        tolerances of their own.

        `weights` is how weights are stored: a dtype, or a mapping from dtypes to glob patterns over weight
        names (True: all others). The reference then computes with the weights as they are stored, and
        `compression` is how far they may move an output from that of the source, relative to its largest
        value.

        `allow_vacuous`: names or glob patterns of outputs, layers and inputs that are meant to be of one
        value, or not to change with the feed; else such an output or feed makes the comparison `vacuous`.

        What is not given comes from the marker, the command line, the ini file or the default. Raises
        NotClose on any verdict but `close`, and TfjsError for what cannot be compared at all.
        """
        __tracebackhide__ = True
        require_known(asked, CompareAsked, "assert_close")
        comparison = self.compare(model, inputs, **asked)
        if comparison.verdict == "close":
            return comparison
        others = self._context.earlier.elsewhere(comparison)
        message = failure_message(comparison, others=others, repeat=self._context.repeat)
        raise NotClose(message, comparison)

    def compare(self, model: Any, inputs: Any, **asked: Unpack[CompareAsked]) -> Comparison:
        """As `assert_close`, whatever the verdict; raises TfjsError for what cannot be compared at all."""
        __tracebackhide__ = True
        require_known(asked, CompareAsked, "compare")
        per_layer = asked.pop("per_layer", None)
        settings = self._settings.updated(asked, "call")
        subject = self._subject(model, inputs, settings)
        comparison = compare(subject, self._asked, settings, per_layer, self._browser)
        comparison = replace(comparison, test=self._context.test)
        comparison = self._reproduced(diagnosed(comparison, subject, self._bench(subject.source)), subject)
        if settings.sensitivity:
            comparison = self._with_sensitivity(comparison, subject, settings, per_layer)
        self._context.record(comparison)
        return comparison

    def assert_agrees(self, model: Any, inputs: Any, **asked: Unpack[Asked]) -> Agreement:
        """The `agreement` of `model` in the browser with Python, if it reaches what is asked.

        At least one of `min_top1`, `min_topk`, `min_iou` and `min_metric` is given. Raises NotAgreed on any
        verdict but `close`, and TfjsError for what cannot be compared at all.
        """
        __tracebackhide__ = True
        require_minimum(asked)
        agreement = self.agreement(model, inputs, **asked)
        if agreement.verdict == "close":
            return agreement
        raise NotAgreed(task_message(agreement, repeat=self._context.repeat), agreement)

    def agreement(self, model: Any, inputs: Any, **asked: Unpack[Asked]) -> Agreement:
        """Whether `model` does the same task in the browser as its source in Python, over many samples.

        `inputs` as in `assert_close`; each row of the first axis is a sample, and `batch` of them (32) run at
        once. Only outputs are read. `output` names the one that has classes, where there are several;
        `labels` are the right classes. The share of samples with the reference's class is told always:
        `min_top1` is what it has to be; `min_topk=(5, 0.99)` the share whose class in the reference is among
        the browser's first 5; `min_iou` the mean intersection over union of maps of classes.
        `metric(browser, reference)` is a function of yours over the outputs of all samples (dicts by name
        where there are several), which has to give `min_metric` or more. `allow_vacuous`, `format` and
        `weights` as in `assert_close`; what quantised weights cost counts, as the reference is the source
        itself. Raises TfjsError for what cannot be compared at all.
        """
        __tracebackhide__ = True
        require_known(asked, Asked, "agreement")
        task = task_of(asked)
        given = {name: asked.get(name) for name in ("allow_vacuous", "format", "weights")}
        settings = self._settings.updated(given, "call")._replace(layers="outputs", alone="none")
        batch = _count("batch", asked.get("batch", _BATCH), least=1)
        subject = self._subject(model, inputs, settings, batch)
        agreement = agree(subject, self._asked, task, self._browser, allowed=settings.allow_vacuous)
        agreement = replace(agreement, test=self._context.test)
        self._context.record_task(agreement)
        return agreement

    def sensitivity(self, model: Any, inputs: Any, **asked: Unpack[SensitivityAsked]) -> Sensitivity:
        """Which faults `compare` with the same arguments would have caught; no browser is started.

        Each compared layer is given faults that ports of models have (two channels swapped, a bias dropped,
        a batch-norm's epsilon that of another framework, ...), one at a time, and what it then gives is
        judged as if it came from the browser. Raises TfjsError for what cannot be compared at all.
        """
        require_known(asked, SensitivityAsked, "sensitivity")
        per_layer = asked.pop("per_layer", None)
        settings = self._settings.updated(asked, "call")
        subject = self._subject(model, inputs, settings)
        return self._sensitivity(subject, settings, per_layer)

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
        job = job_of(artifacts, feeds[:1], plan, chunks=())
        browser = self._browser
        return timing_of(browser.result(lambda: browser.perform(browser.open(), job, lambda _: None)))

    def convert(
        self,
        model: Any,
        *,
        format: str | None = None,  # noqa: A002
        weights: str | Mapping[str, Any] | None = None,
    ) -> Artifacts:
        """The artifacts of `model`, converted now or cached. Raises ConversionError and SourceError."""
        settings = self._settings.updated({"format": format, "weights": weights}, "call")
        return self._convert(as_source(model), settings)

    def _subject(self, model: Any, inputs: Any, settings: Settings, batch: int | None = None) -> Subject:
        source = as_source(model)
        source.require_origin()
        artifacts = self._convert(source, settings)
        feeds = normalise_feeds(inputs, artifacts.inputs)
        if batch is not None:
            feeds = batched(feeds, artifacts.inputs, batch)
        self._context.progress(Progress("computing the reference"))
        reference = capture_reference(
            source,
            artifacts,
            feeds,
            settings.layers,
            self._cache,
            arithmetic=settings.alone == "all",
            budget=settings.tap_budget,
            runner=self._runner(source),
        )
        return Subject(source, artifacts, tuple(feeds), reference)

    def _sensitivity(
        self, subject: Subject, settings: Settings, per_layer: Mapping[str, Tolerance] | None
    ) -> Sensitivity:
        self._context.progress(Progress("measuring the sensitivity"))
        tolerances, precision = rules_of(subject.reference, self._asked, settings, per_layer)
        judge = Judge(str(self._asked), tolerances, precision, self._asked.half)
        return measure_sensitivity(subject, judge, self._cache, self._runner(subject.source))

    def _with_sensitivity(
        self,
        comparison: Comparison,
        subject: Subject,
        settings: Settings,
        per_layer: Mapping[str, Tolerance] | None,
    ) -> Comparison:
        """The comparison with its sensitivity; where that cannot be measured, with a note that tells why."""
        try:
            found = self._sensitivity(subject, settings, per_layer)
        except TfjsError as error:
            note = f"the sensitivity could not be measured: {error}"
            return replace(comparison, notes=(*comparison.notes, note))
        self._context.attach("tfjs sensitivity", str(found))
        return replace(comparison, sensitivity=found)

    def _convert(self, source: Source, settings: Settings) -> Artifacts:
        self._context.progress(Progress("converting"))
        return convert(
            source,
            format=settings.format,
            weights=settings.weights,
            cache=self._cache,
            runner=self._runner(source),
        )

    def _runner(self, source: Source) -> Runner:
        """Runs TensorFlow for this source: in the TensorFlow process, or here for a model in memory."""
        return self._tensorflow.runner(self._settings.timeout) if source.in_files else run_here

    def _bench(self, source: Source) -> Bench:
        return Bench(
            self._harness,
            self._asked,
            self._settings.backends,
            parse_variants(self._settings.variants),
            runner=self._runner(source),
            progress=self._context.progress,
        )

    def _reproduced(self, comparison: Comparison, subject: Subject) -> Comparison:
        """The comparison with reproducers of the layers that it blames, if these are asked for."""
        if self._settings.repro is None or not comparison.first_divergence:
            return comparison
        self._context.progress(Progress("writing reproducers"))
        number = self._context.earlier.count(comparison.test)
        reproducing = Reproducing(
            subject,
            self._asked,
            self._harness.dist,
            folder_of(self._settings.repro, comparison.test, self._asked, number),
            perform=lambda job, take: self._browser.perform(self._browser.open(), job, take),
        )
        return replace(comparison, reproducers=reproducing.write(comparison))


def _count(name: str, value: int, *, least: int) -> int:
    if value < least:
        raise SettingsError(f"{name}={value!r}: expected a whole number, {least} or greater")
    return value
