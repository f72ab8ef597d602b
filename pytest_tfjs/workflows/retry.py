"""Work in the browser on one target; where the browser is lost over it, once more on a fresh one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_tfjs.errors import BrowserError, BrowserLostError, PageError, TargetUnavailableError
from pytest_tfjs.formats.escaping import printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.browsers.harness import Harness, Page
    from pytest_tfjs.browsers.jobs import Activations, Job, JobResult
    from pytest_tfjs.browsers.targets import Target

State = TypeVar("State")
T = TypeVar("T")


@dataclass(frozen=True)
class Attempt(Generic[State]):
    """What came of work in the browser: `state`, as far as it came, and the `failure` that ended it, if any.

    `retried`: how a first browser was lost, in words; `state` is then wholly of the second.
    """

    state: State
    failure: PageError | None
    retried: str | None


class InBrowser:
    """Opens the target's page and does jobs there.

    `attach` takes what the page's console said, a title and a text; `lost` hears how a browser was lost.
    """

    def __init__(
        self,
        harness: Harness,
        target: Target,
        *,
        attach: Callable[[str, str], None] = lambda _title, _text: None,
        lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._harness = harness
        self._target = target
        self._attach = attach
        self._lost = lost

    def open(self) -> Page:
        """The page of the target; see `Harness.open`."""
        return self._harness.open(self._target)

    def perform(self, page: Page, job: Job, take: Callable[[Activations], None]) -> JobResult:
        """Does a job; what the page's console said meanwhile goes into the test's report."""
        try:
            return page.run(job, take)
        finally:
            for what, entries in (("console", page.console), ("JavaScript errors", page.errors)):
                if entries:
                    self._attach(f"tfjs {what}", printable_lines("\n".join(map(str, entries))))
                    entries.clear()

    def attempt(self, begin: Callable[[], State], work: Callable[[State], None]) -> Attempt[State]:
        """`work` on the state that `begin` gives; where the browser is lost, once more on another state.

        A browser that is lost a second time is a failure, as is whatever else fails in the page. Raises
        BrowserError where none starts, and TargetUnavailableError where the machine cannot have the target.
        """
        lost: BrowserLostError | None = None
        while True:
            state = begin()
            failure: PageError | None = None
            try:
                work(state)
            except BrowserError as error:
                if lost is None:
                    raise
                raise _does_not_start(error, lost) from error
            except BrowserLostError as error:
                if lost is None:
                    lost = error
                    self._lost(error.what)
                    continue
                failure = _lost_twice(lost, error)
            except TargetUnavailableError as error:
                if lost is None:
                    raise
                failure = error  # it was there before
            except PageError as error:
                failure = error
            return Attempt(state, failure, None if lost is None else lost.what)

    def result(self, work: Callable[[], T]) -> T:
        """What `work` gives, as an `attempt`. Raises PageError where it fails in the page."""
        results: list[T] = []
        failure = self.attempt(lambda: None, lambda _: results.append(work())).failure
        if failure is not None:
            raise failure
        return results[0]


def _lost_twice(first: BrowserLostError, second: BrowserLostError) -> BrowserLostError:
    if second.what == first.what:
        told = f"{first.what}; a second, fresh browser was lost in the same way"
    else:
        told = f"{second.what}; it had replaced another browser: {first.what}"
    advice = "The model may need more memory than the browser has."
    return BrowserLostError(second.target, f"{told}. {advice}", stage=second.stage)


def _does_not_start(error: BrowserError, lost: BrowserLostError) -> BrowserError:
    return BrowserError(f"{error}\nIt was to replace another browser: {lost.what}")
