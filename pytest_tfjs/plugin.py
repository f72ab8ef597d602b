"""The pytest hooks: options, targets, expected failures, the summary and the JSON file.

Every pytest run in an environment with the plugin imports this module. Modules that a run without TF.js tests
does not need are therefore imported inside the hooks that use them.
"""

from __future__ import annotations

import contextlib
import os
import sys
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
    PROGRESS,
    RETRIED,
    TASKS,
    TERMINAL,
    settings_of,
    tfjs,
    tfjs_browser_args,
    tfjs_cache,
    tfjs_harness,
    tfjs_target,
    tfjs_tensorflow,
)
from pytest_tfjs.settings.options import add_options
from pytest_tfjs.settings.settings import SETTINGS, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from pytest_tfjs.report.run_results import StoredResults

__all__ = ["tfjs", "tfjs_browser_args", "tfjs_cache", "tfjs_harness", "tfjs_target", "tfjs_tensorflow"]


class _Results:
    """What the tests of a run found, for the summary and the JSON.

    - `comparisons`, `tasks`: as the JSON has them, in the order of the tests.
    - `lost`: for each browser that was lost and replaced, the test's node id and how it was lost.
    - `not_run`: the tests that were skipped because the machine does not support their target.
    - `unwritten`: why the JSON file could not be written; None if it was, or was not requested.
    """

    def __init__(self) -> None:
        self.lost: list[tuple[str, str]] = []
        self.not_run: list[dict[str, str]] = []
        self.unwritten: str | None = None
        self._stored: dict[str, StoredResults] = {}

    def extend(self, kind: str, entries: Sequence[Mapping[str, Any]], place: int) -> None:
        """Adds comparisons or tasks of the test at a place in the order of collection."""
        if entries:
            from pytest_tfjs.report.run_results import StoredResults

            self._stored.setdefault(kind, StoredResults()).extend(entries, place)

    def found_any(self) -> bool:
        """Whether the summary has anything to show."""
        return bool(self._stored or self.lost or self.not_run)

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        return self._stored["comparisons"].all() if "comparisons" in self._stored else []

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return self._stored["tasks"].all() if "tasks" in self._stored else []


_RESULTS: pytest.StashKey[_Results] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    from pytest_tfjs.settings.markers import add_markers

    add_markers(config)
    try:
        settings = config.stash[SETTINGS] = resolve_settings(config)
        if settings.origins or settings.variants:
            from pytest_tfjs.preflight import check_server, check_targets

            check_targets(settings)
            check_server(settings, _workers(config))
    except (SettingsError, DistError, BrowserError) as error:
        raise pytest.UsageError(str(error)) from None
    results = config.stash[_RESULTS] = _Results()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(results), "tfjs-results")
    if sys.stdout.isatty() and _verbosity(config) >= 0:
        # During a test pytest replaces stdout by a file: this descriptor still leads to the terminal.
        config.stash[TERMINAL] = os.fdopen(
            os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="replace"
        )


def _verbosity(config: pytest.Config) -> int:
    """The count of `-v` minus that of `-q`.

    `Config.get_verbosity` exists since pytest 8, and fails if the terminal plugin is disabled.
    """
    return int(config.getoption("verbose", 0))


def pytest_unconfigure(config: pytest.Config) -> None:
    progress = config.stash.get(PROGRESS, None)
    if progress is not None:
        progress.clear()
    terminal = config.stash.get(TERMINAL, None)
    if terminal is not None:
        with contextlib.suppress(OSError):  # the terminal was closed
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
    if settings.remote is not None:
        from pytest_tfjs.preflight import address_of, guesses_reach
        from pytest_tfjs.settings.addresses import bracketed

        if guesses_reach(settings):
            host = bracketed(address_of(settings).reached_host())
            items.append(HeaderItem("reached at", f"http://{host}"))
    return header_line(version("pytest-tfjs"), _tfjs_version(config), items)


def _tfjs_version(config: pytest.Config) -> str | None:
    from pytest_tfjs.preflight import dist_of

    try:
        return dist_of(config.stash[SETTINGS]).version
    except TfjsError:
        return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from pytest_tfjs.settings.markers import XFAIL

    targeted = "tfjs_target" in metafunc.fixturenames
    if not targeted and metafunc.definition.get_closest_marker(XFAIL) is None:
        return
    from pytest_tfjs.outcomes import check_expected
    from pytest_tfjs.preflight import check_programs_of, targets_of, variants_of

    try:
        settings = settings_of(metafunc.definition)
        check_expected(metafunc.definition, variants_of(settings), targeted=targeted)
        if not targeted:
            return
        targets = targets_of(settings)
        check_programs_of(metafunc.config.stash[SETTINGS], targets)
    except SettingsError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from None
    # In session scope pytest runs the tests of one target together, and the page is opened once for them.
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
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _run_phase(item, strictly=False))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _run_phase(item, strictly=True))


def _run_phase(item: pytest.Item, *, strictly: bool) -> Generator[None, object, object]:
    """Runs a test's setup or call: skips unavailable targets, and expects failures that are marked."""
    if not any(name.startswith("tfjs") for name in getattr(item, "fixturenames", ())):
        try:
            return (yield)
        except TargetUnavailableError as error:  # by request.getfixturevalue("tfjs_harness")
            from pytest_tfjs.outcomes import skip_unavailable

            skip_unavailable(item, error)
    from pytest_tfjs.outcomes import expecting, skipping

    with expecting(item, strictly=strictly), skipping(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    progress = item.config.stash.get(PROGRESS, None)
    if progress is not None:
        progress.clear()
    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, TfjsError) and not item.config.getoption("fulltrace"):
        from pytest_tfjs.outcomes import end_at_the_users_line

        end_at_the_users_line(error)
    report = yield
    cause = None if error is None else error.__cause__
    if report.skipped and isinstance(cause, TargetUnavailableError):
        from pytest_tfjs.outcomes import id_of, place_of_skip

        report.longrepr = place_of_skip(item, str(cause))
        report.tfjs_not_run = {"test": id_of(item), "reason": str(cause)}  # type: ignore[attr-defined]
    # Each phase has its own, because fixtures compare too. pytest-xdist sends attributes to the controller.
    for key, name in ((COMPARISONS, "tfjs_comparisons"), (TASKS, "tfjs_tasks")):
        if item.stash.get(key, []):
            setattr(report, name, item.stash[key].copy())
            item.stash[key].clear()
        if call.when == "teardown" and key in item.stash:
            del item.stash[key]
    return report


class _Collector:
    """Collects results from the tests' reports: under pytest-xdist, in the controller."""

    def __init__(self, results: _Results) -> None:
        self._results = results
        self._places: dict[str, int] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Remembers the order of the tests, as workers finish in any order."""
        self._places = {nodeid: place for place, nodeid in enumerate(ids)}

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # pytest keeps every report until the end: entries taken out of it are not in memory twice.
        attributes, place = vars(report), self._places.get(report.nodeid, 0)
        self._results.extend("comparisons", attributes.pop("tfjs_comparisons", ()), place)
        self._results.extend("tasks", attributes.pop("tfjs_tasks", ()), place)
        if report.when == "teardown":  # its user properties include those of setup and call
            lost = [(report.nodeid, str(how)) for name, how in report.user_properties if name == RETRIED]
            self._results.lost.extend(lost)
        not_run = attributes.get("tfjs_not_run")
        if not_run is not None:
            self._results.not_run.append(not_run)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[_RESULTS]
    if results.unwritten is not None:
        terminalreporter.line(results.unwritten, red=True)
    if not results.found_any():
        return
    from pytest_tfjs.report.terminal_summary import COLOURS, summary_sections

    sections = summary_sections(
        comparisons=results.comparisons,
        tasks=results.tasks,
        lost=results.lost,
        not_run=results.not_run,
        verbosity=_verbosity(config),
        width=config.get_terminal_writer().fullwidth,
        encoding=getattr(sys.stdout, "encoding", None) or "ascii",
    )
    for section in sections:
        if section.title is not None:
            terminalreporter.section(section.title)
        for line in section.lines:
            terminalreporter.line(
                line.text, **{COLOURS[line.verdict]: True} if line.verdict in COLOURS else {}
            )


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    path = config.stash[SETTINGS].json
    if path is None or hasattr(config, "workerinput") or config.getoption("collectonly"):
        return
    from pytest_tfjs.models.tensorflow.importing import versions
    from pytest_tfjs.report.json_report import environment_to_json, write_json

    results = config.stash[_RESULTS]
    installed = versions()
    environment = environment_to_json(
        tfjs=_tfjs_version(config),
        tensorflow=installed["tensorflow"],
        pytest_tfjs=installed["pytest-tfjs"],
    )
    try:
        write_json(path, environment, results.comparisons, results.tasks, results.not_run)
    except KeyboardInterrupt:
        results.unwritten = (
            f"--tfjs-json={path}: not written, because the run was interrupted; if the file exists, it is"
            " from an earlier run"
        )
        session.exitstatus = pytest.ExitCode.INTERRUPTED
    except OSError as error:
        # The summary and the exit code report it: an exception here would hide what the tests found.
        results.unwritten = f"--tfjs-json={path}: the results could not be written there: {error}"
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
