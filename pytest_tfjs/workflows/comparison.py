"""Compares a model in the browser with its reference: one run, one verdict, likely cause."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.results import Comparison, LayerResult
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.workflows.diagnosis import diagnosed
from pytest_tfjs.workflows.layer_measurement import measure_compression, measure_vacuity, tolerances_of
from pytest_tfjs.workflows.preparation import prepare
from pytest_tfjs.workflows.refusal import with_advice
from pytest_tfjs.workflows.reproducer import reproduced
from pytest_tfjs.workflows.retry import attempt
from pytest_tfjs.workflows.sensitivity import with_sensitivity
from pytest_tfjs.workflows.tapping import ActivationReader
from pytest_tfjs.workflows.timing import timing_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pytest_tfjs.compare.numbers.tolerances import Tolerance
    from pytest_tfjs.compare.results import Judgement
    from pytest_tfjs.errors import PageError
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.preparation import PreparedModel
    from pytest_tfjs.workflows.retry import Attempt


def compare(
    model: Any, inputs: Any, per_layer: Mapping[str, Tolerance] | None, context: Context
) -> Comparison:
    """The comparison of `model`, with diagnosis, reproducers and sensitivity; recorded in the test.

    Raises TfjsError for a model or inputs that cannot be compared at all.
    """
    prepared = prepare(model, inputs, context)
    comparison = compare_prepared(prepared, per_layer, context)
    comparison = diagnosed(comparison, prepared, context)
    comparison = reproduced(comparison, prepared, context)
    if context.settings.sensitivity:
        comparison = with_sensitivity(comparison, prepared, per_layer, context)
    context.record(comparison)
    return comparison


def compare_prepared(
    model: PreparedModel, per_layer: Mapping[str, Tolerance] | None, context: Context
) -> Comparison:
    """Runs the model in the browser and judges it; a failure of the page is the verdict `error`.

    Raises ToleranceError for an invalid tolerance, and SettingsError for a pattern of `allow_vacuous` that
    matches nothing, before anything runs; TargetUnavailableError if the machine does not have the target.
    """
    reference, settings, target = model.reference, context.settings, context.target
    tolerances, precision = tolerances_of(reference, target, settings, per_layer)
    compression = measure_compression(
        reference, model.artifacts.weights, settings.compression, settings.tap_budget
    )
    vacuity = measure_vacuity(reference, model.feeds, settings)
    finished = attempt(lambda: ActivationReader(model, tolerances, precision, context), context)
    reader = finished.run
    judgement = judge(
        reader.reference.plan.layers,
        reader.measurements.merged(),
        reader.measurements.tolerances(),
        alone=reader.measurements.alone(reader.not_alone, reader.overwrites),
        given=tolerances.by_user,
        weight_check=reference.weights if settings.weight_check == "fail" else None,
        compression=compression,
        vacuity=vacuity,
        steady=reader.observation.cause != "nondeterministic",
    )
    comparison = replace(
        _comparison(model, finished, judgement),
        test=context.test,
        compression=compression,
        vacuity=vacuity,
    )
    if comparison.verdict == "close" and finished.failure is None:
        return comparison
    failure = model.changed() or finished.failure
    return (
        comparison
        if failure is None
        else _failed(comparison, with_advice(failure, model, context, comparison), failure)
    )


def _comparison(
    model: PreparedModel, finished: Attempt[ActivationReader], judgement: Judgement
) -> Comparison:
    reader = finished.run
    return Comparison(
        model=model.source.label,
        format=model.artifacts.format,
        weights=model.artifacts.weights,
        target=reader.facts,
        verdict=judgement.verdict,
        reason=judgement.reason,
        layers=judgement.results,
        first_divergence=judgement.first_divergence,
        growth=judgement.blame.growth,
        outputs=tuple(layer.name for layer in reader.reference.plan.layers if layer.output),
        timing=None if reader.result is None else timing_of(reader.result),
        bytes={"artifacts": model.artifacts.bytes, "activations": reader.nbytes},
        feeds=len(model.feeds),
        test="",
        tfjs_version=reader.tfjs_version,
        observation=reader.observation,
        weight_check=model.reference.weights,
        retried=finished.retried,
        notes=(
            *model.notes,
            *_overwriting_notes(judgement, model.feeds[0].browser, reader.changed_feeds),
            *reader.measurements.notes(),
        ),
    )


def _overwriting_notes(
    judgement: Judgement, inputs: Collection[str], changed_feeds: Sequence[str]
) -> Iterator[str]:
    """Which layers write into their inputs without harm, and which inputs of the model were written into."""
    by_layers = set()
    rows = {one.layer.name: one for one in judgement.results}
    for result in judgement.results:
        by_layers |= set(result.overwrites)
        if not result.overwrites or result.spoils_inputs:
            continue
        text = (
            f"the kernel of {result.layer.name!r} ({result.layer.op}) writes into its input "
            f"{' and '.join(map(repr, result.overwrites))}."
            " In this run the other layers were right all the same"
        )
        late = [name for name in result.overwrites if name in rows and _failed_in_whole_run(rows[name])]
        constants = [name for name in result.overwrites if name not in rows and name not in inputs]
        if late:
            text += f"; {' and '.join(map(repr, late))} was read after that, and so has an error"
        if constants:
            text += "; but that input is a constant of the model, so a later run on other inputs may be wrong"
        yield text
    for name in changed_feeds:
        if name not in by_layers:
            yield f"running the model changed its input {name!r}: a kernel of TF.js writes into the input"


def _failed_in_whole_run(result: LayerResult) -> bool:
    return result.metrics is not None and not result.metrics.passed


def _failed(comparison: Comparison, reason: str, failure: PageError) -> Comparison:
    """The comparison with the verdict `error`; layers before one that TF.js refuses may have diverged."""
    first = comparison.first_divergence if failure.layer is not None else ()
    return replace(
        comparison,
        verdict="error",
        reason=reason,
        layers=tuple(map(_without_verdict, comparison.layers)),
        first_divergence=first,
        growth=None,
        stage=failure.stage,
        stack=failure.stack,
        refused=failure.refused,
        refused_layer=failure.layer,
    )


def _without_verdict(result: LayerResult) -> LayerResult:
    """The row of a layer that was not reached: the comparison itself says that the page failed."""
    reached = result.metrics is not None or result.layer.coverage != "compared"
    return result if reached else replace(result, verdict=None, reason="not reached: the page failed earlier")
