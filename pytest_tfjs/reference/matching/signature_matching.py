"""Matches the inputs and outputs of a prebuilt graph model with those of its source.

Names decide first, then dtypes and shapes, then values: the outputs of the converted graph are compared with
the source's. What stays ambiguous is an error and never a guess.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.errors import ArtifactsError
from pytest_tfjs.models.signature_candidates import (
    candidates,
    conflicting,
    describe,
    matched_by,
    swapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.topology import TensorSpec
    from pytest_tfjs.reference.running.converted_graph import ConvertedGraph
    from pytest_tfjs.reference.running.frozen_graph import FrozenGraph

Array = np.ndarray[Any, np.dtype[Any]]
_Candidates = list[tuple[int, ...]]
"""For each tensor of the source, the numbers of the artifacts' tensors that may be it."""

_MOST_ORDERS = 24
# Relative to the largest value: outputs that differ by less cannot be told apart.
_NOISE = 1e-4
_CLEARLY = 10.0


@dataclass(frozen=True)
class SignatureMatch:
    """The source's tensor (`x:0`) by input name, and pairs of output tensors, the source's first.

    `renamed`: the source's name of each placeholder that has another name in the artifacts. `notes`: one
    sentence for each pair that was matched other than by name. `names`: for each pair of outputs its names in
    the signatures, the source's first.
    """

    inputs: Mapping[str, str]
    outputs: tuple[tuple[str, str], ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    names: tuple[tuple[str, ...], ...] = ()


def identical_signatures(artifacts: Artifacts) -> SignatureMatch:
    """The match for artifacts that this plugin converted: both sides have the same tensor names."""
    outputs = tuple(_tensor(spec) for spec in artifacts.outputs)
    return SignatureMatch(
        {spec.name: _tensor(spec) for spec in artifacts.inputs},
        tuple(zip(outputs, outputs, strict=True)),
        names=tuple((spec.name,) for spec in artifacts.outputs),
    )


def match_signatures(
    artifacts: Artifacts,
    source: FrozenGraph,
    feeds: Sequence[Feed],
    converted: Callable[[], ConvertedGraph],
) -> SignatureMatch:
    """Pairs the inputs and outputs of `artifacts` with those of `source`.

    `converted` gives the artifacts' graph; it is called only where values have to decide.
    Raises ArtifactsError where the two are not one model, and where the match stays ambiguous.
    """
    return _Matcher(artifacts, source, feeds, converted).match()


class _Matcher:
    def __init__(
        self,
        artifacts: Artifacts,
        source: FrozenGraph,
        feeds: Sequence[Feed],
        converted: Callable[[], ConvertedGraph],
    ) -> None:
        self.artifacts = artifacts
        self.source = source
        self.feeds = feeds
        self.converted = converted
        self.used = [spec for spec in source.inputs if _node(spec) in source.graph.live]
        self.inputs = candidates(artifacts.inputs, self.used, by_tensor_name=True)
        self.outputs = candidates(artifacts.outputs, source.outputs, by_tensor_name=False)

    def match(self) -> SignatureMatch:
        self._check_conflicts("input", self.artifacts.inputs, self.used)
        self._check_conflicts("output", self.artifacts.outputs, self.source.outputs)
        self._check_counts("inputs", self.inputs, artifacts=self.artifacts.inputs, source=self.used)
        self._check_counts(
            "outputs", self.outputs, artifacts=self.artifacts.outputs, source=self.source.outputs
        )
        orders = list(itertools.islice(_orders(self.inputs), _MOST_ORDERS + 1))
        if not orders:
            raise self._other_model("inputs", self.artifacts.inputs, self.used)
        if len(orders) == 1 and all(len(options) == 1 for options in self.outputs):
            return self._result(orders[0], [options[0] for options in self.outputs], one_order=True)
        if len(orders) > _MOST_ORDERS:
            raise self._ambiguous(
                "inputs", self.artifacts.inputs, "too many inputs look alike to try every order"
            )
        return self._by_value(orders)

    def _result(self, order: Sequence[int], outputs: Sequence[int], *, one_order: bool) -> SignatureMatch:
        """The match; `one_order`: no values were needed to find the order of the inputs."""
        if len(set(outputs)) < len(outputs):
            raise self._other_model("outputs", self.artifacts.outputs, self.source.outputs)
        input_pairs = [(self.artifacts.inputs[at], spec) for at, spec in zip(order, self.used, strict=True)]
        output_pairs = [
            (self.artifacts.outputs[at], spec) for at, spec in zip(outputs, self.source.outputs, strict=True)
        ]
        notes = [
            *(
                _note("input", *pair, by_tensor_name=True, by_value=not one_order and len(options) > 1)
                for pair, options in zip(input_pairs, self.inputs, strict=True)
            ),
            *(
                _note("output", *pair, by_tensor_name=False, by_value=len(options) > 1)
                for pair, options in zip(output_pairs, self.outputs, strict=True)
            ),
        ]
        return SignatureMatch(
            {converted.name: _tensor(source) for converted, source in input_pairs},
            tuple((_tensor(source), _tensor(converted)) for converted, source in output_pairs),
            {
                _node(converted): _node(source)
                for converted, source in input_pairs
                if _node(converted) != _node(source)
            },
            tuple(filter(None, notes)),
            tuple((source.name, converted.name) for converted, source in output_pairs),
        )

    def _by_value(self, orders: list[tuple[int, ...]]) -> SignatureMatch:
        """Tries each order of the inputs and takes the one whose outputs agree with the source's."""
        converted = self.converted()
        converted_values = [self._converted_values(converted, feed) for feed in self.feeds]
        found: list[tuple[float, tuple[int, ...], list[list[float]]]] = []
        for order in orders:
            errors = self._errors(order, converted_values)
            worst = max(
                min(row[at] for at in options) for row, options in zip(errors, self.outputs, strict=True)
            )
            found.append((worst, order, errors))
        found.sort(key=lambda one: one[0])
        (best, order, errors), *others = found
        if others and not _is_clear(best, others[0][0]):
            raise self._ambiguous("inputs", self.artifacts.inputs, "several orders match equally well")
        nearest = [self._nearest(*each) for each in zip(self.outputs, errors, strict=True)]
        return self._result(order, nearest, one_order=len(orders) == 1)

    def _nearest(self, options: tuple[int, ...], errors: list[float]) -> int:
        first, *others = sorted(options, key=lambda at: errors[at])
        if others and not _is_clear(errors[first], errors[others[0]]):
            alike = [at for at in options if not _is_clear(errors[first], errors[at])]
            specs = [self.artifacts.outputs[at] for at in alike]
            raise self._ambiguous("outputs", specs, "several match equally well")
        return first

    def _converted_values(self, converted: ConvertedGraph, feed: Feed) -> list[Array]:
        fed = {_tensor(spec): feed.reference[spec.name] for spec in self.artifacts.inputs}
        wanted = [_tensor(spec) for spec in self.artifacts.outputs]
        values = converted.run(fed, list(dict.fromkeys(wanted)))
        return [values[name] for name in wanted]

    def _errors(self, order: Sequence[int], converted_values: Sequence[Sequence[Array]]) -> list[list[float]]:
        """For each of the source's outputs, the largest distance of each of the artifacts' over all feeds."""
        wanted = list(dict.fromkeys(map(_tensor, self.source.outputs)))
        errors = [[0.0] * len(self.artifacts.outputs) for _ in self.source.outputs]
        for feed, values in zip(self.feeds, converted_values, strict=True):
            fed = {
                _tensor(spec): feed.reference[self.artifacts.inputs[at].name]
                for at, spec in zip(order, self.used, strict=True)
            }
            source_values = self.source.run(fed, wanted)
            for row, spec in zip(errors, self.source.outputs, strict=True):
                for at, value in enumerate(values):
                    row[at] = max(row[at], _distance(value, source_values[_tensor(spec)]))
        return errors

    def _check_conflicts(
        self, what: str, artifacts: Sequence[TensorSpec], source: Sequence[TensorSpec]
    ) -> None:
        pairs = conflicting(artifacts, source, by_tensor_name=what == "input")
        if pairs:
            in_artifacts, in_source = zip(*pairs, strict=True)
            names = swapped(pairs)
            hint = "" if names is None else f". The {what}s {names[0]!r} and {names[1]!r} may be swapped"
            raise ArtifactsError(
                f"{self.artifacts.model_json} and the source have {what}s of the same name that cannot be "
                f"the same tensor: {describe(in_artifacts)} in the artifacts, {describe(in_source)} in the "
                f"source{hint}. Convert the model again, correct the signature in model.json, or pass the "
                "model that it was converted from"
            )

    def _check_counts(
        self,
        what: str,
        options: _Candidates,
        *,
        artifacts: Sequence[TensorSpec],
        source: Sequence[TensorSpec],
    ) -> None:
        """Artifacts without a signature may have more outputs: every node that no other node uses is one."""
        surplus = len(artifacts) > len(source) and (what == "inputs" or self.artifacts.has_signature)
        if surplus or len(artifacts) < len(source) or not all(options):
            raise self._other_model(what, artifacts, source)

    def _other_model(
        self, what: str, artifacts: Sequence[TensorSpec], source: Sequence[TensorSpec]
    ) -> ArtifactsError:
        return ArtifactsError(
            f"{self.artifacts.model_json} was not converted from this source: its {what} are "
            f"{describe(artifacts)}, but the source's are {describe(source)}. Pass the model and the "
            "signature that it was converted from"
        )

    def _ambiguous(self, what: str, specs: Sequence[TensorSpec], why: str) -> ArtifactsError:
        return ArtifactsError(
            f"{self.artifacts.model_json} has lost the names of its {what}, and it is unclear which of the "
            f"source's {what} are {describe(specs)}: {why}. Feed values that distinguish the {what}"
        )


def _note(
    what: str, converted: TensorSpec, source: TensorSpec, *, by_tensor_name: bool, by_value: bool
) -> str | None:
    """A sentence on a pair with two names; None for a pair with one."""
    criterion = matched_by(converted, source, by_tensor_name=by_tensor_name, by_value=by_value)
    if criterion is None:
        return None
    return (
        f"the artifacts' {what} {converted.name!r} was matched to the source's {source.name!r} by {criterion}"
    )


def _orders(options: _Candidates) -> Iterator[tuple[int, ...]]:
    """Every way to pick a different candidate for each tensor."""

    def choose(chosen: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(chosen) == len(options):
            yield chosen
            return
        for at in options[len(chosen)]:
            if at not in chosen:
                yield from choose((*chosen, at))

    return choose(())


def _is_clear(best: float, other: float) -> bool:
    return other > max(_CLEARLY * best, _NOISE)


def _distance(actual: Array, expected: Array) -> float:
    """The largest difference relative to the largest expected value; infinite for other shapes or dtypes."""
    if actual.shape != expected.shape:
        return math.inf
    if actual.dtype.kind in "OSU" or expected.dtype.kind in "OSU":
        same = all(map(_same_text, actual.flat, expected.flat))
        return 0.0 if same else math.inf
    wide = np.complex128 if "c" in (actual.dtype.kind, expected.dtype.kind) else np.float64
    got, want = actual.astype(wide), expected.astype(wide)
    if not np.array_equal(np.isfinite(got), np.isfinite(want)):
        return math.inf
    finite = np.isfinite(want)
    scale = float(np.abs(want[finite]).max(initial=0)) or 1.0
    return float(np.abs(got[finite] - want[finite]).max(initial=0)) / scale


def _same_text(one: Any, other: Any) -> bool:
    return _text(one) == _text(other)


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _tensor(spec: TensorSpec) -> str:
    assert spec.tensor is not None
    return spec.tensor


def _node(spec: TensorSpec) -> str:
    return _tensor(spec).partition(":")[0]
