"""Measures the cost of reading every activation of MobileNetV2 from wasm into numpy.

The model is a graph model. Three ways in one run, in one page: (a) TF.js alone, which reads all activations
within the page; (b) the plugin's capture of the same; (c) the same through WebDriver as JSON.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from demo.models import MODELS, ROOT, make_models
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.browsers.jobs import Activations
    from pytest_tfjs.models.artifacts import Artifacts

    Tensors = dict[str, NDArray[Any]]

CACHE = ROOT / "build" / "benchmarks" / "cache"
SCRIPT = Path(__file__).with_name("capture.js")
CALL = Path(__file__).with_name("call.js")
NOT_COMPUTED = {"Const", "Placeholder"}
COMMAND_S = 600.0
RUNS = 20
AIM_CAPTURE = 2.5
AIM_JSON = 80.0


class Capture(NamedTuple):
    """Milliseconds of one job of the plugin, and of its part from `execute()` in the page to numpy arrays."""

    job_ms: float
    activations_ms: float


class Bench:
    """A page on wasm with `artifacts` in it, and what is measured there."""

    def __init__(self, harness: Harness, artifacts: Artifacts, feed: NDArray[np.float32]) -> None:
        (target,) = parse_targets(["chrome"], ["wasm"])
        self.page = harness.open(target)
        self.names = [node.name for node in artifacts.nodes() if node.op not in NOT_COMPUTED]
        feeds = tuple(one.browser for one in normalise_feeds(feed, artifacts.inputs))
        taps = tuple(Tap(name, {"node": f"{name}:0"}) for name in self.names)
        self.job = Job(artifacts.model_json, "graph", feeds, (taps,), timing=None)
        # The plugin runs no script through the driver but opens pages with it, and gives it to nobody.
        self.driver: Any = harness._browser._driver  # type: ignore[union-attr]  # noqa: SLF001
        self.driver.command_executor.client_config.timeout = COMMAND_S
        self.driver.set_script_timeout(COMMAND_S)
        self.driver.execute_script(SCRIPT.read_text(encoding="utf-8"))
        url = harness.server.publish(artifacts.model_json)
        self._in_page("prepare", url, feed.ravel().tolist(), feed.shape, self.names)

    def read_in_page(self, *, first: bool = False) -> float:
        """(a) Milliseconds in which TF.js computes and reads all activations, measured within the page.

        With `first` by a model that has just been built, as the plugin's is.
        """
        return float(self._in_page("readAllFirst" if first else "readAll"))

    def capture(self) -> tuple[Capture, Tensors]:
        """(b) The plugin's capture of the same activations."""
        arrived: list[tuple[float, Tensors]] = []

        def take(activations: Activations) -> None:
            arrived.append((time.time() * 1000, activations.tensors))

        start = time.perf_counter()
        self.page.run(self.job, take)
        job_ms = (time.perf_counter() - start) * 1000
        ((end, tensors),) = arrived
        executed = float(self._in_page("executedAt")) + self._clock_ahead()
        return Capture(job_ms, end - executed), tensors

    def capture_as_json(self) -> tuple[float, Tensors]:
        """(c) Milliseconds of the same through WebDriver, which makes JSON of what the page gives."""
        start = time.perf_counter()
        told = self._in_page("readAsLists")
        tensors = {
            name: np.asarray(values, np.float32).reshape(shape)
            for name, (shape, values) in zip(self.names, told, strict=True)
        }
        return (time.perf_counter() - start) * 1000, tensors

    def _clock_ahead(self) -> float:
        """By how many milliseconds this clock is ahead of the page's, by the quickest of some asks."""
        asked = []
        for _ in range(5):
            start = time.time() * 1000
            there = float(self._in_page("now"))
            end = time.time() * 1000
            asked.append((end - start, (start + end) / 2 - there))
        return min(asked)[1]

    def _in_page(self, name: str, *values: Any) -> Any:
        answer = self.driver.execute_async_script(CALL.read_text(encoding="utf-8"), name, values)
        if "error" in answer:
            raise RuntimeError(f"{name} failed in the page: {answer['error']}")
        return answer["value"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capture", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=RUNS, help=f"of (a) and of (b), by turns (default: {RUNS})"
    )
    runs = parser.parse_args(arguments).runs
    make_models()
    harness = Harness(dist=Dist.shipped())
    with ContentCache(CACHE) as cache:
        source = as_source(MODELS / "mobilenet_v2.keras")
        artifacts = convert(source, format="graph", weights="float32", cache=cache)
        try:
            report(Bench(harness, artifacts, np.load(MODELS / "mobilenet_v2.npy")), runs)
        finally:
            harness.close()
    return 0


def report(bench: Bench, runs: int) -> None:
    """Measures (a) and (b) by turns, so that what else the machine does meets both, then (c) once."""
    bench.read_in_page()
    bench.capture()
    alone: list[float] = []
    first: list[float] = []
    captured: list[Capture] = []
    tensors: Tensors = {}
    for _ in range(runs):
        alone.append(bench.read_in_page())
        first.append(bench.read_in_page(first=True))
        capture, tensors = bench.capture()
        captured.append(capture)
    json_ms, lists = bench.capture_as_json()
    if tensors.keys() != lists.keys() or not all(
        np.array_equal(tensors[name], lists[name]) for name in lists
    ):
        sys.exit("the plugin and WebDriver brought different activations: nothing of this can be compared")
    facts = bench.page.facts
    size = sum(tensor.nbytes for tensor in tensors.values()) / 1e6
    print(f"MobileNetV2, graph, wasm on {facts.browser} {facts.browser_version}, TF.js {facts.tfjs_version},")
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}: {len(tensors)} activations, {size:.1f} MB,"
    )
    print(f"the median of {runs} runs (least to greatest)")
    activations = [capture.activations_ms for capture in captured]
    a = tell("(a) TF.js alone: execute() until all is read, in the page", alone)
    a_first = tell("    the same, the first time that a model runs", first)
    b = tell("(b) the plugin: execute() in the page until numpy arrays", activations)
    job = tell(
        "    the whole job, with the model built and the feed sent", [capture.job_ms for capture in captured]
    )
    c = tell("(c) WebDriver: execute() until numpy arrays, by JSON; once", [json_ms])
    print(f"b/a {b / a:6.2f}   (aim: at most {AIM_CAPTURE})")
    print(f"    {b / a_first:6.2f}   to a first run; of the whole job to (a): {job / a:.2f}")
    print(f"c/b {c / b:6.0f}   (aim: at least {AIM_JSON:.0f})")


def tell(what: str, times: Sequence[float]) -> float:
    """Prints a line of milliseconds, and gives their median."""
    middle = statistics.median(times)
    spread = f"  ({min(times):.0f} to {max(times):.0f})" if len(times) > 1 else ""
    print(f"{what:<62} {middle:8.1f} ms{spread}")
    return middle


if __name__ == "__main__":
    sys.exit(main())
