"""Lays out text for terminals and logs: tables, labelled facts, shortened names."""

from __future__ import annotations

import textwrap
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pytest_tfjs.formats.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_WIDTH = 110
"""The width of reports that are stored, when no terminal's width is known."""

_GAP = "  "
_LABEL_WIDTH = 12
_NARROWEST = 8
_READABLE = 20
_WIDE = frozenset("WF")


class Line(NamedTuple):
    """A line for the terminal, and the verdict that colours it; None for no colour."""

    text: str
    verdict: str | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table, and how it gives way if the table is too wide.

    `flexible`: its cells may be shortened. `dropped`: it may be left out, the lowest number first.
    """

    heading: str
    align: Literal["left", "right"] = "left"
    flexible: bool = False
    dropped: int | None = None


def quoted(name: str, width: int | None = None) -> str:
    """A name in quotes, printable, shortened in the middle to `width` with its quotes."""
    shown = printable(name)
    return f"'{shown if width is None else shorten(shown, width - 2)}'"


def width_of(text: str) -> int:
    """The number of terminal cells that printable text takes."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in _WIDE)
        for character in text
    )


def shorten(text: str, width: int, encoding: str = "ascii") -> str:
    """Printable text of at most `width` cells, cut in the middle, because both ends of a name matter."""
    if width_of(text) <= width:
        return text
    ellipsis = "…" if _encodes("…", encoding) else "..."
    room = width - width_of(ellipsis)
    if room < len("ab"):
        return _head(text, max(width, 0))
    tail = _head(text[::-1], room - room // 2)[::-1]
    return _head(text, room - width_of(tail)) + ellipsis + tail


def fact(label: str, text: str, *, wrap: bool = True) -> list[str]:
    """A labelled text as wrapped lines; `wrap=False` keeps it on one line, to be copied."""
    head = f"  {label:<{_LABEL_WIDTH}} "
    if not wrap:
        return [head + printable(text)]
    wrapped = textwrap.wrap(
        printable(text), LOG_WIDTH - len(head), break_long_words=False, break_on_hyphens=False
    )
    return [(head if place == 0 else " " * len(head)) + line for place, line in enumerate(wrapped or [""])]


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, encoding: str = "ascii"
) -> list[str]:
    """The heading and the rows as lines of at most `width` cells, aligned, without trailing blanks.

    If the table is too wide, droppable columns are left out, then the cells of flexible columns are shortened
    in the middle, the widest column first; the rest is cut at the right.
    """
    cells = [[column.heading for column in columns], *rows]
    widths = [max(width_of(row[place]) for row in cells) for place in range(len(columns))]
    places = _columns_that_fit(widths, columns, width)
    columns, widths = [columns[place] for place in places], [widths[place] for place in places]
    _shrink(widths, columns, width - len(_GAP) * (len(columns) - 1))
    lines = []
    for row in cells:
        aligned = [
            _aligned(shorten(row[place], room, encoding), room, column.align)
            for place, room, column in zip(places, widths, columns, strict=True)
        ]
        lines.append(_head(_GAP.join(aligned).rstrip(), width))
    return lines


def _columns_that_fit(widths: Sequence[int], columns: Sequence[Column], width: int) -> list[int]:
    """The places of the columns that stay, so that flexible ones keep a readable width."""
    least = [
        min(natural, _READABLE) if column.flexible else natural
        for natural, column in zip(widths, columns, strict=True)
    ]
    places = list(range(len(columns)))
    droppable = [
        (column.dropped, place) for place, column in enumerate(columns) if column.dropped is not None
    ]
    for _, place in sorted(droppable):
        if sum(least[each] for each in places) + len(_GAP) * (len(places) - 1) > width:
            places.remove(place)
    return places


def _shrink(widths: list[int], columns: Sequence[Column], room: int) -> None:
    while sum(widths) > room:
        candidates = [
            place for place, column in enumerate(columns) if column.flexible and widths[place] > _NARROWEST
        ]
        if not candidates:
            return
        widths[max(candidates, key=lambda place: widths[place])] -= 1


def _aligned(text: str, width: int, align: Literal["left", "right"]) -> str:
    blank = " " * (width - width_of(text))
    return text + blank if align == "left" else blank + text


def _head(text: str, width: int) -> str:
    taken = 0
    for place, character in enumerate(text):
        taken += width_of(character)
        if taken > width:
            return text[:place]
    return text


def _encodes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeError:
        return False
    return True
