"""Times warm inference of MobileNetV2 on wasm:plain, wasm:simd and wasm:threads.

The three take turns in one browser.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.alone import CACHE
from demo.models import MODELS, make_models
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Job, TimingPlan
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfjs.browsers.targets import Target

ROUNDS = 7
RUNS = 15
WARMUP = 3
VARIANTS = ("wasm:plain", "wasm:simd", "wasm:threads")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where a variant is not faster than the one before it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wasm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of all three (default: {ROUNDS})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"in each page (default: {RUNS})")
    options = parser.parse_args(arguments)
    make_models()
    targets = parse_targets(["chrome"], VARIANTS)
    harness = Harness(dist=Dist.shipped())
    try:
        job = make_job(options.runs)
        rounds = [[median_ms(harness, target, job) for target in targets] for _ in range(options.rounds)]
        facts = harness.open(targets[0]).facts
    finally:
        harness.close()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"MobileNetV2, one picture, {facts.browser} {facts.browser_version}, TF.js {facts.tfjs_version},")
    print(
        f"{cores} cores, load {os.getloadavg()[0]:.1f}; {options.rounds} rounds of {options.runs} warm runs"
        " in a fresh page each"
    )
    return report(rounds)


def make_job(runs: int) -> Job:
    """A job that times MobileNetV2 (graph model) and reads nothing."""
    with ContentCache(CACHE) as cache:
        artifacts = convert(
            as_source(MODELS / "mobilenet_v2.keras"), format="graph", weights="float32", cache=cache
        )
    feeds = normalise_feeds(np.load(MODELS / "mobilenet_v2.npy"), artifacts.inputs)
    plan = TimingPlan(warmup=WARMUP, runs=runs, budget_ms=1e6)
    return Job(artifacts.model_json, "graph", (feeds[0].browser,), chunks=(), timing=plan)


def median_ms(harness: Harness, target: Target, job: Job) -> float:
    """Of the warm runs of one page of that target."""
    return statistics.median(harness.open(target).run(job, lambda _: None).warm_ms)


def report(rounds: Sequence[Sequence[float]]) -> int:
    """Prints the medians of the rounds in milliseconds, and the ratios within each; 1 where one is no gain.

    `rounds`: by round, then by variant in the order of `VARIANTS`.
    """
    for name, times in zip(VARIANTS, zip(*rounds, strict=True), strict=True):
        print(f"{name:12}  {statistics.median(times):7.1f} ms   {min(times):.1f} to {max(times):.1f}")
    missed = False
    for at, (slower, faster) in enumerate(itertools.pairwise(VARIANTS)):
        ratios = [times[at] / times[at + 1] for times in rounds]
        ratio = statistics.median(ratios)
        missed |= ratio <= 1.0
        print(
            f"{slower} / {faster}: {ratio:.2f}, in single rounds {min(ratios):.2f} to {max(ratios):.2f}"
            + (": no gain" if ratio <= 1.0 else "")
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
