"""The pytest fixtures, from the browser's arguments to the `tfjs` object.

A conftest.py can override each.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from pytest_tfjs.settings.markers import apply_markers
from pytest_tfjs.settings.options import FLAGS
from pytest_tfjs.settings.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.browsers.messages import Progress
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.checker import Checker
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.compare.task import Agreement
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.tensorflow.process import TensorFlowProcess
    from pytest_tfjs.report.progress_line import ProgressLine
    from pytest_tfjs.report.run_results import EarlierComparisons

    BrowserArguments = Sequence[str] | Mapping[str, Sequence[str]]

COMPARISONS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""Where a test's `Item.stash` holds its comparisons, as the JSON has them."""

TASKS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""Where a test's `Item.stash` holds its agreements, as the JSON has them."""

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
    from pytest_tfjs.checker import Checker
    from pytest_tfjs.report.run_results import EarlierComparisons
    from pytest_tfjs.workflows.context import Context

    item: pytest.Item = request.node
    return Checker(
        Context(
            settings_of(item),
            tfjs_target,
            tfjs_harness,
            tfjs_cache,
            tfjs_tensorflow,
            test=id_of(item),
            repeat=repeat_command_of(item),
            earlier=item.config.stash.setdefault(EARLIER, EarlierComparisons()),
            progress=progress_of(item, tfjs_target),
            record=partial(record_comparison, item),
            record_agreement=partial(record_agreement, item),
            attach=partial(item.add_report_section, "call"),
            lost=partial(record_lost_browser, item),
        )
    )


def settings_of(node: pytest.Item) -> Settings:
    """The settings of one test: its markers over those of the run. Raises SettingsError."""
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


def record_comparison(item: pytest.Item, comparison: Comparison) -> None:
    """Adds a comparison to a test's results and to those of the run."""
    from pytest_tfjs.outcomes import expected_verdict
    from pytest_tfjs.report.comparison_json import comparison_to_json
    from pytest_tfjs.report.junit_properties import junit_properties
    from pytest_tfjs.report.run_results import EarlierComparisons

    content = comparison_to_json(comparison, expected=expected_verdict(item, comparison))
    item.stash.setdefault(COMPARISONS, []).append(content)
    item.user_properties.extend(junit_properties(content))
    item.config.stash.setdefault(EARLIER, EarlierComparisons()).add(comparison)


def record_agreement(item: pytest.Item, agreement: Agreement) -> None:
    """Adds an agreement to a test's results."""
    from pytest_tfjs.outcomes import expected_verdict
    from pytest_tfjs.report.agreement_json import agreement_to_json

    content = agreement_to_json(agreement, expected=expected_verdict(item, agreement))
    item.stash.setdefault(TASKS, []).append(content)


def record_lost_browser(item: pytest.Item, how: str) -> None:
    """Adds to a test's properties how a browser was lost."""
    from pytest_tfjs.formats.escaping import printable

    item.user_properties.append((RETRIED, printable(how)))


def repeat_command_of(item: pytest.Item) -> str:
    """The shell command that runs just this test again."""
    from pytest_tfjs.report.repeat_command import repeat_command

    arguments = [str(argument) for argument in item.config.invocation_params.args]
    return repeat_command(argument_of(item), arguments, flags=FLAGS)


def id_of(item: pytest.Item) -> str:
    """The node id as the command line takes it, without the `@group` that pytest-xdist appends."""
    return item.nodeid if item.parent is None else f"{item.parent.nodeid}::{item.name}"


def argument_of(item: pytest.Item) -> str:
    """The test as a command line argument, relative to the directory that pytest was started in."""
    _, separator, names = id_of(item).partition("::")
    try:
        return os.path.relpath(item.path, item.config.invocation_params.dir) + separator + names
    except ValueError:  # on another drive
        return f"{item.path}{separator}{names}"


@contextlib.contextmanager
def interrupt_on_termination() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the run as Ctrl-C does, so that the browser and its files are removed."""

    def interrupt(signum: int, _: object) -> None:
        raise KeyboardInterrupt(f"stopped by {signal.Signals(signum).name}")

    before: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGHUP"):
        signum = getattr(signal, name, None)
        if (
            signum is not None
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signum) is signal.SIG_DFL
        ):
            before[signum] = signal.signal(signum, interrupt)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
