"""The reference for a model and its feeds: planned and computed once, then read from the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from pytest_tfjs.browsers import wire
from pytest_tfjs.errors import TfjsError
from pytest_tfjs.models.cache import ContentCache, file_digest
from pytest_tfjs.models.converter import versions
from pytest_tfjs.models.isolation import here
from pytest_tfjs.models.layer_calls import read_calls
from pytest_tfjs.reference.graph_plan import plan_graph
from pytest_tfjs.reference.graphs import Graph, converted_node, parse_ref
from pytest_tfjs.reference.groups import by_layer, by_scope
from pytest_tfjs.reference.keras_plan import plan_keras
from pytest_tfjs.reference.plan import Plan
from pytest_tfjs.reference.stored import Stored, grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.isolation import Place
    from pytest_tfjs.models.source import Source

Array = np.ndarray[Any, np.dtype[Any]]
Layers = Literal["all", "outputs"]

_SCHEMA = 3
_PLAN = "plan.json"
BUDGET = 256_000_000

_BROWSER_DTYPES = {"f": "float32", "i": "int32", "u": "int32", "c": "complex64", "V": "float32"}
"""TF.js has one float, one integer and one complex dtype; bfloat16 is of numpy's kind V."""


@dataclass(frozen=True)
class Reference:
    """A plan, and the activation of each of its compared layers for each feed."""

    plan: Plan
    folder: Path
    stored: Stored

    @classmethod
    def open(cls, folder: Path) -> Reference:
        """The reference that a cache entry holds."""
        plan = Plan.from_json(json.loads((folder / _PLAN).read_text(encoding="utf-8")))
        return cls(plan, folder, Stored.open(folder))

    @property
    def feeds(self) -> int:
        """For how many feeds there are activations."""
        return self.stored.feeds

    def sizes(self, feed: int) -> Mapping[str, int]:
        """The bytes of each activation, in the dtypes of TF.js, by layer name."""
        return self.stored.sizes(feed)

    def activations(self, feed: int, names: Collection[str] | None = None) -> Mapping[str, Array]:
        """Activations by layer name in the dtypes of TF.js: all, or those of `names`.

        They are views of files, read when looked at, and out of memory again when the last is dropped.
        """
        return self.stored.read(feed, self.sizes(feed) if names is None else names)


def capture_reference(
    source: Source,
    artifacts: Artifacts,
    feeds: Sequence[Feed],
    layers: Layers,
    cache: ContentCache,
    *,
    budget: int = BUDGET,
    place: Place = here,
) -> Reference:
    """What Python computes for `feeds` at each layer of `source` that `artifacts` have, computed at `place`.

    With `layers="outputs"` at the model's outputs alone. At most `budget` bytes of activations are held in
    memory at once; where a feed has more, it is computed in several passes. Raises SourceError where the
    source cannot be read or has no graph that could be held against the artifacts, TfjsError where there is
    no room on the disk.
    """

    def build(folder: Path) -> None:
        doing = f"computing the reference of {source.label!r}"
        place(doing, partial(_build, budget=budget), source, artifacts, feeds, layers, folder)

    return Reference.open(cache.entry("reference", _key(source, artifacts, feeds, layers, place), build))


def _key(source: Source, artifacts: Artifacts, feeds: Sequence[Feed], layers: Layers, place: Place) -> str:
    digest = hashlib.sha256(
        f"{_SCHEMA} {versions()} {layers} {source.require_origin().fingerprint(place)} "
        f"{_topology_digest(artifacts)}".encode()
    )
    for feed in feeds:
        digest.update(hashlib.sha256(wire.encode(feed.reference)).digest())
    return digest.hexdigest()


def _topology_digest(artifacts: Artifacts) -> str:
    """The plan depends on the artifacts' topology, and not on their weights."""
    if artifacts.saved_model is None:
        return file_digest(artifacts.model_json)
    text = json.dumps(artifacts.topology, sort_keys=True)
    return hashlib.sha256(f"{artifacts.signature} {text}".encode()).hexdigest()


def _build(
    source: Source, artifacts: Artifacts, feeds: Sequence[Feed], layers: Layers, out: Path, *, budget: int
) -> None:
    prepare = _prepare_layers if artifacts.format == "layers" else _prepare_graph
    plan, runner = prepare(source, artifacts)
    if layers == "outputs":
        plan = plan.outputs_only()
    facts: dict[str, tuple[tuple[int, ...], str]] = {}
    stored = Stored(out)
    for number, feed in enumerate(feeds):
        for activations in _computed(plan, runner, feed, out, budget):
            stored.add(number, activations)
            for name, value in activations.items():
                facts.setdefault(
                    name, (value.shape, "str" if value.dtype.kind in "OSU" else value.dtype.name)
                )
    stored.close()
    (out / _PLAN).write_text(json.dumps(plan.with_facts(facts).to_json()), encoding="utf-8")


def _computed(plan: Plan, runner: _Runner, feed: Feed, out: Path, budget: int) -> Iterator[dict[str, Array]]:
    """The activations of a feed by layer, in groups that fit the budget."""
    layers: dict[str, list[str]] = {}
    for name, tensor in plan.tensors.items():
        layers.setdefault(tensor, []).append(name)
    sizes = runner.sizes(feed, list(layers))
    _require_room(out, sum(sizes[tensor] * len(names) for tensor, names in layers.items()))
    for tensors in grouped(sizes.items(), budget):
        values = runner.run(feed, list(tensors))
        yield {name: _for_browser(values[tensor]) for tensor in tensors for name in layers[tensor]}


def _require_room(folder: Path, nbytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise TfjsError(
            f"the reference takes about {nbytes} bytes, and the disk of {folder} has {free} left: make room, "
            "name another with `-o cache_dir=DIR`, or compare less (fewer feeds, or --tfjs-layers=outputs)"
        )


class _Runner(NamedTuple):
    """How a source is run: the values of tensors for a feed, and how many bytes about they take."""

    run: Callable[[Feed, list[str]], Mapping[str, Array]]
    sizes: Callable[[Feed, list[str]], dict[str, int]]


def _prepare_layers(source: Source, artifacts: Artifacts) -> tuple[Plan, _Runner]:
    from pytest_tfjs.reference.keras_model import TappedKerasModel

    tapped = TappedKerasModel(source.load())
    topology = artifacts.topology.get("model_config", artifacts.topology)
    return plan_keras(tapped.config, topology), _Runner(
        lambda feed, wanted: tapped.run(list(feed.reference.values()), wanted),
        lambda feed, wanted: tapped.sizes(list(feed.reference.values()), wanted),
    )


def _prepare_graph(source: Source, artifacts: Artifacts) -> tuple[Plan, _Runner]:
    from pytest_tfjs.reference.frozen import FrozenGraph

    source.require_origin()
    assert artifacts.saved_model is not None
    assert artifacts.signature is not None
    nodes = [converted_node(node.name, node.op, node.inputs, node.attr) for node in artifacts.nodes()]
    lowered = any(node.op in ("Switch", "Merge") for node in nodes)
    frozen = FrozenGraph(artifacts.saved_model, artifacts.signature, lower_control_flow=lowered)
    outputs = tuple(parse_ref(spec.tensor) for spec in artifacts.outputs if spec.tensor is not None)
    calls = read_calls(artifacts.saved_model)
    grouping = by_scope if calls is None else by_layer(calls)
    plan = plan_graph(Graph(frozen.graph.nodes, outputs), Graph.of(nodes, outputs), grouping)
    tensors = {spec.name: spec.tensor for spec in artifacts.inputs if spec.tensor is not None}

    def by_tensor(feed: Feed) -> dict[str, Array]:
        return {tensors[name]: value for name, value in feed.reference.items()}

    return plan, _Runner(
        lambda feed, wanted: frozen.run(by_tensor(feed), wanted),
        lambda feed, wanted: frozen.sizes(by_tensor(feed), wanted),
    )


def _for_browser(value: Array) -> Array:
    wanted = _BROWSER_DTYPES.get(value.dtype.kind)
    return value if wanted is None else value.astype(wanted, copy=False)
