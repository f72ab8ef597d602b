"""Parsers of option values: names, numbers, byte counts, flags and paths.

Each takes text from the command line or an ini file, or the value itself from a marker or a call, and raises
SettingsError with what was expected.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_tfjs.errors import SettingsError


def names(value: Any) -> tuple[str, ...]:
    """One or more names, from a list or separated by commas; duplicates are dropped."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable) or not all(isinstance(part, str) for part in parts):
        raise SettingsError("expected names, separated by commas or as a list")
    stripped = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not stripped:
        raise SettingsError("expected at least one name")
    return stripped


def number(value: Any) -> float:
    """A finite number, 0 or greater."""
    number = _finite(value)
    if number is None or number < 0:
        raise SettingsError("expected a number, 0 or greater, such as 1e-4")
    return number


def seconds(value: Any) -> float:
    """A number of seconds, more than 0."""
    seconds = _finite(value)
    if seconds is None or seconds <= 0:
        raise SettingsError("expected a number of seconds, more than 0, such as 300")
    return seconds


def _finite(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


_BYTES = r"(\d+(?:\.\d+)?)\s*(?:([kmg])(i?)b?|b)?"


def byte_count(value: Any) -> int:
    """A number of bytes, more than 0: `256MB` is 256 million bytes, `256MiB` is 256 times 2**20."""
    match = None if isinstance(value, bool) else re.fullmatch(_BYTES, str(value).strip(), re.IGNORECASE)
    if match is None:
        raise SettingsError("expected a number of bytes, such as 256MB, 1GiB or 268435456")
    number, unit, binary = match.groups()
    count = int(float(number) * (1024 if binary else 1000) ** (" kmg".index(unit.lower()) if unit else 0))
    if count == 0:
        raise SettingsError("expected more than 0 bytes")
    return count


def flag(value: Any) -> bool:
    """A bool, or `1`, `true`, `yes`, `on` and `0`, `false`, `no`, `off` in any case."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("1", "true", "yes", "on"):
        return True
    if str(value).lower() in ("0", "false", "no", "off"):
        return False
    raise SettingsError("expected true or false")


def expand_home(value: Any) -> Path:
    """A path in which a leading `~` or `~user` is replaced by the home directory."""
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise SettingsError("the home directory in this path does not exist") from None


def file_path(value: Any) -> Path:
    """An absolute path; `~` is the home directory."""
    if not str(value):
        raise SettingsError("expected a path")
    return expand_home(value).absolute()


def directory(value: Any) -> Path:
    """An existing directory that holds TF.js."""
    path = file_path(value)
    if not path.is_dir():
        raise SettingsError("there is no such directory; expected one that holds @tensorflow/tfjs")
    return path


def program(value: Any) -> Path:
    """An existing file."""
    path = file_path(value)
    if not path.is_file():
        raise SettingsError("there is no such file; expected the path of a program")
    return path


def new_file(value: Any) -> Path:
    """A path at which a file can be written; its directories need not exist yet."""
    path = file_path(value)
    if path.is_dir():
        raise SettingsError("the path is a directory; expected the name of a file")
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SettingsError(f"{folder} cannot be written to; expected a file in a writable directory")
    return path


def new_directory(value: Any) -> Path:
    """A path at which a directory can be written; its parents need not exist yet."""
    path = file_path(value)
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir():
        raise SettingsError(f"{existing} is a file; expected the name of a directory")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise SettingsError(f"{existing} cannot be written to; expected a writable directory")
    return path
