"""Measures how activations vary: constant or saturated layers, dependence on the feed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.vacuity.spread import (
    Spread,
    constant_of,
    disturbed,
    is_repeated,
    is_same,
    is_saturated,
    same_value,
)
from pytest_tfjs.compare.vacuity.vacuous import deciding, squashes
from pytest_tfjs.models.feeds import Feed
from pytest_tfjs.reference.activation_store import grouped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.reference.activation_store import Stored
    from pytest_tfjs.reference.comparison_plan import Plan
    from pytest_tfjs.reference.reference_model import ReferenceModel

Array = np.ndarray[Any, np.dtype[Any]]


def find_spreads(
    model: ReferenceModel, plan: Plan, feeds: Sequence[Feed], stored: Stored, *, budget: int
) -> dict[str, Spread]:
    """The spread of each compared layer of `plan` (all `stored`), and of the layers that decide outputs.

    If only the outputs are compared, the layer that decides an integer output is not in `plan`: it is
    computed here, for the first feed. To see whether outputs depend on the feed, the model runs a few more
    times on the first feed, in passes of at most `budget` bytes.
    """
    found = _stored(plan, stored)
    layers = {layer.name: layer for layer in (*model.plan.layers, *plan.layers)}
    outputs = [layer for layer in plan.layers if layer.output and layer.name in found]
    computed: dict[str, Array] = {}
    deciders = _deciders(model, feeds[0], outputs, layers, computed)
    names = [*dict.fromkeys(name for names in deciders.values() for name in names)]
    for name in names:
        values: Iterable[Array] = (stored.read(feed, [name])[name] for feed in range(len(feeds)))
        if name not in found:
            found[name] = constant_of([same_value(computed[name])], computed[name].size)
            values = [computed[name]]
        squashed = squashes(layers[name], layers)
        found[name] = _with_outputs_facts(found[name], values, feeds, squashed=squashed)
    first = {name: computed[name] if name in computed else stored.read(0, [name])[name] for name in names}
    still = {name: value for name, value in first.items() if found[name].moved is None}
    for name, moved in _moved(model, feeds[0], still, budget).items():
        found[name] = replace(found[name], moved=moved)
    for name, decided_by in deciders.items():
        found[name] = replace(found[name], decided_by=decided_by)
    return found


def _stored(plan: Plan, stored: Stored) -> dict[str, Spread]:
    """The spread of each stored activation by itself; reads one file at a time."""
    compared = {layer.name for layer in plan.layers if layer.coverage == "compared"}
    values: dict[str, list[Any]] = {}
    elements: dict[str, int] = {}
    for feed in range(stored.feeds):
        for file in stored.files[feed]:
            for name, value in stored.read(feed, compared & file.keys()).items():
                values.setdefault(name, []).extend([same_value(value)] if value.size else [])
                elements[name] = elements.get(name, 0) + value.size
    return {name: constant_of(found, elements[name]) for name, found in values.items()}


def _deciders(
    model: ReferenceModel,
    feed: Feed,
    outputs: Iterable[Layer],
    layers: dict[str, Layer],
    computed: dict[str, Array],
) -> dict[str, tuple[str, ...]]:
    """The layers that decide each output; computes those not yet known into `layers` and `computed`."""
    outputs = list(outputs)
    while True:
        deciders = {output.name: deciding(output, layers) for output in outputs}
        unknown = {name for names in deciders.values() for name in names if layers[name].dtype is None}
        if not unknown:
            return deciders
        for name, value in _run(model, feed.reference, sorted(unknown)).items():
            computed[name] = value
            layers[name] = replace(layers[name], dtype="str" if value.dtype.kind == "O" else value.dtype.name)


def _with_outputs_facts(
    spread: Spread, values: Iterable[Array], feeds: Sequence[Feed], *, squashed: bool
) -> Spread:
    """The same spread with the facts for outputs. `values`: the activations for one or more feeds."""
    first, first_inputs = None, list(feeds[0].reference.values())
    is_one = are_one = saturated = batch = True
    # One value at a time: each is a view of an open file.
    for value, feed in zip(values, feeds, strict=False):
        inputs = list(feed.reference.values())
        first = value if first is None else first
        is_one = is_one and is_same(first, value)
        are_one = are_one and all(
            is_same(value, other, exactly=True) for value, other in zip(first_inputs, inputs, strict=True)
        )
        saturated = saturated and (not value.size or is_saturated(value))
        batch = batch and is_repeated(value, inputs)
    over_feeds = is_one and not are_one
    return replace(
        spread,
        saturated=squashed and saturated,
        repeated="feeds" if over_feeds else "batch" if batch else None,
        moved=None if is_one or are_one else True,
    )


def _moved(model: ReferenceModel, feed: Feed, values: Mapping[str, Array], budget: int) -> dict[str, bool]:
    """Whether each activation changes with the feed; left out if no changed feed could run."""
    found: dict[str, bool] = {}
    for other in disturbed(feed.reference):
        sizes = [(name, value.nbytes) for name, value in values.items() if not found.get(name)]
        for names in grouped(sizes, budget):
            try:
                activations = _run(model, other, names)
            except Exception:  # noqa: BLE001, S112  (a model may refuse other values)
                continue
            for name, value in activations.items():
                found[name] = not is_same(values[name], value)
    return found


def _run(model: ReferenceModel, feed: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    activations = model.from_source(Feed(dict(feed), {}), names)
    # bfloat16 has numpy's kind V, which numpy cannot compute with.
    return {
        name: value.astype(np.float32) if value.dtype.kind == "V" else value
        for name, value in activations.items()
    }
