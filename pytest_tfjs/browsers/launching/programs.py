"""Checks that --tfjs-browser-binary and --tfjs-driver-binary fit the selected browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.browsers.engines import ENGINES
from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_tfjs.browsers.targets import Target
    from pytest_tfjs.settings.settings import Settings


def check_programs(settings: Settings, targets: Iterable[Target]) -> None:
    """Raises SettingsError if a program that the user named does not belong to the browser of every target.

    `settings`: the run's. They name the program; its file name decides which browser it belongs to, or else
    the only browser in `settings.browsers`.
    """
    if settings.remote is not None:  # an ini file may name programs for the runs on this machine
        return
    browsers = list(dict.fromkeys(target.browser for target in targets))
    for name, owner in (("browser_binary", _browser_of), ("driver_binary", _browser_driven_by)):
        program: Path | None = getattr(settings, name)
        if program is None or not browsers:
            continue
        setting = settings.spelled(name)
        if len(browsers) > 1:
            raise SettingsError(
                f"{setting}: one program cannot run several browsers ({', '.join(browsers)}). Select one"
                " browser with --tfjs-browsers, or leave this setting out to use the programs on PATH"
            )
        own = owner(program) or _only_one(settings.browsers)
        if own is not None and own != browsers[0]:
            raise SettingsError(
                f"{setting} is a program of {own}, but the tests run in {browsers[0]}. Name a program of"
                f" {browsers[0]}, or leave this setting out to use the one on PATH"
            )


def _browser_of(program: Path) -> str | None:
    return next((engine.name for engine in ENGINES.values() if engine.is_of(program)), None)


def _browser_driven_by(program: Path) -> str | None:
    return next((engine.name for engine in ENGINES.values() if engine.is_driven_by(program)), None)


def _only_one(browsers: tuple[str, ...] | None) -> str | None:
    return browsers[0].lower() if browsers is not None and len(browsers) == 1 else None
