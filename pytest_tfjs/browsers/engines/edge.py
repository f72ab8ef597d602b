"""Finds and starts Microsoft Edge."""

from __future__ import annotations

from pytest_tfjs.browsers.engines.chromium import Chromium


class Edge(Chromium):
    """Edge, with msedgedriver."""

    name = "edge"
    label = "Microsoft Edge"
    remedy = (
        "Install Edge (https://www.microsoft.com/edge) with the driver of the same version"
        " (https://developer.microsoft.com/microsoft-edge/tools/webdriver), so that both are on PATH, or name"
        " both programs with --tfjs-browser-binary and --tfjs-driver-binary."
    )
    programs = ("microsoft-edge", "microsoft-edge-stable", "msedge")
    places = (
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        "${PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
        "${PROGRAMFILES}/Microsoft/Edge/Application/msedge.exe",
    )
    driver_program = "msedgedriver"
    selenium_name = "Edge"

    def fetch_driver(self, binary: str | None) -> str:  # noqa: ARG002, D102 (see Engine)
        from webdriver_manager.microsoft import EdgeChromiumDriverManager

        return str(EdgeChromiumDriverManager().install())
