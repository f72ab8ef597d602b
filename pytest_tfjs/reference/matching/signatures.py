"""Which input and output of a prebuilt graph model is which of its source's.

Names of the signature tell it, then dtypes and shapes, then values: what the converted graph computes is held
against what the source does. What they leave open is told, never guessed.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.errors import ArtifactsError
from pytest_tfjs.models.signature_pairing import candidates, described, disagreeing, told_by
from pytest_tfjs.reference.running.converted_graph import ConvertedGraph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfjs.models.artifacts import Artifacts
    from pytest_tfjs.models.feeds import Feed
    from pytest_tfjs.models.topology import TensorSpec
    from pytest_tfjs.reference.running.frozen_graph import FrozenGraph

Array = np.ndarray[Any, np.dtype[Any]]
_Options = list[tuple[int, ...]]

_MOST_ORDERS = 24
# Of the largest value: outputs nearer to each other than this are the same for what is known of them.
_NOISE = 1e-4
_CLEARLY = 10.0


@dataclass(frozen=True)
class Ends:
    """The source's tensor (`x:0`) for each input's name, and pairs of output tensors, the source's first.

    `renamed` gives, for placeholders of the artifacts that have another name in the source, that name.
    `notes` tell, a sentence each, what was paired other than by name.
    """

    inputs: Mapping[str, str]
    outputs: tuple[tuple[str, str], ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def same_ends(artifacts: Artifacts) -> Ends:
    """Those of artifacts that are converted from the very graph that they are held against."""
    outputs = tuple(_tensor(spec) for spec in artifacts.outputs)
    return Ends(
        {spec.name: _tensor(spec) for spec in artifacts.inputs}, tuple(zip(outputs, outputs, strict=True))
    )


def match_ends(artifacts: Artifacts, source: FrozenGraph, feeds: Sequence[Feed]) -> Ends:
    """Pairs the inputs and outputs of `artifacts` with those of `source`.

    Raises ArtifactsError where they cannot be of one model, and where it stays open which is which.
    """
    return _Matcher(artifacts, source, feeds).match()


class _Matcher:
    def __init__(self, artifacts: Artifacts, source: FrozenGraph, feeds: Sequence[Feed]) -> None:
        self.artifacts = artifacts
        self.source = source
        self.feeds = feeds
        self.taken = [spec for spec in source.inputs if _node(spec) in source.graph.live]
        self.inputs = candidates(artifacts.inputs, self.taken, tensors_tell=True)
        self.outputs = candidates(artifacts.outputs, source.outputs, tensors_tell=False)

    def match(self) -> Ends:
        self._require_agreement("input", self.artifacts.inputs, self.taken)
        self._require_agreement("output", self.artifacts.outputs, self.source.outputs)
        self._require("inputs", self.inputs, artifacts=self.artifacts.inputs, source=self.taken)
        self._require("outputs", self.outputs, artifacts=self.artifacts.outputs, source=self.source.outputs)
        orders = list(itertools.islice(_orders(self.inputs), _MOST_ORDERS + 1))
        if not orders:
            raise self._other_model("inputs", self.artifacts.inputs, self.taken)
        if len(orders) == 1 and all(len(options) == 1 for options in self.outputs):
            return self._ends(orders[0], [options[0] for options in self.outputs], told=True)
        if len(orders) > _MOST_ORDERS:
            raise self._open("inputs", self.artifacts.inputs, "too many look alike to try every order")
        return self._by_value(orders)

    def _ends(self, order: Sequence[int], outputs: Sequence[int], *, told: bool) -> Ends:
        """The pairs; `told`: the order of the inputs was so before any values were looked at."""
        if len(set(outputs)) < len(outputs):
            raise self._other_model("outputs", self.artifacts.outputs, self.source.outputs)
        pairs = [(self.artifacts.inputs[at], spec) for at, spec in zip(order, self.taken, strict=True)]
        ends = [
            (self.artifacts.outputs[at], spec) for at, spec in zip(outputs, self.source.outputs, strict=True)
        ]
        notes = [
            *(
                _note("input", *pair, tensors_tell=True, by_value=not told and len(options) > 1)
                for pair, options in zip(pairs, self.inputs, strict=True)
            ),
            *(
                _note("output", *pair, tensors_tell=False, by_value=len(options) > 1)
                for pair, options in zip(ends, self.outputs, strict=True)
            ),
        ]
        return Ends(
            {ours.name: _tensor(theirs) for ours, theirs in pairs},
            tuple((_tensor(theirs), _tensor(ours)) for ours, theirs in ends),
            {_node(ours): _node(theirs) for ours, theirs in pairs if _node(ours) != _node(theirs)},
            tuple(filter(None, notes)),
        )

    def _by_value(self, orders: list[tuple[int, ...]]) -> Ends:
        """The order of inputs under which the outputs agree, and the pairs of outputs that do."""
        converted = ConvertedGraph(self.artifacts)
        theirs = [self._converted_values(converted, feed) for feed in self.feeds]
        found: list[tuple[float, tuple[int, ...], list[list[float]]]] = []
        for order in orders:
            errors = self._errors(order, theirs)
            worst = max(
                min(row[at] for at in options) for row, options in zip(errors, self.outputs, strict=True)
            )
            found.append((worst, order, errors))
        found.sort(key=lambda one: one[0])
        (best, order, errors), *others = found
        if others and not _is_clear(best, others[0][0]):
            raise self._open("inputs", self.artifacts.inputs, "several orders match equally well")
        nearest = [self._nearest(*each) for each in zip(self.outputs, errors, strict=True)]
        return self._ends(order, nearest, told=len(orders) == 1)

    def _nearest(self, options: tuple[int, ...], errors: list[float]) -> int:
        first, *others = sorted(options, key=lambda at: errors[at])
        if others and not _is_clear(errors[first], errors[others[0]]):
            alike = [at for at in options if not _is_clear(errors[first], errors[at])]
            specs = [self.artifacts.outputs[at] for at in alike]
            raise self._open("outputs", specs, "several match equally well")
        return first

    def _converted_values(self, converted: ConvertedGraph, feed: Feed) -> list[Array]:
        given = {_tensor(spec): feed.reference[spec.name] for spec in self.artifacts.inputs}
        wanted = [_tensor(spec) for spec in self.artifacts.outputs]
        values = converted.run(given, list(dict.fromkeys(wanted)))
        return [values[name] for name in wanted]

    def _errors(self, order: Sequence[int], theirs: Sequence[Sequence[Array]]) -> list[list[float]]:
        """For each of the source's outputs how far each of the artifacts' is from it, over all feeds."""
        wanted = list(dict.fromkeys(map(_tensor, self.source.outputs)))
        errors = [[0.0] * len(self.artifacts.outputs) for _ in self.source.outputs]
        for feed, values in zip(self.feeds, theirs, strict=True):
            given = {
                _tensor(spec): feed.reference[self.artifacts.inputs[at].name]
                for at, spec in zip(order, self.taken, strict=True)
            }
            ours = self.source.run(given, wanted)
            for row, spec in zip(errors, self.source.outputs, strict=True):
                for at, value in enumerate(values):
                    row[at] = max(row[at], _distance(value, ours[_tensor(spec)]))
        return errors

    def _require_agreement(
        self, what: str, artifacts: Sequence[TensorSpec], source: Sequence[TensorSpec]
    ) -> None:
        pairs = disagreeing(artifacts, source, tensors_tell=what == "input")
        if pairs:
            ours, theirs = zip(*pairs, strict=True)
            raise ArtifactsError(
                f"{self.artifacts.model_json} and the source have {what}s of the same name that cannot be "
                f"the same tensor: {described(ours)} in the artifacts, {described(theirs)} in the source. "
                "Convert the model again, correct the signature in model.json, or pass the model that it was "
                "converted from"
            )

    def _require(
        self, what: str, options: _Options, *, artifacts: Sequence[TensorSpec], source: Sequence[TensorSpec]
    ) -> None:
        """Without a signature, what no node takes stands for the outputs: more than these are no fault."""
        surplus = len(artifacts) > len(source) and (what == "inputs" or self.artifacts.has_signature)
        if surplus or len(artifacts) < len(source) or not all(options):
            raise self._other_model(what, artifacts, source)

    def _other_model(
        self, what: str, artifacts: Sequence[TensorSpec], source: Sequence[TensorSpec]
    ) -> ArtifactsError:
        return ArtifactsError(
            f"{self.artifacts.model_json} was not converted from this source: its {what} are "
            f"{described(artifacts)}, but the source's are {described(source)}. Pass the model and the "
            "signature that it was converted from"
        )

    def _open(self, what: str, specs: Sequence[TensorSpec], why: str) -> ArtifactsError:
        return ArtifactsError(
            f"{self.artifacts.model_json} has lost the names of its {what}, and it is unclear which of the "
            f"source's {what} are {described(specs)}: {why}. Feed values that distinguish the {what}"
        )


def _note(
    what: str, ours: TensorSpec, theirs: TensorSpec, *, tensors_tell: bool, by_value: bool
) -> str | None:
    """What to tell of a pair that has two names."""
    told = told_by(ours, theirs, tensors_tell=tensors_tell, by_value=by_value)
    if told is None:
        return None
    return f"the artifacts' {what} {ours.name!r} was matched to the source's {theirs.name!r} by {told}"


def _orders(options: _Options) -> Iterator[tuple[int, ...]]:
    """Every choice of one of each, no two the same."""

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
    """The largest difference as a part of the largest expected value; infinite where they cannot be one."""
    if actual.shape != expected.shape:
        return math.inf
    if actual.dtype.kind in "OSU" or expected.dtype.kind in "OSU":
        same = all(map(_same_text, actual.flat, expected.flat))
        return 0.0 if same else math.inf
    wide = np.complex128 if "c" in (actual.dtype.kind, expected.dtype.kind) else np.float64
    ours, theirs = actual.astype(wide), expected.astype(wide)
    if not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
        return math.inf
    finite = np.isfinite(theirs)
    scale = float(np.abs(theirs[finite]).max(initial=0)) or 1.0
    return float(np.abs(ours[finite] - theirs[finite]).max(initial=0)) / scale


def _same_text(one: Any, other: Any) -> bool:
    return _text(one) == _text(other)


def _text(item: Any) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _tensor(spec: TensorSpec) -> str:
    assert spec.tensor is not None
    return spec.tensor


def _node(spec: TensorSpec) -> str:
    return _tensor(spec).partition(":")[0]
