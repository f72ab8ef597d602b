"""Measures sensitivity: which faults, put into each layer, a comparison would catch.

No browser runs: each mutant takes the place of the browser's activation of a layer that was run alone on the
reference's inputs, and is checked by the same allowance.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.compare.mutants import KINDS, NotApplicable, same_bits
from pytest_tfjs.compare.numbers.allowance import allowance
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.sensitivity import LayerSensitivity, Outcome
from pytest_tfjs.errors import TfjsError
from pytest_tfjs.reference.faults.layer_faults import SEED, LayerMutants
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.report.number_text import number
from pytest_tfjs.report.sensitivity_summary import PrintableSensitivity
from pytest_tfjs.workflows.layer_measurement import tolerances_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.mutants import MutantKind
    from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
    from pytest_tfjs.compare.numbers.local_error import Local
    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.numbers.tolerances import Tolerance, Tolerances
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.compare.sensitivity import Fate, Sensitivity
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.models.tensorflow.process import Runner
    from pytest_tfjs.reference.capture import Reference
    from pytest_tfjs.reference.faults.layer_faults import Mutant
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.layer_measurement import Precision
    from pytest_tfjs.workflows.preparation import PreparedModel

Array = np.ndarray[Any, np.dtype[Any]]

_FILE = "sensitivity.json"
_SCHEMA = 2

_RESOLUTION = 2.0**-24
"""Relative errors below this are smaller than the spacing of float32 numbers."""

_PROBE = 2.0**-6
"""The relative change by which an activation is scaled to measure how much of its allowance that uses."""


@dataclass(frozen=True)
class Judge:
    """Judges an activation as a comparison would; see `LayerMeasurements`.

    `target` is its name for messages. `precision`: of the backend that runs each layer alone; None if
    `tolerances` alone decide. `half`: the backend computes in half precision.
    """

    target: str
    tolerances: Tolerances
    precision: Precision | None
    half: bool

    def judge(self, layer: Layer, actual: Array, reference: Array, arithmetic: Arithmetic) -> ErrorCheck:
        """The judgement on one layer's activation for one feed, given correct inputs."""
        if self.precision is not None and layer.name not in self.tolerances.by_user:
            allowed = allowance(
                layer,
                arithmetic,
                reference,
                backend=self.precision.backend,
                half=self.precision.half,
                packed=self.precision.packed,
            )
            local = measure_local(actual, reference, arithmetic, allowed, symptoms=False)
            # The whole run allows a layer all that it is allowed alone.
            return ErrorCheck(local.passed, local.share, _described_local(local))
        tolerance = self.tolerances.of(layer.name, alone=False)
        metrics = measure(actual, reference, tolerance, symptoms=False)
        return ErrorCheck(metrics.passed, metrics.share, _described(metrics))


def _described(metrics: Metrics) -> str:
    return f"at most {number(metrics.worst_error)}, {number(metrics.allowed)} allowed"


def _described_local(local: Local) -> str:
    described = _described(local.metrics)
    if not math.isfinite(local.rms_allowed):
        return described
    rms, allowed = number(local.metrics.rms), number(local.rms_allowed)
    return f"{described}; root mean square {rms}, {allowed} allowed"


@dataclass(frozen=True)
class ErrorCheck:
    """The check of an activation's error; `share`: error / allowed error; `described`: the same in words."""

    passed: bool
    share: float
    described: str


def sensitivity(
    model: PreparedModel, per_layer: Mapping[str, Tolerance] | None, context: Context
) -> Sensitivity:
    """Which faults a comparison of the model would catch; see `Checker.sensitivity`."""
    context.progress(Progress("measuring the sensitivity"))
    target = context.target
    tolerances, precision = tolerances_of(model.reference, target, context.settings, per_layer)
    judge = Judge(str(target), tolerances, precision, target.half)
    return measure_sensitivity(model, judge, context.cache, context.runner(model.source))


def with_sensitivity(
    comparison: Comparison,
    model: PreparedModel,
    per_layer: Mapping[str, Tolerance] | None,
    context: Context,
) -> Comparison:
    """The comparison with its sensitivity, or with a note that says why it could not be measured."""
    try:
        found = sensitivity(model, per_layer, context)
    except TfjsError as error:
        note = f"the sensitivity could not be measured: {error}"
        return replace(comparison, notes=(*comparison.notes, note))
    context.attach("tfjs sensitivity", str(found))
    return replace(comparison, sensitivity=found)


def measure_sensitivity(
    model: PreparedModel, judge: Judge, cache: ContentCache, runner: Runner
) -> Sensitivity:
    """The sensitivity of the model, computed by `runner` in TensorFlow, or taken from the cache.

    Raises SourceError if the source cannot be read or TensorFlow cannot build its graph.
    """

    def build(folder: Path) -> None:
        doing = f"measuring the sensitivity of {source.label!r}"
        found = runner(doing, _measured, source, model.artifacts, model.feeds, model.reference, judge)
        (folder / _FILE).write_text(json.dumps(found.to_json()), encoding="utf-8")

    source = model.source
    file = cache.entry("sensitivity", _key(model.reference, judge), build) / _FILE
    content = json.loads(file.read_text(encoding="utf-8"))
    return PrintableSensitivity.from_json(content, model=source.label, target=judge.target)


def _key(reference: Reference, judge: Judge) -> str:
    """The cache key; the reference's key in it covers the model, the feeds and the versions."""
    tolerances = judge.tolerances
    digest = hashlib.sha256(f"{_SCHEMA} {SEED} {reference.folder.parent.name}".encode())
    allowed = (sorted(tolerances.by_layer.items(), key=str), sorted(tolerances.by_user))
    digest.update(f"{allowed} {judge.precision} {judge.half}".encode())
    return digest.hexdigest()


def _measured(
    source: Source, artifacts: Artifacts, feeds: Sequence[Feed], reference: Reference, judge: Judge
) -> Sensitivity:
    model = load_reference_model(source, artifacts, feeds)
    return sensitivity_of(
        LayerMutants(model.alone(), model.refolded), feeds, reference, judge, label=source.label
    )


def sensitivity_of(
    mutating: LayerMutants, feeds: Sequence[Feed], reference: Reference, judge: Judge, *, label: str
) -> Sensitivity:
    """The sensitivity of each compared layer, computed in this process with TensorFlow."""
    trial = _Trial(mutating, feeds, reference, judge)
    layers = [layer for layer in reference.plan.layers if layer.coverage == "compared"]
    with np.errstate(all="ignore"):  # activations and weights may have any numbers
        found = tuple(map(trial.of_layer, layers))
    return PrintableSensitivity(model=label, target=judge.target, feeds=len(feeds), seed=SEED, layers=found)


class _Trial:
    """Judges mutants layer by layer, so that few activations are in memory at once."""

    def __init__(
        self, mutating: LayerMutants, feeds: Sequence[Feed], reference: Reference, judge: Judge
    ) -> None:
        self._mutating = mutating
        self._feeds = feeds
        self._reference = reference
        self._judge = judge

    def of_layer(self, layer: Layer) -> LayerSensitivity:
        """The outcomes of a layer's mutants; a mutant is caught if it is caught for any feed."""
        found: dict[MutantKind, Outcome] = {}
        smallest: list[float] = []
        for feed in range(len(self._feeds)):
            case = self._case(layer, feed)
            smallest += case.smallest()
            left = [kind for kind in KINDS if kind not in found or found[kind].fate != "caught"]
            inputs = self._inputs(layer, feed)
            for mutant in self._mutating.mutants(layer.name, case.reference, inputs, left):
                outcome = case.outcome(mutant)
                before = found.get(outcome.kind)
                if before is None or _PRIORITY[outcome.fate] > _PRIORITY[before.fate]:
                    found[outcome.kind] = outcome
        outcomes = tuple(found[kind] for kind in KINDS)
        return LayerSensitivity(layer.name, layer.op, outcomes, min(smallest, default=None))

    def _case(self, layer: Layer, feed: int) -> _Case:
        names = [layer.name]
        activation = self._reference.activations(feed, names)[layer.name]
        arithmetic = self._reference.arithmetic(feed, names)[layer.name]
        return _Case(layer, activation, arithmetic, self._judge)

    def _inputs(self, layer: Layer, feed: int) -> Mapping[str, Array]:
        names = self._mutating.inputs_of(layer.name)
        fed = self._feeds[feed].reference
        entering = [name for name in names if name not in fed]
        return {**fed, **self._reference.activations(feed, entering)}


@dataclass(frozen=True)
class _Case:
    """One layer for one feed."""

    layer: Layer
    reference: Array
    arithmetic: Arithmetic
    by: Judge

    def outcome(self, mutant: Mutant) -> Outcome:
        """The outcome of a mutant for this feed."""
        kind, made = mutant.kind, mutant.made
        if isinstance(made, NotApplicable):
            return Outcome(kind, "not applicable", None, made.why)
        if kind == "rounded to half precision" and self.by.half:
            return Outcome(kind, "not applicable", None, "the target itself computes in half precision")
        if same_bits(made.value, mutant.right):
            return Outcome(kind, "equivalent", made.what, made.harmless or _UNCHANGED)
        if mutant.right is not self.reference and not self._check(mutant.right).passed:
            why = "the layer does not reproduce its activation when it is recomputed alone"
            return Outcome(kind, "not applicable", made.what, why)
        check = self._check(made.value)
        if check.passed:
            return Outcome(kind, "survived", made.what, f"the fault changes an element by {check.described}")
        return Outcome(kind, "caught", made.what)

    def smallest(self) -> list[float]:
        """The smallest relative error of the activation that would be caught; none if it has no size."""
        if self.reference.dtype.kind not in "fc" or not self.reference.any():
            return []
        probed = self.reference * self.reference.dtype.type(1 + _PROBE)
        share = self._check(probed).share
        if share <= 0:
            return []
        # What is allowed does not depend on the error, so that the share grows with it.
        found = _PROBE / share
        return [found if found > _RESOLUTION else 0.0]

    def _check(self, actual: Array) -> ErrorCheck:
        return self.by.judge(self.layer, actual, self.reference, self.arithmetic)


_UNCHANGED = "the fault does not change the activation for these feeds"
_PRIORITY: Mapping[Fate, int] = {"not applicable": 0, "equivalent": 1, "survived": 2, "caught": 3}
"""Which fate counts if a mutant has different ones for several feeds: the highest."""
