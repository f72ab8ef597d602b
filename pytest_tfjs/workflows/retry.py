"""Runs work in the target's page; retries once in a new browser if the browser is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pytest_tfjs.compare.results import TargetFacts
from pytest_tfjs.errors import BrowserError, BrowserLostError, PageError, TargetUnavailableError
from pytest_tfjs.formats.escaping import printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.browsers.harness import Page
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.workflows.context import Context


class PageRun(Protocol):
    """One run of some work in a page; holds the results, partial ones if the run fails."""

    def run(self, page: Page) -> None:
        """Does the work. Raises PageError if the page fails."""


Run = TypeVar("Run", bound=PageRun)
T = TypeVar("T")


@dataclass(frozen=True)
class Attempt(Generic[Run]):
    """The `run` that counts, and the `failure` that ended it, if any.

    `retried`: how the browser of a first run was lost, in words; None if there was one run only.
    """

    run: Run
    failure: PageError | None
    retried: str | None


def attempt(begin: Callable[[], Run], context: Context) -> Attempt[Run]:
    """Makes a run and does it in the target's page; makes and does another if the browser is lost.

    If the browser is lost again, that is the failure, as is any other failure in the page. Raises
    BrowserError if no browser starts, and TargetUnavailableError if the machine does not have the target.
    """
    lost: BrowserLostError | None = None
    while True:
        run = begin()
        failure: PageError | None = None
        try:
            _run_in_page(run, context)
        except BrowserError as error:
            if lost is None:
                raise
            raise _does_not_start(error, lost) from error
        except BrowserLostError as error:
            if lost is None:
                lost = error
                context.lost(error.what)
                continue
            failure = _lost_twice(lost, error)
        except TargetUnavailableError as error:
            if lost is None:
                raise
            failure = error  # it was available before
        except PageError as error:
            failure = error
        return Attempt(run, failure, None if lost is None else lost.what)


def result_of(work: Callable[[Page], T], context: Context) -> T:
    """The result of `work` in the target's page, with one retry. Raises PageError if the page fails."""
    finished = attempt(lambda: _Call(work), context)
    if finished.failure is not None:
        raise finished.failure
    return finished.run.result


class _Call(Generic[T]):
    """Calls a function with the page, and holds its result."""

    result: T

    def __init__(self, work: Callable[[Page], T]) -> None:
        self._work = work

    def run(self, page: Page) -> None:
        self.result = self._work(page)


def _run_in_page(run: PageRun, context: Context) -> None:
    page = context.harness.open(
        context.target, timeout_s=context.settings.timeout, on_progress=context.progress
    )
    try:
        run.run(page)
    finally:
        attach_console(page, context)


def attach_console(page: Page, context: Context) -> None:
    """Moves the page's console lines and errors to the test's report."""
    for title, entries in (("console", page.console), ("JavaScript errors", page.errors)):
        if entries:
            context.attach(f"tfjs {title}", printable_lines("\n".join(map(str, entries))))
            entries.clear()


def unopened_facts(target: Target) -> TargetFacts:
    """The facts about a target whose page has not opened: what the settings say."""
    return TargetFacts(
        browser=target.browser,
        browser_version="",
        backend=target.backend,
        variant=target.variant,
        flags=dict(target.flags),
        renderer=None,
        software=None,
        float32_textures=None,
    )


def _lost_twice(first: BrowserLostError, second: BrowserLostError) -> BrowserLostError:
    if second.what == first.what:
        both = f"{first.what}; a second, fresh browser was lost in the same way"
    else:
        both = f"{first.what}; a fresh browser replaced it and was also lost: {second.what}"
    advice = "The model may need more memory than the browser has."
    return BrowserLostError(second.target, f"{both}. {advice}", stage=second.stage)


def _does_not_start(error: BrowserError, lost: BrowserLostError) -> BrowserError:
    return BrowserError(f"{error}\nA fresh browser was needed because the first one was lost: {lost.what}")
