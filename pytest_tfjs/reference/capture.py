"""The reference for a model and its feeds: planned and computed once, then read from the cache."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.browsers import wire
from pytest_tfjs.models.cache import ContentCache, file_digest
from pytest_tfjs.models.converter import versions
from pytest_tfjs.reference.graph_plan import plan_graph
from pytest_tfjs.reference.graphs import Graph, converted_node, parse_ref
from pytest_tfjs.reference.keras_plan import plan_keras
from pytest_tfjs.reference.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.source import Source

Array = np.ndarray[Any, np.dtype[Any]]
Layers = Literal["all", "outputs"]

_SCHEMA = 1
_PLAN = "plan.json"

_BROWSER_DTYPES = {"f": "float32", "i": "int32", "u": "int32", "c": "complex64", "V": "float32"}
"""TF.js has one float, one integer and one complex dtype; bfloat16 is of numpy's kind V."""


@dataclass(frozen=True)
class Reference:
    """A plan, and the activation of each of its compared layers for each feed."""

    plan: Plan
    folder: Path

    def activations(self, feed: int) -> Mapping[str, Array]:
        """Activations by layer name in the dtypes of TF.js: views of a file, read when looked at."""
        with (self.folder / _activations_file(feed)).open("rb") as stream:
            return wire.decode(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))


def capture_reference(
    source: Source, artifacts: Artifacts, feeds: Sequence[Feed], layers: Layers, cache: ContentCache
) -> Reference:
    """What Python computes for `feeds` at each layer of `source` that `artifacts` have.

    With `layers="outputs"` at the model's outputs alone. Raises SourceError where the source cannot be read
    or has no graph that could be held against the artifacts.
    """
    key = _key(source, artifacts, feeds, layers)
    folder = cache.entry("reference", key, lambda out: _build(source, artifacts, feeds, layers, out))
    return Reference(Plan.from_json(json.loads((folder / _PLAN).read_text(encoding="utf-8"))), folder)


def _key(source: Source, artifacts: Artifacts, feeds: Sequence[Feed], layers: Layers) -> str:
    digest = hashlib.sha256(
        f"{_SCHEMA} {versions()} {layers} {source.require_origin().fingerprint()} "
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


def _build(source: Source, artifacts: Artifacts, feeds: Sequence[Feed], layers: Layers, out: Path) -> None:
    prepare = _prepare_layers if artifacts.format == "layers" else _prepare_graph
    plan, run = prepare(source, artifacts)
    if layers == "outputs":
        plan = plan.outputs_only()
    facts: dict[str, tuple[tuple[int, ...], str]] = {}
    for number, feed in enumerate(feeds):
        values = run(feed, list(dict.fromkeys(plan.tensors.values())))
        activations = {name: _for_browser(values[tensor]) for name, tensor in plan.tensors.items()}
        for name, value in activations.items():
            facts.setdefault(name, (value.shape, "str" if value.dtype.kind in "OSU" else value.dtype.name))
        (out / _activations_file(number)).write_bytes(wire.encode(activations))
    (out / _PLAN).write_text(json.dumps(plan.with_facts(facts).to_json()), encoding="utf-8")


_Run = Callable[["Feed", list[str]], Mapping[str, Array]]


def _prepare_layers(source: Source, artifacts: Artifacts) -> tuple[Plan, _Run]:
    from pytest_tfjs.reference.keras_model import TappedKerasModel

    tapped = TappedKerasModel(source.load())
    topology = artifacts.topology.get("model_config", artifacts.topology)
    return plan_keras(tapped.config, topology), lambda feed, tensors: tapped.run(
        list(feed.reference.values()), tensors
    )


def _prepare_graph(source: Source, artifacts: Artifacts) -> tuple[Plan, _Run]:
    from pytest_tfjs.reference.frozen import FrozenGraph

    source.require_origin()
    assert artifacts.saved_model is not None
    assert artifacts.signature is not None
    nodes = [converted_node(node.name, node.op, node.inputs, node.attr) for node in artifacts.nodes()]
    lowered = any(node.op in ("Switch", "Merge") for node in nodes)
    frozen = FrozenGraph(artifacts.saved_model, artifacts.signature, lower_control_flow=lowered)
    outputs = tuple(parse_ref(spec.tensor) for spec in artifacts.outputs if spec.tensor is not None)
    plan = plan_graph(Graph(frozen.graph.nodes, outputs), Graph.of(nodes, outputs))
    tensors = {spec.name: spec.tensor for spec in artifacts.inputs if spec.tensor is not None}
    return plan, lambda feed, wanted: frozen.run(
        {tensors[name]: value for name, value in feed.reference.items()}, wanted
    )


def _activations_file(feed: int) -> str:
    return f"feed-{feed}.safetensors"


def _for_browser(value: Array) -> Array:
    wanted = _BROWSER_DTYPES.get(value.dtype.kind)
    return value if wanted is None else value.astype(wanted, copy=False)
