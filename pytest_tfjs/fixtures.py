"""The pytest fixtures, from the browser's arguments to the `tfjs` object.

A conftest.py can override each.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pytest_tfjs.settings.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.messages import Progress
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.checker import Checker
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.tensorflow.process import TensorFlowProcess
    from pytest_tfjs.report.progress_line import ProgressLine
    from pytest_tfjs.report.run_results import EarlierComparisons

    BrowserArguments = Sequence[str] | Mapping[str, Sequence[str]]

COMPARISONS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""Where a test's `Item.stash` holds the comparisons of the current phase, as the JSON has them."""

TASKS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""Where a test's `Item.stash` holds the agreements of the current phase, as the JSON has them."""

EARLIER: pytest.StashKey[EarlierComparisons] = pytest.StashKey()
"""Where a run's `Config.stash` holds its comparisons so far."""

RETRIED = "tfjs_retried"
"""The name of a test's user properties that say how a browser was lost during the test."""

TERMINAL: pytest.StashKey[TextIO] = pytest.StashKey()
"""Where a run's `Config.stash` holds the terminal, if there is one to show progress on."""

PROGRESS: pytest.StashKey[ProgressLine] = pytest.StashKey()
"""Where a run's `Config.stash` holds its progress line, once a test needs one."""


@pytest.fixture(scope="session")
def tfjs_browser_args() -> BrowserArguments:
    """Further command line arguments, for all browsers or by browser name; override it to add some."""
    return ()


@pytest.fixture(scope="session")
def tfjs_cache(pytestconfig: pytest.Config) -> Iterator[ContentCache]:
    """Artifacts and references by content, under pytest's cache directory."""
    from pytest_tfjs.models.cache import ContentCache

    cache = getattr(pytestconfig, "cache", None)
    with ContentCache(None if cache is None else cache.mkdir("tfjs")) as content:
        yield content


@pytest.fixture(scope="session")
def tfjs_tensorflow() -> Iterator[TensorFlowProcess]:
    """The TensorFlow process, for models in files; it starts when it is first needed."""
    from pytest_tfjs.models.tensorflow.process import TensorFlowProcess

    with TensorFlowProcess() as process:
        yield process


@pytest.fixture(scope="session")
def tfjs_harness(pytestconfig: pytest.Config, tfjs_browser_args: BrowserArguments) -> Iterator[Harness]:
    """The server and the browser of the run; both start when a test first opens a page."""
    from pytest_tfjs.browsers.engines import arguments_by_browser
    from pytest_tfjs.browsers.engines.engine import LaunchOptions
    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.processes.termination import interrupt_on_termination
    from pytest_tfjs.preflight import address_of, dist_of

    settings = pytestconfig.stash[SETTINGS]
    options = LaunchOptions(
        headed=settings.headed,
        binary=settings.browser_binary,
        driver=settings.driver_binary,
        own_arguments=arguments_by_browser(tfjs_browser_args),
        remote=settings.remote,
        capabilities={} if settings.capabilities is None else settings.capabilities.content,
    )
    address = address_of(settings, _worker(pytestconfig))
    harness = Harness(dist=dist_of(settings), options=options, address=address)
    with interrupt_on_termination():
        try:
            yield harness
        finally:
            harness.close()


@pytest.fixture(scope="session")
def tfjs_target(request: pytest.FixtureRequest) -> Target:
    """The target this test runs on; tests with this fixture run once for each target."""
    if not hasattr(request, "param"):
        pytest.fail(
            "the fixture 'tfjs' creates one test for each target while pytest collects the tests, so "
            "request.getfixturevalue('tfjs') runs too late. Add tfjs to the arguments of the test, or of a "
            "fixture that the test uses",
            pytrace=False,
        )
    target: Target = request.param
    return target


@pytest.fixture
def tfjs(
    request: pytest.FixtureRequest,
    tfjs_target: Target,
    tfjs_harness: Harness,
    tfjs_cache: ContentCache,
    tfjs_tensorflow: TensorFlowProcess,
) -> Checker:
    """Compares and times models in the browser: `tfjs.assert_close(model, inputs)`."""
    from pytest_tfjs import outcomes
    from pytest_tfjs.checker import Checker
    from pytest_tfjs.report.run_results import EarlierComparisons
    from pytest_tfjs.workflows.context import Context

    item: pytest.Item = request.node
    earlier = item.config.stash.setdefault(EARLIER, EarlierComparisons())
    comparisons = item.stash.setdefault(COMPARISONS, [])
    tasks = item.stash.setdefault(TASKS, [])
    return Checker(
        Context(
            settings_of(item),
            tfjs_target,
            tfjs_harness,
            tfjs_cache,
            tfjs_tensorflow,
            test=outcomes.id_of(item),
            repeat=outcomes.repeat_command_of(item),
            earlier=earlier,
            progress=progress_of(item, tfjs_target),
            record=partial(outcomes.record_comparison, item, comparisons, earlier),
            record_agreement=partial(outcomes.record_agreement, item, tasks),
            attach=partial(item.add_report_section, "call"),
            lost=partial(record_lost_browser, item),
        )
    )


def settings_of(node: pytest.Item) -> Settings:
    """The settings of one test: its markers over those of the run. Raises SettingsError."""
    from pytest_tfjs.settings.markers import apply_markers

    return apply_markers(node.config.stash[SETTINGS], node.iter_markers("tfjs"))


def _worker(config: pytest.Config) -> str | None:
    """The name of this pytest-xdist worker, such as `gw2`; None in a run without workers."""
    name: str | None = getattr(config, "workerinput", {}).get("workerid")
    return name


def progress_of(item: pytest.Item, target: Target) -> Callable[[Progress], None]:
    """The callback that shows the progress of `item` on the terminal, if there is one."""
    line = _progress_line(item.config)
    if line is None:
        return lambda _: None
    line.subject, line.target = item.name.partition("[")[0], str(target)
    return lambda progress: line.show(progress.stage, progress.done, progress.total)


def _progress_line(config: pytest.Config) -> ProgressLine | None:
    stash = config.stash
    if PROGRESS not in stash and TERMINAL in stash and config.pluginmanager.has_plugin("terminalreporter"):
        from pytest_tfjs.report.progress_line import ProgressLine

        writer = config.get_terminal_writer()
        stash[PROGRESS] = ProgressLine(
            stash[TERMINAL], lambda: writer.fullwidth - writer.width_of_current_line
        )
    return stash.get(PROGRESS, None)


def record_lost_browser(item: pytest.Item, how: str) -> None:
    """Adds to a test's properties how a browser was lost."""
    from pytest_tfjs.formats.escaping import printable

    item.user_properties.append((RETRIED, printable(how)))
