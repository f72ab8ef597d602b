"""Keeps the records of comparisons in a file, one JSON object a line, and reports on them."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    Record = Mapping[str, Any]

OUTCOMES = ("close", "vacuous", "limit", "alarm")
_NEAREST = 30


class ResultsFile:
    """The latest record of each comparison; each is written as soon as it is there.

    A line that was cut off when a run was interrupted is left out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        if path.is_file():
            for record in _read(path):
                self._records[record["key"]] = record

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def outcome(self, key: str) -> str:
        """The outcome of a comparison that is there."""
        return str(self._records[key]["outcome"])

    def add(self, key: str, group: str, target: str, record: Record) -> None:
        """Writes a record to the end of the file."""
        whole = {"key": key, "group": group, "target": target, **record}
        self._records[key] = whole
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as stream:
            if _is_cut(stream):
                stream.write(b"\n")
            stream.write(json.dumps(whole).encode() + b"\n")

    def of(self, keys: Iterable[str]) -> list[Record]:
        """The records of those comparisons of `keys` that are there."""
        return [self._records[key] for key in keys if key in self._records]


def _is_cut(stream: BinaryIO) -> bool:
    """Whether the last line has no end."""
    if stream.seek(0, os.SEEK_END) == 0:
        return False
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) != b"\n"


def _read(path: Path) -> Iterator[Record]:
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def report(records: Iterable[Record]) -> str:
    """The counts by group and target, each alarm, what else is not close and why, and the nearest misses."""
    records = list(records)
    lines = [*_counts(records), ""]
    alarms = [record for record in records if record["outcome"] == "alarm"]
    for record in alarms:
        lines += [f"false alarm: {record['key']}", f"    {_first_line(record)}"]
    lines += ["", *_reasons(records), "", *_misses(records)]
    elements = sum(record.get("layers", 0) for record in records)
    lines += ["", f"{len(records)} comparisons, {elements} layers run alone: {len(alarms)} false alarms"]
    return "\n".join(lines)


def _counts(records: Iterable[Record]) -> Iterator[str]:
    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record["group"], record["target"]][record["outcome"]] += 1
    yield f"{'group':<14} {'target':<18}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES)
    for (group, target), found in counts.items():
        yield f"{group:<14} {target:<18}" + "".join(f"{found[outcome]:>9}" for outcome in OUTCOMES)


def _reasons(records: Iterable[Record]) -> Iterator[str]:
    """Why comparisons are vacuous or limits, with how many are so for that reason and one of them."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record["outcome"] in ("vacuous", "limit"):
            found[record["outcome"], _kind(str(record.get("reason")))].append(record["key"])
    for (outcome, reason), keys in sorted(found.items()):
        yield f"{outcome}, {len(keys)}: {reason} ({keys[0]})"


def _kind(reason: str) -> str:
    """A reason without the names and numbers of one comparison."""
    return " ".join(
        word for word in reason.split() if not any(letter.isdigit() or letter == "'" for letter in word)
    )


def _misses(records: Iterable[Record]) -> Iterator[str]:
    """By operation, the largest shares of the allowance that comparisons which are no alarm used."""
    best: dict[str, dict[str, tuple[float, str, str]]] = defaultdict(dict)
    for record in records:
        if record["outcome"] == "alarm":
            continue
        for op, tests in record.get("misses", {}).items():
            for test, (share, layer) in tests.items():
                best[op][test] = max(best[op].get(test, (0.0, "", "")), (share, layer, record["key"]))
    ranked = sorted(best.items(), key=lambda item: -max(one[0] for one in item[1].values()))
    yield "nearest misses: the largest shares of the allowance used, by operation"
    for op, tests in ranked[:_NEAREST]:
        element, rms = tests.get("element", (0.0, "", "")), tests.get("rms", (0.0, "", ""))
        _, layer, key = max(element, rms)
        yield f"  {element[0]:5.2f} element {rms[0]:5.2f} rms  {op}: {layer!r} of {key}"


def _first_line(record: Record) -> str:
    return (str(record.get("message", "")).splitlines() or [""])[0]
