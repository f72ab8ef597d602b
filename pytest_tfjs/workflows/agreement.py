"""Task level: whether a model's outputs over many samples do the same in the browser as in Python.

Only outputs are read, from plain runs as an app makes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.jobs import Tap
from pytest_tfjs.compare.layer_patterns import matches, names_of
from pytest_tfjs.compare.numbers.tolerances import default_tolerance
from pytest_tfjs.compare.task import Agreement, Classified, Measure, classes_of, judge_task, scores_of
from pytest_tfjs.errors import FeedError, SettingsError
from pytest_tfjs.models.feeds import Feed
from pytest_tfjs.reference.activation_store import grouped
from pytest_tfjs.timing.intervals import bootstrap
from pytest_tfjs.workflows.comparison import changed, facts_of, job_of, unopened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.browsers.jobs import Activations, Job
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.models.artifacts import TensorSpec
    from pytest_tfjs.workflows.comparison import Subject
    from pytest_tfjs.workflows.retry import InBrowser
    from pytest_tfjs.workflows.task_arguments import Task

    Array = NDArray[Any]

_JOB_BYTES = 64_000_000
_RESAMPLES = 200
_NAMES = 8


class NotAgreed(AssertionError):  # noqa: N818 (a verdict on the model)
    """The browser does not do the task as the reference does, or nothing proves that it does.

    `agreement` holds the figures.
    """

    def __init__(self, message: str, agreement: Agreement) -> None:
        super().__init__(message)
        self.agreement = agreement


NotAgreed.__module__ = "pytest_tfjs"


def batched(feeds: Sequence[Feed], specs: Sequence[TensorSpec], size: int) -> tuple[Feed, ...]:
    """The feeds in pieces of `size` samples, where the model takes any number of them."""
    anything = all(spec.shape is not None and spec.shape[:1] == (None,) for spec in specs)
    return tuple(piece for feed in feeds for piece in (_pieces(feed, size) if anything else (feed,)))


def _pieces(feed: Feed, size: int) -> Iterator[Feed]:
    counts = {value.shape[0] for value in feed.reference.values()}
    if len(counts) != 1:
        yield feed
        return
    for start in range(0, counts.pop(), size):
        piece = slice(start, start + size)
        yield Feed(
            {name: value[piece] for name, value in feed.reference.items()},
            {name: value[piece] for name, value in feed.browser.items()},
            feed.notes,
        )


@dataclass
class _Outputs:
    """Takes the outputs of both sides, feed by feed: counts classes, and keeps what a metric is to see."""

    task: Task
    layers: tuple[Layer, ...]
    classified: Classified | None
    labels: Array | None
    kept: list[tuple[Mapping[str, Array], Mapping[str, Array]]] = field(default_factory=list)
    taken: int = 0

    def take(self, actual: Mapping[str, Array], reference: Mapping[str, Array]) -> str | None:
        """What makes the outputs of a feed incomparable, in words; None where they were taken."""
        for layer in self.layers:
            why = _incomparable(actual.get(layer.name), reference[layer.name])
            if why is not None:
                return f"output {layer.name!r}: {why}"
        count = len(reference[self.layers[0].name])
        if self.classified is not None:
            name = self.layers[0].name
            labels = None if self.labels is None else self.labels[self.taken : self.taken + count]
            self.classified.add(actual[name], reference[name], labels)
        if self.task.metric is not None:
            self.kept.append((dict(actual), {name: np.array(value) for name, value in reference.items()}))
        self.taken += count
        return None

    def measures(self) -> list[Measure]:
        found: list[Measure] = []
        task = self.task
        if self.classified is not None:
            found.append(self.classified.agreement(1, task.min_top1))
            if task.min_topk is not None:
                found.append(self.classified.agreement(*task.min_topk))
            if task.min_iou is not None:
                found.append(self.classified.iou(task.min_iou))
        if task.metric is not None:
            found.append(self._metric(task.metric))
        return found

    def vacuous(self) -> str | None:
        """Why the outputs could not have differed, in words; None where they could."""
        if self.classified is not None:
            return self.classified.vacuous()
        first = self.kept[0][1]
        alike = all((kept[name] == one[:1]).all() for _, kept in self.kept for name, one in first.items())
        return "the reference gives the same output for all samples: feed different ones" if alike else None

    def _metric(self, metric: Callable[[Any, Any], float]) -> Measure:
        sides = [
            {
                layer.name: np.concatenate([kept[side][layer.name] for kept in self.kept])
                for layer in self.layers
            }
            for side in (0, 1)
        ]

        def figure(chosen: Any) -> float:
            actual, reference = ({name: value[chosen] for name, value in side.items()} for side in sides)
            if len(self.layers) > 1:
                return float(metric(actual, reference))
            (name,) = actual
            return float(metric(actual[name], reference[name]))

        value = figure(slice(None))
        name = getattr(metric, "__name__", "metric").replace("<lambda>", "metric")
        return Measure(name, value, _interval(figure, self.taken), "bootstrap", self.task.min_metric)


def _interval(figure: Callable[[Any], float], samples: int) -> tuple[float, float] | None:
    """The interval of a user's figure; None where it has none for some drawing of the samples."""
    try:
        return bootstrap(figure, samples, _RESAMPLES)
    except Exception:  # noqa: BLE001 (a drawing may lack what the user's function needs: a class, two values)
        return None


class _Run:
    """One run of a task in the browser, as far as it came: on what it ran, and what came out."""

    def __init__(self, subject: Subject, target: Target, task: Task, layers: tuple[Layer, ...]) -> None:
        self._subject = subject
        self._target = target
        self.facts = unopened(target)
        self.tfjs_version: str | None = None
        self.incomparable: str | None = None
        labels = _checked_labels(task, subject, layers[0].name)
        self.outputs = _Outputs(task, layers, _counter(task, layers[0], target), labels)

    def run(self, browser: InBrowser) -> None:
        """Takes the outputs of all feeds. Raises PageError where the page fails."""
        page, outputs = browser.open(), self.outputs
        self.facts, self.tfjs_version = facts_of(page), page.facts.tfjs_version
        for actual, expected in _run(self._subject, outputs.layers, partial(browser.perform, page)):
            self.incomparable = self.incomparable or outputs.take(actual, expected)


def agree(
    subject: Subject, target: Target, task: Task, browser: InBrowser, *, allowed: Sequence[str] = ()
) -> Agreement:
    """Runs the model over all feeds and measures the task; a failure of the page is a verdict.

    The reference are the source's own outputs: what quantised weights cost shows too. `allowed`: patterns of
    outputs whose samples may all be alike. Raises SettingsError and FeedError for what does not fit the
    model, and TargetUnavailableError where the machine cannot have the target.
    """
    layers = _chosen(subject, task)
    attempt = browser.attempt(
        lambda: _Run(subject, target, task, layers), lambda started: started.run(browser)
    )
    run, failure = attempt.state, attempt.failure
    reason = run.incomparable if failure is None else failure.reason.removeprefix(f"{target}: ")
    agreement = Agreement(
        model=subject.source.label,
        format=subject.artifacts.format,
        weights=subject.artifacts.weights,
        target=run.facts,
        output=layers[0].name if len(layers) == 1 else None,
        samples=run.outputs.taken,
        verdict="diverged" if failure is None else "error",
        reason=reason,
        measures=(),
        tfjs_version=run.tfjs_version,
        retried=attempt.retried,
        notes=subject.notes,
        refused=failure is not None and failure.refused,
    )
    found = agreement if reason is not None else _measured(agreement, run.outputs, allowed)
    altered = None if found.verdict == "close" else changed(subject)
    return found if altered is None else replace(found, verdict="error", reason=altered.reason, measures=())


def _measured(agreement: Agreement, outputs: _Outputs, allowed: Sequence[str]) -> Agreement:
    measures, classified = tuple(outputs.measures()), outputs.classified
    meant = all(_is_allowed(layer, allowed) for layer in outputs.layers)
    verdict, reason = judge_task(measures, None if meant else outputs.vacuous())
    agreement = replace(agreement, measures=measures, verdict=verdict, reason=reason)
    if classified is None:
        return agreement
    return replace(
        agreement,
        flips=classified.flips,
        near_ties=classified.near_ties,
        worst_flips=tuple(classified.worst),
        accuracy=classified.accuracy(),
    )


def _run(
    subject: Subject, layers: Sequence[Layer], perform: Callable[[Job, Callable[[Activations], None]], object]
) -> Iterator[tuple[Mapping[str, Array], Mapping[str, Array]]]:
    """The outputs in the browser and those of the source, feed by feed; of few enough feeds at once."""
    taps = tuple(Tap(layer.name, layer.tap) for layer in layers if layer.tap is not None)
    names = [layer.name for layer in layers]
    sizes = ((at, sum(one.nbytes for one in feed.browser.values())) for at, feed in enumerate(subject.feeds))
    for group in grouped(sizes, _JOB_BYTES):
        seen: dict[int, Mapping[str, Array]] = {}
        feeds = [subject.feeds[at] for at in group]
        job = job_of(subject.artifacts, feeds, None, chunks=(), outputs=taps, plain_runs=1)
        perform(job, lambda came, seen=seen: seen.update({came.feed: came.tensors}))  # type: ignore[misc]
        for number, at in enumerate(group):
            yield seen.get(number, {}), subject.reference.source_activations(at, names)


def _counter(task: Task, layer: Layer, target: Target) -> Classified | None:
    if not task.classifies:
        return None
    ks = (1,) if task.min_topk is None else (1, task.min_topk[0])
    tolerance = default_tolerance(layer.dtype, target.backend, target.half)
    return Classified(tolerance, ks, overlapping=task.min_iou is not None)


def _chosen(subject: Subject, task: Task) -> tuple[Layer, ...]:
    """The outputs that are looked at: the one that is named, or all for a metric."""
    outputs = tuple(layer for layer in subject.reference.plan.layers if layer.output)
    known = ", ".join(repr(layer.name) for layer in outputs[:_NAMES])
    if task.output is not None:
        outputs = tuple(layer for layer in outputs if task.output in names_of(layer))
        if len(outputs) != 1:
            raise SettingsError(f"output={task.output!r}: the model's outputs are {known}; name one of these")
    elif task.classifies and len(outputs) != 1:
        raise SettingsError(
            f"the model has several outputs: choose the one with the classes, output=one of {known}"
        )
    for layer in outputs:
        if layer.coverage != "compared":
            raise SettingsError(f"the output {layer.name!r} cannot be read: {layer.reason or layer.coverage}")
    return outputs


def _is_allowed(layer: Layer, patterns: Sequence[str]) -> bool:
    return any(matches(pattern, names_of(layer)) for pattern in patterns)


def _checked_labels(task: Task, subject: Subject, output: str) -> Array | None:
    """The right classes, one for each place that has one. Raises FeedError where they are not that."""
    if task.labels is None:
        return None
    labels = np.asarray(task.labels)
    found = [subject.reference.source_activations(at, [output])[output] for at in range(len(subject.feeds))]
    places = [classes_of(scores_of(one[:1])).shape[1:] for one in found]
    expected = (sum(len(one) for one in found), *places[0])
    if labels.dtype.kind not in "iub" or labels.size != math.prod(expected) or len(labels) != expected[0]:
        raise FeedError(
            f"labels have dtype {labels.dtype} and shape {list(labels.shape)}: expected classes as whole "
            f"numbers of shape {list(expected)}"
        )
    return labels


def _incomparable(actual: Array | None, reference: Array) -> str | None:
    if actual is None:
        return "the browser did not return it"
    if actual.shape != reference.shape:
        return f"shape {list(actual.shape)} in the browser, {list(reference.shape)} in the reference"
    if actual.dtype != reference.dtype:
        return f"dtype {actual.dtype} in the browser, {reference.dtype} in the reference"
    return "it is empty" if reference.size == 0 or reference.ndim == 0 else None
