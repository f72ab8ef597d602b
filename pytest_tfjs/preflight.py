"""Turns settings into targets, a copy of TF.js and a server address, and checks them.

Impossible settings are refused before a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfjs.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.browsers.serving.access import Address
    from pytest_tfjs.browsers.targets import Flags, Target
    from pytest_tfjs.browsers.tfjs_dist import Dist
    from pytest_tfjs.settings.settings import Settings


def targets_of(settings: Settings) -> tuple[Target, ...]:
    """The targets that tests run on: each browser with each backend.

    Raises SettingsError for unknown names.
    """
    from pytest_tfjs.browsers.engines import ENGINES, first_found
    from pytest_tfjs.browsers.targets import parse_targets

    own = variants_of(settings)
    browsers = settings.browsers
    if browsers is None and settings.remote is not None:
        browsers = (next(iter(ENGINES)),)  # which browsers this machine has does not matter
    elif browsers is None:
        browsers = (first_found(settings.browser_binary),)
    try:
        parse_targets(browsers, ["cpu"])
    except SettingsError as error:
        raise SettingsError(f"{settings.spelled('browsers')}: {error}") from None
    try:
        return parse_targets(browsers, settings.backends, own)
    except SettingsError as error:
        raise SettingsError(f"{settings.spelled('backends')}: {error}") from None


def variants_of(settings: Settings) -> Mapping[str, Flags]:
    """The variants of the ini value `tfjs_variants`, each with its flags. Raises SettingsError."""
    from pytest_tfjs.browsers.targets import parse_variants

    try:
        return parse_variants(settings.variants)
    except SettingsError as error:
        raise SettingsError(f"ini value tfjs_variants: {error}") from None


def dist_of(settings: Settings) -> Dist:
    """The copy of TF.js that the run uses. Raises DistError."""
    from pytest_tfjs.browsers.tfjs_dist import Dist

    return Dist.shipped() if settings.dist is None else Dist.from_directory(settings.dist)


def address_of(settings: Settings, worker: str | None = None) -> Address:
    """Where the server of a worker listens, and where browsers reach it. Raises SettingsError."""
    from pytest_tfjs.browsers.serving.access import Address
    from pytest_tfjs.settings.reachability import bind_of

    return Address(bind_of(settings, worker), settings.public_url, settings.remote)


def guesses_reach(settings: Settings) -> bool:
    """Whether the plugin has to find the address at which the Grid's browsers reach this machine."""
    bind = settings.bind
    return (
        settings.remote is not None and settings.public_url is None and bind is not None and bind.is_wildcard
    )


def check_targets(settings: Settings) -> None:
    """Checks the names of browsers, backends and variants, and that `--tfjs-dist` has the backends named.

    Default backends are checked later, by the tests that use them. Raises SettingsError and DistError.
    """
    named = settings.origin("backends") != "default"
    chosen = named or settings.browsers is not None or settings.variants
    targets = targets_of(settings) if chosen else ()
    check_programs_of(settings, targets)
    if settings.dist is not None:
        dist = dist_of(settings)
        for target in targets if named else ():
            dist.require(target.backend)


def check_programs_of(settings: Settings, targets: Sequence[Target]) -> None:
    """Raises SettingsError if a program the user named would be started for another browser."""
    if settings.browser_binary is not None or settings.driver_binary is not None:
        from pytest_tfjs.browsers.launching.programs import check_programs

        check_programs(settings, targets)


def check_server(settings: Settings, workers: int) -> None:
    """Checks that browsers can reach the server; `workers` is as in `check_reach`.

    Raises SettingsError, and BrowserError if this machine has no address on the route to the Grid.
    """
    used = (settings.remote, settings.capabilities, settings.bind, settings.public_url)
    if all(value is None for value in used):
        return
    from pytest_tfjs.settings.reachability import check_reach

    check_reach(settings, workers)
    if guesses_reach(settings):
        address_of(settings).reached_host()
