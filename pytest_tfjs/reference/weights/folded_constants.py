"""Checks the constants that the converter computed, by their effect on compared layers."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pytest_tfjs.compare.dtypes import HALF_ROUNDOFF
from pytest_tfjs.compare.numbers.compression import cost, default_allowance
from pytest_tfjs.compare.weight_check import BY_EFFECT, WeightFinding
from pytest_tfjs.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.weight_check import Storage
    from pytest_tfjs.reference.graph import Graph

Array = np.ndarray[Any, np.dtype[Any]]

_SAME = 1e-4
_DRAWS = 4
_ROUNDING_MARGIN = 3.0
"""Rounding moves a layer by less than this times the worst draw with each value half a step off."""
_MOST_USERS = 8
"""The most compared nodes that are tried for one on which a constant has an effect."""


class Run(Protocol):
    """Computes one layer from the source's own activations."""

    def __call__(self, layer: Layer, constants: Mapping[str, Array], /) -> tuple[Array, Array]:
        """The output of the layer's converted node with `constants` (by name) in place of stored ones.

        The second array is the source's activation.
        """


class ConstantsByEffect:
    """Checks each constant by the first compared node on which it has an effect.

    `users`: for each converted node the nodes that use it. `rows`: the compared layers by their converted
    node, one for each compared output. `source_value`: a constant's value in the source, None where it is
    unknown; other constants of the node take these values, so that their quantisation does not count.
    """

    def __init__(
        self,
        *,
        stored: Mapping[str, Array],
        storage: Mapping[str, Storage],
        converted: Graph,
        users: Mapping[str, Sequence[str]],
        rows: Mapping[str, Sequence[Layer]],
        source_value: Callable[[str], Array | None],
        run: Run,
    ) -> None:
        self._stored = stored
        self._storage = storage
        self._converted = converted
        self._users = users
        self._rows = rows
        self._taps = {row.name: row.tap["node"] for each in rows.values() for row in each if row.tap}
        self._source_value = source_value
        self._run = run
        self._quantised: dict[str, tuple[dict[str, Array], list[str]]] = {}
        self._computed: dict[str, tuple[Array, Array]] = {}

    def first_row(self, name: str) -> Layer | None:
        """The first compared layer after the constant."""
        return next((self._rows[node][0] for node in self._compared_users(name)), None)

    def finding(self, name: str) -> WeightFinding:
        """The finding for a constant."""
        first = None
        for node in islice(self._compared_users(name), _MOST_USERS):
            first = first or self._rows[node][0]
            try:
                found = self._by_effect(name, self._rows[node])
            except SourceError:
                why = (
                    "TensorFlow cannot run the operations that use this constant on the source's activations"
                )
                return WeightFinding(name, self._rows[node][0].name, "unverified", why)
            if found is not None:
                return found
        if first is None:
            why = "the source has no constant of this name, and no compared layer uses it"
            return WeightFinding(name, None, "unverified", why)
        why = (
            "the source has no constant of this name, "
            "and no compared layer depends on the constant for this feed"
        )
        return WeightFinding(name, first.name, "unverified", why)

    def _by_effect(self, name: str, rows: Sequence[Layer]) -> WeightFinding | None:
        """The finding by the rows of one node; None where they do not depend on the constant."""
        depending = [row for row in rows if self._depends(row, name)]
        for row in depending:
            what = self._wrong(row)
            if what is not None:
                lost = self._lost(name)
                return WeightFinding(name, row.name, "differs" if lost is None else "quantised", lost or what)
        return WeightFinding(name, depending[0].name, "folded", None) if depending else None

    def _lost(self, name: str) -> str | None:
        """How many values of a quantised constant without a source value are NaN or Inf, in words."""
        value, storage = self._stored[name], self._storage.get(name)
        if storage is None or self._source_value(name) is not None or np.isfinite(value).all():
            return None
        count = np.count_nonzero(~np.isfinite(value))
        return f"{count} of {value.size} values are NaN or Inf as {storage.dtype}"

    def _compared_users(self, name: str) -> Iterator[str]:
        """The compared nodes after a constant, nearest first."""
        edge, seen = [name], {name}
        while edge:
            users = [user for each in edge for user in self._users.get(each, ())]
            edge = [user for user in dict.fromkeys(users) if user not in seen]
            seen.update(edge)
            yield from (node for node in edge if node in self._rows)

    def _depends(self, row: Layer, name: str) -> bool:
        """Whether a layer changes with a constant; assumed for integers and text."""
        value = self._stored[name]
        if value.dtype.kind not in "fc" or not value.size:
            return True
        found, _ = self._compute(row)
        by = max(1.0, float(np.abs(value).max()))
        # In both directions: raising an upper bound may change nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            moved = [value + np.asarray(step, value.dtype) for step in (by, -by)]
        return any(self._changes(row, found, name, each) for each in moved)

    def _changes(self, row: Layer, found: Array, name: str, value: Array) -> bool:
        try:
            moved, _ = self._run(row, {**self._constants_of(row)[0], name: value})
        except SourceError:
            return True  # it ran with the unchanged constant
        return not np.array_equal(moved, found, equal_nan=found.dtype.kind in "fc")

    def _wrong(self, row: Layer) -> str | None:
        found = cost(*self._compute(row))
        moved = found.share
        if moved <= _SAME or moved <= self._allowed(row):
            return None
        if not math.isfinite(moved):
            return f"{BY_EFFECT}: {'NaN or Inf at other elements' if found.broken else 'another shape'}"
        return f"{BY_EFFECT}: they differ by {moved:.1e} of the largest value"

    def _compute(self, row: Layer) -> tuple[Array, Array]:
        if row.name not in self._computed:
            self._computed[row.name] = self._run(row, self._constants_of(row)[0])
        return self._computed[row.name]

    def _allowed(self, row: Layer) -> float:
        """The share by which quantised constants without a known source value may move a layer."""
        source_values, left = self._constants_of(row)
        if not left:
            return _SAME
        most = default_allowance("+".join(self._storage[name].dtype for name in left))
        found, _ = self._compute(row)
        # Constants in loop bodies cannot be changed, and outputs other than floats change in steps.
        if found.dtype.kind not in "fc" or any(name not in self._converted.nodes for name in left):
            return most
        signs = np.random.default_rng(0)
        shares = [
            cost(
                self._run(row, {**source_values, **{name: self._rounded(name, signs) for name in left}})[0],
                found,
            )
            for _ in range(_DRAWS)
        ]
        return min(most, max(_SAME, _ROUNDING_MARGIN * max(one.share for one in shares)))

    def _rounded(self, name: str, signs: np.random.Generator) -> Array:
        """A constant with each value moved by half a quantisation step, up or down."""
        value, storage = self._stored[name], self._storage[name]
        half = np.abs(value) * HALF_ROUNDOFF if storage.scale is None else storage.scale / 2
        with np.errstate(over="ignore", invalid="ignore"):
            moved: Array = (value + half * signs.choice([-1.0, 1.0], value.shape)).astype(value.dtype)
        return moved

    def _constants_of(self, row: Layer) -> tuple[dict[str, Array], list[str]]:
        """The quantised constants of a layer with their source values, and the names of those without one."""
        if row.name not in self._quantised:
            quantised = [name for name in self._above(row) if name in self._storage]
            # Constants in loop bodies cannot be replaced; they count for every layer.
            within = [name for name in self._storage if name not in self._converted.nodes]
            known = {name: self._source_value(name) for name in (*quantised, *within)}
            values = {name: known[name] for name in quantised}
            source_values = {name: value for name, value in values.items() if value is not None}
            left = [
                name
                for name, value in known.items()
                if name not in source_values and not self._is_exact(name, value)
            ]
            self._quantised[row.name] = source_values, left
        return self._quantised[row.name]

    def _is_exact(self, name: str, value: Array | None) -> bool:
        return value is not None and np.array_equal(self._stored[name], value)

    def _above(self, row: Layer) -> Iterator[str]:
        """The nodes before a layer's converted node, up to the activations that are its inputs."""
        assert row.tap is not None
        inputs = {self._taps[name] for name in row.inputs if name in self._taps}
        start = row.tap["node"].rpartition(":")[0]
        edge, seen = [start], {start}
        while edge:
            for name, index in self._converted.nodes[edge.pop()].inputs:
                if name in seen or f"{name}:{index}" in inputs:
                    continue
                seen.add(name)
                yield name
                if name in self._converted.nodes:
                    edge.append(name)
