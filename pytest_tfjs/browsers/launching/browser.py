"""The interface of a running browser, on this machine or another."""

from __future__ import annotations

from typing import Protocol


class Browser(Protocol):
    """A running browser with one page. `close` may be called at any time, and more than once."""

    @property
    def name(self) -> str:
        """The name in `--tfjs-browsers`: `chrome`."""

    @property
    def version(self) -> str:
        """The full version that the browser reports."""

    @property
    def webgpu(self) -> bool:
        """Whether it was started for webgpu."""

    @property
    def software(self) -> bool | None:
        """True if its machine has no GPU, so that it renders in software; None if unknown."""

    def open(self, url: str) -> None:
        """Close the current page and open a new one at `url`, without waiting for it to load.

        Raises BrowserError with a one-line message if that fails.
        """

    @property
    def ended(self) -> str:
        """What has ended, in words, if the browser is not `alive`: `its process has ended`."""

    def alive(self) -> bool:
        """Whether its process or session exists. Cheap."""

    def trouble(self) -> str | None:
        """The error that the driver reports for the page, such as a crashed tab, or None. Takes a moment."""

    def close(self) -> None:
        """End the browser and everything it started."""
