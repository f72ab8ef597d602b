"""Finds and starts Chrome and Chromium."""

from __future__ import annotations

from pathlib import Path

from pytest_tfjs.browsers.engines.chromium import Chromium


class Chrome(Chromium):
    """Chrome or Chromium, with chromedriver."""

    name = "chrome"
    label = "Chrome or Chromium"
    remedy = (
        "Install Chrome or Chromium with its driver (Debian and Ubuntu: 'apt-get install chromium"
        " chromium-driver'), so that both are on PATH, or name both programs with --tfjs-browser-binary and"
        " --tfjs-driver-binary."
    )
    programs = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome")
    places = (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "$PROGRAMFILES/Google/Chrome/Application/chrome.exe",
        "$LOCALAPPDATA/Google/Chrome/Application/chrome.exe",
    )
    driver_program = "chromedriver"
    selenium_name = "Chrome"

    def fetch_driver(self, binary: str | None) -> str:  # noqa: D102 (see Engine)
        from webdriver_manager.chrome import ChromeDriverManager
        from webdriver_manager.core.os_manager import ChromeType

        google = binary is not None and "chromium" not in Path(binary).name.lower()
        chrome_type = ChromeType.GOOGLE if google else ChromeType.CHROMIUM
        return str(ChromeDriverManager(chrome_type=chrome_type).install())
