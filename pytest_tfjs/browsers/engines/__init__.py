"""The supported browsers. To add one, write its class and list it in `ENGINES`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.engines.chrome import Chrome
from pytest_tfjs.browsers.engines.edge import Edge
from pytest_tfjs.browsers.engines.firefox import Firefox
from pytest_tfjs.browsers.engines.safari import Safari
from pytest_tfjs.browsers.engines.webkitgtk import WebKitGTK
from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfjs.browsers.engines.engine import Engine

# By the name used in `--tfjs-browsers`, in the order of preference.
ENGINES: Mapping[str, Engine] = {
    engine.name: engine for engine in (Chrome(), Firefox(), Edge(), WebKitGTK(), Safari())
}


def first_found(binary: Path | None = None) -> str:
    """The name of the default browser: the first installed one, or the first of all if none is installed.

    `binary`: the program that the user named, if any; its file name then decides. This only looks for files,
    and starts nothing.
    """
    if binary is not None:
        for engine in ENGINES.values():
            if engine.is_of(binary):
                return engine.name
    installed = (engine.name for engine in ENGINES.values() if engine.is_found())
    return next(installed, next(iter(ENGINES)))


def arguments_by_browser(setting: Any) -> dict[str, tuple[str, ...]]:
    """Command line arguments by browser, from a list for all browsers or a mapping from names to lists.

    Raises SettingsError if `setting` is neither, or names an unknown browser.
    """
    lists = setting if isinstance(setting, Mapping) else dict.fromkeys(ENGINES, setting)
    for name, arguments in lists.items():
        if name not in ENGINES:
            raise SettingsError(
                f"the fixture tfjs_browser_args names the unknown browser {name!r}; expected one of"
                f" {', '.join(ENGINES)}"
            )
        if isinstance(arguments, str) or not isinstance(arguments, Iterable):
            raise SettingsError(
                "the fixture tfjs_browser_args must return a list of arguments for all browsers, or a mapping"
                f" from browser names to lists of arguments; got {setting!r}"
            )
    return {name: tuple(map(str, arguments)) for name, arguments in lists.items()}
