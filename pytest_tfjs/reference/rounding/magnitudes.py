"""Finds how large each layer's rounding errors can be, from its TensorFlow operations."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.errors import SourceError
from pytest_tfjs.reference.rounding.conditioning import estimated_magnitude
from pytest_tfjs.reference.rounding.following import Reached, follow
from pytest_tfjs.reference.rounding.operation_rules import KEEP_SUMS, exponent_of, summed_terms
from pytest_tfjs.reference.rounding.rounding_step import Rounded, Step, UnknownRounding
from pytest_tfjs.reference.rounding.slopes import FUNCTIONS
from pytest_tfjs.reference.rounding.summation_noise import noise_of
from pytest_tfjs.reference.rounding.uneven_sums import Sum, excess_of, sums_in
from pytest_tfjs.reference.rounding.webgl_kernels import is_packed_depthwise, mixed, rounded_at_start
from pytest_tfjs.reference.running.layer_alone import constant_value
from pytest_tfjs.reference.running.tapped_graph import tensorflow_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfjs.reference.running.layer_alone import GraphAlone, Subgraph
    from pytest_tfjs.reference.weights.computed_constants import ComputedConstant

Array = np.ndarray[Any, np.dtype[Any]]

UNKNOWN = Arithmetic(known=False)
_FEWEST_TERMS = 16
"""The least number of terms assumed for a layer without a rule, whose sums are unknown."""
_MATRIX_RANK = 2


class Magnitudes:
    """Computes the arithmetic of the layers that `alone` runs.

    `computed`: constants that the converter computed, by the artifacts' names.
    """

    def __init__(self, alone: GraphAlone, computed: Mapping[str, ComputedConstant] | None = None) -> None:
        self._alone = alone
        self._computed = computed or {}
        self._failures: tuple[type[Exception], ...] = (UnknownRounding, SourceError, *tensorflow_errors())

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """The layers and model inputs whose activations `of` needs; none if the layer cannot be run alone."""
        name = self._alone.computing_layer(name)
        return self._alone.inputs_of(name) if self._alone.obstacle(name) is None else ()

    def of(self, name: str, inputs: Mapping[str, Array], reference: Array) -> Arithmetic:
        """The arithmetic of a layer that gives `reference` when it is run alone on `inputs`.

        `inputs` are by the names of `inputs_of`. The result is `UNKNOWN` where the layer cannot be run, and
        for a nested model the arithmetic of the layer inside that computes its activation.
        """
        name = self._alone.computing_layer(name)
        if reference.dtype.kind not in "fc" or not reference.size:
            return Arithmetic(exact=True)
        if self._alone.obstacle(name) is not None:
            return UNKNOWN
        subgraph = self._alone.subgraph(name)
        if not subgraph.operations:
            return Arithmetic(exact=True)
        if any(row not in inputs for row in subgraph.inputs):
            return UNKNOWN
        with np.errstate(all="ignore"):  # activations may have any numbers, NaN and Inf included
            try:
                return self._by_rules(name, subgraph, inputs, reference)
            except self._failures:
                return self._by_perturbing(name, subgraph, inputs, reference)

    def _by_rules(
        self, name: str, subgraph: Subgraph, inputs: Mapping[str, Array], reference: Array
    ) -> Arithmetic:
        read = _Values(self._alone, name, subgraph, inputs)
        computed = {
            f"{constant}:0": Rounded(self._computed[weight].size, self._computed[weight].roundings)
            for weight, constant in subgraph.weights.items()
            if weight in self._computed
        }
        followed = follow(subgraph.operations, computed, read)
        result, steps = followed.found[subgraph.tensor], followed.steps
        reached = Reached(followed, subgraph.tensor, read)
        by_mix = reached.by({step.output: size for step in steps if (size := mixed(step)) is not None})
        if result.roundings == 0:
            return Arithmetic(exact=True, mixed=by_mix)
        sums = sums_in(steps)
        excess = {
            one.result.output: more
            for one in sums
            if (more := excess_of(one, followed.size_of(one.step))) is not None
        }
        starts = {
            step.output: np.full(step.result().shape, rounded_at_start(step), np.float32)
            for step in steps
            if is_packed_depthwise(step)
        }
        started = reached.by(starts)
        return Arithmetic(
            terms=result.roundings,
            magnitude=None if result.size is None else _tidied(result.size, reference),
            functions=followed.functions,
            noise=_noise(steps, sums),
            excess=reached.by(excess),
            started=0.0 if started is None else float(started.max()),
            mixed=by_mix,
            exponent=exponent_of(steps[-1]) if steps and steps[-1].output == subgraph.tensor else 0.0,
            constants=self._error_of(subgraph),
        )

    def _error_of(self, subgraph: Subgraph) -> float:
        """The error of the layer's computed constants, relative to the magnitudes that they enter with."""
        return sum(self._computed[name].error for name in subgraph.weights if name in self._computed)

    def _by_perturbing(
        self, name: str, subgraph: Subgraph, inputs: Mapping[str, Array], reference: Array
    ) -> Arithmetic:
        try:
            size = estimated_magnitude(self._alone, name, inputs, reference)
        except self._failures:
            return UNKNOWN
        if size is None:
            return UNKNOWN
        weights = self._alone.weights_of(name).values()
        matrices = [weight for weight in weights if weight.dtype.kind == "f" and weight.ndim >= _MATRIX_RANK]
        functions = [one for op in self._types(subgraph) for one in FUNCTIONS.get(op, ())]
        return Arithmetic(
            terms=max(_FEWEST_TERMS, sum(int(np.prod(weight.shape[:-1])) for weight in matrices)),
            magnitude=_tidied(size, reference),
            functions=tuple(dict.fromkeys(functions)),
            constants=self._error_of(subgraph),
            tried=True,
        )

    def _types(self, subgraph: Subgraph) -> tuple[str, ...]:
        found: dict[str, None] = {}
        waiting = [(op.type, _called(op.node_def)) for op in subgraph.operations]
        seen: set[str] = set()
        while waiting:
            op, called = waiting.pop()
            found[op] = None
            for function in called:
                if function not in seen:
                    seen.add(function)
                    waiting += self._functions.get(function, ())
        return tuple(found)

    @cached_property
    def _functions(self) -> Mapping[str, list[tuple[str, list[str]]]]:
        """The operations in each function of the graph, each with the functions that it calls."""
        return {
            function.signature.name: [(node.op, _called(node)) for node in function.node_def]
            for function in self._alone.graph.as_graph_def().library.function
        }


def of_both_sides(ours: Arithmetic, source: Arithmetic, reference: Array) -> Arithmetic:
    """The arithmetic of a layer whose artifacts have a constant for several of the source's operations.

    `ours`: the arithmetic of the artifacts; computing the constant rounds at most as often as `source`.
    """
    if not (ours.known and source.known) or source.exact:
        return ours
    return replace(
        source if ours.exact else ours,
        terms=max(ours.terms, source.terms) + 1,
        magnitude=_larger(ours, source, reference),
        functions=tuple(dict.fromkeys((*ours.functions, *source.functions))),
        noise=max((one.noise for one in (ours, source) if one.noise is not None), default=None),
        tried=ours.tried or source.tried,
    )


def _larger(ours: Arithmetic, source: Arithmetic, reference: Array) -> Array | None:
    if ours.magnitude is None and source.magnitude is None:
        return None
    least = np.abs(reference).astype(np.float32)
    sizes = [least if one.magnitude is None else one.magnitude for one in (ours, source)]
    found: Array = np.maximum(*sizes)
    return found


class _Values:
    """The values of tensors of one layer, each computed at most once."""

    def __init__(self, alone: GraphAlone, name: str, subgraph: Subgraph, inputs: Mapping[str, Array]) -> None:
        self._alone, self._name, self._inputs = alone, name, inputs
        self._rows = {tensor: row for row, tensor in subgraph.inputs.items()}
        self._computed: dict[str, Array] = {}

    def __call__(self, tensor: str) -> Array:
        if tensor in self._rows:
            return self._inputs[self._rows[tensor]]
        if tensor not in self._computed:
            operation = self._alone.graph.get_operation_by_name(tensor.partition(":")[0])
            self._computed[tensor] = (
                constant_value(operation)
                if operation.type == "Const"
                else self._alone.values(self._name, self._inputs, [tensor])[tensor]
            )
        return self._computed[tensor]


def _noise(steps: Sequence[Step], known: Sequence[Sum]) -> float | None:
    """The noise of a layer with one sum and otherwise only operations of `KEEP_SUMS`; else None."""
    numbers = [step for step in steps if step.gives_numbers]  # leaves out shapes
    sums = [step for step in numbers if summed_terms(step) > 1]
    if len(sums) != 1 or any(step.op not in KEEP_SUMS for step in numbers if step is not sums[0]):
        return None
    return noise_of(sums[0], next((one.bias_of_each() for one in known if one.step is sums[0]), None))


def _tidied(size: Array, reference: Array) -> Array:
    """The size, but at least |reference|, and |reference| where the size is not finite."""
    least = np.abs(reference).astype(np.float32)
    found: Array = np.where(np.isfinite(size), np.maximum(size, least), least).astype(np.float32)
    return found


def _called(node: Any) -> list[str]:
    """The functions that a node calls."""
    return [value.func.name for value in node.attr.values() if value.HasField("func")]
