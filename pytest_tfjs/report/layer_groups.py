"""The rows of a graph model gathered by the Keras layer, or the scope, that they are part of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.report.labels import COVERAGES, reason_kind
from pytest_tfjs.report.worst_layer import share_of_tolerance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GRAVEST = ("diverged", "unmapped", "close")


@dataclass(frozen=True)
class Grouped:
    """Rows of one group in the order of computation; `name` is None for a row that is of no group."""

    name: str | None
    op: str | None
    rows: tuple[Mapping[str, Any], ...]

    def place(self, places: Mapping[str, int]) -> tuple[int, bool, int]:
        """By what groups are ordered, given the place of each row."""
        kept = [row for row in self.rows if row["coverage"] in ("compared", "unmapped")]
        fused = [row for row in self.rows if row["coverage"] == "fused"]
        own = places[self.rows[0]["name"]]
        if kept or not fused:
            return places[(kept or self.rows)[0]["name"]], False, own
        return places.get(fused[0]["into"], own), True, own

    @property
    def worst(self) -> Mapping[str, Any]:
        """The row that uses most of its tolerance, the first of equal ones."""
        return max(self.rows, key=share_of_tolerance)

    @property
    def verdict(self) -> str | None:
        """The gravest verdict among the rows; None where none was compared."""
        verdicts = {row["verdict"] for row in self.rows}
        return next((verdict for verdict in _GRAVEST if verdict in verdicts), None)

    def coverage(self, groups: Mapping[str, str | None]) -> str:
        """`2 compared, 1 fused`, and of a single row the word alone.

        Of what was not compared at all, where it went or why it is not there.
        `groups` tells the group of each row.
        """
        counts = Counter(row["coverage"] for row in self.rows)
        if counts["compared"] or counts["unmapped"]:
            if len(self.rows) == 1:
                return str(self.rows[0]["coverage"])
            return ", ".join(f"{counts[name]} {name}" for name in COVERAGES if counts[name])
        into = dict.fromkeys(
            groups.get(row["into"]) or row["into"] for row in self.rows if row["coverage"] == "fused"
        )
        if into:
            return f"fused into {', '.join(map(str, into))}"
        return f"eliminated: {', '.join(dict.fromkeys(reason_kind(row['reason']) for row in self.rows))}"


def grouped(layers: Sequence[Mapping[str, Any]]) -> list[Grouped]:
    """The groups in the order of their first compared rows, each before what is fused into it.

    A row of no group stands for itself.
    """
    found: dict[object, list[Mapping[str, Any]]] = {}
    for layer in layers:
        key = ("row", layer["name"]) if layer["group"] is None else ("group", layer["group"])
        found.setdefault(key, []).append(layer)
    place = {layer["name"]: number for number, layer in enumerate(layers)}
    groups = [Grouped(rows[0]["group"], rows[0]["group_op"], tuple(rows)) for rows in found.values()]
    return sorted(groups, key=lambda group: group.place(place))
