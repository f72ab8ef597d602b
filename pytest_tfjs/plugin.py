"""The pytest hooks."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfjs.errors import (
    BrowserError,
    DistError,
    SettingsError,
    TargetUnavailableError,
    TfjsError,
)
from pytest_tfjs.fixtures import (
    COMPARISONS,
    EARLIER,
    PROGRESS,
    RETRIED,
    TASKS,
    TERMINAL,
    id_of,
    settings_of,
    tfjs,
    tfjs_browser_args,
    tfjs_cache,
    tfjs_harness,
    tfjs_target,
    tfjs_tensorflow,
)
from pytest_tfjs.outcomes import (
    check_expected,
    end_at_the_users_line,
    expecting,
    place_of_skip,
    skipping,
)
from pytest_tfjs.preflight import (
    address_of,
    check_programs_of,
    check_server,
    check_targets,
    dist_of,
    guesses_reach,
    targets_of,
    variants_of,
)
from pytest_tfjs.report.run_results import Earlier, Told
from pytest_tfjs.settings.addresses import bracketed
from pytest_tfjs.settings.markers import XFAIL, add_markers
from pytest_tfjs.settings.options import add_options
from pytest_tfjs.settings.settings import SETTINGS, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from pytest_tfjs.report.text_layout import Line

__all__ = ["tfjs", "tfjs_browser_args", "tfjs_cache", "tfjs_harness", "tfjs_target", "tfjs_tensorflow"]

_RESULTS: pytest.StashKey[Told] = pytest.StashKey()
_TASKS: pytest.StashKey[Told] = pytest.StashKey()
_LOST: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()
_NOT_RUN: pytest.StashKey[list[dict[str, str]]] = pytest.StashKey()
_UNWRITTEN: pytest.StashKey[str] = pytest.StashKey()
_COLOURS = {
    "close": "green",
    "diverged": "red",
    "error": "red",
    "unmapped": "yellow",
    "vacuous": "yellow",
    "expected": "yellow",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    add_markers(config)
    try:
        config.stash[SETTINGS] = resolve_settings(config)
        check_targets(config.stash[SETTINGS])
        check_server(config.stash[SETTINGS], _workers(config))
    except (SettingsError, DistError, BrowserError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_RESULTS] = Told()
    config.stash[_TASKS] = Told()
    config.stash[_LOST] = []
    config.stash[_NOT_RUN] = []
    config.stash[EARLIER] = Earlier()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(config), "tfjs-results")
    if sys.stdout.isatty() and _verbosity(config) >= 0:
        # During a test pytest puts a file in the place of stdout: this is the way to the terminal.
        config.stash[TERMINAL] = os.fdopen(
            os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="replace"
        )


def _verbosity(config: pytest.Config) -> int:
    """`Config.get_verbosity` came with pytest 8, and fails there where the terminal's plugin is left out."""
    return int(config.getoption("verbose", 0))


def pytest_unconfigure(config: pytest.Config) -> None:
    progress = config.stash.get(PROGRESS, None)
    if progress is not None:
        progress.clear()
    terminal = config.stash.get(TERMINAL, None)
    if terminal is not None:
        with contextlib.suppress(OSError):  # it went away
            terminal.close()


def pytest_report_header(config: pytest.Config) -> str:
    from importlib.metadata import version

    from pytest_tfjs.report.header import HeaderItem, header_line

    settings = config.stash[SETTINGS]
    items = [HeaderItem("backends", ",".join(settings.backends), settings.origin("backends"))]
    if settings.browsers is not None:
        items.append(HeaderItem("browsers", ",".join(settings.browsers), settings.origin("browsers")))
    for name in ("dist", "remote", "bind", "public_url"):
        value = getattr(settings, name)
        if value is not None:
            items.append(HeaderItem(name.replace("_", " "), str(value), settings.origin(name)))
    if guesses_reach(settings):
        items.append(HeaderItem("reached at", f"http://{bracketed(address_of(settings).reached_host())}"))
    return header_line(version("pytest-tfjs"), _tfjs_version(config), items)


def _tfjs_version(config: pytest.Config) -> str | None:
    try:
        return dist_of(config.stash[SETTINGS]).version
    except TfjsError:
        return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    targeted = "tfjs_target" in metafunc.fixturenames
    if not targeted and metafunc.definition.get_closest_marker(XFAIL) is None:
        return
    try:
        settings = settings_of(metafunc.definition)
        check_expected(metafunc.definition, variants_of(settings), targeted=targeted)
        if not targeted:
            return
        targets = targets_of(settings)
        check_programs_of(metafunc.config.stash[SETTINGS], targets)
    except SettingsError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from None
    # By session, so that pytest brings the tests of one target together and the page is opened once for them.
    ids = [target.id for target in targets]
    metafunc.parametrize("tfjs_target", targets, ids=ids, indirect=True, scope="session")


def _workers(config: pytest.Config) -> int:
    """How many processes run tests: pytest-xdist's workers, or this one."""
    count = 0
    for spec in config.getoption("tx", None) or ():  # "popen", "4*popen"
        times, star, _ = spec.partition("*")
        count += int(times) if star and times.isdigit() else 1
    return max(1, count)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Groups the tests of one target for pytest-xdist's `--dist=loadgroup`: a worker opens few pages.

    First, because pytest-xdist reads the groups in this hook as well.
    """
    for item in items if getattr(config.option, "loadgroup", False) else ():
        parameters: Mapping[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if "tfjs_target" in parameters and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(parameters["tfjs_target"].id))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    with expecting(item, strictly=False), skipping(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with expecting(item, strictly=True), skipping(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    progress = item.config.stash.get(PROGRESS, None)
    if progress is not None:
        progress.clear()
    if call.excinfo is not None and not item.config.getoption("fulltrace"):
        end_at_the_users_line(call.excinfo.value)
    report = yield
    cause = None if call.excinfo is None else call.excinfo.value.__cause__
    if report.skipped and isinstance(cause, TargetUnavailableError):
        report.longrepr = place_of_skip(item, str(cause))
        report.tfjs_not_run = {"test": id_of(item), "reason": str(cause)}  # type: ignore[attr-defined]
    # Of each phase its own, as fixtures compare too; in attributes, which pytest-xdist carries as they are.
    for key, name in ((COMPARISONS, "tfjs_comparisons"), (TASKS, "tfjs_tasks")):
        if key in item.stash:
            setattr(report, name, item.stash[key])
            del item.stash[key]
    return report


class _Collector:
    """Gathers all comparisons where the reports arrive: under pytest-xdist, in the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._places: dict[str, int] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Workers finish in any order: what is told keeps that of the tests."""
        self._places = {nodeid: place for place, nodeid in enumerate(ids)}

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # pytest keeps all reports to the end, and need not keep what is kept here.
        told, place = vars(report), self._places.get(report.nodeid, 0)
        self._config.stash[_RESULTS].extend(told.pop("tfjs_comparisons", ()), place)
        self._config.stash[_TASKS].extend(told.pop("tfjs_tasks", ()), place)
        if report.when == "teardown":  # which has what setup and call have
            lost = [(report.nodeid, str(how)) for name, how in report.user_properties if name == RETRIED]
            self._config.stash[_LOST].extend(lost)
        not_run = getattr(report, "tfjs_not_run", None)
        if not_run is not None:
            self._config.stash[_NOT_RUN].append(not_run)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    unwritten = config.stash.get(_UNWRITTEN, None)
    if unwritten is not None:
        terminalreporter.line(unwritten, red=True)
    if _verbosity(config) >= 0:
        _summarise(terminalreporter, config)
    for reason, count in Counter(told["reason"] for told in config.stash[_NOT_RUN]).items():
        terminalreporter.line(f"not run: {reason} ({count} test{'s' if count > 1 else ''})", yellow=True)


def _summarise(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tasks = config.stash[_TASKS].all()
    if tasks:
        from pytest_tfjs.report.agreement_message import task_lines

        terminalreporter.section("tfjs tasks")
        _write(terminalreporter, task_lines(tasks))
    results = config.stash[_RESULTS].all()
    if results:
        _summarise_comparisons(terminalreporter, config, results)
    if config.stash[_LOST]:
        from pytest_tfjs.report.labels import retry_line

        terminalreporter.section("tfjs browsers lost")
        for test, how in config.stash[_LOST]:
            terminalreporter.line(retry_line(test, how), yellow=True)


def _summarise_comparisons(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config, results: Sequence[dict[str, Any]]
) -> None:
    from pytest_tfjs.report.layer_table import layer_table
    from pytest_tfjs.report.sensitivity_summary import summary_lines
    from pytest_tfjs.report.summary_table import summary_table

    terminal = config.get_terminal_writer()
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if _verbosity(config) > 0:
        terminalreporter.section("tfjs layers")
        for comparison in results:
            table = layer_table(
                comparison, width=terminal.fullwidth, encoding=encoding, nodes=_verbosity(config) > 1
            )
            _write(terminalreporter, table)
            terminalreporter.line("")
    terminalreporter.section("tfjs")
    _write(terminalreporter, summary_table(results, width=terminal.fullwidth, encoding=encoding))
    for line in summary_lines(results, width=terminal.fullwidth, encoding=encoding):
        terminalreporter.line(line)


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

    results, tasks = config.stash[_RESULTS].all(), config.stash[_TASKS].all()
    not_run = config.stash[_NOT_RUN]
    try:
        write_json(path, environment_to_json(_tfjs_version(config)), results, tasks, not_run)
    except KeyboardInterrupt:
        config.stash[_UNWRITTEN] = (
            f"--tfjs-json={path}: not written, as the run was interrupted meanwhile; a file that is there is"
            " of an earlier run"
        )
        session.exitstatus = pytest.ExitCode.INTERRUPTED
    except OSError as error:
        # Told with the summary, and by the exit code: raised here it would hide what the tests found.
        config.stash[_UNWRITTEN] = f"--tfjs-json={path}: the results could not be written there: {error}"
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
