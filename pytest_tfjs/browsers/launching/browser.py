"""What the harness needs of a running browser, on this machine or another."""

from __future__ import annotations

from typing import Protocol


class Browser(Protocol):
    """A running browser with one page. `close` may be called at any time, and again."""

    @property
    def name(self) -> str:
        """The name users know it by: `chrome`."""

    @property
    def version(self) -> str:
        """The full version that the browser tells of itself."""

    @property
    def webgpu(self) -> bool:
        """Whether it was started for webgpu."""

    @property
    def software(self) -> bool | None:
        """True where its machine has no GPU, so that all it draws is software; None where it is not known."""

    def open(self, url: str) -> None:
        """Close the page there is, and open a fresh one at `url`, without waiting for it to load.

        Raises BrowserError, in one line, where that fails.
        """

    @property
    def ended(self) -> str:
        """What it is that is no longer there, in words, where it is not `alive`."""

    def alive(self) -> bool:
        """Whether its processes are there. Cheap."""

    def trouble(self) -> str | None:
        """What the driver knows to be wrong with the page, in words: a crashed tab. Takes a moment."""

    def close(self) -> None:
        """End it and all that came of it."""
