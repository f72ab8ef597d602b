"""Checks the weights of a graph model against the constants of the source's graph.

A constant that kept its name is compared with the source's value of that name. A weight that a batch-norm was
folded into is computed again from the source. All others, which the optimiser made and named, are checked by
their effect on the node that uses them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import HALF_ULP, SMALLEST_HALF
from pytest_tfjs.compare.lost_values import lost_values
from pytest_tfjs.compare.operations import ADDITIVE, BATCH_NORM, same_operation
from pytest_tfjs.compare.weight_check import FOLDED_ULPS, BatchNorm, WeightCheck, WeightFinding, difference
from pytest_tfjs.reference.matching.evidence import is_renamed
from pytest_tfjs.reference.matching.graph_matching import FOLDED_KERNEL, FOLDED_OFFSET
from pytest_tfjs.reference.weights.computed_constants import (
    ComputedConstant,
    ComputedConstants,
    measured,
    with_error,
)
from pytest_tfjs.reference.weights.folded_constants import ConstantsByEffect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.weight_check import State, Storage
    from pytest_tfjs.reference.graph import Graph, Node, Ref
    from pytest_tfjs.reference.running.frozen_graph import FrozenGraph
    from pytest_tfjs.reference.weights.folded_constants import Run

Array = np.ndarray[Any, np.dtype[Any]]

_DEPTHWISE = frozenset({"DepthwiseConv2dNative"})
_NEGATED = frozenset({"Prelu"})
_EPSILON = float(np.finfo(np.float32).eps)
_FOLDINGS = 4
"""Roundings of a weight that a batch-norm was folded into, its parts in the source included."""


class GraphWeights:
    """Checks the weights of one graph model.

    `stored`: the artifacts' weights, dequantised; `storage`: how the quantised ones are stored. `layers`: the
    plan's layers, whose taps name the compared nodes of the converted graph.
    """

    def __init__(
        self,
        stored: Mapping[str, Array],
        storage: Mapping[str, Storage],
        source: FrozenGraph,
        converted: Graph,
        *,
        layers: Sequence[Layer],
    ) -> None:
        self._stored = stored
        self._storage = storage
        self._source = source
        self._converted = converted
        renamed = is_renamed(source.graph, converted)
        self._renamed = {node.value for node in source.graph.nodes.values()} - {None} if renamed else None
        self._rows: dict[str, list[Layer]] = defaultdict(list)
        for layer in layers:
            if layer.tap is not None:
                self._rows[layer.tap["node"].rpartition(":")[0]].append(layer)

    def check(self, run: Run) -> WeightCheck:
        """A finding for each weight; `run` computes single layers with chosen constants."""
        by_effect = self._by_effect(run)
        return WeightCheck.of(self._finding(name, by_effect) for name in self._stored)

    def _by_effect(self, run: Run) -> ConstantsByEffect:
        return ConstantsByEffect(
            stored=self._stored,
            storage=self._storage,
            converted=self._converted,
            users=self._users,
            rows=self._rows,
            source_value=self._source_value,
            run=run,
        )

    def _finding(self, name: str, by_effect: ConstantsByEffect) -> WeightFinding:
        if self._renamed is not None:
            return self._of_renamed(name, by_effect)
        row = by_effect.first_row(name)
        layer = None if row is None else row.name
        same_name = self._by_name(name)
        if same_name is not None:
            state, what = same_name
            differs = what is not None and state != "unverified"
            return WeightFinding(name, layer, "differs" if differs else state, what or self._lost(name))
        folded = self._folded(name)
        if folded is not None:
            value, rounding = folded
            what = difference(self._stored[name], value, self._storage.get(name), rounding)
            return WeightFinding(name, layer, "differs" if what else "folded", what or self._lost(name))
        return by_effect.finding(name)

    def _lost(self, name: str) -> str | None:
        """Which values of the weight its storage cannot hold, in words."""
        source = self._source_value(name)
        return None if source is None else lost_values(self._stored[name], source, self._storage.get(name))

    def _of_renamed(self, name: str, by_effect: ConstantsByEffect) -> WeightFinding:
        """The finding in artifacts of another trace, where names do not identify weights."""
        node = self._converted.nodes.get(name)
        if node is not None and self._renamed is not None and node.value in self._renamed:
            row = by_effect.first_row(name)
            return WeightFinding(name, None if row is None else row.name, "equal", None)
        return by_effect.finding(name)

    def _source_value(self, name: str) -> Array | None:
        """The weight's value in the source, before quantisation; None where it is unknown."""
        if self._renamed is not None:
            return None
        stored, storage = self._stored[name], self._storage.get(name)
        if name in self._constants:
            value = self._constants[name]
            negated = self._is_negated(name) and difference(stored, value, storage) is not None
            return -value if negated else value
        inside = self._in_functions.get(_without_number(name))
        if inside is not None:
            return next((value for value in inside if difference(stored, value, storage) is None), None)
        folded = self._folded(name)
        return None if folded is None else folded[0]

    @cached_property
    def _users(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for node in self._converted.nodes.values():
            for name, _ in node.inputs:
                found[name].append(node.name)
        return found

    # Constants that kept their names.

    def _by_name(self, name: str) -> tuple[State, str | None] | None:
        """The state, and what differs, of a weight whose name the source has; None for other weights."""
        stored, storage = self._stored[name], self._storage.get(name)
        state: State = "equal" if storage is None else "quantised"
        if name in self._constants:
            value = self._constants[name]
            if value.dtype.kind in "iu" and _is_cut_off(stored, value):
                return "unverified", f"TF.js stores {value.dtype} as int32, so the value was truncated"
            what = difference(stored, value, storage)
            if what is not None and self._is_negated(name):
                what = difference(stored, -value, storage)
                state = "folded"
            if what is not None and self._is_computed(name):
                # Constant folding in TensorFlow may sum in another order.
                rounding = FOLDED_ULPS * _EPSILON * float(np.abs(value).max(initial=0))
                what = difference(stored, value, storage, rounding) if value.dtype.kind == "f" else what
                state = "folded"
            return state, what
        inside = self._in_functions.get(_without_number(name))
        if inside is None:
            return None
        found = [difference(stored, value, storage) for value in inside]
        return state, None if None in found else found[0]

    def _is_computed(self, name: str) -> bool:
        """Whether the converter computed the constant from weights, so that it is not a weight itself."""
        graph = self._source.graph
        return name in self._source.half or graph.nodes[graph.resolve((name, 0))[0]].op != "Const"

    def _is_negated(self, name: str) -> bool:
        """Whether the converter changed the constant's sign: Keras writes PReLU with -alpha."""
        users = [self._converted.nodes[user] for user in self._users.get(name, ())]
        return any(user.op in _NEGATED or _NEGATED & set(user.fused_ops) for user in users)

    @cached_property
    def _constants(self) -> Mapping[str, Array]:
        names = [name for name in self._stored if name in self._source.graph.constants]
        return {name: self._values[f"{name}:0"] for name in names}

    @cached_property
    def _values(self) -> Mapping[str, Array]:
        """All tensors of the source that weights are compared with, computed in one pass."""
        by_name = [f"{name}:0" for name in self._stored if name in self._source.graph.constants]
        folded = [tensor for _, tensors in self._batch_norms.values() for tensor in tensors]
        return self._source.constants(list(dict.fromkeys([*by_name, *folded])))

    @cached_property
    def _in_functions(self) -> Mapping[str, list[Array]]:
        found: dict[str, list[Array]] = defaultdict(list)
        for name, value in self._source.function_constants():
            found[_without_number(name)].append(value)
        return found

    # Constants with a batch-norm folded in.

    def refolded(self, names: Collection[str], epsilon: Callable[[float], float]) -> dict[str, Array]:
        """The weights among `names` with a folded batch-norm, computed with another epsilon.

        `epsilon` maps the batch-norm's epsilon to the other one. Empty where artifacts and source are of
        different traces, as names do not identify weights there.
        """
        if self._renamed is not None:
            return {}
        changed = {name: self._folded(name, epsilon) for name in names}
        return {name: folded[0] for name, folded in changed.items() if folded is not None}

    # Constants that the converter computed.

    def computed_constants(self) -> ComputedConstants:
        """The constants that the converter computed, and that may differ from the source's by rounding.

        If weights are quantised, these are the ones with batch-norms: the reference of quantised artifacts is
        computed with the artifacts' constants.
        """
        by_name = {name: self._computed(name) for name in self._stored}
        rows = () if self._storage else (self._row_of_computed(name) for name in self._stored)
        return ComputedConstants(
            {name: constant for name, constant in by_name.items() if constant is not None},
            frozenset(row for row in rows if row is not None),
        )

    def _computed(self, name: str) -> ComputedConstant | None:
        stored = self._stored[name]
        if self._renamed is not None or stored.dtype.kind != "f" or not stored.size:
            return None
        norm = self._norm(name)
        if norm is not None:
            return self._with_batch_norm(name, norm)
        if self._storage or self._by_name(name) != ("folded", None):
            return None
        source = self._constants[name]
        if self._is_negated(name) and difference(stored, -source, None) is None:
            return None
        return measured(stored, source.astype(np.float32))

    def _with_batch_norm(self, name: str, norm: BatchNorm) -> ComputedConstant:
        size = norm.offset_size() if name.endswith(FOLDED_OFFSET) else np.abs(self._stored[name])
        folded = self._folded(name)
        if self._storage or not self._is_half_kernel(name) or folded is None:
            with np.errstate(over="ignore"):
                return ComputedConstant(size.astype(np.float32), _FOLDINGS)
        apart = np.abs(self._stored[name].astype(np.float64) - folded[0])
        return with_error(size.astype(np.float64), apart, _FOLDINGS)

    def _is_half_kernel(self, name: str) -> bool:
        """Whether the converter stored the kernel, with a batch-norm in it, rounded to float16."""
        return self._source.half.get(name.removesuffix(FOLDED_KERNEL)) == "float16"

    def _row_of_computed(self, name: str) -> str | None:
        """The layer that uses a constant in floats that has no value in the source; None for others."""
        stored, node = self._stored[name], self._converted.nodes.get(name)
        if stored.dtype.kind != "f" or node is None or node.value in self._source_values:
            return None
        if stored.size == 1 and float(stored.reshape(())) in self._source.scalars:
            return None
        known = self._renamed is None and (self._by_name(name) is not None or self._norm(name) is not None)
        row = None if known else self._by_effect(_no_run).first_row(name)
        return None if row is None else row.name

    @cached_property
    def _source_values(self) -> frozenset[str]:
        return frozenset(node.value for node in self._source.graph.nodes.values() if node.value is not None)

    def _folded(
        self, name: str, epsilon: Callable[[float], float] = lambda own: own
    ) -> tuple[Array, Array] | None:
        """The right value of the weight and its rounding error; None if no batch-norm is folded into it."""
        norm = self._norm(name)
        if norm is None:
            return None
        norm = replace(norm, epsilon=epsilon(norm.epsilon))
        if name.endswith(FOLDED_OFFSET):
            return norm.offset_folded()
        convolution = self._source.graph.nodes[name.removesuffix(FOLDED_KERNEL)]
        value, rounding = norm.kernel_folded(depthwise=convolution.op in _DEPTHWISE)
        if self._is_half_kernel(name):
            rounding = rounding + HALF_ULP * np.abs(value) + SMALLEST_HALF
        return value, rounding

    def _norm(self, name: str) -> BatchNorm | None:
        """The batch-norm that is folded into the weight of this name, or None."""
        convolution = _convolution_of(name)
        if convolution is None or convolution not in self._batch_norms:
            return None
        batch_norm, tensors = self._batch_norms[convolution]
        kernel, gamma, beta, mean, variance, *bias = (self._values[tensor] for tensor in tensors)
        epsilon = self._source.epsilon(batch_norm)
        return BatchNorm(kernel, next(iter(bias), None), gamma, beta, mean, variance, epsilon)

    @cached_property
    def _batch_norms(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """For each convolution with folded weights, the batch-norm after it and the tensors of their weights.

        The tensors are kernel, gamma, beta, mean and variance, and the bias if there is one.
        """
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        for convolution in filter(None, map(_convolution_of, self._stored)):
            if convolution in self._source.graph.nodes and convolution not in found:
                entry = self._batch_norm_after(convolution)
                if entry is not None:
                    found[convolution] = entry
        return found

    def _batch_norm_after(self, convolution: str) -> tuple[str, tuple[str, ...]] | None:
        graph = self._source.graph
        bias: tuple[Ref, ...] = ()
        after = self._following(convolution)
        if after is not None and same_operation(after.op) in ADDITIVE:
            bias = tuple(ref for ref in graph.inputs(after) if ref[0] in graph.constants)
            after = self._following(after.name)
        if after is None or same_operation(after.op) != BATCH_NORM:
            return None
        refs = (graph.inputs(graph.nodes[convolution])[1], *graph.inputs(after)[1:5], *bias)
        if any(name not in graph.constants for name, _ in refs):
            return None
        return after.name, tuple(f"{name}:{index}" for name, index in refs)

    def _following(self, name: str) -> Node | None:
        """The only operation that uses the output of `name`; None where there are several, or none."""
        graph = self._source.graph
        users = [user for user in graph.consumers.get(name, ()) if user in graph.live]
        return graph.nodes[users[0]] if len(users) == 1 else None


def _no_run(layer: Layer, constants: Mapping[str, Array], /) -> tuple[Array, Array]:
    raise NotImplementedError(layer.name, constants)


def _is_cut_off(stored: Array, source: Array) -> bool:
    """Whether 64-bit integers lost their upper half: slices use the largest integer for "no end"."""
    return (
        stored.shape == source.shape
        and bool(np.array_equal(stored, source.astype(stored.dtype)))
        and not np.array_equal(stored, source)
    )


def _convolution_of(name: str) -> str | None:
    """The convolution to which a folded weight of this name belongs; None for other names."""
    for suffix in (FOLDED_KERNEL, FOLDED_OFFSET):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return None


def _without_number(name: str) -> str:
    """A constant's name inside a function, without the number at the end of the function's name."""
    function, slash, node = name.partition("/")
    return re.sub(r"_\d+$", "", function) + slash + node
