"""The command that runs one test again."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pytest_tfjs.settings.addresses import without_user_info

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

_OURS = "--tfjs-"
# They tell about a whole run.
_DROPPED = ("--tfjs-json", "--tfjs-repro")
# What decides where pytest finds its configuration, and with which plugins it runs.
_SHORT = ("-c", "-o", "-p")
_LONG = ("--config-file", "--confcutdir", "--import-mode", "--override-ini", "--rootdir")
# Its address may hold the key of a cloud service.
_REMOTE = re.compile("tfjs[-_]remote")


def repeat_command(test: str, arguments: Sequence[str], *, flags: Container[str]) -> str:
    """The shell command that runs `test` alone with those options of the run that bear on it.

    `test`: a node id, relative to the working directory. `arguments`: the command line of the run. `flags`:
    our options that take no value.
    """
    return shlex.join(["pytest", test, *_kept(arguments, flags)])


def _kept(arguments: Sequence[str], flags: Container[str]) -> Iterator[str]:
    rest = iter(arguments)
    for argument in rest:
        name = _name(argument)
        if not (name.startswith(_OURS) or name in _SHORT or name in _LONG):
            continue
        words = [argument]
        if argument == name and name not in flags:
            words += [value for value in [next(rest, None)] if value is not None]
        if name not in _DROPPED:
            secret = any(_REMOTE.search(word) for word in words)
            yield from (without_user_info(word) if secret else word for word in words)


def _name(argument: str) -> str:
    """The option that an argument names: `-p` of `-pno:xdist`, `--tfjs-rtol` of `--tfjs-rtol=1`."""
    if argument.startswith("--"):
        return argument.partition("=")[0]
    return argument[:2] if argument[:2] in _SHORT else argument
