"""Stores the results of a run in memory, compressed, as a run may have thousands."""

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


class _Compressor:
    """Compresses entries with the first one as the dictionary, as they have much in common."""

    def __init__(self) -> None:
        self._first = b""

    def compress(self, entry: bytes) -> bytes:
        self._first = self._first or entry[:_WINDOW]
        compressor = zlib.compressobj(_LEVEL, zdict=self._first)
        return compressor.compress(entry) + compressor.flush()

    def restore(self, compressed: bytes) -> bytes:
        return zlib.decompressobj(zdict=self._first).decompress(compressed)


class StoredResults:
    """The JSON entries of a run's comparisons, or of its tasks."""

    def __init__(self) -> None:
        self._compressor = _Compressor()
        self._entries: list[tuple[int, bytes]] = []

    def all(self) -> list[dict[str, Any]]:
        """All entries in the order of their places; entries of one place in the order of `extend`."""
        in_order = sorted(self._entries, key=lambda entry: entry[0])
        return [json.loads(self._compressor.restore(compressed)) for _, compressed in in_order]

    def extend(self, entries: Iterable[Mapping[str, Any]], place: int = 0) -> None:
        """Add entries of the test at `place` in the order of the tests."""
        for entry in entries:
            self._entries.append((place, self._compressor.compress(json.dumps(entry).encode())))


class _Subject(NamedTuple):
    test: str
    model: str
    format: str
    weights: str


class EarlierComparisons:
    """The comparisons of a run so far, for the messages of later ones."""

    def __init__(self) -> None:
        self._compressor = _Compressor()
        self._by_subject: dict[_Subject, list[tuple[str, bytes]]] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, comparison: Comparison) -> None:
        """Add a comparison."""
        compressed = self._compressor.compress(pickle.dumps(comparison, pickle.HIGHEST_PROTOCOL))
        self._by_subject.setdefault(_subject(comparison), []).append((str(comparison.target), compressed))
        self._counts[comparison.test] = self.count(comparison.test) + 1

    def count(self, test: str) -> int:
        """The number of comparisons so far in the test with this node id."""
        return self._counts.get(test, 0)

    def elsewhere(self, comparison: Comparison) -> list[Comparison]:
        """The comparisons of the same model in the same test on other targets, the earliest first."""
        return [
            pickle.loads(self._compressor.restore(compressed))  # noqa: S301  (written by `add`)
            for target, compressed in self._by_subject.get(_subject(comparison), ())
            if target != str(comparison.target)
        ]


def _subject(comparison: Comparison) -> _Subject:
    test = comparison.test.partition("[")[0]
    return _Subject(test, comparison.model, comparison.format, comparison.weights)
