"""The context of a workflow: a test's settings and target, shared resources, callbacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_tfjs.models.tensorflow.process import run_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.messages import Progress
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.compare.task import Agreement
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.models.tensorflow.process import Runner, TensorFlowProcess
    from pytest_tfjs.report.run_results import EarlierComparisons
    from pytest_tfjs.settings.settings import Settings


@dataclass(frozen=True)
class Context:
    """One test's settings and target, the resources that tests share, and callbacks for results.

    `test` is the node id and `repeat` the shell command that runs just this test; `earlier` has the run's
    comparisons so far. `record` gets each comparison and `record_agreement` each agreement, when it is
    complete. `attach` gets the title and the text of a section of the test's report, `progress` each stage of
    the work, and `lost` how a browser was lost, before the work is retried.
    """

    settings: Settings
    target: Target
    harness: Harness
    cache: ContentCache
    tensorflow: TensorFlowProcess
    test: str
    repeat: str
    earlier: EarlierComparisons
    record: Callable[[Comparison], None]
    record_agreement: Callable[[Agreement], None]
    attach: Callable[[str, str], None]
    progress: Callable[[Progress], None]
    lost: Callable[[str], None]

    def updated(self, arguments: Mapping[str, Any]) -> Context:
        """The context with the settings that a call's arguments override. Raises SettingsError."""
        return replace(self, settings=self.settings.updated(arguments, "call"))

    def runner(self, source: Source) -> Runner:
        """Runs TensorFlow for a source: in the TensorFlow process, or here for a model in memory."""
        return self.tensorflow.runner(self.settings.timeout) if source.in_files else run_here
