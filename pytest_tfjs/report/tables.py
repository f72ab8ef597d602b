"""The terminal's tables: all comparisons of a run, all layers of one comparison; out of the JSON's dicts."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.layer_groups import Grouped, grouped
from pytest_tfjs.report.result_facts import (
    colour,
    coverage_text,
    dead_layers,
    decisive,
    target_label,
    verdict_label,
    worst_layer,
)
from pytest_tfjs.report.terminal_lines import retried
from pytest_tfjs.report.text import Column, Line, number, shorten, table

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

_NOTHING = "-"

_SUMMARY = (
    Column("verdict"),
    Column("worst layer", flexible=True),
    Column("|error|", "right"),
    Column("allowed", "right"),
)
_COSTS = (Column("cost", "right"), Column("cost allowed", "right"))
_TIMES = (Column("first ms", "right"), Column("warm ms", "right"))

_ALONE = (Column("local", "right", dropped=1), Column("propagated", "right", dropped=1))

_LAYERS = (
    Column("layer", flexible=True),
    Column("op", flexible=True, dropped=3),
    Column("shape", dropped=4),
    Column("coverage", flexible=True),
    Column("max abs", "right", dropped=1),
    Column("rms", "right", dropped=2),
    *_ALONE,
    Column("|error|", "right"),
    Column("allowed", "right"),
    _COSTS[0],
    Column("verdict"),
)

_OF_GROUPS = (0, 1, 3, 8, 9, 10, 11)
"""Of a layer's columns those that a group has as well."""

_GROUPS = tuple(_LAYERS[place] for place in _OF_GROUPS)
_INDENT = "  "
_MOST_WEIGHTS = 8


def summary_table(
    comparisons: Sequence[Mapping[str, Any]], *, width: int, encoding: str = "ascii"
) -> list[Line]:
    """Model x target: verdict, worst layer, its error against what was allowed, first and warm inference.

    Where weights are quantised, `cost` is how far that moved the output that it moved most, relative to its
    largest value. Warm is the median. A browser that is the same for all is told in the heading. Columns that
    nothing is known for are left out. Below the table stand the reason of each verdict but `close` and those
    that tests expect, and the dead layers of each model.
    """
    if not comparisons:
        return []
    browsers = {comparison["target"]["browser"] for comparison in comparisons}
    several = len(browsers) > 1
    target = "target" if several else f"on {printable(min(browsers), encoding)}"
    timed = any(comparison["timing"] is not None for comparison in comparisons)
    whose = (Column("model", flexible=True), Column("format", dropped=1), Column(target))
    quantised = any(comparison["compression"] is not None for comparison in comparisons)
    columns = (*whose, *_SUMMARY, *(_COSTS if quantised else ()), *(_TIMES if timed else ()))
    rows = [
        [
            *_summary_row(comparison, several, encoding),
            *(_compression(comparison) if quantised else ()),
            *(_times(comparison) if timed else ()),
        ]
        for comparison in comparisons
    ]
    heading, *lines = table(columns, rows, width, encoding)
    told = [Line(text, colour(one, one["verdict"])) for text, one in zip(lines, comparisons, strict=True)]
    reasons, dead = _reasons(comparisons, width, encoding), _dead(comparisons, width, encoding)
    return [Line(heading), *told, *reasons, *dead]


def layer_table(
    comparison: Mapping[str, Any], *, width: int, encoding: str = "ascii", nodes: bool = False
) -> list[Line]:
    """All layers of one comparison, under a line that tells the verdict and the counts of the coverage.

    The notes stand between, and what reading altered, and weights that are not the source's. `|error|` and
    `allowed` are of the error that decides (see `summary.decisive`), at its worst element; `local` is the
    largest error of the layer run alone, and `propagated` what its inputs' error made of its activation.
    Where the width does not do, max abs, local, propagated, rms, op and shape are left out, in this order.
    The nodes of a graph model are gathered into one line for each group, with the numbers of its worst node;
    `nodes` lists them under it. `cost` is there where weights are
    quantised: how far that moved the activation, relative to its largest value.
    """
    subject = f"{comparison['model']}, {target_label(comparison['target'])}: {verdict_label(comparison)}"
    # Of an error the layers are what was planned, and nobody knows what became of them.
    counts = "" if comparison["verdict"] == "error" else f"; {coverage_text(comparison['layers'])}"
    title = printable(f"{subject}{counts}", encoding)
    notes = [printable(f"note: {note}", encoding) for note in _notes(comparison)]
    first = set(comparison["first_divergence"])
    columns: Sequence[Column] = _LAYERS
    if all(layer["group"] is None for layer in comparison["layers"]):
        rows = [_layer_row(layer, first, encoding) for layer in comparison["layers"]]
        verdicts = [layer["verdict"] for layer in comparison["layers"]]
    else:
        columns = _LAYERS if nodes else _GROUPS
        rows, verdicts = _grouped_rows(comparison["layers"], first, nodes, encoding)
    unknown = {*(() if comparison["compression"] else _COSTS), *(() if _ran_alone(comparison) else _ALONE)}
    kept = [place for place, column in enumerate(columns) if column not in unknown]
    columns = [columns[place] for place in kept]
    rows = [[row[place] for place in kept] for row in rows]
    heading, *lines = table(columns, rows, width, encoding)
    told = [Line(text, colour(comparison, verdict)) for text, verdict in zip(lines, verdicts, strict=True)]
    return [
        *(Line(text, colour(comparison, comparison["verdict"])) for text in _wrapped(title, width)),
        *(Line(text) for note in notes for text in _wrapped(note, width)),
        Line(heading),
        *told,
    ]


def _ran_alone(comparison: Mapping[str, Any]) -> bool:
    return any(layer["local"] is not None for layer in comparison["layers"])


def _notes(comparison: Mapping[str, Any]) -> Iterator[str]:
    """What the user has to know though it may be no failure, a sentence each."""
    yield from comparison["notes"]
    if comparison["retried"] is not None:
        yield retried(comparison["retried"])
    told = comparison["observer_effect"]["told"]
    if told is not None:
        yield told
    # Of a comparison that failed, the message and the reason tell them.
    differences = comparison["weight_differences"] if comparison["verdict"] == "close" else []
    for one in differences[:_MOST_WEIGHTS]:
        of = "" if one["layer"] is None else f" of {one['layer']!r}"
        yield f"the weight {one['name']!r}{of} is not the source's: {one['what'] or 'it differs'}"
    if len(differences) > _MOST_WEIGHTS:
        yield f"and {len(differences) - _MOST_WEIGHTS} more weights are not the source's"


def _grouped_rows(
    layers: Sequence[Mapping[str, Any]], first: Container[str], nodes: bool, encoding: str
) -> tuple[list[list[str]], list[str | None]]:
    """The rows of a table of groups, with those of their nodes if `nodes`, and the verdict of each."""
    groups = {layer["name"]: layer["group"] for layer in layers}
    rows, verdicts = [], []
    for group in grouped(layers):
        if group.name is not None:
            row = _group_row(group, groups, first, encoding)
            rows.append(row if nodes else [row[place] for place in _OF_GROUPS])
            verdicts.append(group.verdict)
        if nodes or group.name is None:
            indent = "" if group.name is None else _INDENT
            for layer in group.rows:
                row = _layer_row(layer, first, encoding)
                row[0] = indent + row[0]
                rows.append(row if nodes else [row[place] for place in _OF_GROUPS])
                verdicts.append(layer["verdict"])
    return rows, verdicts


def _group_row(
    group: Grouped, groups: Mapping[str, str | None], first: Container[str], encoding: str
) -> list[str]:
    is_first = any(row["name"] in first for row in group.rows)
    return [
        printable(group.name or "", encoding),
        printable(group.op or _NOTHING, encoding),
        "",
        printable(group.coverage(groups), encoding),
        "",
        "",
        "",
        "",
        *_error_against_allowed(group.worst),
        _cost([row["compression"] for row in group.rows]),
        "diverged first" if is_first else group.verdict or _NOTHING,
    ]


def _summary_row(comparison: Mapping[str, Any], with_browser: bool, encoding: str) -> list[str]:
    worst = worst_layer(comparison)
    return [
        printable(comparison["model"], encoding),
        _format(comparison),
        printable(target_label(comparison["target"], with_browser=with_browser), encoding),
        verdict_label(comparison),
        _NOTHING if worst is None else printable(worst["name"], encoding),
        *_error_against_allowed(worst),
    ]


def _times(comparison: Mapping[str, Any]) -> tuple[str, str]:
    timing = comparison["timing"] or {}
    return _milliseconds(timing.get("first_ms")), _milliseconds(timing.get("median_ms"))


def _compression(comparison: Mapping[str, Any]) -> tuple[str, str]:
    told = comparison["compression"]
    return (_NOTHING, _NOTHING) if told is None else (_cost([told]), number(told["allowed"]))


def _cost(costs: Sequence[Mapping[str, Any] | None]) -> str:
    """The greatest of the costs; `-` where there is none."""
    shares = [math.inf if cost["share"] is None else cost["share"] for cost in costs if cost is not None]
    return number(max(shares)) if shares else _NOTHING


def _format(comparison: Mapping[str, Any]) -> str:
    weights = comparison["weights"]
    return str(comparison["format"] if weights == "float32" else f"{comparison['format']} {weights}")


def _layer_row(layer: Mapping[str, Any], first: Container[str], encoding: str) -> list[str]:
    shape = layer["shape"]
    return [
        printable(layer["name"], encoding),
        printable(layer["op"], encoding),
        _NOTHING if shape is None else f"[{', '.join(str(size) for size in shape)}]",
        printable(_coverage(layer), encoding),
        _error(layer, "max_abs"),
        _error(layer, "rms"),
        _alone(layer, "local_error"),
        _alone(layer, "propagated_error"),
        *_error_against_allowed(layer),
        _cost([layer["compression"]]),
        "diverged first" if layer["name"] in first else layer["verdict"] or _NOTHING,
    ]


def _coverage(layer: Mapping[str, Any]) -> str:
    if layer["coverage"] == "fused" and layer["into"] is not None:
        return f"fused into {layer['into']}"
    if layer["coverage"] == "compared" or layer["reason"] is None:
        return str(layer["coverage"])
    # What follows the colon is in the JSON; the table has no room for it.
    return f"{layer['coverage']}: {layer['reason'].partition(':')[0]}"


def _error_against_allowed(layer: Mapping[str, Any] | None) -> tuple[str, str]:
    if layer is None:
        return _NOTHING, _NOTHING
    error, allowed = decisive(layer)
    unknown = "inf" if layer["nonfinite_mismatched"] else _NOTHING
    told = unknown if error is None else number(error)
    return told, _NOTHING if allowed is None else number(allowed)


def _alone(layer: Mapping[str, Any], key: str) -> str:
    if layer["local"] is None:
        return _NOTHING
    return "inf" if layer[key] is None else number(layer[key])


def _error(layer: Mapping[str, Any], key: str) -> str:
    if layer[key] is not None:
        return number(layer[key])
    return "inf" if layer["nonfinite_mismatched"] else _NOTHING


def _milliseconds(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.1f}"


def _reasons(comparisons: Sequence[Mapping[str, Any]], width: int, encoding: str) -> list[Line]:
    lines = []
    for comparison in comparisons:
        if comparison["verdict"] == "close" or comparison["reason"] is None or comparison["expected"]:
            continue
        # Of an error in the page, the lines after the first are a stack.
        reason = (comparison["reason"].splitlines() or [""])[0]
        subject = f"{comparison['model']}, {target_label(comparison['target'])}"
        text = printable(f"{subject}: {comparison['verdict']}: {reason}", encoding)
        lines += [Line(part, comparison["verdict"]) for part in _wrapped(text, width)]
    return lines


def _dead(comparisons: Sequence[Mapping[str, Any]], width: int, encoding: str) -> list[Line]:
    """The dead layers of each model, once for all targets."""
    told: dict[str, None] = {}
    for comparison in comparisons:
        said = dead_layers({layer["name"]: layer["dead"] for layer in comparison["layers"] if layer["dead"]})
        if said is not None:
            told[printable(f"{comparison['model']}, {comparison['format']}: {said}", encoding)] = None
    return [Line(part) for text in told for part in _wrapped(text, width)]


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells, the later ones indented."""
    lines = textwrap.wrap(text, max(width, 20), subsequent_indent="  ", break_on_hyphens=False)
    return [shorten(line, width) for line in lines]
