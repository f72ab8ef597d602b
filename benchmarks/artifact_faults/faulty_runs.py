"""Runs faulty artifacts in the browser, against the reference of the sound artifacts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.artifact_faults.drawing import write_faulty
from benchmarks.artifact_faults.graph_sites import GraphSites
from benchmarks.artifact_faults.layers_sites import LayersSites
from benchmarks.comparison_context import context_of
from pytest_tfjs.browsers.jobs import TimingPlan
from pytest_tfjs.compare.numbers.allowance import allowance
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.models.tensorflow.process import TensorFlowProcess
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.settings.settings import Settings
from pytest_tfjs.workflows.comparison import compare_prepared
from pytest_tfjs.workflows.preparation import PreparedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.artifact_faults.drawing import Array, Fault, FaultSites
    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.jobs import Activations, Job, JobResult
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.cache import ContentCache

DETECTABLE = 2.0
"""How many times its allowance a fault has to change a layer by, to be one that must be found."""

# What is wrong with a weight is told without the browser; here the activations have to tell it.
_SETTINGS = Settings(weight_check="tell", alone="all")
_ONCE = TimingPlan(warmup=0, runs=0, budget_ms=0.0)


@dataclass(frozen=True)
class Case:
    """What came of faults in one model: `size` is that of the least one, in allowances of its layer.

    `relative` is the same in units of the layer's largest |reference|.
    """

    model: str
    faults: tuple[Fault, ...]
    verdict: str
    reason: str | None
    first_divergence: tuple[str, ...]
    size: float
    relative: float

    @property
    def detectable(self) -> bool:
        """Whether it ran, and each fault changes its layer by more than rounding may."""
        return self.verdict != "error" and self.size >= DETECTABLE

    @property
    def named(self) -> bool:
        """Whether each faulty layer is in the first divergence."""
        return all(set(fault.rows) & set(self.first_divergence) for fault in self.faults)

    @property
    def alone(self) -> bool:
        """Whether no other layer is."""
        faulty = {row for fault in self.faults for row in fault.rows}
        return self.named and faulty >= set(self.first_divergence)

    def __str__(self) -> str:
        faults = "; ".join(map(str, self.faults))
        rows = ", ".join(row for fault in self.faults for row in fault.rows)
        return (
            f"{self.model}: {faults}\n"
            f"    in {rows}, by {self.size:.3g} allowances or {self.relative:.1e} of its largest value\n"
            f"    {self.verdict}, blamed: {', '.join(self.first_divergence) or 'nothing'}; {self.reason}"
        )


class _Recorder:
    """Stands in for a harness and its page: keeps the activations of the whole model, and times nothing."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self.tapped: dict[str, Array] = {}

    def open(self, target: Target, **limits: Any) -> _Recorder:
        """Opens the page."""
        self._page = self._harness.open(target, **limits)
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._page, name)

    def run(self, job: Job, on_activations: Callable[[Activations], None], **limits: Any) -> JobResult:
        """Runs a job."""

        def keep(activations: Activations) -> None:
            if activations.plain_run is None and not activations.alone:
                self.tapped.update(activations.tensors)
            on_activations(activations)

        return self._page.run(replace(job, timing=job.timing and _ONCE), keep, **limits)


class Blaming:
    """A sound model, and what becomes of it in the browser with faults in its artifacts.

    `path` is a Keras 2 file and `feed` what it is fed; what is written for a run goes into `folder`. The
    reference is computed once, with the sound artifacts. Raises RuntimeError where these are not close.
    """

    def __init__(
        self,
        path: Path,
        feed: Mapping[str, Array],
        *,
        format_: str,
        harness: Harness,
        target: Target,
        cache: ContentCache,
        folder: Path,
    ) -> None:
        self.model = f"{path.stem} ({format_})"
        self._harness, self._target, self._folder, self._cache = harness, target, folder, cache
        source = as_source(path)
        self.sound = convert(source, format=format_, weights="float32", cache=cache)
        feeds = tuple(normalise_feeds(feed, self.sound.inputs))
        self._reference = capture_reference(source, self.sound, feeds, "all", cache, arithmetic=True)
        self._model = PreparedModel(source, self.sound, feeds, self._reference)
        comparison, self._tapped = self._compare(self.sound)
        if comparison.verdict != "close":
            raise RuntimeError(f"the sound {self.model} is {comparison.verdict}: {comparison.reason}")

    @property
    def sites(self) -> FaultSites:
        """Where faults can be in it."""
        kind = GraphSites if self.sound.format == "graph" else LayersSites
        return kind(self.sound, self._reference.plan.layers)

    def run(self, *faults: Fault) -> Case:
        """Compares the model with these faults in it."""
        faulty = self._folder / "faulty"
        shutil.rmtree(faulty, ignore_errors=True)
        comparison, tapped = self._compare(write_faulty(self.sound, faults, faulty))
        sizes = [self._size(tapped, fault) for fault in faults]
        return Case(
            self.model,
            faults,
            comparison.verdict,
            comparison.reason,
            comparison.first_divergence,
            size=min(size for size, _ in sizes),
            relative=min(relative for _, relative in sizes),
        )

    def _compare(self, artifacts: Artifacts) -> tuple[Comparison, dict[str, Array]]:
        """The comparison, and the activations of the whole model in the browser."""
        recorder = _Recorder(self._harness)
        context = context_of(
            _SETTINGS, self._target, cast("Harness", recorder), self._cache, TensorFlowProcess()
        )
        comparison = compare_prepared(replace(self._model, artifacts=artifacts), None, context)
        return comparison, recorder.tapped

    def _size(self, tapped: Mapping[str, Array], fault: Fault) -> tuple[float, float]:
        """By how much a fault changes its layers, in allowances and in units of the largest |value|.

        By what came of them in the whole model, with the fault and without: all layers before it are the
        same there. So a layer that was not run alone, or not judged, does not go unnoticed. Infinite where
        nothing came.
        """
        layers = {layer.name: layer for layer in self._reference.plan.layers}
        expected = self._reference.activations(0, fault.rows)
        arithmetic = self._reference.arithmetic(0, fault.rows)
        sizes = []
        for name in fault.rows:
            allowed = allowance(
                layers[name],
                arithmetic[name],
                expected[name],
                backend=self._target.backend,
                half=self._target.half,
                packed=self._target.packed,
            )
            local = measure_local(tapped.get(name), self._tapped[name], arithmetic[name], allowed)
            largest: Any = np.abs(expected[name].astype(np.float64)).max(initial=0.0)
            sizes.append((local.share, local.metrics.max_abs / float(largest or 1.0)))
        return max(sizes)
