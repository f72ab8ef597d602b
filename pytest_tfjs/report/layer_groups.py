"""Groups the rows of a graph model by Keras layer or, if there is none, by scope."""

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
    """The rows of one group in order of computation; `name` is None for a row without a group."""

    name: str | None
    op: str | None
    rows: tuple[Mapping[str, Any], ...]

    def place(self, places: Mapping[str, int]) -> tuple[int, bool, int]:
        """The sort key of the group, given the place of each row."""
        members = [row for row in self.rows if row["coverage"] in ("compared", "unmapped")]
        fused = [row for row in self.rows if row["coverage"] == "fused"]
        own = places[self.rows[0]["name"]]
        if members or not fused:
            return places[(members or self.rows)[0]["name"]], False, own
        return places.get(fused[0]["into"], own), True, own

    @property
    def worst(self) -> Mapping[str, Any]:
        """The row with the largest share of its tolerance; the first among equals."""
        return max(self.rows, key=share_of_tolerance)

    @property
    def verdict(self) -> str | None:
        """The gravest verdict among the rows; None if none was compared."""
        verdicts = {row["verdict"] for row in self.rows}
        return next((verdict for verdict in _GRAVEST if verdict in verdicts), None)

    def coverage(self, groups: Mapping[str, str | None]) -> str:
        """`2 compared, 1 fused`; for a single row just the word.

        If no row is compared, it says what the rows are fused into, or why they are eliminated. `groups`: the
        group of each row.
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
    """The groups in the order of their first compared rows, each before the groups fused into it.

    A row without a group is a group of its own.
    """
    found: dict[object, list[Mapping[str, Any]]] = {}
    for layer in layers:
        key = ("row", layer["name"]) if layer["group"] is None else ("group", layer["group"])
        found.setdefault(key, []).append(layer)
    place = {layer["name"]: number for number, layer in enumerate(layers)}
    groups = [Grouped(rows[0]["group"], rows[0]["group_op"], tuple(rows)) for rows in found.values()]
    return sorted(groups, key=lambda group: group.place(place))
