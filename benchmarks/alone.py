"""Measures the cost of running every layer of MobileNetV2 alone, on wasm.

A job that only captures all activations, and one that runs each layer alone as well, by turns, in one page.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from demo.models import MODELS, ROOT, make_models
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Job
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.models.alone.planner import plan_alone
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.settings.settings import TAP_BUDGET
from pytest_tfjs.workflows.layer_measurement import chunks, with_plans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfjs.browsers.harness import Page
    from pytest_tfjs.browsers.jobs import Activations, JobResult

CACHE = ROOT / "build" / "benchmarks" / "cache"
RUNS = 20
AIM = 4.0
Format = Literal["graph", "layers"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints both formats."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alone", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each of the two (default: {RUNS})")
    runs = parser.parse_args(arguments).runs
    make_models()
    (target,) = parse_targets(["chrome"], ["wasm"])
    harness = Harness(dist=Dist.shipped())
    with ContentCache(CACHE) as cache:
        try:
            page = harness.open(target)
            facts = page.facts
            print(
                f"MobileNetV2, wasm on {facts.browser} {facts.browser_version}, TF.js {facts.tfjs_version},"
            )
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; the median of {runs} runs")
            for form in get_args(Format):
                report(page, make_job(form, cache), form, runs)
        finally:
            harness.close()
    return 0


def make_job(form: Format, cache: ContentCache) -> Job:
    """A job that captures all activations of MobileNetV2 and runs each layer alone."""
    source = as_source(MODELS / "mobilenet_v2.keras")
    artifacts = convert(source, format=form, weights="float32", cache=cache)
    feeds = normalise_feeds(np.load(MODELS / "mobilenet_v2.npy"), artifacts.inputs)
    reference = capture_reference(source, artifacts, feeds, "all", cache)
    groups = chunks(reference, TAP_BUDGET)
    taps = {tap.name: tap.address for group in groups for tap in group}
    return Job(
        artifacts.model_json,
        form,
        tuple(feed.browser for feed in feeds),
        with_plans(groups, plan_alone(artifacts, taps, taps)),
        references=reference.activations,
    )


def report(page: Page, job: Job, form: Format, runs: int) -> None:
    """Measures the capture and the capture with layers alone by turns, after a run of each, and prints."""
    plain = replace(job, references=None)
    captures: list[float] = []
    wholes: list[float] = []
    run(page, plain)
    _, result, size = run(page, job)
    for _ in range(runs):
        captures.append(run(page, plain)[0])
        wholes.append(run(page, job)[0])
    more = statistics.median(whole - plain for whole, plain in zip(wholes, captures, strict=True))
    alone = sum(tap.alone is not None for group in job.chunks for tap in group) - len(result.not_alone)
    print(f"{form}: {alone} of {job.taps} layers alone, {size / 1e6:.1f} MB of what they gave")
    capture = tell("capture", captures)
    tell("with each layer alone", wholes)
    print(f"  the layers alone cost   {more / capture:8.2f} captures   (aim: at most {AIM:.0f})")
    for name, why in result.not_alone.items():
        print(f"  not alone: {name}: {why}")


def tell(what: str, times: Sequence[float]) -> float:
    """Prints a line of milliseconds, and gives their median."""
    middle = statistics.median(times)
    print(f"  {what:<23} {middle:8.1f} ms  ({min(times):.0f} to {max(times):.0f})")
    return middle


def run(page: Page, job: Job) -> tuple[float, JobResult, int]:
    """Milliseconds of a job, its result, and the bytes that layers gave alone."""
    sizes: list[int] = []

    def take(activations: Activations) -> None:
        if activations.alone:
            tensors: dict[str, Any] = activations.tensors
            sizes.append(sum(tensor.nbytes for tensor in tensors.values()))

    start = time.perf_counter()
    result = page.run(job, take)
    return (time.perf_counter() - start) * 1000, result, sum(sizes)


if __name__ == "__main__":
    sys.exit(main())
