"""Prepares a model to run: converts it, checks its feeds and computes the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.errors import PageError
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import Feed, normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfjs.models.artifacts import Artifacts, TensorSpec
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.reference.capture import Reference
    from pytest_tfjs.workflows.context import Context


@dataclass(frozen=True)
class PreparedModel:
    """A model ready to be compared: its source, artifacts and feeds, and the reference's activations."""

    source: Source
    artifacts: Artifacts
    feeds: tuple[Feed, ...]
    reference: Reference

    @property
    def notes(self) -> tuple[str, ...]:
        """The changes to the artifacts, the feeds and the reference that the user has to know."""
        of_feeds = (note for feed in self.feeds for note in feed.notes)
        return tuple(dict.fromkeys((*self.artifacts.notes, *of_feeds, *self.reference.plan.notes)))

    def changed(self) -> PageError | None:
        """The error of a comparison whose artifacts have changed since the reference was computed."""
        how = self.artifacts.changed()
        if how is None:
            return None
        return PageError(
            f"the artifacts changed during the comparison: {how}. Run it again while nothing else writes to"
            " them"
        )


def prepare(model: Any, inputs: Any, context: Context, *, batch: int | None = None) -> PreparedModel:
    """Converts `model` and computes its reference for `inputs`, or takes both from the cache.

    `batch`: the samples of each feed; None leaves the feeds as they are. Raises SourceError, ConversionError,
    ArtifactsError and FeedError for a model or inputs that cannot be compared.
    """
    source = as_source(model)
    source.require_origin()
    artifacts = convert_source(source, context)
    feeds = tuple(normalise_feeds(inputs, artifacts.inputs))
    if batch is not None:
        feeds = batched(feeds, artifacts.inputs, batch)
    context.progress(Progress("computing the reference"))
    settings = context.settings
    reference = capture_reference(
        source,
        artifacts,
        feeds,
        settings.layers,
        context.cache,
        arithmetic=settings.alone == "all",
        budget=settings.tap_budget,
        runner=context.runner(source),
    )
    return PreparedModel(source, artifacts, feeds, reference)


def convert_source(source: Source, context: Context) -> Artifacts:
    """The artifacts of a source, converted now or cached. Raises ConversionError and SourceError."""
    context.progress(Progress("converting"))
    return convert(
        source,
        format=context.settings.format,
        weights=context.settings.weights,
        cache=context.cache,
        runner=context.runner(source),
    )


def batched(feeds: Sequence[Feed], specs: Sequence[TensorSpec], size: int) -> tuple[Feed, ...]:
    """The feeds in pieces of `size` samples; unchanged if the model takes a fixed number of samples."""
    if not all(spec.shape is not None and spec.shape[:1] == (None,) for spec in specs):
        return tuple(feeds)
    return tuple(piece for feed in feeds for piece in _pieces(feed, size))


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
