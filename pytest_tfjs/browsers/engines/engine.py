"""Base class of the browser engines: finds, starts and drives one kind of browser."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from selenium.webdriver.common.options import ArgOptions
    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.processes.workspace import Workspace
    from pytest_tfjs.settings.addresses import RemoteUrl

# Gives the paths of the browser and of its driver; None for a path that Selenium Manager finds.
Finder = Callable[[], "tuple[str | None, str | None]"]


@dataclass(frozen=True)
class LaunchOptions:
    """How a browser starts: its programs, in a window or headless, further arguments, local or remote.

    `arguments`: for every browser; `own_arguments`: for single browsers, by name. `remote`: the Grid that
    starts the browser; None: this machine. `capabilities`: further capabilities for the Grid. `trusted`: an
    http origin on another machine that the browser treats as a secure context.
    """

    headed: bool = False
    binary: Path | None = None
    driver: Path | None = None
    arguments: tuple[str, ...] = ()
    own_arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remote: RemoteUrl | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict, repr=False)
    trusted: str | None = None

    def for_browser(self, name: str) -> LaunchOptions:
        """These options, with all arguments for the browser `name` in `arguments`."""
        arguments = (*self.arguments, *self.own_arguments.get(name, ()))
        return replace(self, arguments=arguments, own_arguments={})


@dataclass(frozen=True)
class Place:
    """Where a browser starts on this machine: the programs, and the workspace of its processes and files.

    `binary` and `driver`: paths; Selenium Manager finds the program if the path is None.
    """

    workspace: Workspace
    binary: str | None
    driver: str | None
    headed: bool = False

    def service_arguments(self, **environment: str) -> dict[str, Any]:
        """The arguments of Selenium's service for the driver; `environment` is added to the workspace's."""
        return {
            "executable_path": self.driver,
            "env": {**self.workspace.environment(), **environment},
            # The terminal's Ctrl-C must reach only the test run, which closes the browser when it ends.
            "popen_kw": {"start_new_session": True},
        }


class Engine(ABC):
    """One kind of browser, without state: each method gets the `driver` of the session that it works on.

    The session may be on another machine, except for `ways`, `start` and `pid`.
    """

    name: ClassVar[str]
    """The name in `--tfjs-browsers`: `chrome`."""
    label: ClassVar[str]
    """The name in messages: `Chrome or Chromium`."""
    remedy: ClassVar[str]
    """What the user can do if no browser of this kind starts."""
    programs: ClassVar[tuple[str, ...]]
    """Names of its program on PATH, in the order of preference."""
    places: ClassVar[tuple[str, ...]] = ()
    """Other locations of its program: patterns of absolute paths."""
    driver_program: ClassVar[str]
    takes_arguments: ClassVar[bool] = True
    """Whether it can be started with command line arguments."""

    @abstractmethod
    def capabilities(self, options: LaunchOptions, *, webgpu: bool, gpu: bool | None) -> ArgOptions:
        """Selenium's options for a session, on this machine or another.

        `gpu`: whether that machine has a GPU that the browser can use; None if unknown.
        """

    @abstractmethod
    def start(self, chosen: Any, place: Place) -> WebDriver:
        """Start driver and browser on this machine. May modify `chosen`, the result of `capabilities`."""

    def close_tab(self, driver: WebDriver, tab: str, fresh: str) -> None:  # noqa: ARG002
        """Request that the current tab `tab` be closed, even if its page is busy; `fresh` is the other tab.

        The caller repeats this until the tab is gone, so it may take effect later, or fail.
        """
        driver.close()

    def ask(self, driver: WebDriver) -> None:
        """Raise the error that the driver reports for the page, if any, without waiting for the page."""
        _ = driver.current_window_handle

    def pid(self, driver: WebDriver) -> int | None:
        """The id of the browser's process, from a capability such as `goog:processID`; None if unknown."""
        capabilities = driver.capabilities.items()
        return next((int(value) for name, value in capabilities if name.endswith(":processID")), None)

    def is_found(self) -> bool:
        """Whether it seems to be installed on this machine. This only looks for files."""
        return self._look() is not None

    def driver_is_found(self) -> bool:
        """Whether its driver seems to be installed on this machine."""
        return self._look_for_driver() is not None

    def is_of(self, binary: Path) -> bool:
        """Whether a program has the file name of this browser."""
        names = {*self.programs, *(pattern.rpartition("/")[2] for pattern in self.places)}
        return _bare(binary.name) in map(_bare, names)

    def is_driven_by(self, driver: Path) -> bool:
        """Whether a program has the file name of this browser's driver."""
        return _bare(driver.name) == _bare(self.driver_program)

    def ways(self, options: LaunchOptions) -> Iterator[tuple[str, Finder]]:
        """The ways to find the browser and its driver, in order, each with its name in messages."""
        yield self.found_here(options)
        yield (
            "Selenium Manager",
            lambda: (self.browser_path(options, required=False), named_program(options.driver)),
        )
        if options.driver is None:
            yield "webdriver-manager", lambda: self._fetched(options)

    def found_here(self, options: LaunchOptions) -> tuple[str, Finder]:
        """The first way: the programs that the user named, and the installed ones."""
        named = [str(path) for path in (options.binary, options.driver) if path is not None]
        label = f"the programs that you named ({', '.join(named)})" if named else "on PATH"
        return label, lambda: (self.browser_path(options), self.driver_path(options))

    def fetch_driver(self, binary: str | None) -> str:
        """The path of a driver that webdriver-manager has stored or downloads."""
        raise NotImplementedError

    def browser_path(self, options: LaunchOptions, *, required: bool = True) -> str | None:
        """The program that the user named, or the installed one. Raises BrowserError if it is missing."""
        path = named_program(options.binary) or self._look()
        if path is None and required:
            raise BrowserError(f"found none of {', '.join(self.programs)}")
        return path

    def driver_path(self, options: LaunchOptions) -> str:
        """The driver that the user named, or the one on PATH. Raises BrowserError if it is missing."""
        path = named_program(options.driver) or self._look_for_driver()
        if path is None:
            raise BrowserError(f"{self.driver_program} not found")
        return path

    def _fetched(self, options: LaunchOptions) -> tuple[str | None, str]:
        binary = self.browser_path(options, required=False)
        return binary, self.fetch_driver(binary)

    def _look_for_driver(self) -> str | None:
        return shutil.which(self.driver_program)

    def _look(self) -> str | None:
        return first_on_path(self.programs) or next(first_at(self.places), None)


def _bare(name: str) -> str:
    return name.lower().removesuffix(".exe")


def first_on_path(programs: tuple[str, ...]) -> str | None:
    """The path of the first of these programs that is on PATH."""
    return next(filter(None, map(shutil.which, programs)), None)


def first_at(patterns: tuple[str, ...]) -> Iterator[str]:
    """The files at these absolute paths, which may have wildcards and begin with an environment variable."""
    for pattern in patterns:
        path = Path(os.path.expandvars(pattern)).expanduser()
        if path.is_absolute():
            yield from map(str, sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))))


def named_program(path: Path | None) -> str | None:
    """The path of the program that the user named, if any. Raises BrowserError if it is not executable."""
    if path is None:
        return None
    if not path.is_file() or not os.access(path, os.X_OK):
        raise BrowserError(f"{path} is not an executable file")
    return str(path)


def is_root() -> bool:
    """Whether this process runs as root, where sandboxes do not work."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
