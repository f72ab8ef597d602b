"""What long work is doing, beside the line that the terminal is on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from pytest_tfjs.report.terminal_lines import progress_line

if TYPE_CHECKING:
    from collections.abc import Callable

_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
_INTERVAL_S = 0.1
_LEAST_ROOM = 30


class ProgressLine:
    """Shows one line of progress to the right of the cursor, and takes it away again.

    `stream` is a terminal. `room` gives the free cells to the right of the cursor. The
    cursor stays where it is, so that whoever else writes to the terminal needs to know nothing of this.
    """

    def __init__(self, stream: TextIO, room: Callable[[], int]) -> None:
        self._stream: TextIO | None = stream
        self._room = room
        self._shown = ""
        self._shown_at = 0.0
        self.subject = ""
        self.target = ""

    def show(self, stage: str, done: int | None = None, total: int | None = None) -> None:
        """Tells what is being done; the same stage at most ten times a second."""
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
        """Takes the line away, if one is shown."""
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
