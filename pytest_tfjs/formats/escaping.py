"""Escapes untrusted text for terminals and CI logs."""

from __future__ import annotations

import re

_COMMAND = re.compile(r"^ *(?=::)|(?=##\w*\[)")
"""Where a line starts a command of GitHub Actions, Azure Pipelines or TeamCity."""


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""`text` in one line, with unprintable characters escaped as `\x1b` or `\u202e`.

    Escaped are line ends, control and bidirectional characters, and characters that `encoding` does not have.
    The first character of a command of a CI service is escaped as `\x3a` or `\x23`.
    """
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    for match in reversed(list(_COMMAND.finditer(escaped))):
        at = match.end()
        escaped = f"{escaped[:at]}\\x{ord(escaped[at]):02x}{escaped[at + 1 :]}"
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def printable_lines(text: str) -> str:
    """`text` with each line escaped as by `printable`; line feeds stay."""
    return "\n".join(map(printable, text.split("\n")))
