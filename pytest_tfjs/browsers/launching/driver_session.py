"""A browser driven over WebDriver: opens pages, queries the driver, reads its errors."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from typing import TYPE_CHECKING

from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.engines.engine import Engine

CLOSE_S = 10.0
LOOK_AGAIN_S = 0.02
FIRST_WAIT_S = 0.05


class DriverSession:
    """The operations that need only the driver, and so work for a browser on any machine."""

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
        # Chrome ignores the request for a tab that has just begun to load, and closes a busy tab half a
        # second after the last request. Therefore the request is repeated, after ever longer waits.
        requested, wait = -math.inf, FIRST_WAIT_S
        deadline = time.monotonic() + CLOSE_S
        while tab in self._driver.window_handles:
            now = time.monotonic()
            if now > deadline:
                raise BrowserError("the previous page did not close")
            if now > requested + wait:
                with contextlib.suppress(Exception):  # it closed in the meantime
                    self._engine.close_tab(self._driver, tab, fresh)
                requested, wait = now, 2 * wait
            time.sleep(LOOK_AGAIN_S)

    def trouble(self) -> str | None:  # noqa: D102 (see Browser)
        try:
            self._engine.ask(self._driver)
        except Exception as error:  # noqa: BLE001 (the driver's answer, or that it gave none)
            return first_line(error)
        return None


def limit_commands(driver: WebDriver, seconds: float) -> None:
    """Give up each command of this session that is not answered within `seconds`."""
    from selenium.webdriver.remote.remote_connection import RemoteConnection

    assert isinstance(driver.command_executor, RemoteConnection)
    driver.command_executor.client_config.timeout = seconds


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keeps requests to a driver out of the log, which pytest can show."""
    logger = logging.getLogger("selenium.webdriver.remote.remote_connection")
    before = logger.level
    logger.setLevel(max(logging.INFO, before))
    try:
        yield
    finally:
        logger.setLevel(before)


def first_line(error: BaseException) -> str:
    """An error's message in one line: Selenium's have several, and a stopped driver's errors have none."""
    from urllib3.exceptions import HTTPError, MaxRetryError, ReadTimeoutError

    if isinstance(error, ReadTimeoutError) or (
        isinstance(error, MaxRetryError) and isinstance(error.reason, ReadTimeoutError)
    ):
        return "the browser's driver did not respond in time"
    if isinstance(error, HTTPError | ConnectionError):
        return "the browser's driver has stopped (the connection to the driver failed)"
    message = getattr(error, "msg", None)
    text = (
        str(error if message is None else message).partition("; For documentation on this error")[0].strip()
    )
    return text.splitlines()[0] if text else type(error).__name__
