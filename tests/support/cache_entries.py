"""Builds entries of the cache, here and in other processes."""

from __future__ import annotations

import subprocess
import sys

from tests.support.paths import ROOT

DATA = bytes(range(256)) * 64


class Builder:
    """A build function that counts its calls."""

    def __init__(self, data=DATA):
        self.calls = 0
        self.data = data

    def __call__(self, folder):
        self.calls += 1
        assert list(folder.iterdir()) == []
        (folder / "sub").mkdir()
        (folder / "sub" / "weights.bin").write_bytes(self.data)
        (folder / "model.json").write_text("{}")


def rebuilt(cache, folder):
    """Whether the next read of the entry `kind/key` builds it again; checks its content."""
    builder = Builder()
    again = cache.entry("kind", "key", builder)
    assert again == folder
    assert (folder / "sub" / "weights.bin").read_bytes() == DATA
    assert sorted(path.name for path in folder.rglob("*")) == ["model.json", "sub", "weights.bin"]
    return builder.calls == 1


def start(script, *args):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
