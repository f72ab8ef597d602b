"""Runs jobs in a browser page; holds the server, the browser and the current page."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_tfjs.browsers import watchdog
from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.jobs import Activations, JobResult
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.browsers.messages import LOST, ConsoleLine, Failure, PageFault, PageUp, Progress
from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.watchdog import AWAY_S, TICK_S, Watch, state_of
from pytest_tfjs.compare.results import TargetFacts
from pytest_tfjs.errors import (
    BrowserError,
    BrowserLostError,
    JobTimeoutError,
    PageError,
    TargetUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.browsers.jobs import Job
    from pytest_tfjs.browsers.launching.browser import Browser
    from pytest_tfjs.browsers.serving.access import Address
    from pytest_tfjs.browsers.serving.page_channel import Message, PageChannel
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.browsers.tfjs_dist import Dist

CONSOLE_LINES = 2000
JOB_TIMEOUT_S = 300.0


def show_no_progress(_: Progress) -> None:
    """Ignores progress."""


@dataclass(frozen=True)
class PageFacts(TargetFacts):
    """What a page runs on, with the version of TF.js and the browser's user agent."""

    tfjs_version: str | None
    user_agent: str | None


class Page:
    """The page of one target, with its backend ready. `Harness.open` makes it.

    `console` and `errors` hold the latest lines and uncaught errors, oldest first.
    """

    def __init__(
        self,
        harness: Harness,
        browser: Browser,
        target: Target,
        *,
        timeout_s: float,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._harness = harness
        self._browser = browser
        self.target = target
        self.console: deque[ConsoleLine] = deque(maxlen=CONSOLE_LINES)
        self.errors: deque[PageFault] = deque(maxlen=CONSOLE_LINES)
        self._closed = False
        self._server = harness.server
        setup = harness.setup_of(target)
        self._channel: PageChannel = self._server.open_page(setup)
        try:
            browser.open(self._server.page_url(self._channel))
            self.facts = self._wait_until_up(timeout_s, on_progress)
        except BaseException:
            self.close()
            raise

    def run(
        self,
        job: Job,
        on_activations: Callable[[Activations], None],
        *,
        timeout_s: float = JOB_TIMEOUT_S,
        on_progress: Callable[[Progress], None] = show_no_progress,
    ) -> JobResult:
        """Runs a job; `on_activations` gets each chunk of each feed as it arrives, on the calling thread.

        Callback time does not count towards `timeout_s`, the job's limit in seconds. The callback owns the
        arrays. `on_progress` gets each stage of the job, on the calling thread. Raises PageError if the job
        fails in the page, JobTimeoutError if it takes too long, BrowserLostError if the tab or browser dies,
        and ArtifactsError if the artifacts cannot be served.
        """
        if not self.healthy:
            raise PageError(f"the page for {self.target} is no longer usable: open the target again")
        self._channel.assign(job, self._server.publish(job.artifacts))
        watch = Watch(timeout_s, watchdog.SILENT_S, Progress("starting the job"), on_progress)
        try:
            while True:
                message = self._next(watch)
                if isinstance(message, JobResult):
                    return message
                if isinstance(message, Activations):
                    before = time.monotonic()
                    on_activations(message)
                    watch.pause(time.monotonic() - before)
        except PageError:
            raise
        except BaseException:
            self.close()  # nobody receives the rest of the job: the page must not continue it
            raise

    @property
    def healthy(self) -> bool:
        """Whether the page can do another job."""
        return not self._closed and not self._channel.ended()

    def close(self) -> None:
        """Stops receiving messages from this page."""
        self._closed = True
        self._server.close_page(self._channel)

    def _wait_until_up(self, timeout_s: float, on_progress: Callable[[Progress], None]) -> PageFacts:
        watch = Watch(timeout_s, watchdog.FIRST_SIGN_S, Progress("opening the page"), on_progress)
        while True:
            message = self._next(watch)
            if isinstance(message, PageUp):
                return self._facts(message.facts)

    def _facts(self, message: Any) -> PageFacts:
        target = self.target
        if message.get("backend") != target.backend:
            raise PageError(
                f"{target}: the page runs the backend {message.get('backend')!r}, expected {target.backend!r}"
            )
        renderer, software = message.get("renderer"), message.get("software")
        return PageFacts(
            browser=self._browser.name,
            browser_version=self._browser.version,
            backend=target.backend,
            variant=target.variant,
            flags=dict(message.get("flags") or {}),
            renderer=renderer,
            software=self._browser.software if software is None and renderer is not None else software,
            float32_textures=message.get("float32Textures"),
            tfjs_version=message.get("tfjsVersion"),
            user_agent=message.get("userAgent"),
        )

    def _next(self, watch: Watch) -> Message | None:
        """The page's next message, or None; raises an error for a message about a failure.

        None means that no message arrived within a tick, or that it was a console line or progress, which
        are handled here.
        """
        message = self._wait(watch)
        if message is None:
            self._check_alive(watch)
        if watch.over and not isinstance(message, JobResult | Failure):
            self._time_out(watch)
        if isinstance(message, ConsoleLine):
            self.console.append(message)
        elif isinstance(message, Progress):
            watch.show(message)
        elif isinstance(message, PageFault):
            self._note(message, watch)
        elif isinstance(message, Failure):
            self._fail(message)
        else:
            return message
        return None

    def _wait(self, watch: Watch) -> Message | None:
        before = time.monotonic()
        message = self._channel.next_message(TICK_S)
        late = time.monotonic() - before - TICK_S
        if late > AWAY_S:
            watch.started += late  # the machine was suspended, or this process was stopped
        return message

    def _note(self, fault: PageFault, watch: Watch) -> None:
        self.errors.append(fault)
        if fault.kind in LOST:
            raise self._harness.lose(self.target, watch.progress, fault.message)

    def _fail(self, failure: Failure) -> NoReturn:
        self._check_server(failure.stage)
        if failure.unavailable:
            self._harness.give_up(self.target, failure.reason)
        reason = failure.text
        if not hasattr(self, "facts"):
            reason += "".join(f"\nrefused: {request}" for request in self._server.refused())
            reason += "".join(f"\n{line}" for line in [*self.errors, *self.console][-10:])
        raise PageError(
            f"{self.target}: {reason}",
            stack=failure.stack,
            stage=failure.stage,
            refused=failure.refused,
            layer=failure.layer,
        )

    def _check_server(self, stage: str | None) -> None:
        trouble = self._server.trouble()
        if trouble is not None:
            self._harness.discard_server()
            raise PageError(
                f"{self.target}: pytest-tfjs's local server has stopped: {trouble}. Does a test close"
                " sockets or file descriptors that it did not open? The next test gets a new server",
                stage=stage,
            )

    def _check_alive(self, watch: Watch) -> None:
        silence = watch.silence(self._channel.last_message_at())
        trouble = None if self._browser.alive() else self._browser.ended
        if trouble is None and silence > watchdog.QUIET_S:
            self._check_server(str(watch.progress))
            trouble = self._browser.trouble()
        if trouble is None and silence > watch.silent_s:
            trouble = self._silent(silence)
        # A Grid may answer slowly; the page may have sent messages meanwhile.
        watch.looked = time.monotonic()
        if trouble is not None:
            raise self._harness.lose(self.target, watch.progress, trouble)

    def _silent(self, seconds: float) -> str:
        trouble = f"the page has not responded for {seconds:.0f} s, although the browser is still running"
        if self._channel.last_message_at() is not None:
            return trouble
        base = self._harness.server.access.base
        trouble += f"; the browser may not be able to reach {base} (set --tfjs-bind and --tfjs-public-url)"
        refused = self._server.refused()[:3]
        return f"{trouble}; the server refused the requests {', '.join(refused)}" if refused else trouble

    def _time_out(self, watch: Watch) -> NoReturn:
        state = state_of(self._channel.main_thread_busy(), watch.silence(self._channel.last_message_at()))
        self._harness.discard_browser()
        raise JobTimeoutError(
            f"{self.target}: timed out after {watch.timeout_s:g} s while {watch.progress}; {state}."
            " Raise the limit with --tfjs-timeout=SECONDS or the marker's `timeout`",
            stage=str(watch.progress),
        )


class Harness:
    """Starts the server and a browser when they are first needed; holds the page of the current target."""

    def __init__(
        self,
        *,
        dist: Dist,
        options: LaunchOptions | None = None,
        address: Address | None = None,
    ) -> None:
        self.dist = dist
        self._options = LaunchOptions() if options is None else options
        self._address = address
        self._server: Server | None = None
        self._browser: Browser | None = None
        self._page: Page | None = None
        self._started: set[str] = set()
        self._missing: dict[str, str] = {}
        self._seen: set[Target] = set()
        self._unavailable: dict[Target, str] = {}

    @property
    def server(self) -> Server:
        """The server, started at the first use."""
        if self._server is None:
            server = Server(self.dist, address=self._address)
            server.start()
            self._server = server
        return self._server

    def open(
        self,
        target: Target,
        *,
        timeout_s: float = JOB_TIMEOUT_S,
        on_progress: Callable[[Progress], None] = show_no_progress,
    ) -> Page:
        """The page of `target`: the current one, or a new one, which has `timeout_s` seconds to be ready.

        `on_progress` gets each stage, on the calling thread. Raises BrowserError if no browser starts,
        TargetUnavailableError if the machine does not have the target, PageError if the page or its backend
        fails to start for another reason (BrowserLostError if the browser is at fault), and DistError if the
        copy of TF.js lacks the backend.
        """
        if self._server is not None and self._server.trouble() is not None:
            self.discard_server()
        if self._page is not None and self._page.target == target and self._page.healthy:
            return self._page
        if target in self._unavailable:
            raise TargetUnavailableError(self._unavailable[target])
        self.dist.require(target.backend)
        if self._page is not None:
            self._page.close()
            self._page = None
        browser = self._browser_for(target, on_progress)
        on_progress(Progress(f"opening a page for {target.backend_variant}"))
        try:
            self._page = Page(self, browser, target, timeout_s=timeout_s, on_progress=on_progress)
        except BrowserError as error:
            raise self.lose(target, Progress("opening a page"), str(error)) from error
        self._seen.add(target)
        return self._page

    def close(self) -> None:
        """Ends the browser and the server. May be called again; the harness can be used again after it."""
        try:
            self.discard_browser()
        finally:
            self.discard_server()

    def setup_of(self, target: Target) -> dict[str, Any]:
        """The settings that the page of a target starts with."""
        return {
            "backend": target.backend,
            "flags": dict(target.flags),
            "scripts": list(self.dist.scripts(target.backend)),
            "wasmDirectory": self.dist.wasm_directory,
        }

    def give_up(self, target: Target, why: str) -> NoReturn:
        """Raises for a target that the page finds unavailable, and remembers this for later tests.

        If the target was available earlier in this run, the browser has lost it.
        """
        if target in self._seen:
            raise self.lose(
                target,
                Progress("opening a page"),
                f"{why}, although {target} was available earlier in this run",
            )
        self._unavailable[target] = f"{target}: not available on this machine: {why}"
        raise TargetUnavailableError(self._unavailable[target])

    def discard_browser(self) -> None:
        """Ends the browser and the page; the next `open` starts new ones."""
        page, self._page = self._page, None
        browser, self._browser = self._browser, None
        if page is not None:
            page.close()
        if browser is not None:
            browser.close()

    def discard_server(self) -> None:
        """Ends the server and the page; the next `open` starts new ones."""
        page, self._page = self._page, None
        server, self._server = self._server, None
        if page is not None:
            page.close()
        if server is not None:
            server.stop()

    def lose(self, target: Target, progress: Progress, trouble: str) -> BrowserLostError:
        """Ends the browser, which is lost for the reason `trouble`; gives the error to raise."""
        self.discard_browser()
        if self._server is not None:
            trouble = self._server.without_token(trouble)  # drivers quote the page's URL
        what = f"the browser was lost while {progress}: {trouble}"
        return BrowserLostError(target, what, stage=str(progress))

    def _browser_for(self, target: Target, on_progress: Callable[[Progress], None]) -> Browser:
        webgpu = target.backend == "webgpu"
        browser = self._browser
        if browser is not None and (
            browser.name != target.browser or (webgpu and not browser.webgpu) or not browser.alive()
        ):
            self.discard_browser()
        if self._browser is None:
            on_progress(Progress(f"starting {target.browser}"))
            self._browser = self._launch(target.browser, webgpu=webgpu)
        return self._browser

    def _launch(self, name: str, *, webgpu: bool) -> Browser:
        """Starts a browser; fails at once if it was not found before, as the search can take minutes."""
        if name in self._missing:
            raise BrowserError(self._missing[name])
        access = self.server.access
        options = self._options if access.is_secure else replace(self._options, trusted=access.origin)
        try:
            browser = launch(name, options, webgpu=webgpu)
        except BrowserError as error:
            if name not in self._started:
                self._missing[name] = str(error)
            raise
        self._started.add(name)
        return browser
