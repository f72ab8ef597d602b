"""The terminal's summary table: a row for each comparison, from the JSON's dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.labels import colour, dead_layers_text, target_label, verdict_label
from pytest_tfjs.report.number_text import number
from pytest_tfjs.report.table_cells import COSTS, NOTHING, cost, error_against_allowed, wrapped
from pytest_tfjs.report.text_layout import Column, Line, table
from pytest_tfjs.report.worst_layer import worst_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SUMMARY = (
    Column("verdict"),
    Column("worst layer", flexible=True),
    Column("|error|", "right"),
    Column("allowed", "right"),
)

_TIMES = (Column("first ms", "right"), Column("warm ms", "right"))


def summary_table(
    comparisons: Sequence[Mapping[str, Any]], *, width: int, encoding: str = "ascii"
) -> list[Line]:
    """Model x target: verdict, worst layer, its error against what was allowed, first and warm inference.

    To add a column, extend `_SUMMARY` and `_summary_row`. `cost`, for quantised weights, is the largest
    change of an output, relative to its largest value. Warm is the median. If all browsers are the same, the
    heading names it. Columns without values are left out. Below the table come the reasons of verdicts other
    than `close` that no test expects, and the dead layers of each model.
    """
    if not comparisons:
        return []
    browsers = {comparison["target"]["browser"] for comparison in comparisons}
    several = len(browsers) > 1
    target = "target" if several else f"on {printable(min(browsers), encoding)}"
    timed = any(comparison["timing"] is not None for comparison in comparisons)
    whose = (Column("model", flexible=True), Column("format", dropped=1), Column(target))
    quantised = any(comparison["compression"] is not None for comparison in comparisons)
    columns = (*whose, *_SUMMARY, *(COSTS if quantised else ()), *(_TIMES if timed else ()))
    rows = [
        [
            *_summary_row(comparison, several, encoding),
            *(_compression(comparison) if quantised else ()),
            *(_times(comparison) if timed else ()),
        ]
        for comparison in comparisons
    ]
    heading, *lines = table(columns, rows, width, encoding)
    body = [Line(text, colour(one, one["verdict"])) for text, one in zip(lines, comparisons, strict=True)]
    reasons, dead = _reasons(comparisons, width, encoding), _dead(comparisons, width, encoding)
    return [Line(heading), *body, *reasons, *dead]


def _summary_row(comparison: Mapping[str, Any], with_browser: bool, encoding: str) -> list[str]:
    worst = worst_layer(comparison)
    return [
        printable(comparison["model"], encoding),
        _format(comparison),
        printable(target_label(comparison["target"], with_browser=with_browser), encoding),
        verdict_label(comparison),
        NOTHING if worst is None else printable(worst["name"], encoding),
        *error_against_allowed(worst),
    ]


def _times(comparison: Mapping[str, Any]) -> tuple[str, str]:
    timing = comparison["timing"] or {}
    return _milliseconds(timing.get("first_ms")), _milliseconds(timing.get("median_ms"))


def _compression(comparison: Mapping[str, Any]) -> tuple[str, str]:
    compression = comparison["compression"]
    return (
        (NOTHING, NOTHING) if compression is None else (cost([compression]), number(compression["allowed"]))
    )


def _format(comparison: Mapping[str, Any]) -> str:
    weights = comparison["weights"]
    return str(comparison["format"] if weights == "float32" else f"{comparison['format']} {weights}")


def _milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _reasons(comparisons: Sequence[Mapping[str, Any]], width: int, encoding: str) -> list[Line]:
    lines = []
    for comparison in comparisons:
        if comparison["verdict"] == "close" or comparison["reason"] is None or comparison["expected"]:
            continue
        # After the first line, an error of the page is a stack.
        reason = (comparison["reason"].splitlines() or [""])[0]
        subject = f"{comparison['model']}, {target_label(comparison['target'])}"
        text = printable(f"{subject}: {comparison['verdict']}: {reason}", encoding)
        lines += [Line(part, comparison["verdict"]) for part in wrapped(text, width)]
    return lines


def _dead(comparisons: Sequence[Mapping[str, Any]], width: int, encoding: str) -> list[Line]:
    """The dead layers of each model, once for all targets."""
    notes: dict[str, None] = {}
    for comparison in comparisons:
        dead = dead_layers_text(
            {layer["name"]: layer["dead"] for layer in comparison["layers"] if layer["dead"]}
        )
        if dead is not None:
            notes[printable(f"{comparison['model']}, {comparison['format']}: {dead}", encoding)] = None
    return [Line(part) for text in notes for part in wrapped(text, width)]
