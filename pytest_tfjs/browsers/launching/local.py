"""Finds, starts and ends browsers on this machine."""

from __future__ import annotations

import contextlib
import platform
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines.engine import Place
from pytest_tfjs.browsers.launching.driver_session import DriverSession, first_line, limit_commands
from pytest_tfjs.browsers.launching.interruptible import interruptible
from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil
    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.engines.engine import Engine, LaunchOptions
    from pytest_tfjs.browsers.processes.workspace import Workspace

START_S = 120.0
# Selenium Manager's own default limit for a download.
FETCH_S = 300.0
COMMAND_S = 10.0
QUIT_S = 5.0
_OTHER_VERSION = re.compile(r"only supports \w+ version|version mismatch", re.IGNORECASE)
"""In a driver's error: the browser is too new or too old for it."""


class LocalBrowser(DriverSession):
    """A browser on this machine."""

    ended = "its process has ended"

    def __init__(self, engine: Engine, options: LaunchOptions, *, webgpu: bool = False) -> None:
        """Find and start the browser. Raises BrowserError that lists each way tried and why it failed."""
        self._workspace, driver = _find_and_start(engine, options, webgpu=webgpu)
        try:
            super().__init__(engine, driver, webgpu=webgpu)
            self.software = None if has_gpu() else True
            self._process = _process(engine.pid(driver))
        except BaseException:
            self._workspace.close()
            raise

    def alive(self) -> bool:  # noqa: D102 (see Browser)
        import psutil

        try:
            return self._process is None or (
                self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    def close(self) -> None:  # noqa: D102 (see Browser)
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


def has_gpu(dev: Path = Path("/dev")) -> bool:
    """Whether the machine has a GPU that a browser can use; assumed on systems other than Linux."""
    if platform.system() != "Linux":
        return True
    return any(dev.glob("dri/renderD*")) or any(dev.glob("nvidia[0-9]*"))


def _find_and_start(engine: Engine, options: LaunchOptions, *, webgpu: bool) -> tuple[Workspace, WebDriver]:
    failures: list[tuple[str, str, bool]] = []
    for label, find in engine.ways(options):
        try:
            binary, driver = find()
        except Exception as error:  # noqa: BLE001  (other ways follow)
            failures.append((label, first_line(error), False))
            continue
        try:
            return _start(engine, options, binary, driver, webgpu=webgpu)
        except Exception as error:  # noqa: BLE001  (other ways follow)
            failures.append((label, first_line(error), not _is_missing(error)))
    tried = "\n".join(f"- {label}: {reason}" for label, reason in _informative(failures))
    raise BrowserError(f"{engine.label} could not be started.\n{tried}\n{engine.remedy}")


def _is_missing(error: Exception) -> bool:
    """Whether a start failed because Selenium Manager found no browser or no driver."""
    from selenium.common.exceptions import NoSuchDriverException

    return isinstance(error, NoSuchDriverException)


def _informative(failures: list[tuple[str, str, bool]]) -> Iterator[tuple[str, str]]:
    """The label and the reason of the failures that say why no browser starts.

    Each failure has whether programs were found and failed to start. Behind one of these, nothing follows
    from a failed search for other programs, such as a download without a network; unless the driver says
    that it is of another version, so that another driver would have helped.
    """
    started = False
    for label, reason, found in failures:
        if found or not started:
            yield label, reason
        started |= found and not _OTHER_VERSION.search(reason)


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

    # If the start is given up and does not end even then, the reaper clears the workspace after this process.
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
