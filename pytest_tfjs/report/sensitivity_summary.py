"""Tables and sentences on the faults that a comparison would have caught."""

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


def sensitivity_lines(sensitivity: Sensitivity, width: int = LOG_WIDTH) -> list[str]:
    """The headline, the kinds of fault, the survivors and why they survived, and the layers."""
    lines = [printable(f"{sensitivity.model}, {sensitivity.target}: {headline(sensitivity.to_json())}"), ""]
    lines += table(
        [Column("mutants"), *(Column(fate, "right") for fate in FATES)],
        [[kind, *(str(count) for count in sensitivity.of_kind(kind).values())] for kind in KINDS],
        width,
    )
    for name, outcome in sensitivity.survivors:
        lines += [
            "",
            f"survived: {_named(name, outcome.kind, outcome.what)}",
            f"  {printable(outcome.why or '')}",
        ]
    lines += ["", *table(_LAYERS, [_layer_row(layer) for layer in sensitivity.layers], width), ""]
    smallest = "smallest: the smallest relative error that would be caught if every element had it"
    return [*lines, f"{smallest}; {plural(sensitivity.feeds, 'feed')}, seed {sensitivity.seed}"]


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


def headline(sensitivity: Mapping[str, Any]) -> str:
    """A sentence from the JSON's `sensitivity`: the share caught, and the first survivors."""
    counts = sensitivity["counts"]
    share = sensitivity["share"]
    if share is None:
        return "no mutant changes an activation, so the sensitivity cannot be measured"
    of = counts["caught"] + counts["survived"]
    text = f"{counts['caught']} of {plural(of, 'mutant')} caught ({_percent(share)})"
    if counts["equivalent"]:
        change = "changes" if counts["equivalent"] == 1 else "change"
        text += f"; {counts['equivalent']} more {change} no activation"
    survivors = [
        _named(layer["name"], mutant["kind"], None)
        for layer in sensitivity["layers"]
        for mutant in layer["mutants"]
        if mutant["fate"] == "survived"
    ]
    if not survivors:
        return text
    more = f" and {len(survivors) - _NAMED} more" if len(survivors) > _NAMED else ""
    return f"{text}; survived: {', '.join(survivors[:_NAMED])}{more}"


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
