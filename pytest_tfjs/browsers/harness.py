"""The harness: one server, one browser, and the page of the target in use; jobs run in the page."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.jobs import Activations, JobResult
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.browsers.messages import LOST, ConsoleLine, Failure, PageFault, PageUp, Progress
from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.watchdog import AWAY_S, TICK_S, Watch, state_of
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
    from pytest_tfjs.browsers.serving.page_channel import Exchange, Message
    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.browsers.tfjs_dist import Dist

# Heartbeats come once a second: after this long without one the driver is asked what is wrong.
QUIET_S = 2.5
SILENT_S = 15.0
FIRST_SIGN_S = 60.0
KEPT_LINES = 2000


@dataclass(frozen=True)
class PageFacts:
    """What a page runs on. `renderer`, `software`, `float32_textures`: None where the backend has no GPU.

    `software` is None also where the browser hides its renderer, and it is not known whether there is a GPU.
    """

    browser: str
    browser_version: str
    backend: str
    variant: str | None
    flags: dict[str, bool | int | float]
    renderer: str | None
    software: bool | None
    float32_textures: bool | None
    tfjs_version: str | None
    user_agent: str | None


class Page:
    """The page of one target, which has made its backend. `Harness.open` makes it.

    `console` and `errors` hold the latest lines and uncaught errors, oldest first.
    """

    def __init__(self, harness: Harness, browser: Browser, target: Target) -> None:
        self._harness = harness
        self._browser = browser
        self.target = target
        self.console: deque[ConsoleLine] = deque(maxlen=KEPT_LINES)
        self.errors: deque[PageFault] = deque(maxlen=KEPT_LINES)
        self._closed = False
        self._server = harness.server
        setup = harness.setup_of(target)
        self._exchange: Exchange = self._server.open_page(setup)
        try:
            browser.open(self._server.page_url(self._exchange))
            self.facts = self._wait_until_up()
        except BaseException:
            self.close()
            raise

    def run(
        self,
        job: Job,
        on_activations: Callable[[Activations], None],
        timeout_s: float | None = None,
    ) -> JobResult:
        """Do a job; `on_activations` gets each chunk of each feed as it comes, on the calling thread.

        The time it takes is no part of the job's, and the arrays are its own. `timeout_s`: the job's limit in
        seconds, where it is less than that of the harness. Raises PageError where the job
        fails in the page, JobTimeoutError where it takes too long, BrowserLostError where the tab or browser
        dies, and ArtifactsError where the artifacts cannot be served.
        """
        if not self.healthy:
            raise PageError(f"the page for {self.target} is no longer usable: open the target again")
        self._exchange.assign(job, self._server.publish(job.artifacts))
        limit = min(self._harness.timeout_s, math.inf if timeout_s is None else timeout_s)
        watch = Watch(limit, SILENT_S, Progress("starting the job"))
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
            self.close()  # whoever was to receive the rest does not: the page must not go on with it
            raise

    @property
    def healthy(self) -> bool:
        """Whether the page can do another job."""
        return not self._closed and not self._exchange.ended()

    def close(self) -> None:
        """Take no more messages of this page."""
        self._closed = True
        self._server.close_page(self._exchange)

    def _wait_until_up(self) -> PageFacts:
        watch = Watch(self._harness.timeout_s, FIRST_SIGN_S, Progress("opening the page"))
        while True:
            message = self._next(watch)
            if isinstance(message, PageUp):
                return self._facts(message.facts)

    def _facts(self, told: Any) -> PageFacts:
        target = self.target
        if told.get("backend") != target.backend:
            raise PageError(
                f"{target}: the page runs {told.get('backend')!r}, {target.backend!r} was asked for"
            )
        renderer, software = told.get("renderer"), told.get("software")
        return PageFacts(
            browser=self._browser.name,
            browser_version=self._browser.version,
            backend=target.backend,
            variant=target.variant,
            flags=dict(told.get("flags") or {}),
            renderer=renderer,
            software=self._browser.software if software is None and renderer is not None else software,
            float32_textures=told.get("float32Textures"),
            tfjs_version=told.get("tfjsVersion"),
            user_agent=told.get("userAgent"),
        )

    def _next(self, watch: Watch) -> Message | None:
        """The page's next message, if one comes within a moment; raises where it tells of a failure.

        Console lines and progress are kept and passed on, and come as None.
        """
        message = self._wait(watch)
        if message is None:
            self._check_alive(watch)
        if watch.over and not isinstance(message, JobResult | Failure):
            self._time_out(watch)
        if isinstance(message, ConsoleLine):
            self.console.append(message)
        elif isinstance(message, Progress):
            watch.progress = message
            self._harness.on_progress(message)
        elif isinstance(message, PageFault):
            self._note(message, watch)
        elif isinstance(message, Failure):
            self._fail(message)
        else:
            return message
        return None

    def _wait(self, watch: Watch) -> Message | None:
        before = time.monotonic()
        message = self._exchange.next_message(TICK_S)
        late = time.monotonic() - before - TICK_S
        if late > AWAY_S:
            watch.started += late  # the machine slept, or this process was stopped
        return message

    def _note(self, fault: PageFault, watch: Watch) -> None:
        self.errors.append(fault)
        if fault.kind in LOST:
            raise self._harness.lose(self.target, watch.progress, fault.message)

    def _fail(self, failure: Failure) -> NoReturn:
        self._check_server(failure.stage)
        if failure.unavailable:
            self._harness.give_up(self.target, failure.reason)
        reason = failure.reason
        if not hasattr(self, "facts"):
            reason += "".join(f"\nrefused: {request}" for request in self._server.refused())
            reason += "".join(f"\n{said}" for said in [*self.errors, *self.console][-10:])
        raise PageError(
            f"{self.target}: {reason}",
            stack=failure.stack,
            stage=failure.stage,
            refused=failure.refused,
        )

    def _check_server(self, stage: str | None) -> None:
        trouble = self._server.trouble()
        if trouble is not None:
            self._harness.discard_server()
            raise PageError(
                f"{self.target}: the server in pytest's process, which gives the page all it needs, is gone:"
                f" {trouble}. Does a test close sockets or file descriptors that are not its own? The next"
                " test gets another server",
                stage=stage,
            )

    def _check_alive(self, watch: Watch) -> None:
        silence = watch.silence(self._exchange.heard())
        trouble = None if self._browser.alive() else self._browser.ended
        if trouble is None and silence > QUIET_S:
            self._check_server(str(watch.progress))
            trouble = self._browser.trouble()
        if trouble is None and silence > watch.silent_s:
            trouble = self._silent(silence)
        # A Grid may take its time to answer, in which the page could be heard all the same.
        watch.looked = time.monotonic()
        if trouble is not None:
            raise self._harness.lose(self.target, watch.progress, trouble)

    def _silent(self, seconds: float) -> str:
        trouble = f"the page gave no sign of life for {seconds:.0f} s, though the browser's process is there"
        if self._exchange.heard() is not None:
            return trouble
        base = self._harness.server.access.base
        trouble += f": it may not reach {base} (--tfjs-bind and --tfjs-public-url say where to look)"
        refused = self._server.refused()[:3]
        return f"{trouble}; the server refused {', '.join(refused)}" if refused else trouble

    def _time_out(self, watch: Watch) -> NoReturn:
        state = state_of(self._exchange.main_thread_busy(), watch.silence(self._exchange.heard()))
        self._harness.discard_browser()
        raise JobTimeoutError(
            f"{self.target}: not done after {watch.timeout_s:g} s, while {watch.progress}; {state}."
            " Give it more time with --tfjs-timeout=SECONDS, or the marker's timeout where there is one",
            stage=str(watch.progress),
        )


class Harness:
    """Starts the server and a browser when they are first needed, and holds the page of the target in use.

    `timeout_s`: one job's limit, in seconds. `on_progress` hears what is being done, on the calling thread.
    """

    def __init__(
        self,
        *,
        dist: Dist,
        options: LaunchOptions | None = None,
        address: Address | None = None,
        timeout_s: float = 300.0,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.dist = dist
        self._options = LaunchOptions() if options is None else options
        self._address = address
        self.timeout_s = timeout_s
        self.on_progress = on_progress
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

    def open(self, target: Target) -> Page:
        """The page of `target`: the one there is, or a fresh one.

        Raises BrowserError where no browser starts, TargetUnavailableError where the machine cannot have the
        target, PageError where the page or its backend does not come up for another reason (BrowserLostError
        where the browser is at fault), and DistError where the copy of TF.js lacks the backend.
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
        browser = self._browser_for(target)
        self.on_progress(Progress(f"opening a page for {target.backend_variant}"))
        try:
            self._page = Page(self, browser, target)
        except BrowserError as error:
            raise self.lose(target, Progress("opening a page"), str(error)) from error
        self._seen.add(target)
        return self._page

    def close(self) -> None:
        """End the browser and the server. May be called again, and the harness used again after."""
        try:
            self.discard_browser()
        finally:
            self.discard_server()

    def setup_of(self, target: Target) -> dict[str, Any]:
        """What the page of a target starts from."""
        return {
            "backend": target.backend,
            "flags": dict(target.flags),
            "scripts": list(self.dist.scripts(target.backend)),
            "wasmDirectory": self.dist.wasm_directory,
        }

    def give_up(self, target: Target, why: str) -> NoReturn:
        """Raise for a target that its page says the machine cannot have, now and when it is asked for again.

        Where it was there before in this run, the browser has lost it.
        """
        if target in self._seen:
            raise self.lose(target, Progress("opening a page"), f"{why}, as it did before in this run")
        self._unavailable[target] = f"{target}: not available on this machine: {why}"
        raise TargetUnavailableError(self._unavailable[target])

    def discard_browser(self) -> None:
        """End the browser, and with it the page: the next `open` starts another."""
        page, self._page = self._page, None
        browser, self._browser = self._browser, None
        if page is not None:
            page.close()
        if browser is not None:
            browser.close()

    def discard_server(self) -> None:
        """End the server, and with it the page: the next `open` starts another."""
        page, self._page = self._page, None
        server, self._server = self._server, None
        if page is not None:
            page.close()
        if server is not None:
            server.stop()

    def lose(self, target: Target, progress: Progress, trouble: str) -> BrowserLostError:
        """Give up the browser, which is lost for the reason `trouble`; the error that tells so."""
        self.discard_browser()
        if self._server is not None:
            trouble = self._server.without_token(trouble)  # drivers name the page that they were to open
        what = f"the browser was lost while {progress}: {trouble}"
        return BrowserLostError(target, what, stage=str(progress))

    def _browser_for(self, target: Target) -> Browser:
        webgpu = target.backend == "webgpu"
        browser = self._browser
        if browser is not None and (
            browser.name != target.browser or (webgpu and not browser.webgpu) or not browser.alive()
        ):
            self.discard_browser()
        if self._browser is None:
            self.on_progress(Progress(f"starting {target.browser}"))
            self._browser = self._launch(target.browser, webgpu=webgpu)
        return self._browser

    def _launch(self, name: str, *, webgpu: bool) -> Browser:
        """Looking for a browser can take minutes, so where none was found the next test is told at once."""
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
