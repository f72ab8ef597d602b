"""Microsoft Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.engines.chromium import Chromium

if TYPE_CHECKING:
    from selenium.webdriver.chromium.options import ChromiumOptions
    from selenium.webdriver.chromium.webdriver import ChromiumDriver


class Edge(Chromium):
    """Edge, with msedgedriver."""

    name = "edge"
    label = "Microsoft Edge"
    remedy = (
        "Install it (https://www.microsoft.com/edge) with the driver of the same version"
        " (https://developer.microsoft.com/microsoft-edge/tools/webdriver), so that both are on PATH, or name"
        " them with --tfjs-browser-binary and --tfjs-driver-binary."
    )
    programs = ("microsoft-edge", "microsoft-edge-stable", "msedge")
    places = (
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        "${PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
        "${PROGRAMFILES}/Microsoft/Edge/Application/msedge.exe",
    )
    driver_program = "msedgedriver"

    def new_options(self) -> ChromiumOptions:  # noqa: D102 (see Chromium)
        from selenium.webdriver import EdgeOptions

        return EdgeOptions()

    def new_driver(  # noqa: D102 (see Chromium)
        self, options: Any, service_arguments: dict[str, Any]
    ) -> ChromiumDriver:
        from selenium import webdriver

        return webdriver.Edge(options, webdriver.EdgeService(**service_arguments))

    def fetch_driver(self, binary: str | None) -> str:  # noqa: ARG002, D102 (see Engine)
        from webdriver_manager.microsoft import EdgeChromiumDriverManager

        return str(EdgeChromiumDriverManager().install())
