"""Test outcomes: recorded results, skips, expected failures, and short tracebacks."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_tfjs.errors import PageError, SettingsError, TargetUnavailableError, TfjsError
from pytest_tfjs.settings.markers import XFAIL, expected_failure
from pytest_tfjs.settings.settings import SETTINGS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from pytest_tfjs.browsers.targets import Flags, Target
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.compare.task import Agreement
    from pytest_tfjs.report.run_results import EarlierComparisons

_NOT_USERS = ("_pytest", "pluggy", __package__)


def check_expected(definition: pytest.Item, own: Mapping[str, Flags], *, targeted: bool) -> None:
    """Raises SettingsError for a marker that can match no target, or on a test without a target.

    A typo in the pattern would silently disable the marker. `own`: the user's variants. `targeted`: whether
    the test has a target; a test without one may inherit the marker from its class or module.
    """
    from pytest_tfjs.browsers.targets import check_pattern

    for mark in definition.iter_markers(XFAIL):
        pattern, _ = expected_failure(mark)
        try:
            check_pattern(pattern, own)
        except SettingsError as error:
            raise SettingsError(f"@pytest.mark.{XFAIL} target: {error}") from None
    if not targeted and any(mark.name == XFAIL for mark in definition.own_markers):
        raise SettingsError(
            f"@pytest.mark.{XFAIL} applies only to tests that run on a target, but this test does not use the"
            " fixture 'tfjs'. Add tfjs to the test's arguments, or use @pytest.mark.xfail"
        )


def expected_on_target(item: pytest.Item) -> str | None:
    """The reason why a test is expected to fail on its target; None if it is not."""
    target = _target_of(item)
    if target is None or item.config.getoption("runxfail"):
        return None
    marked: Iterable[tuple[str, str]] = map(expected_failure, item.iter_markers(XFAIL))
    return next((reason for pattern, reason in marked if target.matches(pattern)), None)


def _target_of(item: pytest.Item) -> Target | None:
    parameters: Mapping[str, Target] = getattr(getattr(item, "callspec", None), "params", {})
    return parameters.get("tfjs_target")


def is_models_fault(result: Comparison | Agreement) -> bool:
    """Whether the verdict is not `close` because of the model: a lost browser says nothing about it."""
    return result.verdict != "close" and (result.verdict != "error" or result.refused)


def expected_verdict(item: pytest.Item, result: Comparison | Agreement) -> str | None:
    """The reason why a test expects this verdict on its target; None if it does not."""
    return expected_on_target(item) if is_models_fault(result) else None


@contextlib.contextmanager
def expecting(item: pytest.Item, *, strictly: bool) -> Iterator[None]:
    """Turns a failure into an expected one if the test is expected to fail on its target.

    `strictly`: a test that is expected to fail and passes is a failure.
    """
    expected = expected_on_target(item)
    try:
        yield
    except (AssertionError, PageError) as error:
        if expected is not None and _is_models_fault(error):
            pytest.xfail(expected)
        raise
    if expected is not None and strictly:
        pytest.fail(f"[XPASS(strict)] {expected}", pytrace=False)


def _is_models_fault(error: AssertionError | PageError) -> bool:
    from pytest_tfjs.workflows.assertion_errors import NotAgreed, NotClose

    if isinstance(error, NotClose):
        return is_models_fault(error.comparison)
    if isinstance(error, NotAgreed):
        return is_models_fault(error.agreement)
    return isinstance(error, PageError) and error.refused


@contextlib.contextmanager
def skipping(item: pytest.Item) -> Iterator[None]:
    """Skips a test whose target is not available on this machine, or fails it if settings are strict."""
    try:
        yield
    except TargetUnavailableError as error:
        skip_unavailable(item, error)


def skip_unavailable(item: pytest.Item, error: TargetUnavailableError) -> NoReturn:
    """Skips a test because of `error`; under `--tfjs-strict-targets` raises `error` again."""
    settings: Settings = item.config.stash[SETTINGS]
    if settings.strict_targets:
        raise error
    raise pytest.skip.Exception(str(error)) from error


def place_of_skip(item: pytest.Item, reason: str) -> tuple[str, int, str]:
    """The location and message of a skipped test's report: the test, not this plugin's hook."""
    path, line, _ = item.location
    return path, 1 + (line or 0), f"Skipped: {reason}"


def end_at_the_users_line(error: BaseException) -> None:
    """Shortens the traceback of a TfjsError to the user's line: the message says what was wrong."""
    if not isinstance(error, TfjsError):
        return
    trace = error.__traceback__
    while trace is not None:
        below = trace.tb_next
        if below is not None and _package(below) == __package__ and _package(trace) not in _NOT_USERS:
            trace.tb_next = below = None
        trace = below
    # The message includes the cause.
    error.__cause__, error.__suppress_context__ = None, True


def _package(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]


def record_comparison(
    item: pytest.Item, results: list[dict[str, Any]], earlier: EarlierComparisons, comparison: Comparison
) -> None:
    """Adds a comparison to a test's `results`, to its properties for JUnit, and to the run's comparisons."""
    from pytest_tfjs.report.comparison_json import comparison_to_json
    from pytest_tfjs.report.junit_properties import junit_properties

    content = comparison_to_json(comparison, expected=expected_verdict(item, comparison))
    results.append(content)
    item.user_properties.extend(junit_properties(content))
    earlier.add(comparison)


def record_agreement(item: pytest.Item, results: list[dict[str, Any]], agreement: Agreement) -> None:
    """Adds an agreement to a test's `results`."""
    from pytest_tfjs.report.agreement_json import agreement_to_json

    results.append(agreement_to_json(agreement, expected=expected_verdict(item, agreement)))


def repeat_command_of(item: pytest.Item) -> str:
    """The shell command that runs just this test again."""
    from pytest_tfjs.report.repeat_command import repeat_command
    from pytest_tfjs.settings.options import FLAGS

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
