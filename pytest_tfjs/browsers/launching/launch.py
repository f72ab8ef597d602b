"""Browsers: found, started and driven through Selenium; nothing of them outlives `close`."""

from __future__ import annotations

import contextlib
import logging
import math
import platform
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.browsers.engines.engine import LaunchOptions, Place
from pytest_tfjs.browsers.launching.interruptible import interruptible
from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil
    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.engines.engine import Engine, Finder
    from pytest_tfjs.browsers.processes.workspace import Workspace

__all__ = ["Browser", "Driven", "LaunchOptions", "has_gpu", "launch"]

START_S = 120.0
# As long as Selenium Manager itself waits for what it fetches, unless told else.
FETCH_S = 300.0
COMMAND_S = 10.0
QUIT_S = 5.0
CLOSE_S = 10.0
LOOK_AGAIN_S = 0.02
FIRST_WAIT_S = 0.05


class Browser(Protocol):
    """A running browser with one page. `close` may be called at any time, and again."""

    @property
    def name(self) -> str:
        """The name users know it by: `chrome`."""

    @property
    def version(self) -> str:
        """The full version that the browser tells of itself."""

    @property
    def webgpu(self) -> bool:
        """Whether it was started for webgpu."""

    @property
    def software(self) -> bool | None:
        """True where its machine has no GPU, so that all it draws is software; None where it is not known."""

    def open(self, url: str) -> None:
        """Close the page there is, and open a fresh one at `url`, without waiting for it to load.

        Raises BrowserError, in one line, where that fails.
        """

    @property
    def ended(self) -> str:
        """What it is that is no longer there, in words, where it is not `alive`."""

    def alive(self) -> bool:
        """Whether its processes are there. Cheap."""

    def trouble(self) -> str | None:
        """What the driver knows to be wrong with the page, in words: a crashed tab. Takes a moment."""

    def close(self) -> None:
        """End it and all that came of it."""


class Driven:
    """What is done through the driver alone, and so with a browser on any machine."""

    software: bool | None = None

    def __init__(self, engine: Engine, driver: WebDriver, *, webgpu: bool) -> None:
        self.name = engine.name
        self.version = str(driver.capabilities.get("browserVersion") or "unknown")
        self.webgpu = webgpu
        self._engine = engine
        self._driver = driver

    def open(self, url: str) -> None:  # noqa: D102 (see Browser)
        try:
            former = self._driver.current_window_handle
            fresh = self._driver.execute("newWindow", {"type": "tab"})["value"]["handle"]
            self._close_tab(former, fresh)
            self._driver.switch_to.window(fresh)
            with unlogged():  # the token is in the address
                self._driver.get(url)
        except Exception as error:
            raise BrowserError(first_line(error)) from error

    def _close_tab(self, tab: str, fresh: str) -> None:
        # Chrome forgets to close a tab that has just begun to load, and a busy one it closes half a second
        # after it was last asked: so ask again, but after ever longer waits.
        asked, wait = -math.inf, FIRST_WAIT_S
        deadline = time.monotonic() + CLOSE_S
        while tab in self._driver.window_handles:
            now = time.monotonic()
            if now > deadline:
                raise BrowserError("the page before did not close")
            if now > asked + wait:
                with contextlib.suppress(Exception):  # it closed in the meantime
                    self._engine.close_tab(self._driver, tab, fresh)
                asked, wait = now, 2 * wait
            time.sleep(LOOK_AGAIN_S)

    def trouble(self) -> str | None:  # noqa: D102 (see Browser)
        try:
            self._engine.ask(self._driver)
        except Exception as error:  # noqa: BLE001 (the driver's answer, or that it gave none)
            return first_line(error)
        return None


class LocalBrowser(Driven):
    """A browser on this machine."""

    ended = "its process ended"

    def __init__(self, engine: Engine, options: LaunchOptions, *, webgpu: bool = False) -> None:
        """Find and start it. Raises BrowserError that tells each way that was tried and why it failed."""
        self._workspace, driver = _find_and_start(engine, options, webgpu=webgpu)
        try:
            super().__init__(engine, driver, webgpu=webgpu)
            self.software = None if has_gpu() else True
            self._process = _process(engine.pid(driver))
        except BaseException:
            self._workspace.close()
            raise

    def alive(self) -> bool:
        import psutil

        try:
            return self._process is None or (
                self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    def close(self) -> None:
        quitting = threading.Thread(target=self._quit, daemon=True)
        try:
            quitting.start()
            quitting.join(QUIT_S)
        finally:
            self._workspace.close()

    def _quit(self) -> None:
        with contextlib.suppress(Exception):
            self._workspace.remember()
        with contextlib.suppress(Exception):
            self._driver.quit()


def launch(name: str, options: LaunchOptions, *, webgpu: bool = False) -> Browser:
    """Start the browser of that name; raises BrowserError where that cannot be done."""
    engine, options = ENGINES[name], options.for_browser(name)
    if options.arguments and not engine.takes_arguments:
        raise BrowserError(
            f"{engine.label} takes no command line arguments, and the fixture tfjs_browser_args gives it"
            f" {', '.join(options.arguments)}: have it give a mapping, from the names of other browsers to"
            " their arguments"
        )
    if options.remote is not None:
        from pytest_tfjs.browsers.launching.remote import RemoteBrowser

        return RemoteBrowser(engine, options, webgpu=webgpu)
    return LocalBrowser(engine, options, webgpu=webgpu)


def has_gpu(dev: Path = Path("/dev")) -> bool:
    """Whether the machine has a GPU that a browser can use; taken for granted on other systems than Linux."""
    if platform.system() != "Linux":
        return True
    return any(dev.glob("dri/renderD*")) or any(dev.glob("nvidia[0-9]*"))


def limit_commands(driver: WebDriver, seconds: float) -> None:
    """Have each command of this session answered within that time, or given up."""
    from selenium.webdriver.remote.remote_connection import RemoteConnection

    assert isinstance(driver.command_executor, RemoteConnection)
    driver.command_executor.client_config.timeout = seconds


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keeps what a driver is asked out of the log, which pytest shows on request."""
    logger = logging.getLogger("selenium.webdriver.remote.remote_connection")
    before = logger.level
    logger.setLevel(max(logging.INFO, before))
    try:
        yield
    finally:
        logger.setLevel(before)


def first_line(error: BaseException) -> str:
    """What an error says, in one line: Selenium's have many, and a driver that is gone says nothing."""
    from urllib3.exceptions import HTTPError, MaxRetryError, ReadTimeoutError

    if isinstance(error, ReadTimeoutError) or (
        isinstance(error, MaxRetryError) and isinstance(error.reason, ReadTimeoutError)
    ):
        return "its driver did not answer in time"
    if isinstance(error, HTTPError | ConnectionError):
        return "its driver is gone: nobody answers where it was"
    said = getattr(error, "msg", None)
    text = str(error if said is None else said).partition("; For documentation on this error")[0].strip()
    return text.splitlines()[0] if text else type(error).__name__


def _find_and_start(engine: Engine, options: LaunchOptions, *, webgpu: bool) -> tuple[Workspace, WebDriver]:
    failures: list[str] = []
    for label, find in engine.ways(options):
        started = _attempt(engine, options, find, webgpu=webgpu)
        if not isinstance(started, str):
            return started
        failures.append(f"- {label}: {started}")
    tried = "\n".join(failures)
    raise BrowserError(f"{engine.label} could not be started.\n{tried}\n{engine.remedy}")


def _attempt(
    engine: Engine, options: LaunchOptions, find: Finder, *, webgpu: bool
) -> tuple[Workspace, WebDriver] | str:
    """One way to come by a browser, or why it failed: whatever is wrong with it, there are others."""
    try:
        binary, driver = find()
        return _start(engine, options, binary, driver, webgpu=webgpu)
    except Exception as error:  # noqa: BLE001
        return first_line(error)


def _start(
    engine: Engine, options: LaunchOptions, binary: str | None, driver: str | None, *, webgpu: bool
) -> tuple[Workspace, WebDriver]:
    from pytest_tfjs.browsers.processes.workspace import Workspace, clear

    workspace = Workspace()

    def start() -> WebDriver:
        try:
            chosen = engine.capabilities(options, webgpu=webgpu, gpu=has_gpu())
            started = engine.start(chosen, Place(workspace, binary, driver, headed=options.headed))
            limit_commands(started, COMMAND_S)
        except BaseException:
            workspace.close()
            raise
        return started

    # Where it is given up and does not end even so, the workspace stays open: it goes with this process then.
    started = interruptible(
        start,
        lambda _: workspace.close(),
        halt=lambda: clear(workspace.directory),
        limit_s=START_S if driver is not None else START_S + FETCH_S,
    )
    return workspace, started


def _process(pid: int | None) -> psutil.Process | None:
    import psutil

    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid) if pid is not None else None
    return None
