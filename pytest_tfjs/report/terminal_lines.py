"""Single lines for the terminal: the header of a run and the progress of long work."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.text import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_SUBJECT = 12


class HeaderItem(NamedTuple):
    """A setting in the header: its name, its value, and where the value came from (None: not told)."""

    name: str
    value: str
    origin: str | None = None


def header_line(version: str, tfjs_version: str | None, items: Sequence[HeaderItem]) -> str:
    """`tfjs: 0.1.0, TF.js 4.22.0, backends webgl,wasm (command line)`, printable."""
    parts = [version, f"TF.js {'not found' if tfjs_version is None else tfjs_version}"]
    for item in items:
        origin = "" if item.origin is None else f" ({item.origin})"
        parts.append(f"{item.name} {item.value}{origin}")
    return printable(f"tfjs: {', '.join(parts)}")


def retried(how: str) -> str:
    """What a note says of a browser that was lost, and `how`; printable."""
    return printable(f"{how}; this is of a second run, on a fresh browser")


def retried_line(test: str, how: str) -> str:
    """`test_a.py::test_b[chrome-webgl]: the browser was lost while …; done once more, on a fresh browser`."""
    return printable(f"{test}: {how}; done once more, on a fresh browser")


def progress_line(
    subject: str,
    target: str,
    stage: str,
    done: int | None,
    total: int | None,
    *,
    width: int,
    encoding: str = "ascii",
) -> str:
    """`tfjs: test_cnn, webgl on chrome: layers 41/70` in at most `width` cells.

    `subject` is a test or a model; it is shortened before the rest is. `done` and `total` are None where the
    stage has no count.
    """
    count = "" if done is None else f" {done}" if total is None else f" {done}/{total}"
    rest = printable(f", {target}: {stage}{count}", encoding)
    room = max(width - len("tfjs: ") - len(rest), _LEAST_SUBJECT)
    return shorten(f"tfjs: {shorten(printable(subject, encoding), room, encoding)}{rest}", width, encoding)
