"""The cache shared by several processes and threads, and by a process that is killed."""

from __future__ import annotations

import signal
from threading import Barrier, Thread

import pytest

from pytest_tfjs.models.cache import ContentCache
from tests.support.cache_entries import Builder, rebuilt, start


@pytest.fixture
def cache(tmp_path):
    with ContentCache(tmp_path / "cache") as cache:
        yield cache


SCRIPT = """
import os, sys
from pathlib import Path
from pytest_tfjs.models.cache import ContentCache

root, log, go = map(Path, sys.argv[1:4])

def build(folder):
    with open(log, "a") as stream:
        stream.write(f"{os.getpid()}\\n")
    for number in range(200):
        (folder / f"{number}.bin").write_bytes(bytes([number]) * 1000)

print("ready", flush=True)
sys.stdin.readline()
with ContentCache(root) as cache:
    for key in ("a", "b", "c"):
        folder = cache.entry("kind", key, build)
        for number in range(200):
            assert (folder / f"{number}.bin").read_bytes() == bytes([number]) * 1000
print("done", flush=True)
"""


def test_concurrent_processes_build_each_entry_once(tmp_path):
    processes = [start(SCRIPT, tmp_path / "cache", tmp_path / "log", "") for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out == "done\n"
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_concurrent_threads_build_an_entry_once(cache):
    builder = Builder()
    together = Barrier(8)

    def read():
        together.wait()
        cache.entry("kind", "key", builder)

    threads = [Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builder.calls == 1
    assert len(list((cache.root / "sessions").iterdir())) == 2


KILLED = """
import sys
from pathlib import Path
from pytest_tfjs.models.cache import ContentCache

def build(folder):
    (folder / "half.bin").write_bytes(b"half")
    print("building", flush=True)
    sys.stdin.readline()

ContentCache(Path(sys.argv[1])).entry("kind", "key", build)
"""


def test_an_entry_half_built_by_a_killed_process_is_rebuilt(tmp_path):
    process = start(KILLED, tmp_path)
    assert process.stdout.readline() == "building\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    assert len(list(tmp_path.rglob("half.bin"))) == 1
    with ContentCache(tmp_path) as cache:
        folder = cache.entry("kind", "key", Builder())
        assert not rebuilt(cache, folder)
        assert list(tmp_path.rglob("half.bin")) == []
        assert len(list((tmp_path / "sessions").iterdir())) == 2
