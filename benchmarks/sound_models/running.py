"""Compares sound models with `tfjs.compare`, and keeps what the report needs."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.comparison_context import context_of
from benchmarks.sound_models.building import save
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.checker import Checker
from pytest_tfjs.errors import TfjsError
from pytest_tfjs.report.failure_message import failure_message
from pytest_tfjs.settings.settings import Settings

if TYPE_CHECKING:
    from benchmarks.sound_models.building import SoundModel
    from benchmarks.sound_models.cases import SoundCase
    from pytest_tfjs.browsers.harness import Harness
    from pytest_tfjs.compare.results import Comparison
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.tensorflow.process import TensorFlowProcess

BUILD_LIMIT_S = 900.0


class Resources(NamedTuple):
    """What all comparisons share; models are built once, in `models`."""

    harness: Harness
    cache: ContentCache
    tensorflow: TensorFlowProcess
    models: Path

    def built(self, model: SoundModel) -> Path:
        """The model's file, built in the TensorFlow process where it is missing."""
        path = model.path(self.models)
        if not path.exists():
            self.models.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.models) as name:
                self.tensorflow.run(f"building {model}", save, model, Path(name), timeout_s=BUILD_LIMIT_S)
                model.path(Path(name)).rename(path)
        return path


def compare(case: SoundCase, target: str, resources: Resources) -> dict[str, Any]:
    """The record of one comparison, as `record_of` and `_not_run` give it, with the seconds it took."""
    start = time.monotonic()
    try:
        path = resources.built(case.model)
        checker = checker_on(target, resources.harness, resources.cache, resources.tensorflow)
        comparison = checker.compare(
            path, case.model.feed(case.feed, case.seed), format=case.format, weights=case.weights
        )
        record = record_of(comparison, case, target)
    except TfjsError as error:
        record = _judged(case, target, {"verdict": "raised", "message": str(error)})
    return {**record, "seconds": round(time.monotonic() - start, 1)}


def record_of(comparison: Comparison, case: SoundCase, target: str) -> dict[str, Any]:
    """What is kept of a comparison: `outcome` is `close`, `vacuous`, `limit` or `alarm`, with its reason."""
    found: dict[str, Any] = {"verdict": comparison.verdict, "layers": 0, "misses": nearest(comparison)}
    found["layers"] = sum(row.local is not None for row in comparison.layers)
    if comparison.verdict != "close":
        found |= {"message": failure_message(comparison), "reason": comparison.reason}
        found["cause"] = None if comparison.diagnosis is None else comparison.diagnosis.kind
    return _judged(case, target, found)


def nearest(comparison: Comparison) -> dict[str, dict[str, tuple[float, str]]]:
    """By operation, and by `element` and `rms`, the largest share of the allowance used, and the layer."""
    found: dict[str, dict[str, tuple[float, str]]] = {}
    for row in comparison.layers:
        if row.local is None:
            continue
        own = found.setdefault(row.layer.op, {})
        for test, share in (("element", row.local.metrics.share), ("rms", _rms_share(row.local))):
            own[test] = max(own.get(test, (0.0, "")), (_finite(share), row.layer.name))
    return found


def _rms_share(local: Any) -> float:
    if math.isinf(local.rms_allowed) or not local.metrics.rms:
        return 0.0
    return local.metrics.rms / local.rms_allowed if local.rms_allowed else math.inf


def _finite(share: float) -> float:
    """JSON has no infinity."""
    return 1e300 if math.isinf(share) or math.isnan(share) else max(share, 0.0)


def _judged(case: SoundCase, target: str, found: dict[str, Any]) -> dict[str, Any]:
    """`found` with its outcome: an alarm, unless it is close or right by the documentation."""
    verdict, gap = found["verdict"], case.gap(target)
    if gap is not None and gap.is_told(found.get("message", "")):
        return {**found, "outcome": "limit", "reason": gap.reason}
    if verdict in ("close", "vacuous"):
        return {**found, "outcome": verdict}
    if found.get("cause") == "half range":
        return {**found, "outcome": "limit", "reason": "a value leaves the range of half precision"}
    return {**found, "outcome": "alarm"}


def checker_on(target: str, harness: Harness, cache: ContentCache, tensorflow: TensorFlowProcess) -> Checker:
    """The `tfjs` object of a test on `target`, such as `chrome/webgl:f16`, with the default settings."""
    browser, _, backend = target.partition("/")
    (parsed,) = parse_targets([browser], [backend])
    return Checker(context_of(Settings(), parsed, harness, cache, tensorflow))
