"""Stores the results of a run in memory, compressed, as a run may have thousands."""

from __future__ import annotations

import json
import pickle
import zlib
from array import array
from bisect import bisect_right
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_tfjs.compare.results import Comparison

_LEVEL = 9
_BLOCK = 1 << 17


class _Archive:
    """A list of bytes, compressed in blocks: the entries of a run resemble each other.

    A block is compressed as soon as its entries have `_BLOCK` bytes.
    """

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._starts = [0]  # the number of the first entry of each block, and of the open one
        self._open: list[bytes] = []
        self._open_size = 0

    def __len__(self) -> int:
        return self._starts[-1] + len(self._open)

    def append(self, entry: bytes) -> None:
        self._open.append(entry)
        self._open_size += len(entry)
        if self._open_size >= _BLOCK:
            self._blocks.append(zlib.compress(pickle.dumps(self._open), _LEVEL))
            self._starts.append(len(self))
            self._open, self._open_size = [], 0

    def read(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """The entries of these numbers; each block is decompressed once if the numbers ascend."""
        for block, group in groupby(numbers, lambda number: bisect_right(self._starts, number) - 1):
            entries = self._entries(block)
            yield from (entries[number - self._starts[block]] for number in group)

    def _entries(self, block: int) -> list[bytes]:
        if block == len(self._blocks):
            return self._open
        entries: list[bytes] = pickle.loads(zlib.decompress(self._blocks[block]))  # noqa: S301  (written by this module)
        return entries


class StoredResults:
    """The JSON entries of a run's comparisons, or of its tasks."""

    def __init__(self) -> None:
        self._archive = _Archive()
        self._places = array("q")

    def all(self) -> list[dict[str, Any]]:
        """All entries in the order of their places; entries of one place in the order of `extend`."""
        entries = list(self._archive.read(range(len(self._archive))))
        in_order = sorted(range(len(entries)), key=self._places.__getitem__)
        return [json.loads(entries[number]) for number in in_order]

    def extend(self, entries: Iterable[Mapping[str, Any]], place: int = 0) -> None:
        """Add entries of the test at `place` in the order of the tests."""
        for entry in entries:
            self._archive.append(json.dumps(entry).encode())
            self._places.append(place)


class EarlierComparisons:
    """The comparisons of a run so far, for the messages of later ones.

    They are looked up by hashes, as the texts would take more memory than the comparisons.
    """

    def __init__(self) -> None:
        self._archive = _Archive()
        self._tests, self._subjects, self._targets = array("q"), array("q"), array("q")

    def __len__(self) -> int:
        return len(self._archive)

    def add(self, comparison: Comparison) -> None:
        """Add a comparison."""
        self._archive.append(pickle.dumps(comparison, pickle.HIGHEST_PROTOCOL))
        self._tests.append(hash(comparison.test))
        self._subjects.append(hash(_subject(comparison)))
        self._targets.append(hash(str(comparison.target)))

    def count(self, test: str) -> int:
        """The number of comparisons so far in the test with this node id."""
        return self._tests.count(hash(test))

    def elsewhere(self, comparison: Comparison) -> list[Comparison]:
        """The comparisons of the same model on other targets, in the same test with the same parameters.

        The earliest comes first. Where a test compares models of one name several times, as in a loop, the
        second of a target belongs to the second of another. `comparison`: the last one that was added.
        """
        subject, target = hash(_subject(comparison)), hash(str(comparison.target))
        on_target: dict[int, list[int]] = {}
        for number, its in enumerate(zip(self._subjects, self._targets, strict=True)):
            if its[0] == subject:
                on_target.setdefault(its[1], []).append(number)
        place = max(len(on_target.pop(target, ())) - 1, 0)
        numbers = sorted(numbers[place] for numbers in on_target.values() if place < len(numbers))
        return [pickle.loads(entry) for entry in self._archive.read(numbers)]  # noqa: S301  (written by this module)


def _subject(comparison: Comparison) -> tuple[str, ...]:
    test = _without_target(comparison.test, comparison.target.id)
    return test, comparison.model, comparison.format, comparison.weights


def _without_target(test: str, target: str) -> str:
    """A test's node id without the target among its parameters: `test_a[3]` of `test_a[chrome-cpu-3]`."""
    name, bracket, parameters = test.partition("[")
    parts = f"-{parameters.removesuffix(']')}-"
    return f"{name}{bracket}{parts.replace(f'-{target}-', '-', 1)}" if bracket else test
