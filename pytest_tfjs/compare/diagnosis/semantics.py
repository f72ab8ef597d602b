"""The readings of a layer other than the source's, and which of them gives what the browser gave.

Two programs that name an operation alike may not mean the same by it: where the pixels' centres are, on which
side the odd row of padding goes, which epsilon, which of two formulas of GELU. A layer of which the browser
gives other values than Python is computed again in each of these readings; the one that gives the browser's
values tells what went wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.diagnosis.recomputing.alternatives import (
    other_orders,
    other_readings,
    other_weights,
    same_value,
    told,
)
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, Step, evaluate
from pytest_tfjs.compare.operations import (
    ADDITIVE,
    BATCH_NORM,
    FOLDING_CONTRACTIONS,
    MULTIPLICATIVE,
    PADS,
    PASS_THROUGH,
    same_operation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Array = np.ndarray[Any, np.dtype[Any]]
Reading = Literal["semantics", "wiring", "weight"]

EXPLAINED = 0.05
"""A reading explains an error where it leaves less of its root mean square than this share."""


@dataclass(frozen=True)
class Alternative:
    """A layer in another reading: what it is called in words, of which kind, and its steps.

    `semantics`: an operation means something else; `wiring`: its inputs stand in another order; `weight`: it
    has its weights otherwise, or lacks one.
    """

    name: str
    steps: tuple[Step, ...]
    kind: Reading = "semantics"
    declared: bool = False


@dataclass(frozen=True)
class Tried:
    """What became of one reading. `left`: the share of the error that it does not explain, 0 to infinity.

    `declared`: the artifacts have it so.
    """

    name: str
    left: float
    kind: Reading = "semantics"
    declared: bool = False

    @property
    def explains(self) -> bool:
        """Whether this is what the browser computed."""
        return self.left <= EXPLAINED


def alternatives(steps: Sequence[Step], declared: Sequence[Step] | None = None) -> Iterator[Alternative]:
    """The layer's other readings, each of which changes one thing.

    `declared`: the same layer as the artifacts have it. Where it differs, that is the first; where operations
    do in several places, the last, as any one change that explains as much tells more.
    """
    steps = tuple(steps)
    differences = () if declared is None else differing(steps, declared)
    many = sum(" with " not in one for one in differences) > 1
    as_declared = Alternative("; ".join(differences), tuple(declared or ()), declared=not many)
    if differences and not many:
        yield as_declared
    for number, step in enumerate(steps):
        for name, other in other_readings(step):
            yield Alternative(f"{step.op} {name}", _with(steps, number, other))
        for name, other in other_orders(step):
            yield Alternative(f"{step.op} {name}", _with(steps, number, other), "wiring")
        for name, other in other_weights(step):
            yield Alternative(f"{step.op} {name}", _with(steps, number, other), "weight")
    if many:
        yield as_declared


def _with(steps: tuple[Step, ...], number: int, step: Step) -> tuple[Step, ...]:
    return (*steps[:number], step, *steps[number + 1 :])


def try_one(alternative: Alternative, actual: Array, reference: Array) -> Tried | None:
    """How much of the browser's error a reading explains.

    None where it cannot be computed, or gives another shape than the browser, or what the reference gives.
    """
    try:
        found = evaluate(alternative.steps)
    except CannotRecompute:
        return None
    if found.shape != actual.shape or not error_left(found, reference, actual) > EXPLAINED:
        return None
    left = error_left(actual, found, reference)
    return Tried(alternative.name, left, alternative.kind, alternative.declared)


def error_left(actual: Array, candidate: Array, reference: Array) -> float:
    """The root mean square of actual - candidate over that of actual - reference: 0 where it explains all.

    Infinite where NaN or Inf stand at other places, or the candidate has another shape. Where the reference
    has another shape, 0 stands for it. Where only NaN and Inf tell `actual` from `reference`, what is left
    is held against the root mean square of the reference.
    """
    if actual.shape != candidate.shape:
        return math.inf
    if actual.shape != reference.shape:
        reference = np.zeros(actual.shape)
    ours, theirs, truth = (np.asarray(each, np.float64) for each in (actual, candidate, reference))
    finite = np.isfinite(ours)
    if not np.array_equal(finite, np.isfinite(theirs)) or not _same_where(ours, theirs, ~finite):
        return math.inf
    both = finite & np.isfinite(truth)
    with np.errstate(over="ignore"):
        left, error = _rms(ours[finite] - theirs[finite]), _rms(ours[both] - truth[both])
    if np.array_equal(finite, np.isfinite(truth)):
        return left / error if error else (0.0 if left == 0 else math.inf)
    scale = max(error, 1e-3 * _rms(ours[finite]))
    return left / scale if scale else (0.0 if left == 0 else math.inf)


def _same_where(ours: Array, theirs: Array, where: Array) -> bool:
    return np.array_equal(ours[where], theirs[where], equal_nan=True)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def differing(steps: Sequence[Step], declared: Sequence[Step]) -> tuple[str, ...]:
    """How the artifacts' operations of a layer differ from the source's, in words; empty where they do not.

    Attributes that both have are held against each other, as a converter leaves out defaults: those of
    operations in the same place, or where there are others, of those that are there once on both sides.
    """
    ours, theirs = ([step for step in each if step.op not in _COPIES] for each in (declared, steps))
    names = [[_name(step.op) for step in each] for each in (ours, theirs)]
    if names[0] == names[1]:
        pairs = list(zip(ours, theirs, strict=True))
    else:
        once = [name for name in names[0] if names[0].count(name) == names[1].count(name) == 1]
        pairs = [(ours[names[0].index(name)], theirs[names[1].index(name)]) for name in once]
    found = tuple(
        f"{one.op} with {key}={told(one.attributes[key])} in place of {told(other.attributes[key])}"
        for one, other in pairs
        for key in sorted(one.attributes.keys() & other.attributes.keys() & _TOLD)
        if not same_value(one.attributes[key], other.attributes[key])
    )
    if found or names[0] == names[1]:
        return found
    return _changed(*names)


def _name(op: str) -> str:
    # What a Pad and a PadV2 pad with may differ.
    return op if op in PADS else same_operation(op)


def _changed(ours: list[str], theirs: list[str]) -> tuple[str, ...]:
    """Where two lists of operations differ, in words, but for constants that may be in others' weights.

    A converter moves factors into the weights of a contraction, and sums into its bias where it has one.
    """
    folds = not FOLDING_CONTRACTIONS.isdisjoint(ours)
    foldable = (
        (MULTIPLICATIVE | (ADDITIVE | {BATCH_NORM} if "Add" in ours else frozenset()))
        if folds
        else frozenset()
    )
    told = []
    for tag, a, b, c, d in SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        lost, made = theirs[a:b], ours[c:d]
        written_out = made == ["Add"] and BATCH_NORM in lost
        if tag != "equal" and not (foldable.issuperset(lost) and (not made or written_out)):
            told.append(f"{_listed(made)} in place of {_listed(lost)}")
    return tuple(told)


def _listed(names: Sequence[str]) -> str:
    return "+".join(names) or "nothing"


_COPIES = PASS_THROUGH | {"Const", "NoOp"}
_TOLD = frozenset(
    {
        "strides", "padding", "explicit_paddings", "dilations", "data_format", "epsilon", "alpha", "ksize",
        "axis", "align_corners", "half_pixel_centers", "transpose_a", "transpose_b", "adj_x", "adj_y",
        "keep_dims", "block_size", "mode", "exclusive", "reverse", "slope", "approximate", "reset_after",
        "activation", "recurrent_activation", "go_backwards", "equation", "squeeze_dims",
    }
)  # fmt: skip
