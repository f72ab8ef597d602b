"""A browser on another machine, in a session of a Selenium Grid or a cloud service."""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.launching.driver_session import (
    DriverSession,
    first_line,
    limit_commands,
    unlogged,
)
from pytest_tfjs.browsers.launching.grid_status import grid_status
from pytest_tfjs.browsers.launching.interruptible import interruptible
from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.engines.engine import Engine, LaunchOptions
    from pytest_tfjs.settings.addresses import RemoteUrl

# By default a request waits up to 300 s for a free browser of the Grid; then the browser has to start.
CREATE_S = 360.0
NODE_S = 20.0
COMMAND_S = 15.0
QUIT_S = 10.0
AGAIN_S = 1.0
# A Grid ends sessions without commands, by default after 300 s.
ALIVE_S = 5.0
# The least time between two queries about a silent page: services may limit the rate of commands.
TROUBLE_S = 1.0
# The Java exception that a Grid reports for a node that is gone, until it notices: by default it checks its
# nodes every two minutes.
_NODE_GONE = re.compile(r"\bjava\.(net|io|nio|util\.concurrent)\.")
_SHOWN = ("browserName", "browserVersion", "platformName")


class RemoteBrowser(DriverSession):
    """A browser that a Grid started; only its driver gives access to it."""

    def __init__(self, engine: Engine, options: LaunchOptions, *, webgpu: bool = False) -> None:
        """Request a session. Raises BrowserError with what was requested and what the Grid offers."""
        assert options.remote is not None
        super().__init__(
            engine, _Request(engine, options, options.remote, webgpu=webgpu).grant(), webgpu=webgpu
        )
        self._checked = time.monotonic()
        self._troubled = -math.inf
        self._gone: str | None = None

    @property
    def ended(self) -> str:  # noqa: D102 (see Browser)
        return f"its session ended: {self._gone}"

    def alive(self) -> bool:
        """Whether the Grid still has the session. The check, once in ALIVE_S, also keeps it from expiring."""
        if self._gone is None and time.monotonic() - self._checked > ALIVE_S:
            try:
                _ = self._driver.window_handles
            except Exception as error:  # noqa: BLE001 (the driver's answer, or that it gave none)
                self._gone = first_line(error)
            self._checked = time.monotonic()
        return self._gone is None

    def trouble(self) -> str | None:  # noqa: D102 (see Browser)
        if time.monotonic() - self._troubled < TROUBLE_S:
            return None
        trouble = super().trouble()
        self._troubled = time.monotonic()
        if trouble is None or "crash" in trouble:
            return trouble
        # Some services reject commands that are not part of WebDriver.
        self._checked = 0.0
        return None if self.alive() else self.ended

    def close(self) -> None:
        """End the session. If the Grid does not answer, it ends the unused session by itself later."""
        self._gone = "it was closed"
        quitting = threading.Thread(target=_quit, args=(self._driver,), daemon=True)
        quitting.start()
        quitting.join(QUIT_S)


class _Request:
    """The request for one session, and its error message if it fails."""

    def __init__(self, engine: Engine, options: LaunchOptions, remote: RemoteUrl, *, webgpu: bool) -> None:
        chosen: Any = engine.capabilities(options, webgpu=webgpu, gpu=None)
        self._capabilities = merged(chosen.to_capabilities(), options.capabilities)
        self._engine = engine
        self._remote = remote
        self._deadline = time.monotonic() + CREATE_S

    def grant(self) -> WebDriver:
        """The session. Raises BrowserError if the Grid does not create it."""
        self._await_node()
        while True:
            try:
                return interruptible(self._create, _quit)
            except Exception as error:
                left = self._deadline - time.monotonic() - AGAIN_S
                if left < 0 or not _NODE_GONE.search(first_line(error)):
                    raise BrowserError(self._message(_reason(error))) from error
            time.sleep(AGAIN_S)

    def _await_node(self) -> None:
        """Wait up to NODE_S for a node with the browser, as a Grid that has just started may have none yet.

        If the Grid has no node at all by then, go on: it may start nodes for waiting requests.
        """
        name = str(self._capabilities["browserName"])
        until = time.monotonic() + NODE_S
        while (status := grid_status(self._remote)) is not None and not status.has(name):
            if time.monotonic() > until:
                if not status.has_node:
                    return
                raise BrowserError(self._message(f"no running node offers {name!r}"))
            time.sleep(AGAIN_S)

    def _create(self) -> WebDriver:
        from selenium import webdriver
        from selenium.webdriver.common.options import ArgOptions
        from selenium.webdriver.remote.client_config import ClientConfig

        capabilities = self._capabilities

        class Requested(ArgOptions):
            def to_capabilities(self) -> Any:
                return capabilities

        config = ClientConfig(
            self._remote.url,
            timeout=max(1, int(self._deadline - time.monotonic())),
            # A request that is sent twice could create two sessions.
            init_args_for_pool_manager={"init_args_for_pool_manager": {"retries": False}},
            username=self._remote.username,
            password=self._remote.password,
        )
        with unlogged():  # capabilities may hold a service's key
            driver = webdriver.Remote(self._remote.url, options=Requested(), client_config=config)
        limit_commands(driver, COMMAND_S)
        return driver

    def _message(self, reason: str) -> str:
        requested = [f"{name} {self._capabilities[name]}" for name in _SHOWN if name in self._capabilities]
        others = sorted(set(self._capabilities) - set(_SHOWN))
        status = grid_status(self._remote)
        offers = "  unknown (the Grid does not report its status)" if status is None else str(status)
        if self._remote.password:
            reason = reason.replace(self._remote.password, "***")
        return (
            f"{self._remote} did not start a session with {self._engine.label}: {reason}\n"
            f"Requested: {', '.join(requested)}; also set: {', '.join(others)}.\n"
            f"Browsers that {self._remote} offers:\n{offers}\n"
            "Add a node with this browser or wait until one is free, choose other browsers with"
            " --tfjs-browsers, or change the request with --tfjs-capabilities."
        )


def merged(own: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """`own` capabilities updated by `further`: objects are merged, lists joined, other values replaced."""
    result = dict(own)
    for name, value in further.items():
        former = result.get(name)
        if isinstance(former, dict) and isinstance(value, dict):
            result[name] = merged(former, value)
        elif isinstance(former, list) and isinstance(value, list):
            result[name] = [*former, *value]
        else:
            result[name] = value
    return result


def _quit(driver: WebDriver) -> None:
    with contextlib.suppress(Exception):
        driver.quit()


def _reason(error: Exception) -> str:
    """The first line of an error, with its meaning if the error is a known one."""
    text = first_line(error)
    if "Authorization Required" in text or "Unauthorized" in text:
        return f"the user name or key in --tfjs-remote was rejected ({text})"
    if not hasattr(error, "msg"):  # an error of the connection, not of WebDriver
        return f"there was no response ({text})"
    return text
