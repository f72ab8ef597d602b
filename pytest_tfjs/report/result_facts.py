"""What tables and JUnit properties draw from the JSON's dicts.

A controller of pytest-xdist sees nothing else of a comparison.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_JUDGED = ("close", "diverged")
_NAMED = 3
COVERAGES = ("compared", "fused", "eliminated", "unmapped")


def target_label(target: Mapping[str, Any], *, with_browser: bool = True) -> str:
    """`webgl:f16 on chrome`, or `webgl:f16`."""
    variant = "" if target["variant"] is None else f":{target['variant']}"
    browser = f" on {target['browser']}" if with_browser else ""
    return f"{target['backend']}{variant}{browser}"


EXPECTED = "expected"
"""What lines of the terminal are coloured by in place of a verdict that the test expects."""


def verdict_label(told: Mapping[str, Any]) -> str:
    """The verdict as tables tell it: `diverged (expected)` where the test expects it."""
    return str(told["verdict"] if told["expected"] is None else f"{told['verdict']} ({EXPECTED})")


def colour(told: Mapping[str, Any], verdict: str | None) -> str | None:
    """What a line is coloured by that tells a verdict of a comparison or task, or of a part of it."""
    return EXPECTED if told["expected"] is not None and verdict not in {None, "close"} else verdict


def decisive(layer: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The error that decides of a layer, and what is allowed of it; None where it is not finite or unknown.

    That is the local error or that of the whole run, whichever takes up more of what is allowed.
    """
    whole = (layer["worst_error"], layer["allowed"])
    local = layer["local"]
    if local is None or layer["given"] or layer["verdict"] not in _JUDGED:
        return whole
    own = (local["rms"], local["rms_allowed"]) if local["failed_by"] == "rms" else _worst_of(local)
    return own if _share(*own) >= _share(*whole) else whole


def _worst_of(local: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return local["worst_error"], local["allowed"]


def share_of_tolerance(layer: Mapping[str, Any]) -> float:
    """The error that decides in parts of what is allowed there: above 1 the layer diverged.

    Infinite where the error is, or where nothing is allowed and there is an error; -1 where nothing was
    compared.
    """
    return _share(*decisive(layer)) if layer["verdict"] in _JUDGED else -1.0


def _share(error: float | None, allowed: float | None) -> float:
    if error is None:
        return math.inf
    if not allowed:
        return math.inf if error > 0 else 0.0
    return float(error / allowed)


def worst_layer(comparison: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The layer that uses most of its tolerance, the first of equal ones; None where none was compared."""
    layers = [layer for layer in comparison["layers"] if share_of_tolerance(layer) >= 0]
    return max(layers, key=share_of_tolerance, default=None)


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


def dead_layers(dead: Mapping[str, str]) -> str | None:
    """The dead layers in words; `dead` tells of each which one value it has. None where there is none."""
    if not dead:
        return None
    listed = ", ".join(f"{name!r} {what}" for name, what in list(dead.items())[:_NAMED])
    more = f" and {len(dead) - _NAMED} more" if len(dead) > _NAMED else ""
    if len(dead) == 1:
        return f"1 layer is dead, and hides what goes wrong before it: {listed}"
    return f"{len(dead)} layers are dead, and hide what goes wrong before them: {listed}{more}"
