"""Shows the progress of long work at the right of the terminal's current line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.text_layout import shorten

if TYPE_CHECKING:
    from collections.abc import Callable

_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
_INTERVAL_S = 0.1
_LEAST_ROOM = 30


class ProgressLine:
    """Shows one line of progress to the right of the cursor, and removes it.

    `stream` is a terminal. `room` gives the free cells to the right of the cursor. The cursor stays where it
    is, so other writers to the terminal are not affected.
    """

    def __init__(self, stream: TextIO, room: Callable[[], int]) -> None:
        self._stream: TextIO | None = stream
        self._room = room
        self._shown = ""
        self._shown_at = 0.0
        self.subject = ""
        self.target = ""

    def show(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Shows the current stage; the same stage at most ten times a second."""
        now = time.monotonic()
        if self._stream is None or (stage == self._shown and now - self._shown_at < _INTERVAL_S):
            return
        room = self._room() - 2
        if room < _LEAST_ROOM:
            return
        line = progress_line(
            self.subject, self.target, stage, done, total, width=room, encoding=self._stream.encoding
        )
        self._write(f"{_SAVE} {line}{_ERASE}{_RESTORE}")
        self._shown, self._shown_at = stage, now

    def clear(self) -> None:
        """Removes the line, if one is shown."""
        if self._shown:
            self._write(f"{_SAVE}{_ERASE}{_RESTORE}")
            self._shown = ""

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # The terminal went away; the tests go on.
            self._stream = None


_LEAST_SUBJECT = 12


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
