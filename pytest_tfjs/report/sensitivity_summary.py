"""Which faults a comparison would have caught: the outcomes, and how they are told."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_tfjs.compare.mutants import KINDS
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.labels import target_label
from pytest_tfjs.report.number_text import number_up, plural
from pytest_tfjs.report.text_layout import LOG_WIDTH, Column, quoted, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfjs.compare.mutants import MutantKind

Fate = Literal["caught", "survived", "equivalent", "not applicable"]
FATES: tuple[Fate, ...] = ("caught", "survived", "equivalent", "not applicable")

_NAMED = 3
_NOTHING = "-"


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant: of one kind, in one layer, over all feeds.

    - `caught`: the layer would not have been close.
    - `survived`: the fault changes the activation, and the layer would have been close.
    - `equivalent`: the fault changes no bit of the activation, so that nothing could catch it.
    - `not applicable`: the layer cannot have such a fault.

    `what`: what was changed, in words; None where nothing could be. `why`: why it was not caught, in words;
    None where it was.
    """

    kind: MutantKind
    fate: Fate
    what: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class LayerSensitivity:
    """The mutants of one layer.

    `smallest`: the smallest part of itself by which the whole activation has to be off to be caught, at the
    feed where that is least; 0 where any change is; None where no number tells it, as of strings, or of an
    activation of zeros.
    """

    name: str
    op: str
    outcomes: tuple[Outcome, ...]
    smallest: float | None


@dataclass(frozen=True)
class Sensitivity:
    """What a comparison of `model` on `target` would have caught, layer by layer; `str()` is a table of it.

    Channels and weights were drawn with `seed`, for which the same are drawn again.
    """

    model: str
    target: str
    feeds: int
    seed: int
    layers: tuple[LayerSensitivity, ...]

    @property
    def counts(self) -> Mapping[Fate, int]:
        """How many mutants had each fate."""
        return _counted(outcome for _, outcome in self._all())

    @property
    def share(self) -> float | None:
        """The share caught of the mutants that change anything, from 0 to 1; None where none does."""
        counts = self.counts
        told = counts["caught"] + counts["survived"]
        return counts["caught"] / told if told else None

    @property
    def survivors(self) -> tuple[tuple[str, Outcome], ...]:
        """The mutants that change an activation and were not caught, each with the name of its layer."""
        return tuple((name, outcome) for name, outcome in self._all() if outcome.fate == "survived")

    def of_kind(self, kind: MutantKind) -> Mapping[Fate, int]:
        """How many mutants of one kind had each fate."""
        return _counted(outcome for _, outcome in self._all() if outcome.kind == kind)

    def __str__(self) -> str:
        return "\n".join(sensitivity_lines(self))

    def to_json(self) -> dict[str, Any]:
        """The JSON's `sensitivity`; Python builtins only."""
        return {
            "seed": self.seed,
            "feeds": self.feeds,
            "share": self.share,
            "counts": dict(self.counts),
            "layers": [
                {
                    "name": layer.name,
                    "op": layer.op,
                    "smallest": layer.smallest,
                    "mutants": [asdict(outcome) for outcome in layer.outcomes],
                }
                for layer in self.layers
            ],
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any], *, model: str, target: str) -> Sensitivity:
        """What `to_json` gave, of `model` on `target`."""
        layers = (
            LayerSensitivity(
                layer["name"],
                layer["op"],
                tuple(Outcome(**mutant) for mutant in layer["mutants"]),
                layer["smallest"],
            )
            for layer in told["layers"]
        )
        return cls(model, target, told["feeds"], told["seed"], tuple(layers))

    def _all(self) -> Iterator[tuple[str, Outcome]]:
        return ((layer.name, outcome) for layer in self.layers for outcome in layer.outcomes)


def _counted(outcomes: Iterator[Outcome]) -> Mapping[Fate, int]:
    counts = Counter(outcome.fate for outcome in outcomes)
    return {fate: counts[fate] for fate in FATES}


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
    counts = _counted(iter(layer.outcomes))
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
