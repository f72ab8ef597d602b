"""Times a model in the browser: loading, the first inference and the warm inferences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.jobs import Job, TimingPlan
from pytest_tfjs.errors import PageError
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.timing.samples import Timing
from pytest_tfjs.workflows.call_arguments import whole_number
from pytest_tfjs.workflows.preparation import convert_source
from pytest_tfjs.workflows.refusal import RefusedModel, advised
from pytest_tfjs.workflows.retry import result_of

if TYPE_CHECKING:
    from pytest_tfjs.browsers.jobs import JobResult
    from pytest_tfjs.workflows.context import Context

_WARMUP = 3
_RUNS = 20


def time_model(model: Any, inputs: Any, context: Context, *, runs: int | None, warmup: int | None) -> Timing:
    """Milliseconds of loading `model`, of its first inference and of `runs` warm ones.

    See `Checker.time`. Raises SettingsError for numbers out of range, TfjsError for a model that cannot be
    converted, and PageError if the page fails.
    """
    plan = TimingPlan(
        warmup=whole_number("warmup", _WARMUP if warmup is None else warmup, least=0),
        runs=whole_number("runs", _RUNS if runs is None else runs, least=1),
        budget_ms=1000.0 * context.settings.timeout,  # all runs or none: the job ends then in any case
    )
    source = as_source(model)
    artifacts = convert_source(source, context)
    feed = normalise_feeds(inputs, artifacts.inputs)[0]
    job = Job(artifacts.model_json, artifacts.format, (feed.browser,), chunks=(), timing=plan)
    try:
        result = result_of(
            lambda page: page.run(
                job, lambda _: None, timeout_s=context.settings.timeout, on_progress=context.progress
            ),
            context,
        )
    except PageError as failure:
        if not failure.refused:
            raise
        raise advised(failure, RefusedModel(source, artifacts, feed), context) from None
    return timing_of(result)


def timing_of(result: JobResult) -> Timing:
    """The times of a job that was timed."""
    assert result.load_ms is not None
    assert result.first_ms is not None
    return Timing(load_ms=result.load_ms, first_ms=result.first_ms, warm_ms=result.warm_ms)
