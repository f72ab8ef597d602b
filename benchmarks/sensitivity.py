"""Measures which faults in a CNN and MobileNetV2 the default tolerances would detect.

No browser runs: what the layers give with a fault in them is judged as if it came from one.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.capture import CACHE
from demo.models import MODELS, NAMES, make_models
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.faults.layer_faults import LayerMutants
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.settings.settings import Settings
from pytest_tfjs.workflows.layer_measurement import tolerances_of
from pytest_tfjs.workflows.sensitivity import Judge, sensitivity_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfjs.compare.sensitivity import Sensitivity

BACKENDS = ("cpu", "wasm", "webgl", "webgl:f16")
FORMATS = ("graph", "layers")
AIM = 0.99


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; gives 1 where less than the aim was caught on a target of float32."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sensitivity", description=__doc__)
    parser.add_argument("--models", default=",".join(NAMES), help="names, separated by commas")
    parser.add_argument("--table", action="store_true", help="print the whole tables")
    options = parser.parse_args(arguments)
    make_models()
    missed = 0
    with ContentCache(CACHE) as cache:
        for name in options.models.split(","):
            for format_ in FORMATS:
                start = time.perf_counter()
                for found in _measured(name, format_, cache):
                    _print_result(found, format_, table=options.table)
                    missed += "f16" not in found.target and (found.share or 0.0) < AIM
                print(f"  all of these in {time.perf_counter() - start:.1f} s\n")
    return 1 if missed else 0


def _measured(name: str, format_: str, cache: ContentCache) -> Iterator[Sensitivity]:
    """What is caught on each backend; the model is loaded once for all."""
    source = as_source(MODELS / f"{name}.keras")
    artifacts = convert(source, format=format_, weights="float32", cache=cache)
    feeds = normalise_feeds(np.load(MODELS / f"{name}.npy"), artifacts.inputs)
    reference = capture_reference(source, artifacts, feeds, "all", cache, arithmetic=True)
    model = load_reference_model(source, artifacts, feeds)
    mutating = LayerMutants(model.alone(), model.refolded)
    for target in parse_targets(["chrome"], BACKENDS):
        rules = tolerances_of(reference, target, Settings(alone="all"), None)
        judge = Judge(str(target), *rules, target.half)
        yield sensitivity_of(mutating, feeds, reference, judge, label=name)


def _print_result(found: Sensitivity, format_: str, *, table: bool) -> None:
    lines = str(found).splitlines()
    print(f"{format_}: {lines[0]}")
    smallest = sorted(layer.smallest for layer in found.layers if layer.smallest is not None)
    middle = smallest[len(smallest) // 2]
    print(f"  smallest: {smallest[0]:.1e} to {smallest[-1]:.1e}, in the middle {middle:.1e}")
    for layer, outcome in () if table or (found.share or 0.0) < AIM else found.survivors:
        print(f"  {outcome.kind} at {layer}: {outcome.why}")
    if table:
        print("\n".join(lines[1:]))


if __name__ == "__main__":
    sys.exit(main())
