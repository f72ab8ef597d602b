"""The pytest hooks."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfjs.errors import SettingsError, TfjsError
from pytest_tfjs.fixtures import (
    COMPARISONS,
    EARLIER,
    PROGRESS,
    dist_of,
    settings_of,
    tfjs,
    tfjs_browser_args,
    tfjs_cache,
    tfjs_harness,
    tfjs_target,
)
from pytest_tfjs.settings import SETTINGS, Settings, add_options, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.report.text import Line

__all__ = ["tfjs", "tfjs_browser_args", "tfjs_cache", "tfjs_harness", "tfjs_target"]

_RESULTS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
_COLOURS = {"close": "green", "diverged": "red", "error": "red", "unmapped": "yellow", "vacuous": "yellow"}


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "tfjs(backends, browsers, layers, format, weights, rtol, atol, timeout): "
        "settings of one test for its TensorFlow.js models, over those of the command line",
    )
    try:
        config.stash[SETTINGS] = resolve_settings(config)
        _check_targets(config.stash[SETTINGS])
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_RESULTS] = []
    config.stash[EARLIER] = []
    config.pluginmanager.register(_Collector(config), "tfjs-results")
    if sys.stdout.isatty() and config.get_verbosity() >= 0:
        _show_progress(config)


def _show_progress(config: pytest.Config) -> None:
    """Keeps a way to the terminal: during a test pytest captures what is written to stdout."""
    from pytest_tfjs.report.progress import ProgressLine

    terminal = config.get_terminal_writer()
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="replace")
    config.stash[PROGRESS] = ProgressLine(stream, lambda: terminal.fullwidth - terminal.width_of_current_line)


def pytest_unconfigure(config: pytest.Config) -> None:
    progress = config.stash.get(PROGRESS, None)
    if progress is not None:
        progress.close()


def pytest_report_header(config: pytest.Config) -> str:
    from importlib.metadata import version

    from pytest_tfjs.report.terminal import HeaderItem, header_line

    settings = config.stash[SETTINGS]
    items = [HeaderItem("backends", ",".join(settings.backends), settings.origin("backends"))]
    if settings.browsers is not None:
        items.append(HeaderItem("browsers", ",".join(settings.browsers), settings.origin("browsers")))
    if settings.dist is not None:
        items.append(HeaderItem("dist", str(settings.dist), settings.origin("dist")))
    return header_line(version("pytest-tfjs"), _tfjs_version(config), items)


def _tfjs_version(config: pytest.Config) -> str | None:
    try:
        return dist_of(config.stash[SETTINGS]).version
    except TfjsError:
        return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "tfjs_target" not in metafunc.fixturenames:
        return
    try:
        targets = _targets(settings_of(metafunc.definition))
    except SettingsError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from None
    # By session, so that pytest brings the tests of one target together and the page is opened once for them.
    ids = [target.id for target in targets]
    metafunc.parametrize("tfjs_target", targets, ids=ids, indirect=True, scope="session")


def _check_targets(settings: Settings) -> None:
    """Refuses unknown names before anything runs; without any given, nothing is imported to look."""
    if settings.origin("backends") != "default" or settings.browsers is not None:
        _targets(settings)


def _targets(settings: Settings) -> tuple[Target, ...]:
    from pytest_tfjs.browsers.launch import ENGINES
    from pytest_tfjs.browsers.targets import parse_targets

    browsers = (next(iter(ENGINES)),) if settings.browsers is None else settings.browsers
    try:
        parse_targets(browsers, ["cpu"])
    except SettingsError as error:
        raise SettingsError(f"{settings.spelled('browsers')}: {error}") from None
    try:
        return parse_targets(browsers, settings.backends)
    except SettingsError as error:
        raise SettingsError(f"{settings.spelled('backends')}: {error}") from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    progress = item.config.stash.get(PROGRESS, None)
    if progress is not None:
        progress.clear()
    report = yield
    if call.when == "call" and COMPARISONS in item.stash:
        # An attribute, because pytest-xdist carries a report's attributes to the controller as they are.
        report.tfjs_comparisons = item.stash[COMPARISONS]  # type: ignore[attr-defined]
    return report


class _Collector:
    """Gathers all comparisons where the reports arrive: under pytest-xdist, in the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._config.stash[_RESULTS].extend(getattr(report, "tfjs_comparisons", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    from pytest_tfjs.report.tables import layer_table, summary_table

    results = config.stash[_RESULTS]
    if not results or config.get_verbosity() < 0:
        return
    terminal = config.get_terminal_writer()
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if config.get_verbosity() > 0:
        terminalreporter.section("tfjs layers")
        for comparison in results:
            _write(terminalreporter, layer_table(comparison, width=terminal.fullwidth, encoding=encoding))
            terminalreporter.line("")
    terminalreporter.section("tfjs")
    _write(terminalreporter, summary_table(results, width=terminal.fullwidth, encoding=encoding))


def _write(terminalreporter: pytest.TerminalReporter, lines: Sequence[Line]) -> None:
    for line in lines:
        markup = {_COLOURS[line.verdict]: True} if line.verdict in _COLOURS else {}
        terminalreporter.line(line.text, **markup)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    path = config.stash[SETTINGS].json
    if path is None or hasattr(config, "workerinput") or config.getoption("collectonly"):
        return
    from pytest_tfjs.report.json_report import environment_to_json, write_json

    results = config.stash[_RESULTS]
    try:
        write_json(path, environment_to_json(_tfjs_version(config)), results)
    except OSError as error:
        raise pytest.UsageError(
            f"--tfjs-json={path}: the results cannot be written there: {error}"
        ) from error
