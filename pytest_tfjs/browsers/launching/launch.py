"""Starts a browser by its name, on this machine or through a Selenium Grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.browsers.launching.local import LocalBrowser
from pytest_tfjs.browsers.launching.remote import RemoteBrowser
from pytest_tfjs.errors import BrowserError

if TYPE_CHECKING:
    from pytest_tfjs.browsers.engines.engine import LaunchOptions
    from pytest_tfjs.browsers.launching.browser import Browser


def launch(name: str, options: LaunchOptions, *, webgpu: bool = False) -> Browser:
    """Start the browser `name`; raises BrowserError if it does not start."""
    engine, options = ENGINES[name], options.for_browser(name)
    if options.arguments and not engine.takes_arguments:
        raise BrowserError(
            f"{engine.label} accepts no command line arguments, but the fixture tfjs_browser_args returns"
            f" {', '.join(options.arguments)} for this browser. Return a mapping that"
            " gives arguments only to other browsers"
        )
    if options.remote is not None:
        return RemoteBrowser(engine, options, webgpu=webgpu)
    return LocalBrowser(engine, options, webgpu=webgpu)
