"""Whether browsers have a way to the server, by the settings alone, and which worker's server is where."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.addresses import HIGHEST_PORT, Bind, is_loopback

if TYPE_CHECKING:
    from pytest_tfjs.settings.addresses import JsonFile
    from pytest_tfjs.settings.settings import Settings

_WORKER = re.compile(r"gw(?P<number>[0-9]{1,9})")


def check_reach(settings: Settings, workers: int) -> None:
    """Refuses settings under which browsers cannot reach the server, or not that of each worker.

    `workers`: how many processes run tests, each with a server of its own. Raises SettingsError.
    """
    remote, public, bind = settings.remote, settings.public_url, settings.bind or Bind()
    for name in ("browser_binary", "driver_binary"):
        if remote is not None and settings.origin(name) == "command line":
            raise SettingsError(f"{settings.spelled(name)}: --tfjs-remote starts the browsers that are there")
    if settings.capabilities is not None:
        _check_capabilities(settings, settings.capabilities)
    if public is not None:
        _check_public(settings, workers)
    elif remote is not None and is_loopback(bind.host) and not is_loopback(remote.host):
        raise SettingsError(
            f"{settings.spelled('remote')}: browsers there cannot reach the server, which listens on {bind}:"
            " add --tfjs-bind=0.0.0.0, or for a tunnel or a proxy --tfjs-bind=127.0.0.1:PORT and"
            " --tfjs-public-url=URL"
        )
    if bind.port and bind.port + workers - 1 > HIGHEST_PORT:
        raise SettingsError(
            f"{settings.spelled('bind')}: each of {workers} workers listens at a port of its own, from this"
            f" one on, and there is none above {HIGHEST_PORT}: name a lower one"
        )


def _check_capabilities(settings: Settings, file: JsonFile) -> None:
    told = settings.spelled("capabilities")
    # In an ini file they may wait for the runs that name a Grid.
    if settings.remote is None and settings.origin("capabilities") != "ini":
        raise SettingsError(f"{told}: these are asked of a Grid: name it with --tfjs-remote=URL")
    if "browserName" in file.content:
        raise SettingsError(f"{told}: browserName is ours to ask for: name browsers with --tfjs-browsers")


def _check_public(settings: Settings, workers: int) -> None:
    told = settings.spelled("public_url")
    if settings.bind is None:
        raise SettingsError(
            f"{told}: name as well where the server listens, with --tfjs-bind=HOST:PORT, so that what leads"
            " there finds it"
        )
    assert settings.public_url is not None
    if workers > 1 and not settings.public_url.names_port:
        raise SettingsError(
            f"{told}: each of {workers} workers has a server of its own, at a port of its own: put {{port}}"
            " where its port is to stand in the address"
        )


def bind_of(settings: Settings, worker: str | None = None) -> Bind:
    """Where the server of a worker listens: the port that was named is that of the first.

    `worker`: its name as pytest-xdist has it; None where it is not used. Raises SettingsError where there is
    no port for it.
    """
    bind = settings.bind or Bind()
    if worker is None or not bind.port:
        return bind
    told = settings.spelled("bind")
    numbered = _WORKER.fullmatch(worker)
    if numbered is None:
        raise SettingsError(
            f"{told}: which port is that of the worker {worker!r} cannot be told, as its name has no number:"
            " name no port, or let pytest-xdist name the workers (gw0, gw1, …)"
        )
    port = bind.port + int(numbered["number"])
    if port > HIGHEST_PORT:
        raise SettingsError(
            f"{told}: the worker {worker} listens {numbered['number']} ports above this one, and there is"
            f" none above {HIGHEST_PORT}: name a lower one"
        )
    return replace(bind, port=port)
