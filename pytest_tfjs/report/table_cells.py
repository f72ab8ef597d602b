"""Cells and columns that the summary table and the layer table share."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from pytest_tfjs.report.number_text import number
from pytest_tfjs.report.text_layout import Column, shorten
from pytest_tfjs.report.worst_layer import decisive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTHING = "-"
COSTS = (Column("cost", "right"), Column("cost allowed", "right"))


def cost(costs: Sequence[Mapping[str, Any] | None]) -> str:
    """The greatest of the costs; `-` where there is none."""
    shares = [math.inf if cost["share"] is None else cost["share"] for cost in costs if cost is not None]
    return number(max(shares)) if shares else NOTHING


def error_against_allowed(layer: Mapping[str, Any] | None) -> tuple[str, str]:
    """The deciding error of a layer, and what is allowed; `-` for what is unknown."""
    if layer is None:
        return NOTHING, NOTHING
    error, allowed = decisive(layer)
    unknown = "inf" if layer["nonfinite_mismatched"] else NOTHING
    text = unknown if error is None else number(error)
    return text, NOTHING if allowed is None else number(allowed)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells, the later ones indented."""
    lines = textwrap.wrap(text, max(width, 20), subsequent_indent="  ", break_on_hyphens=False)
    return [shorten(line, width) for line in lines]
