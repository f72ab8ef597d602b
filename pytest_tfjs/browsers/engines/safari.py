"""Finds and starts Safari."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines.engine import Engine
from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import SafariOptions
    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.engines.engine import Finder, LaunchOptions, Place


class Safari(Engine):
    """Safari, with the safaridriver that comes with it: in a window, and one session at a time.

    The system starts Safari, at the driver's request. Its processes therefore do not belong to the workspace:
    they may hold the user's own windows.
    """

    name = "safari"
    label = "Safari"
    remedy = (
        "Safari runs only on macOS. Allow automation once with 'sudo safaridriver --enable'. Safari allows"
        " only one automated session at a time: close every other session, and run without pytest-xdist. On"
        " Linux, test Safari's engine with '--tfjs-browsers=webkitgtk'."
    )
    programs = ("Safari",)
    places = ("/Applications/Safari.app/Contents/MacOS/Safari",)
    driver_program = "safaridriver"
    takes_arguments = False

    def is_found(self) -> bool:
        """Whether browser and driver are installed."""
        return platform.system() == "Darwin" and self.driver_is_found()

    def ways(self, options: LaunchOptions) -> Iterator[tuple[str, Finder]]:
        """Only the system's own: Safari cannot be downloaded."""
        yield "on macOS", lambda: (self.browser_path(options), self.driver_path(options))

    def browser_path(self, options: LaunchOptions, *, required: bool = True) -> str | None:  # noqa: ARG002
        """None, as a driver starts the Safari that it came with. Raises BrowserError if that cannot work."""
        if platform.system() != "Darwin":
            raise BrowserError(f"this machine runs {platform.system()}")
        if options.binary is not None:
            raise BrowserError(
                f"--tfjs-browser-binary cannot choose {options.binary}, because each safaridriver starts only"
                " the Safari that it was installed with. Leave the option out, and name that Safari's driver"
                " with --tfjs-driver-binary"
            )
        return None

    def capabilities(  # noqa: D102 (see Engine)
        self,
        options: LaunchOptions,  # noqa: ARG002
        *,
        webgpu: bool,  # noqa: ARG002
        gpu: bool | None,  # noqa: ARG002
    ) -> SafariOptions:
        from selenium.webdriver import SafariOptions

        chosen = SafariOptions()
        chosen.page_load_strategy = "none"
        return chosen

    def start(self, chosen: SafariOptions, place: Place) -> WebDriver:  # noqa: D102 (see Engine)
        from selenium import webdriver

        return webdriver.Safari(chosen, webdriver.SafariService(**place.service_arguments()))
