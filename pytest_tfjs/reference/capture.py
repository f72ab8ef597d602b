"""Computes the reference of a model and its feeds once, then reads it from the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.vacuity.spread import Spread
from pytest_tfjs.compare.weight_check import WeightCheck
from pytest_tfjs.errors import ArtifactsError, SourceError, TfjsError
from pytest_tfjs.formats import safetensors
from pytest_tfjs.models.tensorflow.importing import versions
from pytest_tfjs.models.tensorflow.process import run_here
from pytest_tfjs.models.tensorflow.refusals import is_of_tensorflow, read_refusal
from pytest_tfjs.reference.activation_store import Stored, grouped
from pytest_tfjs.reference.comparison_plan import Plan
from pytest_tfjs.reference.half_precision_note import half_precision_notes
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.reference.rounding.arithmetic_store import StoredArithmetic, store_arithmetic
from pytest_tfjs.reference.running.casts import Casts
from pytest_tfjs.reference.value_spreads import find_spreads
from pytest_tfjs.settings.settings import TAP_BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.cache import ContentCache
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.sources import Source
    from pytest_tfjs.models.tensorflow.process import Runner

Array = np.ndarray[Any, np.dtype[Any]]
Layers = Literal["all", "outputs"]

_SCHEMA = 21
_PLAN = "plan.json"
_WEIGHTS = "weights.json"
_SPREADS = "spreads.json"
_QUANTISED = "quantised"
_ARITHMETIC = "arithmetic"
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""Errors of the analysis of artifacts that are not what they are taken for."""


@dataclass(frozen=True)
class Reference:
    """A plan, the activations of its compared layers for each feed, and the check of the weights.

    For quantised artifacts there are two sets of activations: `stored` is computed with the artifacts'
    weights, dequantised, and `source` with the source's own. Otherwise both are the same.
    `spreads`: which values the compared layers take with the source's weights, and what decides the outputs.
    `rounding` is None if it was not captured.
    """

    plan: Plan
    folder: Path
    stored: Stored
    source: Stored
    weights: WeightCheck
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    rounding: StoredArithmetic | None = None

    @classmethod
    def open(cls, folder: Path) -> Reference:
        """Reads the reference in a cache entry."""
        plan = Plan.from_json(json.loads((folder / _PLAN).read_text(encoding="utf-8")))
        weights = WeightCheck.from_json(json.loads((folder / _WEIGHTS).read_text(encoding="utf-8")))
        spreads = json.loads((folder / _SPREADS).read_text(encoding="utf-8"))
        source = Stored.open(folder)
        quantised = folder / _QUANTISED
        stored = Stored.open(quantised) if quantised.is_dir() else source
        found = {name: Spread.from_json(content) for name, content in spreads.items()}
        rounding = folder / _ARITHMETIC
        arithmetic = StoredArithmetic.open(rounding) if rounding.is_dir() else None
        return cls(plan, folder, stored, source, weights, found, arithmetic)

    @property
    def feeds(self) -> int:
        """The number of feeds."""
        return self.stored.feeds

    @property
    def quantised(self) -> bool:
        """Whether the artifacts' weights are quantised, so that they differ from the source's."""
        return self.stored is not self.source

    def sizes(self, feed: int) -> Mapping[str, int]:
        """The size in bytes of each activation, in TF.js's dtypes, by layer name."""
        return self.stored.sizes(feed)

    def activations(self, feed: int, names: Collection[str] | None = None) -> Mapping[str, Array]:
        """The expected activations by layer name, in TF.js's dtypes: all, or those of `names`.

        They are computed with the artifacts' weights. The arrays are views of files, read on access; their
        memory is released with the last view.
        """
        return self.stored.read(feed, self.sizes(feed) if names is None else names)

    def source_activations(self, feed: int, names: Collection[str]) -> Mapping[str, Array]:
        """As `activations`, but computed with the source's own weights."""
        return self.source.read(feed, names)

    def arithmetic(self, feed: int, names: Collection[str]) -> Mapping[str, Arithmetic]:
        """What determines the rounding errors of these layers when each runs alone on these activations.

        The magnitudes are views of files, as activations are. If none were captured, each is
        `Arithmetic(known=False)`.
        """
        if self.rounding is None:
            return dict.fromkeys(names, Arithmetic(known=False))
        return self.rounding.read(feed, names)


def capture_reference(
    source: Source,
    artifacts: Artifacts,
    feeds: Sequence[Feed],
    layers: Layers,
    cache: ContentCache,
    *,
    arithmetic: bool = False,
    budget: int = TAP_BUDGET,
    runner: Runner = run_here,
) -> Reference:
    """The activations of each layer that `source` and `artifacts` share, from the cache or by `runner`.

    `layers="outputs"` captures the model's outputs only, without `arithmetic`, which needs the layers before
    them. At most `budget` bytes of activations are in memory at once; a feed with more is computed in several
    passes. Raises SourceError where the source cannot be read or has no graph to compare with the artifacts,
    TfjsError where the disk is full.
    """

    def build(folder: Path) -> None:
        activity = f"computing the reference of {source.label!r}"
        make = partial(_checked_build, budget=budget, arithmetic=with_arithmetic)
        runner(activity, make, source, artifacts, feeds, layers, folder)

    with_arithmetic = arithmetic and layers == "all"
    key = _key(source, artifacts, feeds, f"{layers} {with_arithmetic}", runner)
    return Reference.open(cache.entry("reference", key, build))


def _key(source: Source, artifacts: Artifacts, feeds: Sequence[Feed], extent: str, runner: Runner) -> str:
    topology = json.dumps(artifacts.topology, sort_keys=True)
    digest = hashlib.sha256(
        f"{_SCHEMA} {versions()} {extent} {source.require_origin().fingerprint(runner)} {artifacts.format} "
        f"{artifacts.signature} {artifacts.inputs} {artifacts.outputs} {topology} "
        f"{artifacts.weights_digest()}".encode()
    )
    for feed in feeds:
        digest.update(hashlib.sha256(safetensors.encode(feed.reference)).digest())
    return digest.hexdigest()


def _checked_build(source: Source, artifacts: Artifacts, *rest: Any, **how: Any) -> None:
    """As `_build`; artifacts that somebody else made may not be what they are taken for."""
    try:
        _build(source, artifacts, *rest, **how)
    except TfjsError:
        raise
    except Exception as error:
        if source.kind == "prebuilt" and isinstance(error, _UNREADABLE):
            raise ArtifactsError(
                f"the model in {artifacts.model_json} cannot be analysed ({error!r}): the file is damaged, or"
                " an unknown converter wrote it. Convert the model again"
            ) from error
        if not is_of_tensorflow(error):
            raise
        refusal = read_refusal(error, artifacts.saved_model)
        # TensorFlow's message and traceback have hundreds of lines.
        raise SourceError(
            f"'{source.label}' cannot be computed in Python: {refusal.where}{refusal.reason}. "
            f"{refusal.advice}"
        ) from None


def _build(
    source: Source,
    artifacts: Artifacts,
    feeds: Sequence[Feed],
    layers: Layers,
    out: Path,
    *,
    budget: int,
    arithmetic: bool,
) -> None:
    model = load_reference_model(source, artifacts, feeds)
    plan = model.plan.outputs_only() if layers == "outputs" else model.plan
    sizes = [model.sizes(feed, list(plan.tensors)) for feed in feeds]
    copies = 1 + artifacts.quantised + 2 * arithmetic
    _require_room(out, sum(sum(each.values()) for each in sizes) * copies)
    casts = Casts()
    activations = Stored(out)
    facts = _store(activations, model.from_source, feeds, sizes, budget=budget, casts=casts)
    reference_activations = activations
    if artifacts.quantised:
        (out / _QUANTISED).mkdir()
        reference_activations = Stored(out / _QUANTISED)
        _store(reference_activations, model.from_artifacts, feeds, sizes, budget=budget, casts=casts)
    if arithmetic:
        (out / _ARITHMETIC).mkdir()
        store_arithmetic(out / _ARITHMETIC, model, feeds, reference_activations, budget=budget)
    check = model.check_weights(feeds[0], lambda names: activations.read(0, names))
    (out / _WEIGHTS).write_text(json.dumps(check.to_json()), encoding="utf-8")
    in_half = half_precision_notes(model, feeds, activations)
    plan = plan.with_facts(facts).cast(casts.unfit, (*in_half, *casts.notes))
    (out / _PLAN).write_text(json.dumps(plan.to_json()), encoding="utf-8")
    spreads = find_spreads(model, plan, feeds, activations, budget=budget)
    content = {name: spread.to_json() for name, spread in spreads.items()}
    (out / _SPREADS).write_text(json.dumps(content), encoding="utf-8")


def _store(
    stored: Stored,
    run: Callable[[Feed, Sequence[str]], Mapping[str, Array]],
    feeds: Sequence[Feed],
    sizes: Sequence[Mapping[str, int]],
    *,
    budget: int,
    casts: Casts,
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Writes the activations of all feeds, in groups that fit the budget; shape and dtype for the first."""
    facts: dict[str, tuple[tuple[int, ...], str]] = {}
    for number, feed in enumerate(feeds):
        for names in grouped(sizes[number].items(), budget):
            activations = casts.apply(run(feed, names))
            stored.add(number, activations)
            for name, value in activations.items():
                dtype = "str" if value.dtype.kind in "OSU" else value.dtype.name
                facts.setdefault(name, (value.shape, dtype))
    stored.close()
    return facts


def _require_room(folder: Path, nbytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise TfjsError(
            f"the reference needs about {nbytes} bytes, but the disk of {folder} has {free} left: free some "
            "space, choose another disk with `-o cache_dir=DIR`, or compare less (fewer feeds, or "
            "--tfjs-layers=outputs)"
        )
