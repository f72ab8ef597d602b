"""The terminal's table of all layers of one comparison (`-v`, `-vv`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.labels import colour, coverage_text, retry_note, target_label, verdict_label
from pytest_tfjs.report.layer_groups import Grouped, grouped
from pytest_tfjs.report.number_text import number
from pytest_tfjs.report.table_cells import COSTS, NOTHING, cost, error_against_allowed, wrapped
from pytest_tfjs.report.text_layout import Column, Line, table

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

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
    COSTS[0],
    Column("verdict"),
)

_OF_GROUPS = (0, 1, 3, 8, 9, 10, 11)
"""The columns that a group has too."""

_GROUPS = tuple(_LAYERS[place] for place in _OF_GROUPS)
_INDENT = "  "
_MOST_WEIGHTS = 8


def layer_table(
    comparison: Mapping[str, Any], *, width: int, encoding: str = "ascii", nodes: bool = False
) -> list[Line]:
    """All layers of one comparison, under a line with its verdict and coverage counts.

    Below that line come the notes: the effect of reading activations, and weights that differ from the
    source's. `|error|` and `allowed` belong to the deciding error (see `worst_layer.decisive`), at its worst
    element; `local` is the local error, `propagated` the propagated error. If the table is too wide, the
    columns max abs, local, propagated, rms, op and shape are dropped, in this order. The nodes of a graph
    model are grouped into one row for each Keras layer, with the numbers of its worst node; `nodes` adds a
    row for each node. `cost` is shown for quantised weights: how far quantising moves the activation,
    relative to its largest value.
    """
    subject = f"{comparison['model']}, {target_label(comparison['target'])}: {verdict_label(comparison)}"
    # After an error the layers are only those that were planned.
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
    unknown = {*(() if comparison["compression"] else COSTS), *(() if _ran_alone(comparison) else _ALONE)}
    shown = [place for place, column in enumerate(columns) if column not in unknown]
    columns = [columns[place] for place in shown]
    rows = [[row[place] for place in shown] for row in rows]
    heading, *lines = table(columns, rows, width, encoding)
    body = [Line(text, colour(comparison, verdict)) for text, verdict in zip(lines, verdicts, strict=True)]
    return [
        *(Line(text, colour(comparison, comparison["verdict"])) for text in wrapped(title, width)),
        *(Line(text) for note in notes for text in wrapped(note, width)),
        Line(heading),
        *body,
    ]


def _ran_alone(comparison: Mapping[str, Any]) -> bool:
    return any(layer["local"] is not None for layer in comparison["layers"])


def _notes(comparison: Mapping[str, Any]) -> Iterator[str]:
    """Sentences that the user should read even if the test passes."""
    yield from comparison["notes"]
    if comparison["retried"] is not None:
        yield retry_note(comparison["retried"])
    effect = comparison["observer_effect"]["told"]
    if effect is not None:
        yield effect
    # A failed comparison has them in its message and reason.
    differences = comparison["weight_differences"] if comparison["verdict"] == "close" else []
    for one in differences[:_MOST_WEIGHTS]:
        of = "" if one["layer"] is None else f" of {one['layer']!r}"
        what = one["what"] or "the values differ"
        yield f"the weight {one['name']!r}{of} differs from the source's: {what}"
    if len(differences) > _MOST_WEIGHTS:
        yield f"and {len(differences) - _MOST_WEIGHTS} more weights differ from the source's"


def _grouped_rows(
    layers: Sequence[Mapping[str, Any]], first: Container[str], nodes: bool, encoding: str
) -> tuple[list[list[str]], list[str | None]]:
    """The rows of the groups (with those of their nodes if `nodes`), and the verdict of each row."""
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
        printable(group.op or NOTHING, encoding),
        "",
        printable(group.coverage(groups), encoding),
        "",
        "",
        "",
        "",
        *error_against_allowed(group.worst),
        cost([row["compression"] for row in group.rows]),
        "diverged first" if is_first else group.verdict or NOTHING,
    ]


def _layer_row(layer: Mapping[str, Any], first: Container[str], encoding: str) -> list[str]:
    shape = layer["shape"]
    return [
        printable(layer["name"], encoding),
        printable(layer["op"], encoding),
        NOTHING if shape is None else f"[{', '.join(str(size) for size in shape)}]",
        printable(_coverage(layer), encoding),
        _error(layer, "max_abs"),
        _error(layer, "rms"),
        _alone(layer, "local_error"),
        _alone(layer, "propagated_error"),
        *error_against_allowed(layer),
        cost([layer["compression"]]),
        "diverged first" if layer["name"] in first else layer["verdict"] or NOTHING,
    ]


def _coverage(layer: Mapping[str, Any]) -> str:
    if layer["coverage"] == "fused" and layer["into"] is not None:
        return f"fused into {layer['into']}"
    if layer["coverage"] == "compared" or layer["reason"] is None:
        return str(layer["coverage"])
    # What follows the colon is in the JSON; the table has no room for it.
    return f"{layer['coverage']}: {layer['reason'].partition(':')[0]}"


def _alone(layer: Mapping[str, Any], key: str) -> str:
    if layer["local"] is None:
        return NOTHING
    return "inf" if layer[key] is None else number(layer[key])


def _error(layer: Mapping[str, Any], key: str) -> str:
    if layer[key] is not None:
        return number(layer[key])
    return "inf" if layer["nonfinite_mismatched"] else NOTHING
