"""Finds and starts WebKit on Linux, in WebKitGTK's MiniBrowser."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines.engine import Engine
from pytest_tfjs.browsers.processes.virtual_screen import has_screen, start_screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.webkitgtk.options import Options

    from pytest_tfjs.browsers.engines.engine import Finder, LaunchOptions, Place


# TF.js needs SharedArrayBuffer for threads. Cross-origin isolated pages have it in Safari, but not in
# WebKitGTK without this variable.
SHARED_MEMORY = {"JSC_useSharedArrayBuffer": "true"}


class WebKitGTK(Engine):
    """MiniBrowser, with WebKitWebDriver. It has no headless mode and runs on a virtual screen instead."""

    name = "webkitgtk"
    label = "WebKitGTK's MiniBrowser"
    remedy = (
        "WebKitGTK runs only on Linux. Install WebKitGTK, its driver and a virtual screen (Debian and Ubuntu:"
        " 'apt-get install webkit2gtk-driver xvfb'), or name both programs with --tfjs-browser-binary and"
        " --tfjs-driver-binary."
    )
    programs = ("MiniBrowser",)
    places = (
        "/usr/lib/*/webkit*gtk-*/MiniBrowser",
        "/usr/lib/webkit*gtk-*/MiniBrowser",
        "/usr/lib64/webkit*gtk-*/MiniBrowser",
        "/usr/libexec/webkit*gtk-*/MiniBrowser",
    )
    driver_program = "WebKitWebDriver"

    def is_found(self) -> bool:
        """Whether browser and driver are installed: the browser alone comes with many desktops."""
        return super().is_found() and self.driver_is_found()

    def ways(self, options: LaunchOptions) -> Iterator[tuple[str, Finder]]:
        """Only installed programs: WebKitGTK cannot be downloaded."""
        yield self.found_here(options)

    def capabilities(  # noqa: D102 (see Engine)
        self,
        options: LaunchOptions,
        *,
        webgpu: bool,  # noqa: ARG002
        gpu: bool | None,  # noqa: ARG002
    ) -> Options:
        from selenium.webdriver.webkitgtk.options import Options

        chosen = Options()
        chosen.page_load_strategy = "none"
        for argument in ("--automation", *options.arguments):
            chosen.add_argument(argument)
        return chosen

    def start(self, chosen: Options, place: Place) -> WebDriver:  # noqa: D102 (see Engine)
        from selenium.webdriver.webkitgtk.service import Service
        from selenium.webdriver.webkitgtk.webdriver import WebDriver

        assert place.binary is not None
        chosen.binary_location = place.binary
        screen = {} if has_screen() or place.headed else start_screen(place.workspace)
        environment = {**SHARED_MEMORY, **screen}
        service = Service(**place.service_arguments(**environment))
        with warnings.catch_warnings():
            # Selenium's own code causes this warning, which the user may have turned into an error.
            warnings.simplefilter("ignore", DeprecationWarning)
            return WebDriver(chosen, service)

    def pid(self, driver: WebDriver) -> int | None:
        """The id of the driver's only child process; no capability has it."""
        import psutil

        with contextlib.suppress(psutil.Error):  # it is gone already
            children = psutil.Process(driver.service.process.pid).children()  # type: ignore[attr-defined]
            return children[0].pid if len(children) == 1 else None
        return None
