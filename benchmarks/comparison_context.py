"""The context of a comparison outside pytest: nothing is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.report.run_results import EarlierComparisons
from pytest_tfjs.workflows.context import Context

if TYPE_CHECKING:
    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.tensorflow.process import TensorFlowProcess
    from pytest_tfjs.settings.settings import Settings


def context_of(
    settings: Settings, target: Target, harness: Harness, cache: ContentCache, tensorflow: TensorFlowProcess
) -> Context:
    """The context of a test on `target` whose results nobody takes."""
    return Context(
        settings,
        target,
        harness,
        cache,
        tensorflow,
        test="",
        repeat="",
        earlier=EarlierComparisons(),
        record=_ignore,
        record_agreement=_ignore,
        attach=_ignore,
        progress=_ignore,
        lost=_ignore,
    )


def _ignore(*_: object) -> None:
    """Takes the place of a test's callbacks."""
