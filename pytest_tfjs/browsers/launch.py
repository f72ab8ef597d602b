"""Browsers: found, started and driven through Selenium; nothing of them outlives `close`."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from selenium.webdriver import Chrome as ChromeDriver
    from selenium.webdriver import ChromeOptions

    from pytest_tfjs.browsers.processes import Workspace

# Gives the paths of the browser and of its driver; None for what Selenium Manager is to find.
Finder = Callable[[], "tuple[str | None, str | None]"]

COMMAND_S = 5.0
QUIT_S = 5.0
CLOSE_S = 10.0
ASK_AGAIN_S = 0.02
CHROME_NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome")
CHROME_DRIVER = "chromedriver"
CHROME_REMEDY = (
    "Install one with its driver (Debian and Ubuntu: 'apt-get install chromium chromium-driver'), so that"
    " both are on PATH, or name them with --tfjs-browser-binary and --tfjs-driver-binary."
)

QUIET_ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-breakpad",
    "--metrics-recording-only",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
    "--use-mock-keychain",
)
# A page that is not in front runs its timers once a second, and its heartbeat less than that.
AWAKE_ARGUMENTS = (
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-hang-monitor",
)
SOFTWARE_WEBGL_ARGUMENTS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WEBGPU_ARGUMENTS = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")
SOFTWARE_WEBGPU_ARGUMENT = "--use-webgpu-adapter=swiftshader"


@dataclass(frozen=True)
class LaunchOptions:
    """How a browser is started: shown or not, which one, and with which arguments besides ours."""

    headed: bool = False
    binary: Path | None = None
    driver: Path | None = None
    arguments: tuple[str, ...] = ()


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

    def open(self, url: str) -> None:
        """Close the page there is, and open a fresh one at `url`, without waiting for it to load."""

    def alive(self) -> bool:
        """Whether its processes are there. Cheap."""

    def trouble(self) -> str | None:
        """What the driver knows to be wrong with the page, in words: a crashed tab. Takes a moment."""

    def close(self) -> None:
        """End it and all that came of it."""


class Chrome:
    """Chrome or Chromium."""

    name = "chrome"

    def __init__(self, options: LaunchOptions, *, webgpu: bool = False) -> None:
        """Find and start it. Raises BrowserError that tells each way that was tried and why it failed."""
        self.webgpu = webgpu
        self._workspace, self._driver = _find_and_start_chrome(options, webgpu=webgpu)
        self.version = str(self._driver.capabilities.get("browserVersion", "unknown"))
        self._process = _process_of(self._driver)

    def open(self, url: str) -> None:  # noqa: D102 (see Browser)
        try:
            former = self._driver.current_window_handle
            self._driver.switch_to.new_window("tab")
            self._driver.get(url)
            self._close_tab(former)
        except Exception as error:
            raise BrowserError(
                f"{self.name} {self.version} did not open a page: {_first_line(error)}"
            ) from error

    def _close_tab(self, tab: str) -> None:
        # WebDriver's own command waits for a page that is busy, and Chrome forgets to close one that has just
        # begun to load: ask until it is gone.
        deadline = time.monotonic() + CLOSE_S
        while tab in self._driver.window_handles:
            if time.monotonic() > deadline:
                raise BrowserError("the page before did not close")
            with contextlib.suppress(Exception):  # it closed in the meantime
                self._driver.execute_cdp_cmd("Target.closeTarget", {"targetId": tab})
            time.sleep(ASK_AGAIN_S)

    def alive(self) -> bool:  # noqa: D102 (see Browser)
        import psutil

        try:
            return self._process is None or (
                self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    def trouble(self) -> str | None:  # noqa: D102 (see Browser)
        try:
            # Answered by the browser's own process: a script would wait for the page, which may be busy.
            self._driver.execute_cdp_cmd("Browser.getVersion", {})
        except Exception as error:  # noqa: BLE001 (the driver's answer, or that it gave none)
            return _first_line(error)
        return None

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


# Every browser the plugin can drive, by the name users know it by, in the order of preference.
ENGINES: Mapping[str, Callable[..., Browser]] = {"chrome": Chrome}


def launch(name: str, options: LaunchOptions, *, webgpu: bool = False) -> Browser:
    """Start the browser of that name; raises BrowserError where that cannot be done."""
    return ENGINES[name](options, webgpu=webgpu)


def has_gpu(dev: Path = Path("/dev")) -> bool:
    """Whether the machine has a GPU that a browser can use; taken for granted on other systems than Linux."""
    if platform.system() != "Linux":
        return True
    return any(dev.glob("dri/renderD*")) or any(dev.glob("nvidia[0-9]*"))


def chrome_arguments(
    options: LaunchOptions, profile: Path, *, webgpu: bool, gpu: bool, root: bool
) -> list[str]:
    """The command line of Chrome; the caller's own arguments come last, where they win."""
    arguments = [f"--user-data-dir={profile}", "--disable-dev-shm-usage", *QUIET_ARGUMENTS, *AWAKE_ARGUMENTS]
    if not options.headed:
        arguments.append("--headless=new")
    if root:
        arguments.append("--no-sandbox")
    if not gpu:
        arguments += SOFTWARE_WEBGL_ARGUMENTS
    if webgpu:
        arguments += [*WEBGPU_ARGUMENTS, *([] if gpu else [SOFTWARE_WEBGPU_ARGUMENT])]
    return [*arguments, *options.arguments]


def _find_and_start_chrome(options: LaunchOptions, *, webgpu: bool) -> tuple[Workspace, ChromeDriver]:
    failures: list[str] = []
    for label, find in _chrome_attempts(options):
        started = _attempt(options, find, webgpu=webgpu)
        if not isinstance(started, str):
            return started
        failures.append(f"- {label}: {started}")
    tried = "\n".join(failures)
    raise BrowserError(f"Chrome or Chromium could not be started.\n{tried}\n{CHROME_REMEDY}")


def _attempt(options: LaunchOptions, find: Finder, *, webgpu: bool) -> tuple[Workspace, ChromeDriver] | str:
    """One way to come by a browser, or why it failed: whatever is wrong with it, there are others."""
    try:
        binary, driver = find()
        return _start_chrome(options, binary, driver, webgpu=webgpu)
    except Exception as error:  # noqa: BLE001
        return _first_line(error)


def _chrome_attempts(options: LaunchOptions) -> Iterator[tuple[str, Finder]]:
    """Ways to come by a browser and a driver, in order."""
    named = [str(path) for path in (options.binary, options.driver) if path is not None]
    label = f"named ({', '.join(named)}) and on PATH" if named else "on PATH"
    yield label, lambda: (_browser_path(options), _driver_path(options))
    yield "Selenium Manager", lambda: (_browser_path(options, required=False), _named(options.driver))
    if options.driver is None:
        yield "webdriver-manager", lambda: _webdriver_manager(_browser_path(options, required=False))


def _browser_path(options: LaunchOptions, *, required: bool = True) -> str | None:
    path = _named(options.binary) or next(filter(None, map(shutil.which, CHROME_NAMES)), None)
    if path is None and required:
        raise BrowserError(f"none of {', '.join(CHROME_NAMES)}")
    return path


def _driver_path(options: LaunchOptions) -> str:
    path = _named(options.driver) or shutil.which(CHROME_DRIVER)
    if path is None:
        raise BrowserError(f"no {CHROME_DRIVER}")
    return path


def _named(path: Path | None) -> str | None:
    """What the user named, which is used or refused and never replaced by another."""
    if path is None:
        return None
    if not path.is_file() or not os.access(path, os.X_OK):
        raise BrowserError(f"{path} is no program")
    return str(path)


def _webdriver_manager(binary: str | None) -> tuple[str | None, str]:
    from webdriver_manager.chrome import ChromeDriverManager
    from webdriver_manager.core.os_manager import ChromeType

    google = binary is not None and "chromium" not in Path(binary).name
    chrome_type = ChromeType.GOOGLE if google else ChromeType.CHROMIUM
    return binary, ChromeDriverManager(chrome_type=chrome_type).install()


def _start_chrome(
    options: LaunchOptions, binary: str | None, driver: str | None, *, webgpu: bool
) -> tuple[Workspace, ChromeDriver]:
    from selenium import webdriver
    from selenium.webdriver.remote.remote_connection import RemoteConnection

    from pytest_tfjs.browsers.processes import Workspace

    workspace = Workspace()
    try:
        service = webdriver.ChromeService(
            executable_path=driver,
            env=workspace.environment(),
            # The terminal's Ctrl-C is the test run's: it closes the browser when it ends.
            popen_kw={"start_new_session": True},
        )
        started = webdriver.Chrome(_chrome_options(options, binary, workspace, webgpu=webgpu), service)
        assert isinstance(started.command_executor, RemoteConnection)
        started.command_executor.client_config.timeout = COMMAND_S
    except BaseException:
        workspace.close()
        raise
    return workspace, started


def _chrome_options(
    options: LaunchOptions, binary: str | None, workspace: Workspace, *, webgpu: bool
) -> ChromeOptions:
    from selenium.webdriver import ChromeOptions

    chosen = ChromeOptions()
    chosen.page_load_strategy = "none"
    if binary is not None:
        chosen.binary_location = binary
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    profile = workspace.directory / "profile"
    for argument in chrome_arguments(options, profile, webgpu=webgpu, gpu=has_gpu(), root=root):
        chosen.add_argument(argument)
    return chosen


def _process_of(driver: ChromeDriver) -> Any:
    """The browser's process, where the driver tells it."""
    import psutil

    pid = driver.capabilities.get("goog:processID")
    with contextlib.suppress(psutil.Error):
        return psutil.Process(int(pid)) if pid is not None else None
    return None


def _first_line(error: BaseException) -> str:
    text = str(getattr(error, "msg", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
