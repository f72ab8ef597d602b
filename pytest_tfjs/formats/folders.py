"""Folders written for others: names that every file system takes, and contents that are whole or none."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""

_LONGEST = 60
_DIGITS = 8


def safe_name(name: str) -> str:
    """A file name for any text: of letters, digits and `._-`, at most 69 long, and not a name of Windows.

    Where that is not the text itself, or another text differs in its case alone, a digest of the text is at
    its end: different texts have different names, also where the file system does not tell A from a.
    """
    plain = _UNSAFE.sub("-", name).strip("-. ")[:_LONGEST].rstrip("-. ")
    if plain == name and plain == plain.lower() and plain and not _RESERVED.fullmatch(plain):
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{plain}-{digest}" if plain and not _RESERVED.fullmatch(plain) else f"_{plain}-{digest}"


@contextlib.contextmanager
def replaced_folder(target: Path, mark: str) -> Iterator[Path]:
    """An empty folder that takes the place of `target` when the block ends, and goes where it fails.

    What is there already is replaced only where it holds the file `mark`, that is, where it is one of ours.
    Raises OSError, FileExistsError where something else is there.
    """
    if target.exists() and not (target / mark).is_file():
        raise FileExistsError(f"{target} is there already, and is no reproducer")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.new")
    before = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        _remove(beside)
        beside.mkdir()
        yield beside
        _remove(before)
        if target.exists():
            target.rename(before)
        try:
            beside.rename(target)
        except OSError:
            if before.exists():
                before.rename(target)
            raise
    finally:
        _remove(beside)
        _remove(before)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
