"""What tables and JUnit properties draw from the JSON's dicts.

A controller of pytest-xdist sees nothing else of a comparison.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COVERAGES = ("compared", "fused", "eliminated", "unmapped")


def target_label(target: Mapping[str, Any], *, with_browser: bool = True) -> str:
    """`webgl:f16 on chrome`, or `webgl:f16`."""
    variant = "" if target["variant"] is None else f":{target['variant']}"
    browser = f" on {target['browser']}" if with_browser else ""
    return f"{target['backend']}{variant}{browser}"


def share_of_tolerance(layer: Mapping[str, Any]) -> float:
    """The error at the layer's worst element in parts of what is allowed there: above 1 it diverged.

    Infinite where the error is, or where nothing is allowed and there is an error; -1 where nothing was
    compared.
    """
    if layer["verdict"] not in ("close", "diverged"):
        return -1.0
    error, allowed = layer["worst_error"], layer["allowed"]
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
