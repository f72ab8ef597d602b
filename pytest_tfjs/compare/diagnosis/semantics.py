"""Finds the interpretation of a layer's operations that reproduces the browser's values.

Two programs may give one operation different semantics: where the centre of a pixel is, on which side the odd
row of padding goes, which epsilon is added, which formula GELU uses. Each meaning is an *interpretation*. A
diverged layer is recomputed in numpy with every known interpretation; the one that gives the browser's
values shows what went wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.diagnosis.recomputing.interpretations import (
    attribute_text,
    other_interpretations,
    other_orders,
    other_weights,
    same_value,
)
from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, Step, evaluate
from pytest_tfjs.compare.numbers.element_loops import Kind, kind_of, text_elements
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
InterpretationKind = Literal["semantics", "wiring", "weight"]

EXPLAINED = 0.05
"""An interpretation explains an error if the RMS that it leaves is at most this share."""


@dataclass(frozen=True)
class Interpretation:
    """A layer's steps with one thing changed, described by `name`.

    `kind`: `semantics` if an operation means something else, `wiring` if its inputs are in another order,
    `weight` if its weights are arranged differently or left out. `declared`: the artifacts declare it.
    """

    name: str
    steps: tuple[Step, ...]
    kind: InterpretationKind = "semantics"
    declared: bool = False


@dataclass(frozen=True)
class Trial:
    """The result of trying one interpretation.

    `left`: the share of the error that it does not explain, 0 to infinity. `declared`: as in
    `Interpretation`.
    """

    name: str
    left: float
    kind: InterpretationKind = "semantics"
    declared: bool = False

    @property
    def explains(self) -> bool:
        """Whether the browser computed this."""
        return self.left <= EXPLAINED


def interpretations(
    steps: Sequence[Step], declared: Sequence[Step] | None = None
) -> Iterator[Interpretation]:
    """The other interpretations of the layer; each changes one thing.

    `declared`: the layer's steps according to the artifacts. If they differ from the source's in one place,
    they come first; if in several, last, because a single change that explains as much says more.
    """
    steps = tuple(steps)
    differences = () if declared is None else differing(steps, declared)
    many = sum(" with " not in one for one in differences) > 1
    as_declared = Interpretation("; ".join(differences), tuple(declared or ()), declared=not many)
    if differences and not many:
        yield as_declared
    for number, step in enumerate(steps):
        for name, other in other_interpretations(step):
            yield Interpretation(f"{step.op} {name}", _with(steps, number, other))
        for name, other in other_orders(step):
            yield Interpretation(f"{step.op} {name}", _with(steps, number, other), "wiring")
        for name, other in other_weights(step):
            yield Interpretation(f"{step.op} {name}", _with(steps, number, other), "weight")
    if many:
        yield as_declared


def _with(steps: tuple[Step, ...], number: int, step: Step) -> tuple[Step, ...]:
    return (*steps[:number], step, *steps[number + 1 :])


def try_one(interpretation: Interpretation, actual: Array, reference: Array) -> Trial | None:
    """How much of the browser's error an interpretation explains.

    None if it cannot be computed, has another shape than the browser's value, or equals the reference.
    """
    try:
        found = evaluate(interpretation.steps)
    except CannotRecompute:
        return None
    if found.shape != actual.shape or not error_left(found, reference, actual) > EXPLAINED:
        return None
    left = error_left(actual, found, reference)
    return Trial(interpretation.name, left, interpretation.kind, interpretation.declared)


def error_left(actual: Array, candidate: Array, reference: Array) -> float:
    """RMS of `actual - candidate` relative to the RMS of `actual - reference`; 0 if all is explained.

    Infinite if NaN or Inf are at different elements, or if the candidate has another shape or texts instead
    of numbers. A reference of another shape counts as zeros. If only NaN and Inf distinguish `actual` from
    `reference`, the result is relative to the RMS of `actual`. A text has error 1 where it differs.
    """
    text = kind_of(actual) is Kind.TEXT
    if actual.shape != candidate.shape or text is not (kind_of(candidate) is Kind.TEXT):
        return math.inf
    if text:
        return _text_error_left(actual, candidate, reference)
    if actual.shape != reference.shape or kind_of(reference) is Kind.TEXT:
        reference = np.zeros(actual.shape)
    wide = np.complex128 if "c" in (each.dtype.kind for each in (actual, candidate)) else np.float64
    got, want = (np.asarray(each, wide) for each in (actual, candidate))
    truth = np.asarray(reference, np.complex128 if reference.dtype.kind == "c" else wide)
    finite = np.isfinite(got)
    if not np.array_equal(finite, np.isfinite(want)) or not _same_where(got, want, ~finite):
        return math.inf
    both = finite & np.isfinite(truth)
    with np.errstate(over="ignore"):
        left, error = _rms(got[finite] - want[finite]), _rms(got[both] - truth[both])
    if np.array_equal(finite, np.isfinite(truth)):
        return _share(left, error)
    return _share(left, max(error, 1e-3 * _rms(got[finite])))


def _text_error_left(actual: Array, candidate: Array, reference: Array) -> float:
    got, want = np.array(text_elements(actual), object), np.array(text_elements(candidate), object)
    comparable = reference.shape == actual.shape and kind_of(reference) is Kind.TEXT
    wrong = got != np.array(text_elements(reference), object) if comparable else np.ones(got.shape)
    return _share(_rms((got != want).astype(np.float64)), _rms(np.asarray(wrong, np.float64)))


def _share(left: float, error: float) -> float:
    return left / error if error else (0.0 if left == 0 else math.inf)


def _same_where(got: Array, want: Array, where: Array) -> bool:
    return np.array_equal(got[where], want[where], equal_nan=True)


def _rms(values: Array) -> float:
    """The root mean square of finite numbers, whose squares may overflow or underflow."""
    with np.errstate(over="ignore", under="ignore"):
        size = np.abs(values)
    largest = float(size.max(initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return largest
    with np.errstate(under="ignore"):
        return largest * float(np.sqrt(np.mean(np.square(size / largest))))


def differing(steps: Sequence[Step], declared: Sequence[Step]) -> tuple[str, ...]:
    """Descriptions of how a layer's operations in the artifacts differ from the source's; may be empty.

    Only attributes present on both sides are compared, because a converter leaves out defaults: those of
    operations at the same place or, if the lists of operations differ, of operations that occur once in both.
    """
    got, want = ([step for step in each if step.op not in _COPIES] for each in (declared, steps))
    names = [[_name(step.op) for step in each] for each in (got, want)]
    if names[0] == names[1]:
        pairs = list(zip(got, want, strict=True))
    else:
        once = [name for name in names[0] if names[0].count(name) == names[1].count(name) == 1]
        pairs = [(got[names[0].index(name)], want[names[1].index(name)]) for name in once]
    found = tuple(
        _attribute_change(one, other, key)
        for one, other in pairs
        for key in sorted(one.attributes.keys() & other.attributes.keys() & _COMPARED_ATTRIBUTES)
        if not same_value(one.attributes[key], other.attributes[key])
    )
    if found or names[0] == names[1]:
        return found
    return _changed(*names)


def _name(op: str) -> str:
    # What a Pad and a PadV2 pad with may differ.
    return op if op in PADS else same_operation(op)


def _attribute_change(got: Step, want: Step, key: str) -> str:
    values = (attribute_text(step.attributes[key]) for step in (got, want))
    return f"{got.op} with {key}={' instead of '.join(values)}"


def _changed(got: list[str], want: list[str]) -> tuple[str, ...]:
    """Descriptions of where two lists of operations differ, except for what conversion folds into weights.

    A converter moves factors into the weights of a contraction, and sums into its bias if there is one.
    """
    folds = not FOLDING_CONTRACTIONS.isdisjoint(got)
    foldable = (
        (MULTIPLICATIVE | (ADDITIVE | {BATCH_NORM} if "Add" in got else frozenset()))
        if folds
        else frozenset()
    )
    changes = []
    for tag, a, b, c, d in SequenceMatcher(None, want, got, autojunk=False).get_opcodes():
        lost, made = want[a:b], got[c:d]
        written_out = made == ["Add"] and BATCH_NORM in lost
        if tag != "equal" and not (foldable.issuperset(lost) and (not made or written_out)):
            changes.append(f"{_listed(made)} instead of {_listed(lost)}")
    return tuple(changes)


def _listed(names: Sequence[str]) -> str:
    return "+".join(names) or "nothing"


_COPIES = PASS_THROUGH | {"Const", "NoOp"}
_COMPARED_ATTRIBUTES = frozenset(
    {
        "strides", "padding", "explicit_paddings", "dilations", "data_format", "epsilon", "alpha", "ksize",
        "axis", "align_corners", "half_pixel_centers", "transpose_a", "transpose_b", "adj_x", "adj_y",
        "keep_dims", "block_size", "mode", "exclusive", "reverse", "slope", "approximate", "reset_after",
        "activation", "recurrent_activation", "go_backwards", "equation", "squeeze_dims",
    }
)  # fmt: skip
