"""Runs a layer again, in the whole model and alone, on the run's target and on others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.jobs import Activations, Job, Tap
from pytest_tfjs.browsers.targets import parse_targets, parse_variants
from pytest_tfjs.models.alone.plan import LayersPlan
from pytest_tfjs.models.alone.planner import plan_alone
from pytest_tfjs.workflows.layer_measurement import with_plans

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfjs.browsers.harness import Page
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.results import LayerResult
    from pytest_tfjs.workflows.attempts import Attempts
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.preparation import PreparedModel

Array = np.ndarray[Any, np.dtype[Any]]

_JOB_S = 40.0
_MOST_OTHERS = 4
_BY_ITSELF = "cpu"
_BESIDE_CPU = "wasm"
_LAST_RESORT = "webgl"


@dataclass
class LayerOutputs:
    """A target's activations of a layer: in the whole model, and alone for each of its runs."""

    tapped: Array | None = None
    alone: list[Array] = field(default_factory=list)
    takes: tuple[str, ...] | None = None
    loses_mask: bool = False
    trains: bool = False

    @property
    def best(self) -> Array | None:
        """The activation on the reference's inputs, or the one in the whole model."""
        return self.alone[0] if self.alone else self.tapped


class LayerReruns:
    """Runs layers of a model again; what fails is added to what `attempts` did not try.

    `known`: the addresses of the layers whose reference can be fed.
    """

    def __init__(
        self,
        model: PreparedModel,
        context: Context,
        attempts: Attempts,
        known: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._model = model
        self._context = context
        self._attempts = attempts
        self._known = known

    def on_target(self, row: LayerResult, number: int, *, runs: int) -> LayerOutputs | None:
        """The layer's activations for the feed `number` on the run's own target; None if it fails."""
        return self._run(self._page(self._context.target), row, number, runs=runs)

    def on_others(self, row: LayerResult, number: int) -> Iterator[tuple[Target, Array]]:
        """The activations of other backends, one by one, as far as time allows."""
        found = False
        for target, is_last_resort in self._other_targets():
            if found and is_last_resort:
                return
            outputs = self._run(self._page(target), row, number, runs=1)
            value = None if outputs is None else outputs.best
            if value is not None:
                found = True
                yield target, value

    def _other_targets(self) -> list[tuple[Target, bool]]:
        """The run's other backends in float32, and cpu or wasm, in the same browser.

        With each comes whether it is a last resort: wasm lacks operations on texts and complex numbers.
        """
        own, settings = self._context.target, self._context.settings
        is_cpu = own.backend == _BY_ITSELF
        names = [_BESIDE_CPU if is_cpu else _BY_ITSELF, *settings.backends]
        last = [_LAST_RESORT] if is_cpu and _LAST_RESORT not in names else []
        targets = parse_targets([own.browser], [*names, *last], parse_variants(settings.variants))
        others = [one for one in targets if one != own and not one.half][:_MOST_OTHERS]
        return [(one, one.backend in last) for one in others]

    def _run(self, page: Page | None, row: LayerResult, number: int, *, runs: int) -> LayerOutputs | None:
        """A page's activations of the layer; None if it fails, which is added to what was not tried."""
        if page is None:
            return None
        model, outputs = self._model, LayerOutputs()
        name, tap = row.layer.name, row.layer.tap or {}
        plans = plan_alone(model.artifacts, {name: tap}, self._known)

        def reference(feed: int, names: Any) -> Mapping[str, Array]:
            del feed  # all runs have the same feed
            return model.reference.activations(number, names)

        def take(activations: Activations) -> None:
            value = activations.tensors.get(name)
            if value is None:
                return
            if activations.alone:
                outputs.alone.append(value)
            elif outputs.tapped is None:
                outputs.tapped = value

        job = Job(
            model.artifacts.model_json,
            model.artifacts.format,
            (model.feeds[number].browser,) * runs,
            chunks=with_plans([[Tap(name, tap)]], plans),
            references=reference,
        )
        limit = min(_JOB_S, self._context.settings.timeout, max(self._attempts.left_s, 1))
        result = self._attempts.tried(
            f"{name!r} on {page.target}",
            lambda: page.run(job, take, timeout_s=limit, on_progress=self._context.progress),
        )
        page.console.clear()  # these lines are not of the test's own run
        page.errors.clear()
        if result is None:
            return None
        why = plans.reasons.get(name) or result.not_alone.get(name)
        if why is None:
            plan = plans.plans[name]
            outputs.takes = plan.takes
            outputs.loses_mask = name in result.without_mask or (
                isinstance(plan, LayersPlan) and plan.loses_mask
            )
            outputs.trains = isinstance(plan, LayersPlan) and plan.trains
        else:
            self._attempts.not_tried.append(f"{name!r} alone on {page.target}: {why}")
        return outputs

    def _page(self, target: Target) -> Page | None:
        """The page of a target; None if there is none or no time is left."""
        if self._attempts.left_s <= 0:
            self._attempts.not_tried.append(
                f"{target}: the {self._attempts.budget_s:g} s for the diagnosis were used up"
            )
            return None
        context = self._context
        return self._attempts.tried(
            f"{target}",
            lambda: context.harness.open(
                target, timeout_s=context.settings.timeout, on_progress=context.progress
            ),
        )
