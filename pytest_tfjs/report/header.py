"""The plugin's line in pytest's header: versions, and settings with their origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_tfjs.formats.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


class HeaderItem(NamedTuple):
    """A setting in the header: its name, its value, and where the value came from (None: not shown)."""

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
