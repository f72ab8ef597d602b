"""What was written of a layer that diverged, for others to see it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reproducer:
    """A folder that shows the error of `layer` by itself; where it could not be written `path` is None.

    `note`: what there is to tell of it, in words: why it was not written, or that the layer is right alone.
    """

    layer: str
    path: str | None
    note: str | None = None
