"""Which faults a comparison would have caught: the outcomes, and how they are told."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from pytest_tfjs.compare.mutants import KINDS
from pytest_tfjs.compare.sensitivity import FATES, Sensitivity, counted
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.labels import target_label
from pytest_tfjs.report.number_text import number_up, plural
from pytest_tfjs.report.text_layout import LOG_WIDTH, Column, quoted, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.compare.sensitivity import LayerSensitivity

_NAMED = 3
_NOTHING = "-"


class PrintableSensitivity(Sensitivity):
    """A `Sensitivity` whose `str()` is a table."""

    def __str__(self) -> str:
        return "\n".join(sensitivity_lines(self))


def sensitivity_lines(told: Sensitivity, width: int = LOG_WIDTH) -> list[str]:
    """The headline, the kinds, the survivors with why they survived, and the layers."""
    lines = [printable(f"{told.model}, {told.target}: {headline(told.to_json())}"), ""]
    lines += table(
        [Column("mutants"), *(Column(fate, "right") for fate in FATES)],
        [[kind, *(str(count) for count in told.of_kind(kind).values())] for kind in KINDS],
        width,
    )
    for name, outcome in told.survivors:
        lines += [
            "",
            f"survived: {_named(name, outcome.kind, outcome.what)}",
            f"  {printable(outcome.why or '')}",
        ]
    lines += ["", *table(_LAYERS, [_layer_row(layer) for layer in told.layers], width), ""]
    smallest = "smallest: the part of itself by which a whole activation has to be off to be caught"
    return [*lines, f"{smallest}; {plural(told.feeds, 'feed')}, seed {told.seed}"]


_LAYERS = (
    Column("layer", flexible=True),
    Column("op", flexible=True, dropped=1),
    Column("caught", "right"),
    Column("survived", "right"),
    Column("equivalent", "right"),
    Column("smallest", "right"),
)


def _layer_row(layer: LayerSensitivity) -> list[str]:
    counts = counted(layer.outcomes)
    smallest = _NOTHING if layer.smallest is None else number_up(layer.smallest)
    shown = [str(counts[fate]) for fate in FATES[:3]]
    return [printable(layer.name), printable(layer.op), *shown, smallest]


def headline(told: Mapping[str, Any]) -> str:
    """In a sentence what the JSON's `sensitivity` tells: the share, and the first survivors."""
    counts = told["counts"]
    share = told["share"]
    if share is None:
        return "no mutant changes an activation, so nothing tells what would be caught"
    of = counts["caught"] + counts["survived"]
    said = f"{counts['caught']} of {plural(of, 'mutant')} caught ({_percent(share)})"
    if counts["equivalent"]:
        said += f", {counts['equivalent']} more change nothing"
    survivors = [
        _named(layer["name"], mutant["kind"], None)
        for layer in told["layers"]
        for mutant in layer["mutants"]
        if mutant["fate"] == "survived"
    ]
    if not survivors:
        return said
    more = f" and {len(survivors) - _NAMED} more" if len(survivors) > _NAMED else ""
    return f"{said}; survived: {', '.join(survivors[:_NAMED])}{more}"


def _percent(share: float) -> str:
    """Rounded down, so that 100 % means all."""
    return f"{int(share * 1000) / 10:g} %"


def _named(layer: str, kind: str, what: str | None) -> str:
    detail = "" if what is None else f" ({printable(what)})"
    return f"{kind} at {quoted(layer)}{detail}"


def summary_lines(
    comparisons: Sequence[Mapping[str, Any]], *, width: int = LOG_WIDTH, encoding: str = "ascii"
) -> list[str]:
    """A sentence for each comparison, out of the JSON's dicts, whose sensitivity was measured; wrapped."""
    measured = [one for one in comparisons if one["sensitivity"] is not None]
    lines = []
    for one in measured:
        subject = f"sensitivity of {one['model']}, {target_label(one['target'])}"
        text = printable(f"{subject}: {headline(one['sensitivity'])}", encoding)
        lines += textwrap.wrap(text, max(width, 20), subsequent_indent="  ", break_on_hyphens=False)
    return lines
