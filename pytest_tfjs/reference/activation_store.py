"""Stores activations in files, group by group, and reads them as memory-mapped views."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pytest_tfjs.formats import safetensors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

_INDEX = "activations.json"


def grouped(sizes: Iterable[tuple[T, int]], limit: int) -> Iterator[tuple[T, ...]]:
    """The items in order, in groups of at most `limit` bytes; a larger item is a group of its own."""
    group: list[T] = []
    total = 0
    for item, size in sizes:
        if group and total + size > limit:
            yield tuple(group)
            group, total = [], 0
        group.append(item)
        total += size
    if group:
        yield tuple(group)


@dataclass(frozen=True)
class Stored:
    """The activations of several feeds in files below `folder`.

    `files`: for each feed and each of its files, the size in bytes of each activation, by layer name.
    """

    folder: Path
    files: list[list[dict[str, int]]] = field(default_factory=list)

    def add(self, feed: int, activations: Mapping[str, Array]) -> None:
        """Writes one group of a feed's activations. Feeds must be written in order."""
        if feed == len(self.files):
            self.files.append([])
        files = self.files[feed]
        with self._path(feed, len(files)).open("wb") as stream:
            safetensors.write(stream, activations)
        files.append({name: value.nbytes for name, value in activations.items()})

    def close(self) -> None:
        """Writes the index that `open` reads."""
        (self.folder / _INDEX).write_text(json.dumps(self.files), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Stored:
        """The activations that were written into `folder`."""
        return cls(folder, json.loads((folder / _INDEX).read_text(encoding="utf-8")))

    @property
    def feeds(self) -> int:
        """The number of feeds."""
        return len(self.files)

    def sizes(self, feed: int) -> dict[str, int]:
        """The size in bytes of each activation of a feed; empty for a feed without activations."""
        return {name: size for file in self._of(feed) for name, size in file.items()}

    def read(self, feed: int, names: Collection[str]) -> dict[str, Array]:
        """These layers' activations, as views of files; the memory is released with the last view."""
        found: dict[str, Array] = {}
        for number, file in enumerate(self._of(feed)):
            if wanted := [name for name in file if name in names]:
                with self._path(feed, number).open("rb") as stream:
                    mapped = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
                tensors = safetensors.decode(mapped)
                found.update((name, tensors[name]) for name in wanted)
        return found

    def _of(self, feed: int) -> list[dict[str, int]]:
        return self.files[feed] if feed < len(self.files) else []

    def _path(self, feed: int, number: int) -> Path:
        return self.folder / f"feed-{feed}-{number}.safetensors"
