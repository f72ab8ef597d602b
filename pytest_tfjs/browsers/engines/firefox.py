"""Finds and starts Firefox."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_tfjs.browsers.engines.engine import Engine
from pytest_tfjs.browsers.processes.virtual_screen import can_make_screen, has_screen, start_screen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from selenium.webdriver import FirefoxOptions
    from selenium.webdriver.remote.webdriver import WebDriver

    from pytest_tfjs.browsers.engines.engine import LaunchOptions, Place

# In addition to what Firefox sets when it is driven: no updates, no dialog about a busy script.
PREFERENCES: Mapping[str, bool | int | str] = {
    "app.normandy.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "toolkit.telemetry.enabled": False,
    # A page in the background runs its timers, and so its heartbeat, at most once a second.
    "dom.min_background_timeout_value": 4,
    "dom.min_background_timeout_value_without_budget_throttling": 4,
    "dom.timeout.enable_budget_timer_throttling": False,
    "dom.workers.throttling.enabled": False,
    # Use GPUs on Firefox's blocklist too, and report their full names.
    "webgl.force-enabled": True,
    "webgl.sanitize-unmasked-renderer": False,
}
WEBGPU_PREFERENCES: Mapping[str, bool] = {"dom.webgpu.enabled": True, "gfx.webgpu.ignore-blocklist": True}


class Firefox(Engine):
    """Firefox, with geckodriver. It needs a screen for WebGL even when headless, if need be a virtual one."""

    name = "firefox"
    label = "Firefox"
    remedy = (
        "Install Firefox (Debian: 'apt-get install firefox-esr') and geckodriver"
        " (https://github.com/mozilla/geckodriver/releases, or 'cargo install geckodriver --locked'), so that"
        " both are on PATH, or name both programs with --tfjs-browser-binary and --tfjs-driver-binary."
    )
    programs = ("firefox", "firefox-esr")
    places = (
        "/Applications/Firefox.app/Contents/MacOS/firefox",
        "$PROGRAMFILES/Mozilla Firefox/firefox.exe",
        "$LOCALAPPDATA/Mozilla Firefox/firefox.exe",
    )
    driver_program = "geckodriver"

    def capabilities(  # noqa: D102 (see Engine)
        self,
        options: LaunchOptions,
        *,
        webgpu: bool,
        gpu: bool | None,  # noqa: ARG002
    ) -> FirefoxOptions:
        from selenium.webdriver import FirefoxOptions

        chosen = FirefoxOptions()
        chosen.page_load_strategy = "none"
        for name, value in {**PREFERENCES, **(WEBGPU_PREFERENCES if webgpu else {})}.items():
            chosen.set_preference(name, value)
        if options.trusted is not None:
            chosen.set_preference("dom.securecontext.allowlist", urlsplit(options.trusted).hostname or "")
        for argument in (*(() if options.headed else ("-headless",)), *options.arguments):
            chosen.add_argument(argument)
        return chosen

    def start(self, chosen: FirefoxOptions, place: Place) -> WebDriver:  # noqa: D102 (see Engine)
        from selenium import webdriver

        if place.binary is not None:
            chosen.binary_location = place.binary
        # The command line holds the profile's path, by which the workspace recognises its processes.
        arguments = ["--profile-root", str(place.workspace.directory)]
        needed = not has_screen() and not place.headed and can_make_screen()
        screen = start_screen(place.workspace) if needed else {}
        service = webdriver.FirefoxService(service_args=arguments, **place.service_arguments(**screen))
        return webdriver.Firefox(chosen, service)

    def fetch_driver(self, binary: str | None) -> str:  # noqa: ARG002, D102 (see Engine)
        from webdriver_manager.firefox import GeckoDriverManager

        return str(GeckoDriverManager().install())
