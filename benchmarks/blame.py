"""Measures how often single faults in sample models are blamed on the right layer.

The faults are drawn at random and put into the artifacts. `python -m benchmarks.blame`; ends with an exit
code other than 0 where the aims are missed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import fixtures
from benchmarks.artifact_faults.drawing import draw_faults
from benchmarks.artifact_faults.faulty_runs import DETECTABLE, Blaming, Case
from fixtures.families import FAMILIES
from fixtures.samples import KERAS
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.models.cache import ContentCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fixtures.feeds import Feed

MODELS = (
    ("cnn", "graph"),
    ("cnn", "layers"),
    ("mobilenetv2", "graph"),
    ("unet", "graph"),
    ("unet", "layers"),
    ("text", "graph"),
    ("text", "layers"),
)
FAULTS = 210
SEVERAL = 4
"""Runs with two or three faults at once, for each model."""
SEED = 20_241
AIM_NAMED = 0.99
AIM_ALONE = 0.95
# Some of what is drawn is too small to be found, and some does not run.
_DRAWN = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 where an aim is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blame", description=__doc__)
    parser.add_argument("--backend", default="wasm", help="backend and variant (default: wasm)")
    parser.add_argument(
        "--faults", type=int, default=FAULTS, help=f"single faults in all (default: {FAULTS})"
    )
    parser.add_argument("--seed", type=int, default=SEED, help=f"of what is drawn (default: {SEED})")
    parser.add_argument(
        "--models", default=",".join(sorted({name for name, _ in MODELS})), help="some of them"
    )
    options = parser.parse_args(arguments)
    models = [one for one in MODELS if one[0] in options.models.split(",")]
    (target,) = parse_targets(["chrome"], [options.backend])
    harness = Harness(dist=Dist.shipped())
    started = time.monotonic()
    single: list[Case] = []
    several: list[Case] = []
    try:
        with tempfile.TemporaryDirectory(prefix="pytest-tfjs-blame-") as name, ContentCache(None) as cache:
            for place, (model, format_) in enumerate(models):
                folder = Path(name) / f"{model}-{format_}"
                path, feed = save(model, folder)
                blaming = Blaming(
                    path, feed, format_=format_, harness=harness, target=target, cache=cache, folder=folder
                )
                # As many of each, and what is left over of the first ones.
                wanted = options.faults // len(models) + (place < options.faults % len(models))
                found = list(run_single(blaming, wanted, options.seed + place))
                single += found
                several += run_several(blaming, found, np.random.default_rng(options.seed + place))
    finally:
        harness.close()
    facts = f"{target}, seed {options.seed}, {os.cpu_count()} cores, {time.monotonic() - started:.0f} s"
    print(f"Faults in artifacts of {len(models)} models: {facts}")
    return report(single, several)


def save(model: str, folder: Path) -> tuple[Path, Feed]:
    """A model as a Keras 2 file in `folder`, and a feed."""
    folder.mkdir(parents=True)
    path = folder / f"{model}.keras"
    family = FAMILIES[model] if model in FAMILIES else fixtures.SAMPLES[model]
    family.build(importlib.import_module(KERAS[2])).save(path)
    return path, family.inputs()


def run_single(blaming: Blaming, wanted: int, seed: int) -> Iterator[Case]:
    """Runs faults one by one until there are as many that can be found; gives the others as well."""
    detectable = 0
    for fault in draw_faults(blaming.sites, _DRAWN * wanted, seed):
        if detectable == wanted:
            return
        case = blaming.run(fault)
        detectable += case.detectable
        yield case


def run_several(
    blaming: Blaming, single: Sequence[Case], rng: np.random.Generator, count: int = SEVERAL
) -> Iterator[Case]:
    """Runs faults that were found one by one together, two or three in layers of their own."""
    faults = [case.faults[0] for case in single if case.detectable and case.named]
    for number in range(count):
        together: list[int] = []
        taken: set[str] = set()
        for place in rng.permutation(len(faults)):
            if len(together) < 2 + number % 2 and not taken & set(faults[place].rows):
                together.append(int(place))
                taken |= set(faults[place].rows)
        if len(together) > 1:
            yield blaming.run(*(faults[place] for place in together))


def report(single: Sequence[Case], several: Sequence[Case]) -> int:
    """Prints what came of it; 1 where an aim is missed."""
    counted = [case for case in single if case.detectable]
    kinds = Counter(case.faults[0].kind for case in counted)
    models = Counter(case.model for case in counted)
    print(f"{len(counted)} single faults: {_listed(models)}")
    print(f"  of the kinds {_listed(kinds)}")
    failed = [case for case in (*single, *several) if case.verdict == "error"]
    several = [case for case in several if case.detectable]
    small = [case for case in single if case.verdict != "error" and not case.detectable]
    largest = max((case.relative for case in small), default=0.0)
    print(
        f"not counted: {len(small)} that change their layer by less than {DETECTABLE:g} allowances, by "
        f"{largest:.1e} of its largest value at most, and {len(failed)} that do not run"
    )
    named = tell("in the first divergence", [case.named for case in counted], AIM_NAMED)
    alone = tell("alone in it", [case.alone for case in counted], AIM_ALONE)
    both = tell("2 or 3 faults at once, all in it", [case.named for case in several], AIM_NAMED)
    for case in (*counted, *several):
        if not case.alone:
            print(f"{'not alone' if case.named else 'missed'}: {case}")
    for case in failed:
        print(f"did not run: {case}")
    return 0 if named and alone and both else 1


def tell(what: str, found: Sequence[bool], aim: float) -> bool:
    """Prints a share and its aim; gives whether that is reached."""
    share = sum(found) / len(found) if found else 0.0
    print(f"{what:<34} {sum(found):4} of {len(found):<4} {share:7.1%}   (aim: at least {aim:.0%})")
    return share >= aim


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.most_common())


if __name__ == "__main__":
    sys.exit(main())
