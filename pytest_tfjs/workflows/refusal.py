"""Says what to do about a model that TF.js refuses; tries whether it runs as a graph model."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfjs.browsers.jobs import Job, TimingPlan
from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.errors import PageError, TfjsError
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.tensorflow.refusals import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.errors import RefusedLayer
    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.workflows.context import Context
    from pytest_tfjs.workflows.preparation import PreparedModel

_TRIAL_S = 60.0
_MOST_BYTES = 512 << 20
"""A model with larger artifacts is not converted again for a trial."""

_SHAPE = re.compile(r"any|\d+")
_REWRITE = "Build this layer from other operations, or compute it outside the model"
_NEGATIVE_AXIS = (
    "If its axis is negative, count it from the front: TF.js 4.22 computes this operation over no other."
    " Otherwise build this layer from other operations, or compute it outside the model"
)
_OF_OPERATIONS = {"Cumsum": _NEGATIVE_AXIS, "Cumprod": _NEGATIVE_AXIS}
_NO_KERNEL = ("needs the kernel", "; no backend in the page has it")
_FILE_TABLES = ("InitializeTableFromTextFile", "InitializeTableFromDataset")
_NO_FILE_TABLE = "TF.js cannot fill a table from a file: use tf.lookup.KeyValueTensorInitializer"
_OTHER_BACKEND = "Use a backend that has the kernel, or build this layer from other operations"


@dataclass(frozen=True)
class RefusedModel:
    """A model that TF.js refuses, and a feed. `layers`: those of the reference, if there is one."""

    source: Source
    artifacts: Artifacts
    feed: Feed
    layers: Sequence[Layer] = ()


def with_advice(
    failure: PageError, model: PreparedModel, context: Context, comparison: Comparison | None = None
) -> str:
    """The reason of a failure; where TF.js refuses the model, its first line ends with what to do.

    `comparison`: that of the layers before the one at which TF.js throws.
    """
    refused = RefusedModel(model.source, model.artifacts, model.feeds[0], model.reference.plan.layers)
    return _with_advice(failure, refused, context, comparison)


def advised(failure: PageError, model: RefusedModel, context: Context) -> PageError:
    """The failure of a model that was only run, with the same advice."""
    if not failure.refused:
        return failure
    reason = f"{context.target}: {_with_advice(failure, model, context, None)}"
    if failure.layer is not None:  # a comparison has names of its own for the nodes
        reason = reason.replace(repr(failure.layer.name), repr(short_name(failure.layer.name)), 1)
    return PageError(
        reason, stack=failure.stack, stage=failure.stage, refused=failure.refused, layer=failure.layer
    )


def _with_advice(
    failure: PageError, model: RefusedModel, context: Context, comparison: Comparison | None
) -> str:
    reason = failure.reason.removeprefix(f"{context.target}: ")
    if not failure.refused:
        return reason
    what_to_do = _culprit(failure, comparison) or _what_to_do(reason, failure, model, context)
    if not what_to_do:
        return reason
    first, newline, rest = reason.partition("\n")
    return f"{first.rstrip().rstrip('.:')}{what_to_do}{newline}{rest}"


def _culprit(failure: PageError, comparison: Comparison | None) -> str | None:
    """Which layer before the one at which TF.js throws is wrong, and how; None if none is known to be."""
    if failure.layer is None or comparison is None:
        return None
    results = {result.layer.name: result for result in comparison.layers}
    before = _before(failure.layer.name, {name: result.layer.inputs for name, result in results.items()})
    for name in comparison.first_divergence:
        if before is None or name in before:
            how = "" if results[name].reason is None else f" ({results[name].reason})"
            return f". The cause may be {name!r}, which diverged before it{how}: look at that layer first"
    return None


def _before(name: str, inputs: Mapping[str, Sequence[str]]) -> set[str] | None:
    """The layers that lead to a layer; None if it is not one of those in `inputs`."""
    if name not in inputs:
        return None
    found: set[str] = set()
    ahead = [name]
    while ahead:
        new = set(inputs.get(ahead.pop(), ())) - found
        found |= new
        ahead += new
    return found


def _what_to_do(reason: str, failure: PageError, model: RefusedModel, context: Context) -> str:
    if model.artifacts.format == "layers":
        wrong = None if failure.layer is None else _wrong_input(failure.layer, model.layers)
        return f"{wrong or ''}. {_as_graph(model, context)}"
    first = reason.partition("\n")[0]
    if any(op in first for op in _FILE_TABLES):
        return f". {_NO_FILE_TABLE}"
    if _NO_KERNEL[0] in reason and _NO_KERNEL[1] not in reason.partition("\n")[0]:
        return f". {_OTHER_BACKEND}"
    if failure.layer is not None and failure.layer.op in _OF_OPERATIONS:
        return f". {_OF_OPERATIONS[failure.layer.op]}"
    return f". {_REWRITE}" if failure.layer is not None or _NO_KERNEL[0] in reason else ""


def _wrong_input(refused: RefusedLayer, layers: Sequence[Layer]) -> str | None:
    """Which input of a layer has another shape in TF.js than in the reference; None if none has."""
    rows = {layer.name: layer for layer in layers}
    names = rows[refused.name].inputs if refused.name in rows else ()
    if len(names) != len(refused.inputs or ()):
        return None
    for name, text in zip(names, refused.inputs or (), strict=True):
        shape = rows[name].shape if name in rows else None
        found = _SHAPE.findall(text.partition("[")[2])
        if shape is not None and not _fits(found, shape):
            return f"; in Python {name!r} gives it {list(shape)}, so look at {name!r} first"
    return None


def _fits(found: Sequence[str], shape: Sequence[int]) -> bool:
    """Whether a shape fits one in which sizes may be unknown."""
    return len(found) == len(shape) and all(
        size in ("any", str(expected)) for size, expected in zip(found, shape, strict=True)
    )


def _as_graph(model: RefusedModel, context: Context) -> str:
    """What to do about a layers model, after a trial as a graph model; the conversion is cached."""
    if model.source.kind == "prebuilt" and model.source.origin is None:
        return f"{_REWRITE}; or convert it with --output_format=tfjs_graph_model, which runs more layers"
    if model.artifacts.bytes > _MOST_BYTES:
        return f"{_REWRITE}; or try format='graph'"
    context.progress(Progress("trying the model as a graph model"))
    try:
        _run_as_graph(model, context)
    except TfjsError as error:
        if isinstance(error, PageError) and not error.refused:
            return f"{_REWRITE}; or try format='graph'"
        why = str(error).splitlines()[0].removeprefix(f"{context.target}: ").partition(". ")[0]
        return f"{_REWRITE}; as a graph model it does not run either ({why})"
    if model.source.kind == "prebuilt":
        return (
            "As a graph model it runs here: convert it with --output_format=tfjs_graph_model, and ship that"
        )
    return "As a graph model it runs here: use format='graph', and ship that"


def _run_as_graph(model: RefusedModel, context: Context) -> None:
    """Runs the first feed through the graph model. Raises TfjsError if it cannot be converted or run."""
    until = time.monotonic() + _TRIAL_S
    source = model.source.require_origin()
    runner = context.tensorflow.runner(_TRIAL_S) if source.in_files else context.runner(source)
    artifacts = convert(source, format="graph", cache=context.cache, runner=runner)
    inputs = tuple(model.feed.reference.values())
    feed = normalise_feeds(inputs[0] if len(inputs) == 1 else inputs, artifacts.inputs)[0]
    job = Job(artifacts.model_json, "graph", (feed.browser,), (), timing=TimingPlan(0, 0, 0.0))
    page = context.harness.open(context.target, timeout_s=context.settings.timeout)
    try:
        page.run(
            job,
            lambda _: None,
            timeout_s=max(1.0, until - time.monotonic()),
            on_progress=context.progress,
        )
    finally:
        # These lines are not of the model that the test compares.
        page.console.clear()
        page.errors.clear()
