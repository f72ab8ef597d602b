"""Makes safe file names, and replaces a folder either completely or not at all."""

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
"""Names that Windows reserves for devices."""

_LONGEST = 60
_DIGITS = 8


def safe_name(name: str) -> str:
    """A file name for any text: letters, digits and `._-`, at most 69 of them, and not reserved by Windows.

    The name ends with a digest of the text unless it equals the text and is in lower case, so that different
    texts have different names on file systems that ignore case too.
    """
    plain = _UNSAFE.sub("-", name).strip("-. ")[:_LONGEST].rstrip("-. ")
    if plain == name and plain == plain.lower() and plain and not _RESERVED.fullmatch(plain):
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{plain}-{digest}" if plain and not _RESERVED.fullmatch(plain) else f"_{plain}-{digest}"


@contextlib.contextmanager
def replaced_folder(target: Path, mark: str) -> Iterator[Path]:
    """An empty folder that replaces `target` when the block ends, and is removed if the block fails.

    An existing `target` is replaced only if it contains the file `mark`, which this program writes. Raises
    FileExistsError if it does not, and OSError if the folder cannot be written.
    """
    if target.exists() and not (target / mark).is_file():
        raise FileExistsError(
            f"{target} exists, but pytest-tfjs did not write it (it has no {mark}). Remove it, or choose"
            " another folder"
        )
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
