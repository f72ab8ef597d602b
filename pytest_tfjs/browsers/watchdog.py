"""How long a page has been at work, how long it was not heard of, and what it seems to be doing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfjs.browsers.messages import Progress

# Short, so that Ctrl-C is seen where a wait cannot be interrupted (Windows).
TICK_S = 0.25
# A wait of a tick that takes longer than this was none.
AWAY_S = 4 * TICK_S
BUSY_S = 3.0


@dataclass
class Watch:
    """The time that a page has for what it is doing, and what it last told of it."""

    timeout_s: float
    silent_s: float
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)
    quiet_since: float = field(default_factory=time.monotonic)

    def pause(self, seconds: float) -> None:
        """Leave out time that was not the page's, in which nobody listened to it."""
        self.started += seconds
        self.looked = self.quiet_since = time.monotonic()

    def silence(self, heard: float | None) -> float:
        """For how long nothing was heard of the page while somebody listened.

        Where this process itself was away (suspended, or busy with one long call) the page may have spoken.
        """
        now = time.monotonic()
        if now - self.looked > AWAY_S:
            self.quiet_since = now
        self.looked = now
        self.quiet_since = max(self.quiet_since, heard or 0.0)
        return now - self.quiet_since

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() - self.started > self.timeout_s


def state_of(busy_s: float, silence_s: float) -> str:
    """What a page that is late seems to do.

    `busy_s`: for how long its main thread had not answered the last heartbeat; `silence_s`: for how long
    there was none.
    """
    if busy_s > BUSY_S:
        return f"its main thread has been busy for {busy_s:.0f} s (the tab lives: its heartbeat came)"
    if silence_s > BUSY_S:
        # In WebKit what a worker sends goes through the page's main thread.
        return f"its main thread is busy: even its heartbeat has not come for {silence_s:.0f} s"
    return "its main thread is not busy: it waits for the GPU, or for a promise that is not kept"
