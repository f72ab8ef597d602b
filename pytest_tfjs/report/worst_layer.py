"""Finds the layer that comes closest to its tolerance, from the JSON's dicts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_JUDGED = ("close", "diverged")


def decisive(layer: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The deciding error of a layer, and what is allowed; None if not finite or unknown.

    It is the local error or the error in the whole run, whichever is the larger share of its limit.
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
    """The deciding error relative to what is allowed; above 1 the layer diverged.

    Infinite if the error is infinite, or if nothing is allowed and there is an error; -1 if nothing was
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
    """The layer with the largest share, the first among equals; None if none was compared."""
    layers = [layer for layer in comparison["layers"] if share_of_tolerance(layer) >= 0]
    return max(layers, key=share_of_tolerance, default=None)
