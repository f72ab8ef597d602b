"""Words nobody vouches for, made fit for a terminal and the logs of a CI service."""

from __future__ import annotations

import re

_COMMAND = re.compile(r"^ *(?=::)|(?=##\w*\[)")
"""Where a line is a command to GitHub Actions, Azure Pipelines or TeamCity, or one to the agents of these."""


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""`text` with what moves a cursor, reverses a line or fails to encode written as `\x1b`, `\u202e`.

    Line ends are written so too: nothing begins a line of its own. The first character of what is a command
    to a CI service is written as `\x3a` or `\x23`.
    """
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    for found in reversed(list(_COMMAND.finditer(escaped))):
        at = found.end()
        escaped = f"{escaped[:at]}\\x{ord(escaped[at]):02x}{escaped[at + 1 :]}"
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def printable_lines(text: str) -> str:
    """As `printable`, but line feeds stay."""
    return "\n".join(map(printable, text.split("\n")))
