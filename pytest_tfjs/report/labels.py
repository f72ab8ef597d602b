"""What tables and JUnit properties draw from the JSON's dicts.

A controller of pytest-xdist sees nothing else of a comparison.
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


def verdict_label(told: Mapping[str, Any]) -> str:
    """The verdict as tables tell it: `diverged (expected)` where the test expects it."""
    return str(told["verdict"] if told["expected"] is None else f"{told['verdict']} ({EXPECTED})")


def colour(told: Mapping[str, Any], verdict: str | None) -> str | None:
    """What a line is coloured by that tells a verdict of a comparison or task, or of a part of it."""
    return EXPECTED if told["expected"] is not None and verdict not in {None, "close"} else verdict


def coverage_text(layers: Sequence[Mapping[str, Any]]) -> str:
    """`compared 41, fused 23, eliminated 6: identity 4, constant 2`; what did not occur is left out."""
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
    """The countable head of an eliminated layer's reason: `identity` of `identity: x passes its input on`."""
    return (reason or "reason unknown").partition(":")[0].strip()


def dead_layers_text(dead: Mapping[str, str]) -> str | None:
    """The dead layers in words; `dead` tells of each which one value it has. None where there is none."""
    if not dead:
        return None
    listed = ", ".join(f"{name!r} {what}" for name, what in list(dead.items())[:_NAMED])
    more = f" and {len(dead) - _NAMED} more" if len(dead) > _NAMED else ""
    if len(dead) == 1:
        return f"1 layer is dead, and hides what goes wrong before it: {listed}"
    return f"{len(dead)} layers are dead, and hide what goes wrong before them: {listed}{more}"


def retry_note(how: str) -> str:
    """What a note says of a browser that was lost, and `how`; printable."""
    return printable(f"{how}; this is of a second run, on a fresh browser")


def retry_line(test: str, how: str) -> str:
    """`test_a.py::test_b[chrome-webgl]: the browser was lost while …; done once more, on a fresh browser`."""
    return printable(f"{test}: {how}; done once more, on a fresh browser")
