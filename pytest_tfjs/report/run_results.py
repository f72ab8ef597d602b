"""What a run keeps of its comparisons to the end: small, as a run may have thousands."""

from __future__ import annotations

import json
import pickle
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_tfjs.compare.results import Comparison

_LEVEL = 9
_WINDOW = 1 << 15


class _Press:
    """Makes entries small: much of each stands in the first one as well."""

    def __init__(self) -> None:
        self._first = b""

    def press(self, entry: bytes) -> bytes:
        self._first = self._first or entry[:_WINDOW]
        press = zlib.compressobj(_LEVEL, zdict=self._first)
        return press.compress(entry) + press.flush()

    def restore(self, pressed: bytes) -> bytes:
        return zlib.decompressobj(zdict=self._first).decompress(pressed)


class Told:
    """What the JSON tells of each of a run's comparisons, or tasks."""

    def __init__(self) -> None:
        self._press = _Press()
        self._kept: list[tuple[int, bytes]] = []

    def all(self) -> list[dict[str, Any]]:
        """All that was kept, in the order of places; of one place in the order in which it came."""
        in_order = sorted(self._kept, key=lambda kept: kept[0])
        return [json.loads(self._press.restore(pressed)) for _, pressed in in_order]

    def extend(self, entries: Iterable[Mapping[str, Any]], place: int = 0) -> None:
        """Keep entries of the test at that place."""
        for entry in entries:
            self._kept.append((place, self._press.press(json.dumps(entry).encode())))


class _Subject(NamedTuple):
    test: str
    model: str
    format: str
    weights: str


class Earlier:
    """The comparisons of a run so far, for what a later one tells of them."""

    def __init__(self) -> None:
        self._press = _Press()
        self._kept: dict[_Subject, list[tuple[str, bytes]]] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, comparison: Comparison) -> None:
        """Keep one more."""
        pressed = self._press.press(pickle.dumps(comparison, pickle.HIGHEST_PROTOCOL))
        self._kept.setdefault(_subject(comparison), []).append((str(comparison.target), pressed))
        self._counts[comparison.test] = self.count(comparison.test) + 1

    def count(self, test: str) -> int:
        """How many there were in the test of that node id."""
        return self._counts.get(test, 0)

    def elsewhere(self, comparison: Comparison) -> list[Comparison]:
        """The same comparison of the same test on other targets, in the order in which they were made."""
        return [
            pickle.loads(self._press.restore(pressed))  # noqa: S301  (of our own making)
            for target, pressed in self._kept.get(_subject(comparison), ())
            if target != str(comparison.target)
        ]


def _subject(comparison: Comparison) -> _Subject:
    test = comparison.test.partition("[")[0]
    return _Subject(test, comparison.model, comparison.format, comparison.weights)
