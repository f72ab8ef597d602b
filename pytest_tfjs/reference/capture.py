"""The reference for a model and its feeds: planned and computed once, then read from the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.numbers.arithmetic import Arithmetic
from pytest_tfjs.compare.vacuity.spread import Spread
from pytest_tfjs.compare.weight_check import WeightCheck
from pytest_tfjs.errors import ArtifactsError, TfjsError
from pytest_tfjs.formats import safetensors
from pytest_tfjs.models.tensorflow.importing import versions
from pytest_tfjs.models.tensorflow.process import run_here
from pytest_tfjs.reference.activation_store import Stored, grouped
from pytest_tfjs.reference.plan import Plan
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

_SCHEMA = 12
_PLAN = "plan.json"
_WEIGHTS = "weights.json"
_SPREADS = "spreads.json"
_QUANTISED = "quantised"
_ARITHMETIC = "arithmetic"


@dataclass(frozen=True)
class Reference:
    """A plan, the activation of each of its compared layers for each feed, and what was found of the weights.

    Where the artifacts' weights are quantised there are two activations of each: `stored` with the weights as
    the artifacts have them, dequantised, and `source` with the source's own. Else they are the same.
    `spreads`: which values the compared layers take with the source's weights, and what decides the outputs.
    `rounding` is None where it was not asked for.
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
        """The reference that a cache entry holds."""
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
        """For how many feeds there are activations."""
        return self.stored.feeds

    @property
    def quantised(self) -> bool:
        """Whether the browser computes with other weights than the source."""
        return self.stored is not self.source

    def sizes(self, feed: int) -> Mapping[str, int]:
        """The bytes of each activation, in the dtypes of TF.js, by layer name."""
        return self.stored.sizes(feed)

    def activations(self, feed: int, names: Collection[str] | None = None) -> Mapping[str, Array]:
        """What the browser should give by layer name, in the dtypes of TF.js: all, or those of `names`.

        That is, with the weights that it is given. They are views of files, read when looked at, and out of
        memory again when the last is dropped.
        """
        return self.stored.read(feed, self.sizes(feed) if names is None else names)

    def source_activations(self, feed: int, names: Collection[str]) -> Mapping[str, Array]:
        """The same with the source's own weights."""
        return self.source.read(feed, names)

    def arithmetic(self, feed: int, names: Collection[str]) -> Mapping[str, Arithmetic]:
        """What the rounding of these layers depends on, where each runs alone on these activations.

        The magnitudes are views of files, as activations are. Where it was not captured nothing is known.
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
    """What Python computes for `feeds` at each layer of `source` that `artifacts` have, through `runner`.

    With `layers="outputs"` at the model's outputs alone, of which there is no `arithmetic`: that needs the
    layers before each. At most `budget` bytes of activations are held in memory at once; where a feed has
    more, it is computed in several passes. Raises SourceError where the source cannot be read or has no graph
    that could be held against the artifacts, TfjsError where there is no room on the disk.
    """

    def build(folder: Path) -> None:
        doing = f"computing the reference of {source.label!r}"
        make = partial(_checked_build, budget=budget, arithmetic=told)
        runner(doing, make, source, artifacts, feeds, layers, folder)

    told = arithmetic and layers == "all"
    key = _key(source, artifacts, feeds, f"{layers} {told}", runner)
    return Reference.open(cache.entry("reference", key, build))


def _key(source: Source, artifacts: Artifacts, feeds: Sequence[Feed], asked: str, runner: Runner) -> str:
    topology = json.dumps(artifacts.topology, sort_keys=True)
    digest = hashlib.sha256(
        f"{_SCHEMA} {versions()} {asked} {source.require_origin().fingerprint(runner)} {artifacts.format} "
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
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        if source.kind != "prebuilt":
            raise
        raise ArtifactsError(
            f"the model in {artifacts.model_json} cannot be analysed ({error!r}): the file is damaged, or"
            " an unknown converter wrote it. Convert the model again"
        ) from error


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
    copies = 1 + artifacts.quantised + arithmetic
    _require_room(out, sum(sum(each.values()) for each in sizes) * copies)
    casts = Casts()
    activations = Stored(out)
    facts = _store(activations, model.from_source, feeds, sizes, budget=budget, casts=casts)
    given = activations
    if artifacts.quantised:
        (out / _QUANTISED).mkdir()
        given = Stored(out / _QUANTISED)
        _store(given, model.from_artifacts, feeds, sizes, budget=budget, casts=casts)
    if arithmetic:
        (out / _ARITHMETIC).mkdir()
        store_arithmetic(out / _ARITHMETIC, model, feeds, given, budget=budget)
    check = model.check_weights(feeds[0], lambda names: activations.read(0, names))
    (out / _WEIGHTS).write_text(json.dumps(check.to_json()), encoding="utf-8")
    plan = plan.with_facts(facts).cast(casts.unfit, casts.notes)
    (out / _PLAN).write_text(json.dumps(plan.to_json()), encoding="utf-8")
    spreads = find_spreads(model, plan, feeds, activations, budget=budget)
    told = {name: spread.to_json() for name, spread in spreads.items()}
    (out / _SPREADS).write_text(json.dumps(told), encoding="utf-8")


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
