"""Checks that browsers can reach the server, and gives each worker its port."""

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
    """Raises SettingsError for settings under which browsers cannot reach the server of each worker.

    `workers`: how many processes run tests; each has its own server.
    """
    remote, public = settings.remote, settings.public_url
    bind = Bind() if settings.bind is None else settings.bind
    for name in ("browser_binary", "driver_binary"):
        if remote is not None and settings.origin(name) == "command line":
            raise SettingsError(
                f"{settings.spelled(name)}: with --tfjs-remote, the tests run in the Grid's browsers, not in"
                " a program on this machine. Leave out one of the two options"
            )
    if settings.capabilities is not None:
        _check_capabilities(settings, settings.capabilities)
    if public is not None:
        _check_public(settings, workers)
    elif remote is not None and is_loopback(bind.host) and not is_loopback(remote.host):
        raise SettingsError(
            f"{settings.spelled('remote')}: browsers on the Grid cannot reach the server, which listens on"
            f" {bind}. Add --tfjs-bind=0.0.0.0, or, for a tunnel or a proxy, both --tfjs-bind=127.0.0.1:PORT"
            " and --tfjs-public-url=URL"
        )
    if bind.port and bind.port + workers - 1 > HIGHEST_PORT:
        raise SettingsError(
            f"{settings.spelled('bind')} gives the first of {workers} consecutive ports, one for each worker,"
            f" and the last would exceed {HIGHEST_PORT}. Choose a lower port"
        )


def _check_capabilities(settings: Settings, file: JsonFile) -> None:
    written = settings.spelled("capabilities")
    # An ini file may hold capabilities for the runs that name a Grid.
    if settings.remote is None and settings.origin("capabilities") != "ini":
        raise SettingsError(
            f"{written}: only a Grid accepts capabilities. Name the Grid with --tfjs-remote=URL"
        )
    if "browserName" in file.content:
        raise SettingsError(
            f"{written}: the file must not contain browserName. Choose browsers with --tfjs-browsers"
        )


def _check_public(settings: Settings, workers: int) -> None:
    written = settings.spelled("public_url")
    if settings.bind is None:
        raise SettingsError(
            f"{written}: the option --tfjs-bind=HOST:PORT is missing. It sets where the server listens, so"
            " that the proxy or tunnel behind the public URL can reach the server"
        )
    assert settings.public_url is not None
    if workers > 1 and not settings.public_url.names_port:
        raise SettingsError(
            f"{written}: each of {workers} workers has its own server and port. Put {{port}} into the"
            " address: each worker replaces {port} by the port of its server"
        )


def bind_of(settings: Settings, worker: str | None = None) -> Bind:
    """Where the server of a worker listens: the first worker at the port of `--tfjs-bind`, others above it.

    `worker`: the name that pytest-xdist gives it; None without pytest-xdist. Raises SettingsError if there is
    no port for the worker.
    """
    bind = Bind() if settings.bind is None else settings.bind
    if worker is None or not bind.port:
        return bind
    written = settings.spelled("bind")
    numbered = _WORKER.fullmatch(worker)
    if numbered is None:
        raise SettingsError(
            f"{written}: the worker {worker!r} has no port, because its name has no number. Leave the port"
            " out, or let pytest-xdist name the workers (gw0, gw1, …)"
        )
    port = bind.port + int(numbered["number"])
    if port > HIGHEST_PORT:
        raise SettingsError(
            f"{written}: the worker {worker} would listen at port {port}, but the highest port is"
            f" {HIGHEST_PORT}. Choose a lower port"
        )
    return replace(bind, port=port)
