"""Gathers evidence on the blamed layer of a diverged comparison, and diagnoses the cause.

Runs only after a divergence, and never fails a test: what cannot be tried is listed as not tried.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.compare.blame import input_error_text
from pytest_tfjs.compare.comparison_evidence import (
    blamed_row,
    unsteady,
    without_layer,
    worst_feed,
)
from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis, diagnose
from pytest_tfjs.compare.diagnosis.evidence import AGREE, Evidence
from pytest_tfjs.compare.diagnosis.half_precision import apart, predicted_error, sizes_of
from pytest_tfjs.compare.diagnosis.other_results import other_result
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, evaluate
from pytest_tfjs.compare.diagnosis.semantics import error_left, interpretations, try_one
from pytest_tfjs.compare.diagnosis.swapped_outputs import output_found_in, swapped_briefly, swapped_text
from pytest_tfjs.compare.harmful_layers import with_harm
from pytest_tfjs.compare.layers import layers_before
from pytest_tfjs.compare.numbers.element_loops import largest
from pytest_tfjs.compare.operations import PLACEHOLDERS
from pytest_tfjs.compare.weight_check import wrong_weight
from pytest_tfjs.models.alone.planner import plan_alone
from pytest_tfjs.reference.diverged_layer import LayerFindings, examine_layer
from pytest_tfjs.workflows.attempts import Attempts
from pytest_tfjs.workflows.layer_reruns import LayerReruns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.diagnosis.evidence import Sizes
    from pytest_tfjs.compare.diagnosis.recomputing.steps import Step
    from pytest_tfjs.compare.diagnosis.semantics import Trial
    from pytest_tfjs.compare.results import Comparison, LayerResult
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.layer_reruns import LayerOutputs
    from pytest_tfjs.workflows.preparation import PreparedModel

Array = np.ndarray[Any, np.dtype[Any]]

BUDGET_S = 90.0
_INTERPRETATIONS_S = 20.0
_MOST_BYTES = 64 << 20
_MOST_MODEL_BYTES = 512 << 20
_INPUTS = PLACEHOLDERS | {"InputLayer"}
_MOST_BEFORE = 12


def diagnosed(comparison: Comparison, model: PreparedModel, context: Context) -> Comparison:
    """The comparison with a diagnosis if it diverged; otherwise unchanged."""
    if comparison.verdict != "diverged":
        return comparison
    context.progress(Progress("looking for the cause"))
    return replace(comparison, diagnosis=_Diagnosing(comparison, model, context).run())


class _Diagnosing:
    def __init__(self, comparison: Comparison, model: PreparedModel, context: Context) -> None:
        self._comparison = comparison
        self._model = model
        self._context = context
        self._attempts = Attempts(BUDGET_S)
        self._reruns = LayerReruns(model, context, self._attempts, self._taps()[1])

    def run(self) -> Diagnosis:
        """Gathers the evidence and judges it."""
        comparison, target = self._comparison, self._context.target
        base = Evidence(
            layer=None,
            target=target.backend_variant,
            half=target.half,
            unsteady=unsteady(comparison),
        )
        row = blamed_row(comparison)
        if row is not None and row.right_by_itself:
            return diagnose(with_harm(comparison, row, base, self._model.feeds[0].browser))
        random = None if row is None else self._random_before(row)
        if row is not None and random is not None:
            return diagnose(replace(base, layer=row.layer.name, random=random))
        if row is None or comparison.growth is not None:
            return diagnose(without_layer(comparison, base))
        if row.error_from_inputs and not base.half:
            if base.unsteady is not None:
                return diagnose(replace(base, layer=row.layer.name))
            return Diagnosis("unknown", row.layer.name, input_error_text(comparison.layers, row))
        evidence = self._of_layer(row, base)
        return diagnose(replace(evidence, not_tried=tuple(self._attempts.not_tried)))

    def _random_before(self, row: LayerResult) -> str | None:
        """Which layer draws the random numbers that the error of a layer may come from, in words.

        The layer itself; or one before it, if the layer is not wrong alone.
        """
        random = plan_alone(self._model.artifacts, *self._taps()).random
        names = [row.layer.name]
        if row.error_from_inputs or self._comparison.growth is not None:
            inputs = {one.layer.name: one.layer.inputs for one in self._comparison.layers}
            names += layers_before(inputs, row.layer.name)
        return next((random[name] for name in names if name in random), None)

    def _taps(self) -> tuple[dict[str, Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
        """The addresses of all layers, and those of the compared ones, whose reference can be fed."""
        layers = [one for one in self._model.reference.plan.layers if one.tap is not None]
        taps = {one.name: one.tap for one in layers if one.tap is not None}
        return taps, {one.name: taps[one.name] for one in layers if one.coverage == "compared"}

    def _of_layer(self, row: LayerResult, base: Evidence) -> Evidence:
        evidence = replace(base, layer=row.layer.name)
        if row.given and row.local is not None and row.local.passed and not base.half:
            text = "the layer itself is correct; the given tolerance is smaller than its rounding error"
            return replace(evidence, growth=text)
        finding = wrong_weight(self._comparison.weight_check, row.layer)
        if finding is not None:
            text = f"the layer's weight {finding.name!r} differs from the source's"
            if finding.by_effect:
                text = (
                    f"the layer's weight {finding.name!r}, or another of its weights, may differ from the "
                    "source's"
                )
            evidence = replace(evidence, weight=text, by_effect=finding.by_effect)
        found = self._attempts.tried("a second run of the layer", lambda: self._look_at(row, evidence))
        return evidence if found is None else found

    def _look_at(self, row: LayerResult, evidence: Evidence) -> Evidence:
        name, reference = row.layer.name, self._model.reference
        number = worst_feed(row)
        expected = reference.activations(number, [name])[name]
        if expected.nbytes > _MOST_BYTES:
            self._attempts.not_tried.append(
                f"a second run of {name!r}: its activation has {expected.nbytes} bytes"
            )
            return evidence
        outputs = self._reruns.on_target(row, number, runs=2)
        actual = None if outputs is None else outputs.best
        if outputs is None or actual is None:
            return evidence
        swapped = self._swapped(row, number, actual, expected)
        if swapped is not None:
            return replace(evidence, swapped=swapped[0], swapped_briefly=swapped[1])
        evidence = replace(
            evidence,
            repeated=apart(outputs.alone, expected),
            takes=outputs.takes,
            loses_mask=outputs.loses_mask,
            trains=outputs.trains,
            source_takes=tuple(row.layer.inputs),
            others=tuple(
                other_result(str(target), value, actual, expected)
                for target, value in self._reruns.on_others(row, number)
            ),
        )
        known = evidence.weight is not None and not evidence.by_effect
        return evidence if known else self._with_findings(row, number, evidence, outputs, expected)

    def _swapped(
        self, row: LayerResult, number: int, actual: Array, expected: Array
    ) -> tuple[str, str] | None:
        """Which other output the browser gives in place of this one, in words; then the same, briefly."""
        rows = {
            one.layer.name: one
            for one in self._comparison.layers
            if one.layer.output and one.layer.coverage == "compared" and one is not row
        }
        if not row.layer.output or not rows:
            return None
        references = self._model.reference.activations(number, list(rows))
        found = output_found_in(actual, expected, references)
        if found is None:
            return None
        outputs = self._reruns.on_target(rows[found], number, runs=1)
        value = None if outputs is None else outputs.best
        mutual = value is not None and output_found_in(value, references[found], {"": expected}) is not None
        own, other = row.layer.known_as, rows[found].layer.known_as
        return swapped_text(own, other, mutual=mutual), swapped_briefly(other, mutual=mutual)

    def _with_findings(
        self, row: LayerResult, number: int, evidence: Evidence, outputs: LayerOutputs, expected: Array
    ) -> Evidence:
        """The evidence with what Python computes for the layer."""
        actual = outputs.best
        assert actual is not None
        # If another backend is right, the feed is too: both have the same one.
        fed_right = bool(evidence.right) or not self._is_near_the_feed(row)
        found = self._examine_in_python(row, number, None if fed_right else outputs.tapped)
        tried: list[Trial] = []
        predicted = None
        if found.steps is not None:
            tried = self._interpretations(found.steps, found.declared, actual, expected)
            predicted = predicted_error(found.steps, actual, expected) if evidence.half else None
        measured = actual.shape == expected.shape and expected.dtype.kind in "biufc"
        over = found.over_artifacts
        return replace(
            evidence,
            interpretations=tuple(tried),
            feeds=found.feeds,
            declared_alike=found.declared_alike,
            over_artifacts=None
            if over is None
            else other_result("TensorFlow, running the artifacts,", over, actual, expected),
            sizes=replace(self._sizes(row, number, actual, expected, found.steps or ()), predicted=predicted)
            if measured
            else evidence.sizes,
        )

    def _examine_in_python(self, row: LayerResult, number: int, tapped: Array | None) -> LayerFindings:
        model, context = self._model, self._context
        nbytes = model.artifacts.bytes
        no_time = self._attempts.left_s <= 0
        if no_time or nbytes > _MOST_MODEL_BYTES:
            why = "no time was left" if no_time else f"the model is too large ({nbytes} bytes)"
            self._attempts.not_tried.append(f"other interpretations and changed feeds: {why}")
            return LayerFindings()
        context.progress(Progress("looking for the cause in Python"))
        task = partial(examine_layer, name=row.layer.name, number=number, tapped=tapped)
        found = self._attempts.tried(
            "other interpretations and changed feeds",
            lambda: context.runner(model.source)(
                "examining a layer", task, model.source, model.artifacts, model.feeds, model.reference
            ),
        )
        if found is None:
            return LayerFindings()
        self._attempts.not_tried += found.not_tried
        return found

    def _is_near_the_feed(self, row: LayerResult) -> bool:
        """Whether a different feed may explain the error: the layer is at most a few layers from the feed."""
        wrong_alone = row.local is not None and not row.local.passed
        if wrong_alone and row.layer.inputs and not any(map(self._is_input, row.layer.inputs)):
            return False
        inputs = {one.layer.name: one.layer.inputs for one in self._comparison.layers}
        seen: set[str] = set()
        ahead = list(row.layer.inputs)
        while ahead and len(seen) <= _MOST_BEFORE:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead += inputs.get(name, ())
        return len(seen) <= _MOST_BEFORE

    def _is_input(self, name: str) -> bool:
        return name in self._model.feeds[0].browser or any(
            one.layer.name == name and one.layer.op in _INPUTS for one in self._comparison.layers
        )

    def _interpretations(
        self,
        steps: tuple[Step, ...],
        declared: tuple[Step, ...] | None,
        actual: Array,
        expected: Array,
    ) -> list[Trial]:
        """The interpretations tried in time; none if numpy does not reproduce the reference."""
        try:
            own = evaluate(steps)
        except CannotRecompute as reason:
            self._attempts.not_tried.append(f"other interpretations: {reason}")
            return []
        if not error_left(expected, own, actual) <= AGREE:
            return []
        until = time.monotonic() + min(_INTERPRETATIONS_S, max(self._attempts.left_s, 0.0))
        tried = []
        for interpretation in interpretations(steps, declared):
            if time.monotonic() > until:
                self._attempts.not_tried.append("more interpretations: no time was left")
                break
            found = try_one(interpretation, actual, expected)
            tried += [] if found is None else [found]
        return tried

    def _sizes(
        self, row: LayerResult, number: int, actual: Array, expected: Array, steps: Sequence[Step]
    ) -> Sizes:
        reference = self._model.reference
        names = [name for name in row.layer.inputs if name in reference.sizes(number)]
        entering = list(reference.activations(number, names).values())
        if not entering:
            entering = list(self._model.feeds[number].browser.values())
        entering += [one for step in steps for one in step.inputs if not isinstance(one, int)]
        sizes = sizes_of(actual, expected, entering, None)
        arithmetic = reference.arithmetic(number, [row.layer.name]).get(row.layer.name)
        magnitude = None if arithmetic is None else arithmetic.magnitude
        return sizes if magnitude is None else replace(sizes, magnitude=largest(np.asarray(magnitude)))
