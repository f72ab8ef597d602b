"""A pytest plugin for `test_load.py`: alternates targets, measures memory between tests."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_tfjs.browsers.harness import Page
from pytest_tfjs.fixtures import EARLIER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfjs.browsers.harness import Harness

TURN = "TFJS_LOAD_TURN"
"""How many tests of a target run before the next target's, as an environment variable: first, and later."""

STOCK = "TFJS_LOAD_STOCK"
"""After how many tests memory is measured, and the output file; an environment variable: `50,1000:FILE`."""

READINGS = 20
APART_S = 0.2
KEYS = ("numTensors", "numDataBuffers", "numBytes")


class _Probe:
    """Counts the tests, and records the memory that each job left in its page."""

    def __init__(self) -> None:
        when, _, path = os.environ[STOCK].partition(":")
        self.when, self.path = {int(tests) for tests in when.split(",")}, Path(path)
        self.tests = 0
        self.jobs = 0
        self.left: set[tuple[int, ...]] = set()
        self.gpu: dict[str, int] = {}

    def record(self, memory: dict[str, Any]) -> None:
        self.jobs += 1
        self.left.add((memory["numTensors"] - memory["numTensorsBefore"], *(memory[key] for key in KEYS)))
        if "numBytesInGPUAllocated" in memory:
            self.gpu = {key: int(value) for key, value in memory.items() if key.startswith("numBytesInGPU")}

    def take_stock(self, harness: Harness, config: pytest.Config) -> None:
        gc.collect()
        _collect_garbage(harness)
        process = psutil.Process()
        readings = []
        for _ in range(READINGS):
            readings.append(_memory(process.children(recursive=True)))
            time.sleep(APART_S)
        # The least of some seconds: what the browser has yet to let go of is no leak.
        browser, unshared = (min(sizes) for sizes in zip(*readings, strict=True))
        site = harness.server._site
        stock = {
            "tests": self.tests,
            "jobs": self.jobs,
            "pytest": process.memory_info().rss,
            "browser": browser,
            "unshared": unshared,
            "files": process.num_fds(),
            "threads": threading.active_count(),
            "tabs": len(_driver(harness).window_handles),
            "pages": len(site.pages),
            "artifacts": len(site.artifacts),
            "earlier": len(config.stash[EARLIER]),
            "left": sorted(self.left),
            "gpu": self.gpu,
        }
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(stock) + "\n")


PROBE: pytest.StashKey[_Probe] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    probe = config.stash[PROBE] = _Probe()
    run = Page.run

    def run_and_record(page: Page, *arguments: Any, **named: Any) -> Any:
        result = run(page, *arguments, **named)
        probe.record(result.memory)
        return result

    Page.run = run_and_record  # type: ignore[method-assign]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Turns of each target, so that all are there from the beginning, and pages come and go to the end."""
    first, later = map(int, os.environ[TURN].split(","))
    by_target: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_target.setdefault(str(item.callspec.params["tfjs_target"]), []).append(item)
    turns = {
        item.nodeid: 0 if at < first else 1 + (at - first) // later
        for tests in by_target.values()
        for at, item in enumerate(tests)
    }
    items.sort(key=lambda item: turns[item.nodeid])


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    # As an argument, a fixture of the session would keep this one's request until the session ends.
    harness = request.getfixturevalue("tfjs_harness")
    yield
    probe = request.config.stash[PROBE]
    probe.tests += 1
    if probe.tests in probe.when:
        probe.take_stock(harness, request.config)


def _memory(processes: list[psutil.Process]) -> tuple[int, int]:
    """Bytes of the browser's processes and its driver: resident, and of these what is in no file on disk."""
    resident = unshared = 0
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            if "python" not in process.name():
                rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
                sizes = dict(re.findall(r"^(\w+): +(\d+) kB$", rollup, re.MULTILINE))
                resident += 1024 * int(sizes["Rss"])
                unshared += 1024 * (int(sizes["Anonymous"]) + int(sizes["Pss_Shmem"]))
    return resident, unshared


def _driver(harness: Harness) -> Any:
    return harness._browser._driver


def _collect_garbage(harness: Harness) -> None:
    if harness._browser.name == "chrome":
        _driver(harness).execute_cdp_cmd("HeapProfiler.collectGarbage", {})
