"""Short texts for tables and messages: target, verdict, coverage, dead layers, retries.

They are made from the JSON's dicts, because pytest-xdist's controller has nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_tfjs.formats.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COVERAGES = ("compared", "fused", "eliminated", "unmapped")
EXPECTED = "expected"
"""Replaces the verdict as a line's colour where the test expects that verdict."""

_NAMED = 3


def target_label(target: Mapping[str, Any], *, with_browser: bool = True) -> str:
    """`webgl:f16 on chrome`, or `webgl:f16`."""
    variant = "" if target["variant"] is None else f":{target['variant']}"
    browser = f" on {target['browser']}" if with_browser else ""
    return f"{target['backend']}{variant}{browser}"


def verdict_label(entry: Mapping[str, Any]) -> str:
    """The verdict in tables: `diverged`, or `diverged (expected)` if the test expects it."""
    return str(entry["verdict"] if entry["expected"] is None else f"{entry['verdict']} ({EXPECTED})")


def colour(entry: Mapping[str, Any], verdict: str | None) -> str | None:
    """The colour key of a line: its verdict, or `expected` if the test expects that verdict."""
    return EXPECTED if entry["expected"] is not None and verdict not in {None, "close"} else verdict


def coverage_text(layers: Sequence[Mapping[str, Any]]) -> str:
    """`compared 41, fused 23, eliminated 6: identity 4, constant 2`; without zeros."""
    counts = Counter(layer["coverage"] for layer in layers)
    parts = []
    for coverage in COVERAGES:
        if not counts[coverage]:
            continue
        part = f"{coverage} {counts[coverage]}"
        if coverage == "eliminated":
            why = Counter(reason_kind(layer["reason"]) for layer in layers if layer["coverage"] == coverage)
            part += ": " + ", ".join(f"{kind} {count}" for kind, count in why.most_common())
        parts.append(part)
    return ", ".join(parts) or "no layers"


def reason_kind(reason: str | None) -> str:
    """The part of a reason before its colon: `identity` of `identity: x passes its input on`."""
    return (reason or "reason unknown").partition(":")[0].strip()


def dead_layers_text(dead: Mapping[str, str]) -> str | None:
    """A sentence on the dead layers, None if there are none; `dead`: their one value, by name."""
    if not dead:
        return None
    listed = ", ".join(f"{name!r} {what}" for name, what in list(dead.items())[:_NAMED])
    more = f" and {len(dead) - _NAMED} more" if len(dead) > _NAMED else ""
    if len(dead) == 1:
        return f"1 dead layer hides errors in the layers before it: {listed}"
    return f"{len(dead)} dead layers hide errors in the layers before them: {listed}{more}"


def retry_note(how: str) -> str:
    """A note that the first browser was lost, and how; printable."""
    return printable(f"{how}; these results are from a second run in a fresh browser")


def retry_line(test: str, how: str) -> str:
    """`test_a.py::test_b[chrome-webgl]: the browser was lost while …; retried in a fresh browser`."""
    return printable(f"{test}: {how}; retried in a fresh browser")
