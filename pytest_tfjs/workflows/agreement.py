"""Compares the browser's classes or metric with the reference's over many samples.

Only outputs are read, from runs without taps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.compare.layer_patterns import matches, names_of
from pytest_tfjs.compare.numbers.tolerances import default_tolerance
from pytest_tfjs.compare.task import Agreement, Classified, Measure, classes_of, judge_task, scores_of
from pytest_tfjs.errors import FeedError, SettingsError
from pytest_tfjs.reference.activation_store import grouped
from pytest_tfjs.timing.intervals import bootstrap
from pytest_tfjs.workflows.call_arguments import task_of, whole_number
from pytest_tfjs.workflows.preparation import prepare
from pytest_tfjs.workflows.refusal import with_advice
from pytest_tfjs.workflows.retry import attempt, unopened_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.browsers.harness import Page
    from pytest_tfjs.browsers.jobs import Activations
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.results import TargetFacts
    from pytest_tfjs.workflows.call_arguments import AgreementArguments, Task
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.preparation import PreparedModel

    Array = NDArray[Any]

_BATCH = 32
_JOB_BYTES = 64_000_000
_RESAMPLES = 200
_NAMES = 8


class _ByName(dict[str, Any]):
    """Outputs by the names of their layers; they are also found by their names in the signature."""

    def __init__(self, outputs: Mapping[str, Array], layers: Sequence[Layer]) -> None:
        super().__init__(outputs)
        self._names = {name: layer.name for layer in layers for name in layer.output_names}

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._names

    def get(self, name: str, default: Any = None) -> Any:
        """The output of either name, or the default."""
        try:
            return self[name]
        except KeyError:
            return default

    def __missing__(self, name: str) -> Any:
        if name in self._names:
            return self[self._names[name]]
        raise KeyError(name)


@dataclass
class _Outputs:
    """The outputs of both sides, feed by feed: counts classes, and keeps the arrays that a metric needs."""

    task: Task
    layers: tuple[Layer, ...]
    classified: Classified | None
    labels: Array | None
    arrays: list[tuple[Mapping[str, Array], Mapping[str, Array]]] = field(default_factory=list)
    samples: int = 0

    def add(self, actual: Mapping[str, Array], reference: Mapping[str, Array]) -> str | None:
        """Adds the outputs of a feed; gives the reason, in words, if they cannot be compared."""
        for layer in self.layers:
            why = _incomparable(actual.get(layer.name), reference[layer.name])
            if why is not None:
                return f"output {layer.known_as!r}: {why}"
        count = len(reference[self.layers[0].name])
        if self.classified is not None:
            name = self.layers[0].name
            labels = None if self.labels is None else self.labels[self.samples : self.samples + count]
            self.classified.add(actual[name], reference[name], labels)
        if self.task.metric is not None:
            self.arrays.append((dict(actual), {name: np.array(value) for name, value in reference.items()}))
        self.samples += count
        return None

    def measures(self) -> list[Measure]:
        """The figures that the task names."""
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
        """Why the outputs could not have differed, in words; None if they could."""
        if self.classified is not None:
            return self.classified.vacuous()
        first = self.arrays[0][1]
        alike = all((found[name] == one[:1]).all() for _, found in self.arrays for name, one in first.items())
        return (
            "the reference gives the same output for all samples: pass samples that differ" if alike else None
        )

    def _metric(self, metric: Callable[[Any, Any], float]) -> Measure:
        sides = [
            {
                layer.name: np.concatenate([pair[side][layer.name] for pair in self.arrays])
                for layer in self.layers
            }
            for side in (0, 1)
        ]

        def figure(chosen: Any) -> float:
            actual, reference = ({name: value[chosen] for name, value in side.items()} for side in sides)
            if len(self.layers) > 1:
                return float(metric(_ByName(actual, self.layers), _ByName(reference, self.layers)))
            (name,) = actual
            return float(metric(actual[name], reference[name]))

        value = figure(slice(None))
        name = getattr(metric, "__name__", "metric").replace("<lambda>", "metric")
        return Measure(name, value, _interval(figure, self.samples), "bootstrap", self.task.min_metric)


def _interval(figure: Callable[[Any], float], samples: int) -> tuple[float, float] | None:
    """The interval of a user's figure; None if the figure fails for some resample."""
    try:
        return bootstrap(figure, samples, _RESAMPLES)
    except Exception:  # noqa: BLE001 (a resample may lack a class that the user's function needs)
        return None


class _OutputReader:
    """Reads the outputs of all feeds in one page; holds the results, partial ones if the page fails."""

    def __init__(self, model: PreparedModel, task: Task, layers: tuple[Layer, ...], context: Context) -> None:
        self._model = model
        self._context = context
        self.facts: TargetFacts = unopened_facts(context.target)
        self.tfjs_version: str | None = None
        self.incomparable: str | None = None
        labels = _checked_labels(task, model, layers[0].name)
        self.outputs = _Outputs(task, layers, _classified(task, layers[0], context.target), labels)

    def run(self, page: Page) -> None:
        """Reads the outputs, with few enough feeds in each job. Raises PageError if the page fails."""
        self.facts, self.tfjs_version = page.facts, page.facts.tfjs_version
        feeds = self._model.feeds
        sizes = (
            (number, sum(one.nbytes for one in feed.browser.values())) for number, feed in enumerate(feeds)
        )
        names = [layer.name for layer in self.outputs.layers]
        for group in grouped(sizes, _JOB_BYTES):
            found = self._read(page, group)
            for position, number in enumerate(group):
                expected = self._model.reference.source_activations(number, names)
                self.incomparable = self.incomparable or self.outputs.add(found.get(position, {}), expected)

    def _read(self, page: Page, feeds: Sequence[int]) -> dict[int, Mapping[str, Array]]:
        """The outputs in the browser for these feeds, by position."""
        found: dict[int, Mapping[str, Array]] = {}

        def add(activations: Activations) -> None:
            found[activations.feed] = activations.tensors

        job = Job(
            self._model.artifacts.model_json,
            self._model.artifacts.format,
            tuple(self._model.feeds[number].browser for number in feeds),
            chunks=(),
            outputs=tuple(
                Tap(layer.name, layer.tap) for layer in self.outputs.layers if layer.tap is not None
            ),
            plain_runs=1,
        )
        page.run(job, add, timeout_s=self._context.settings.timeout, on_progress=self._context.progress)
        return found


def agree(model: Any, inputs: Any, arguments: AgreementArguments, context: Context) -> Agreement:
    """The agreement of `model` with its source over all samples; recorded in the test.

    See `Checker.agreement`. Raises TfjsError for a model, inputs or arguments that do not fit.
    """
    task = task_of(arguments)
    context = context.updated({name: arguments.get(name) for name in ("allow_vacuous", "format", "weights")})
    context = replace(context, settings=context.settings._replace(layers="outputs", alone="none"))
    batch = whole_number("batch", arguments.get("batch", _BATCH), least=1)
    prepared = prepare(model, inputs, context, batch=batch)
    agreement = _agree(prepared, task, context)
    context.record_agreement(agreement)
    return agreement


def _agree(model: PreparedModel, task: Task, context: Context) -> Agreement:
    """Runs the model over all feeds and measures the task; a failure of the page is the verdict `error`.

    The reference is the source's own outputs, so the cost of quantised weights counts.
    """
    layers = _chosen(model, task)
    finished = attempt(lambda: _OutputReader(model, task, layers, context), context)
    reader, failure = finished.run, finished.failure
    reason = reader.incomparable if failure is None else with_advice(failure, model, context)
    agreement = Agreement(
        model=model.source.label,
        format=model.artifacts.format,
        weights=model.artifacts.weights,
        target=reader.facts,
        output=layers[0].name if len(layers) == 1 else None,
        output_name=next(iter(layers[0].output_names), layers[0].name) if len(layers) == 1 else None,
        samples=reader.outputs.samples,
        verdict="diverged" if failure is None else "error",
        reason=reason,
        measures=(),
        test=context.test,
        tfjs_version=reader.tfjs_version,
        retried=finished.retried,
        notes=model.notes,
        refused=failure is not None and failure.refused,
    )
    if reason is None:
        agreement = _with_verdict(agreement, reader.outputs, context.settings.allow_vacuous)
    changed = None if agreement.verdict == "close" else model.changed()
    if changed is None:
        return agreement
    return replace(agreement, verdict="error", reason=changed.reason, measures=())


def _with_verdict(agreement: Agreement, outputs: _Outputs, allowed: Sequence[str]) -> Agreement:
    measures, classified = tuple(outputs.measures()), outputs.classified
    is_allowed = all(_is_allowed(layer, allowed) for layer in outputs.layers)
    verdict, reason = judge_task(measures, None if is_allowed else outputs.vacuous())
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


def _classified(task: Task, layer: Layer, target: Target) -> Classified | None:
    if not task.classifies:
        return None
    ks = (1,) if task.min_topk is None else (1, task.min_topk[0])
    tolerance = default_tolerance(layer.dtype, target.backend, target.half)
    return Classified(tolerance, ks, overlapping=task.min_iou is not None)


def _chosen(model: PreparedModel, task: Task) -> tuple[Layer, ...]:
    """The outputs that are compared: the named one, or all for a metric. Raises SettingsError."""
    outputs = tuple(layer for layer in model.reference.plan.layers if layer.output)
    names = ", ".join(repr(next(iter(one.output_names), one.name)) for one in outputs[:_NAMES])
    if task.output is not None:
        # A name in the signature goes before an equal name of another output's layer.
        named = [layer for layer in outputs if task.output in layer.output_names]
        outputs = tuple(named or (layer for layer in outputs if task.output in names_of(layer)))
        if len(outputs) != 1:
            raise SettingsError(f"output={task.output!r}: expected one of the model's outputs: {names}")
    elif task.classifies and len(outputs) != 1:
        raise SettingsError(
            "the model has several outputs. Pass output= with the name of the one that gives the "
            f"classes: {names}"
        )
    for layer in outputs:
        if layer.coverage != "compared":
            raise SettingsError(
                f"the output {layer.known_as!r} cannot be read: {layer.reason or layer.coverage}"
            )
    return outputs


def _is_allowed(layer: Layer, patterns: Sequence[str]) -> bool:
    return any(matches(pattern, names_of(layer)) for pattern in patterns)


def _checked_labels(task: Task, model: PreparedModel, output: str) -> Array | None:
    """The correct classes, one for each position. Raises FeedError if shape or dtype are wrong."""
    if task.labels is None:
        return None
    labels = np.asarray(task.labels)
    found = [model.reference.source_activations(at, [output])[output] for at in range(len(model.feeds))]
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
