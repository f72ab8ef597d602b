"""How a test ends: its target cannot be had, it is expected to fail there, or what it asked for is wrong."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

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

_PYTEST = ("_pytest", "pluggy")


def check_expected(definition: pytest.Item, own: Mapping[str, Flags], *, targeted: bool) -> None:
    """Refuses markers that could not match any target, or that stand on a test which has none.

    A typing error would hide what is to be expected. `own`: the user's variants. `targeted`: whether the test
    has a target; one without may get the marker from its class or module, where it says nothing of it. Raises
    SettingsError.
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
            f"@pytest.mark.{XFAIL} is for tests that run on a target, and this one does not ask for the"
            " fixture 'tfjs': name it among the test's arguments, or use @pytest.mark.xfail"
        )


def expected_on_target(item: pytest.Item) -> str | None:
    """Why a test is expected to fail on its target; None where it is not."""
    target = _target_of(item)
    if target is None or item.config.getoption("runxfail"):
        return None
    marked: Iterable[tuple[str, str]] = map(expected_failure, item.iter_markers(XFAIL))
    return next((reason for pattern, reason in marked if target.matches(pattern)), None)


def _target_of(item: pytest.Item) -> Target | None:
    parameters: Mapping[str, Target] = getattr(getattr(item, "callspec", None), "params", {})
    return parameters.get("tfjs_target")


def is_verdict(found: Comparison | Agreement) -> bool:
    """Whether it tells of the model, and is not `close`: a browser that was lost tells nothing of it."""
    return found.verdict != "close" and (found.verdict != "error" or found.refused)


def expected_verdict(item: pytest.Item, found: Comparison | Agreement) -> str | None:
    """Why a test expects the verdict that it found on its target; None where it does not."""
    return expected_on_target(item) if is_verdict(found) else None


@contextlib.contextmanager
def expecting(item: pytest.Item, *, strictly: bool) -> Iterator[None]:
    """Makes a verdict an expected failure where the test is expected to fail on its target.

    `strictly`: that there is none is a failure then.
    """
    expected = expected_on_target(item)
    try:
        yield
    except (AssertionError, PageError) as error:
        if expected is not None and _tells_of_the_model(error):
            pytest.xfail(expected)
        raise
    if expected is not None and strictly:
        pytest.fail(f"[XPASS(strict)] {expected}", pytrace=False)


def _tells_of_the_model(error: AssertionError | PageError) -> bool:
    from pytest_tfjs.checker import NotClose
    from pytest_tfjs.workflows.agreement import NotAgreed

    if isinstance(error, NotClose):
        return is_verdict(error.comparison)
    if isinstance(error, NotAgreed):
        return is_verdict(error.agreement)
    return isinstance(error, PageError) and error.refused


@contextlib.contextmanager
def skipping(item: pytest.Item) -> Iterator[None]:
    """Skips a test whose target the machine cannot have, unless that is to be a failure."""
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
    """What a report of a skipped test tells: its place is the test, not our hook."""
    path, line, _ = item.location
    return path, 1 + (line or 0), f"Skipped: {reason}"


def end_at_the_users_line(error: BaseException) -> None:
    """What is wrong with a model, a feed or a setting stands in the message: how it was found out is ours."""
    if not isinstance(error, TfjsError):
        return
    trace = error.__traceback__
    while trace is not None:
        below = trace.tb_next
        if below is not None and _package(below) == __package__ and _package(trace) not in _PYTEST:
            trace.tb_next = below = None
        trace = below
    # The message tells of the cause as well.
    error.__cause__, error.__suppress_context__ = None, True


def _package(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
