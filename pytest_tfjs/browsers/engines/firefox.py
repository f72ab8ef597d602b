"""Firefox."""

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

# Without what it sets itself when it is driven: no telemetry, no updates, no dialog about a busy script.
PREFERENCES: Mapping[str, bool | int | str] = {
    "app.normandy.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "toolkit.telemetry.enabled": False,
    # A page that is not in front runs its timers once a second, and its heartbeat less than that.
    "dom.min_background_timeout_value": 4,
    "dom.min_background_timeout_value_without_budget_throttling": 4,
    "dom.timeout.enable_budget_timer_throttling": False,
    "dom.workers.throttling.enabled": False,
    # Also on a GPU that Firefox has on its list of bad ones, and by its name in full.
    "webgl.force-enabled": True,
    "webgl.sanitize-unmasked-renderer": False,
}
WEBGPU_PREFERENCES: Mapping[str, bool] = {"dom.webgpu.enabled": True, "gfx.webgpu.ignore-blocklist": True}


class Firefox(Engine):
    """Firefox, with geckodriver. Without a screen it has no WebGL, headless too: so it gets a virtual one."""

    name = "firefox"
    label = "Firefox"
    remedy = (
        "Install it (Debian: 'apt-get install firefox-esr') and geckodriver"
        " (https://github.com/mozilla/geckodriver/releases, or 'cargo install geckodriver --locked'), so that"
        " both are on PATH, or name them with --tfjs-browser-binary and --tfjs-driver-binary."
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
        # The profile's place is on the command line, by which the workspace's processes are known.
        arguments = ["--profile-root", str(place.workspace.directory)]
        needed = not has_screen() and not place.headed and can_make_screen()
        screen = start_screen(place.workspace) if needed else {}
        service = webdriver.FirefoxService(service_args=arguments, **place.service_arguments(**screen))
        return webdriver.Firefox(chosen, service)

    def fetch_driver(self, binary: str | None) -> str:  # noqa: ARG002, D102 (see Engine)
        from webdriver_manager.firefox import GeckoDriverManager

        return str(GeckoDriverManager().install())
