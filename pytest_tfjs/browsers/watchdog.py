"""Watches a page during a job: the time limit, how long it is silent, what it is doing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.browsers.messages import Progress

# Short, so that Ctrl-C is seen where a wait cannot be interrupted (Windows).
TICK_S = 0.25
# A wait of one tick that takes longer than this means that this process was suspended.
AWAY_S = 4 * TICK_S
BUSY_S = 3.0
# Heartbeats come once a second: after this long without one the driver is asked what is wrong.
QUIET_S = 2.5
SILENT_S = 15.0
"""A page that has been silent for longer counts as hung, or as lost with its browser."""

FIRST_SIGN_S = 60.0
"""The same for a page that has not been heard from yet, as the browser starts."""


@dataclass
class Watch:
    """The time limit of a page's work, and the latest progress that the page reported.

    `on_progress` gets each later progress.
    """

    timeout_s: float
    silent_s: float
    progress: Progress
    on_progress: Callable[[Progress], None]
    started: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)
    quiet_since: float = field(default_factory=time.monotonic)

    def show(self, progress: Progress) -> None:
        """Remembers and passes on the page's progress."""
        self.progress = progress
        self.on_progress(progress)

    def pause(self, seconds: float) -> None:
        """Leaves out time that a callback took, during which no message of the page was read."""
        self.started += seconds
        self.looked = self.quiet_since = time.monotonic()

    def silence(self, last_message: float | None) -> float:
        """For how many seconds no message has come from the page; `last_message`: when the last one came.

        Time in which this process was suspended, or busy with one long call, does not count.
        """
        now = time.monotonic()
        if now - self.looked > AWAY_S:
            self.quiet_since = now
        self.looked = now
        self.quiet_since = max(self.quiet_since, last_message or 0.0)
        return now - self.quiet_since

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() - self.started > self.timeout_s


def state_of(busy_s: float, silence_s: float) -> str:
    """What a page that ran past its limit is doing, in words.

    `busy_s`: for how many seconds its main thread has not answered a heartbeat; `silence_s`: for how many
    there was no heartbeat.
    """
    if busy_s > BUSY_S:
        return (
            f"the page's main thread has been busy for {busy_s:.0f} s (the tab is alive and sends heartbeats)"
        )
    if silence_s > BUSY_S:
        # In WebKit a worker's messages go through the page's main thread.
        return f"the page's main thread is busy: there has been no heartbeat for {silence_s:.0f} s"
    return "the page's main thread is idle: the page waits for the GPU, or for a promise that never settles"
