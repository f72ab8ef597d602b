"""Draws random faults in converted artifacts, like those of a broken converter or kernel.

Each is one thing that is wrong; Hypothesis draws which, where and how much.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pytest_tfjs.models.artifacts import read_artifacts, with_weights

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfjs.models.artifacts import Artifacts

Array = np.ndarray[Any, np.dtype[Any]]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Edit = Callable[[Any], None]

_MAP_RANK = 4


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: `kind` and `what`, in words, and `rows`, the compared layers that it is in.

    There is more than one where a weight enters several layers. `weights`: those with other values, by name.
    `edit` alters the topology of the model.json in place.
    """

    kind: str
    what: str
    rows: tuple[str, ...]
    weights: Mapping[str, Array] = field(default_factory=dict)
    edit: Edit | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Site:
    """Where a fault of one kind can be: `make` draws the rest of it."""

    kind: str
    rows: tuple[str, ...]
    make: Callable[[Draw], Fault]


class FaultSites(Protocol):
    """A sound model: its `weights` by name, and where its topology could be wrong."""

    weights: Mapping[str, Array]

    def rows_with(self, weight: str) -> tuple[str, ...]:
        """The compared layers that a weight enters."""

    def sites(self) -> Iterator[Site]:
        """Where attributes, operations and edges could be others, with all shapes as they are."""


def draw_faults(where: FaultSites, count: int, number: int) -> list[Fault]:
    """`count` faults or fewer, all different; the same for the same `number` and version of Hypothesis."""
    by_kind: defaultdict[str, list[Site]] = defaultdict(list)
    for site in (*_weight_sites(where), *where.sites()):
        by_kind[site.kind].append(site)
    drawn: dict[str, Fault] = {}

    @seed(number)
    @settings(
        max_examples=2 * count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(sorted(by_kind)))
        fault = data.draw(st.sampled_from(by_kind[kind])).make(data.draw)
        drawn.setdefault(str(fault), fault)

    one()
    # Hypothesis begins with the simplest, which is no fair sample; and of some kinds there are few.
    faults = list(drawn.values())
    mixed = [faults[place] for place in np.random.default_rng(number).permutation(len(faults))]
    seen: Counter[str] = Counter()
    turns = []
    for fault in mixed:
        turns.append(seen[fault.kind])
        seen[fault.kind] += 1
    return [mixed[place] for place in np.argsort(turns, kind="stable")[:count]]


def write_faulty(sound: Artifacts, faults: Sequence[Fault], folder: Path) -> Artifacts:
    """A copy of `sound` in `folder` with all of `faults` in it."""
    weights = {name: value for fault in faults for name, value in fault.weights.items()}
    written = with_weights(sound, weights, folder).model_json
    content = json.loads(written.read_text(encoding="utf-8"))
    for fault in faults:
        if fault.edit is not None:
            fault.edit(content["modelTopology"])
    written.write_text(json.dumps(content), encoding="utf-8")
    return replace(read_artifacts(written), saved_model=sound.saved_model, signature=sound.signature)


def one_of(kind: str, rows: tuple[str, ...], variants: Sequence[tuple[str, Edit]]) -> Callable[[Draw], Fault]:
    """Makes a fault of one of `variants`, each what it is in words and how it alters the topology."""

    def make(draw: Draw) -> Fault:
        what, edit = draw(st.sampled_from(variants))
        return Fault(kind, what, rows, edit=edit)

    return make


# Weights.

_amounts = st.builds(
    lambda sign, power: float(sign * 10.0**power), st.sampled_from([1, -1]), st.floats(-5, 0.5)
)


def _one_changed(draw: Draw, value: Array) -> tuple[Array, str]:
    at = tuple(draw(st.integers(0, size - 1)) for size in value.shape)
    amount = draw(_amounts)
    changed = value.copy()
    changed[at] += value.dtype.type(amount * np.abs(value).max())
    return changed, f"[{', '.join(map(str, at))}] {amount:+.1e} of the largest"


def _scaled(draw: Draw, value: Array) -> tuple[Array, str]:
    amount = draw(_amounts)
    return value * value.dtype.type(1 + amount), f"times {1 + amount:.4g}"


def _channel_zeroed(draw: Draw, value: Array) -> tuple[Array, str]:
    axis = _channel_axis(value)
    channel = draw(st.integers(0, value.shape[axis] - 1))
    changed = value.copy()
    np.moveaxis(changed, axis, 0)[channel] = 0
    return changed, f"channel {channel}"


def _channels_swapped(draw: Draw, value: Array) -> tuple[Array, str]:
    axis = _channel_axis(value)
    channels = st.integers(0, value.shape[axis] - 1)
    one, other = draw(st.lists(channels, min_size=2, max_size=2, unique=True))
    changed = value.copy()
    view = np.moveaxis(changed, axis, 0)
    view[[one, other]] = view[[other, one]]
    return changed, f"channels {one} and {other}"


def _rolled(draw: Draw, value: Array) -> tuple[Array, str]:
    del draw
    return np.roll(value, 1, _channel_axis(value)), "by one channel"


def _transposed(draw: Draw, value: Array) -> tuple[Array, str]:
    del draw
    return value.swapaxes(0, 1).copy(), "axes 0 and 1"


def _dropped(draw: Draw, value: Array) -> tuple[Array, str]:
    del draw
    return np.zeros_like(value), "all zeros"


def _channel_axis(value: Array) -> int:
    """The last axis, but of a depthwise kernel the one before."""
    return value.ndim - (2 if value.ndim == _MAP_RANK and value.shape[-1] == 1 else 1)


def _has_channels(value: Array) -> bool:
    return value.shape[_channel_axis(value)] > 1


def _is_square(value: Array) -> bool:
    return value.ndim in (2, _MAP_RANK) and value.shape[0] == value.shape[1] > 1


_WEIGHT_FAULTS: Mapping[str, tuple[Callable[[Array], bool], Callable[[Draw, Array], tuple[Array, str]]]] = {
    "one weight changed": (lambda _: True, _one_changed),
    "weight scaled": (lambda _: True, _scaled),
    "channel zeroed": (_has_channels, _channel_zeroed),
    "channels swapped": (_has_channels, _channels_swapped),
    "channels shifted": (_has_channels, _rolled),
    "kernel transposed": (_is_square, _transposed),
    "bias dropped": (lambda value: value.ndim == 1, _dropped),
}


def _weight_sites(where: FaultSites) -> Iterator[Site]:
    for name, value in where.weights.items():
        rows = where.rows_with(name)
        if value.dtype.kind != "f" or value.ndim == 0 or not value.any() or not rows:
            continue
        for kind, (applies, change) in _WEIGHT_FAULTS.items():
            if applies(value):
                yield Site(kind, rows, _maker(kind, rows, name, value, change))


def _maker(
    kind: str,
    rows: tuple[str, ...],
    name: str,
    value: Array,
    change: Callable[[Draw, Array], tuple[Array, str]],
) -> Callable[[Draw], Fault]:
    def make(draw: Draw) -> Fault:
        changed, what = change(draw, value)
        return Fault(kind, f"{name!r}, {what}", rows, weights={name: changed})

    return make
