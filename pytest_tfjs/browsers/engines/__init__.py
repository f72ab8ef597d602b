"""The browsers that the plugin can drive: to add one, write its class and name it in `ENGINES`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines.chrome import Chrome
from pytest_tfjs.browsers.engines.edge import Edge
from pytest_tfjs.browsers.engines.firefox import Firefox
from pytest_tfjs.browsers.engines.safari import Safari
from pytest_tfjs.browsers.engines.webkitgtk import WebKitGTK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfjs.browsers.engines.engine import Engine

# By the name users know it by, in the order of preference.
ENGINES: Mapping[str, Engine] = {
    engine.name: engine for engine in (Chrome(), Firefox(), Edge(), WebKitGTK(), Safari())
}


def first_found(binary: Path | None = None) -> str:
    """The name of the browser to use where the user named none; the first of all where none is found.

    `binary`: the program to start, where one is named. This only looks for files, and starts nothing.
    """
    if binary is not None:
        for engine in ENGINES.values():
            if engine.is_of(binary):
                return engine.name
    found = (engine.name for engine in ENGINES.values() if engine.is_found())
    return next(found, next(iter(ENGINES)))
