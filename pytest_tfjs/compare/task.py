"""Agreement: whether the browser gives the same classes or metric as the reference.

A sample is a row of the outputs' first axis. A class is the place of the largest element of the last axis;
where that has one element it is a probability, and class 1 is more than 0.5. Integers are classes already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.timing.intervals import bootstrap_of_sums, samples_to_prove, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.compare.numbers.tolerances import Tolerance
    from pytest_tfjs.compare.results import TargetFacts
    from pytest_tfjs.timing.intervals import Interval

    Floats = NDArray[np.float64]

Method = Literal["Wilson", "bootstrap"]
TaskVerdict = Literal["close", "diverged", "vacuous", "error"]

_SHOWN_FLIPS = 10
_NO_CLASS = -1


@dataclass(frozen=True)
class Measure:
    """One figure over all samples, with its 95 % interval and its minimum, if there is one.

    `interval` is None if none can be computed. The figure decides, not its interval; `proven` says whether
    there are enough samples to conclude that other samples also reach the minimum.
    """

    name: str
    value: float
    interval: Interval | None
    method: Method | None
    least: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the figure reaches its minimum; NaN never does."""
        return self.least is None or self.value >= self.least

    @property
    def proven(self) -> bool:
        """Whether the whole interval reaches the minimum."""
        return self.least is not None and self.interval is not None and self.interval[0] >= self.least


@dataclass(frozen=True)
class Flip:
    """A sample, or a position in one, whose class in the browser differs from the reference's.

    `margin`: by how much the reference prefers its class to the browser's, in the output's unit; NaN if the
    output is classes only. `near_tie`: the margin is within rounding, so either class is correct.
    """

    sample: int
    place: tuple[int, ...]
    reference: int
    browser: int
    margin: float
    near_tie: bool


@dataclass(frozen=True)
class Agreement:
    """The result of a task on one target over all samples.

    `flips` counts the places that have another class, `near_ties` those of them that are `Flip.near_tie`, and
    `worst_flips` are those with the largest margin. `accuracy`: of the browser and of the reference, where
    `labels` were passed. `reason`: why it is not close, in words. `retried`: how a first browser was lost, in
    words; all other values then come from the second browser. `refused`: of an `error`, whether TF.js
    itself cannot load or run the model there. `output_name`: the output's name in the model's signature.
    """

    model: str
    format: str
    weights: str
    target: TargetFacts
    output: str | None
    samples: int
    verdict: TaskVerdict
    reason: str | None
    measures: tuple[Measure, ...]
    flips: int = 0
    near_ties: int = 0
    worst_flips: tuple[Flip, ...] = ()
    accuracy: tuple[Measure, Measure] | None = None
    test: str = ""
    tfjs_version: str | None = None
    retried: str | None = None
    notes: tuple[str, ...] = ()
    refused: bool = False
    output_name: str | None = None

    def measure(self, name: str) -> Measure:
        """The measure of that name. Raises KeyError where there is none."""
        return {one.name: one for one in self.measures}[name]


@dataclass
class Classified:
    """Counts the classes of all samples, feed by feed: `add` each, then read the figures.

    `tolerance` is that of the output, to recognise near ties. `overlapping`: whether mean IoU is measured.
    """

    tolerance: Tolerance
    ks: tuple[int, ...] = (1,)
    overlapping: bool = False
    samples: int = 0
    flips: int = 0
    near_ties: int = 0
    worst: list[Flip] = field(default_factory=list)
    _shares: dict[int, list[Floats]] = field(default_factory=dict)
    _overlaps: list[Floats] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _right: tuple[list[Floats], list[Floats]] = field(default_factory=lambda: ([], []))

    def add(self, actual: NDArray[Any], reference: NDArray[Any], labels: NDArray[Any] | None = None) -> None:
        """Counts the samples of one feed; both are of one shape and dtype, and not empty.

        `labels` are the right classes, of the shape of the classes.
        """
        got, want = scores_of(actual), scores_of(reference)
        # NaN has no class; the two sides get different values, so that they never agree.
        found, expected = classes_of(got, nan=_NO_CLASS), classes_of(want, nan=_NO_CLASS - 1)
        for k in self.ks:
            self._shares.setdefault(k, []).append(_per_sample(among_first(got, expected, k)))
        if self.overlapping:
            self._overlaps.append(_overlaps(found, expected, max(map(_class_count, (got, want)))))
        self._seen.update(np.unique(expected).tolist())
        self._add_flips(want, found, expected)
        if labels is not None:
            for right, classes in zip(self._right, (found, expected), strict=True):
                right.append(_per_sample(classes == labels.reshape(classes.shape)))
        self.samples += len(reference)

    def agreement(self, k: int, least: float | None = None) -> Measure:
        """The share of samples whose class in the reference is among the browser's first k.

        Of a sample with several places it is the share of these.
        """
        value = float(np.concatenate(self._shares[k]).mean())
        return Measure(f"top-{k} agreement", value, wilson(value, self.samples), "Wilson", least)

    def iou(self, least: float | None = None) -> Measure:
        """The mean over all classes that occur of intersection over union, counted over all samples."""
        widest = max(part.shape[-1] for part in self._overlaps)
        padded = [np.pad(part, ((0, 0), (0, 0), (0, widest - part.shape[-1]))) for part in self._overlaps]
        parts = np.concatenate([part.reshape(len(part), -1) for part in padded])
        value = _mean_iou(parts.sum(axis=0))
        return Measure("mean IoU", value, bootstrap_of_sums(parts, _mean_iou), "bootstrap", least)

    def accuracy(self) -> tuple[Measure, Measure] | None:
        """The share of samples with the right class: of the browser, and of the reference."""
        if not self._right[0]:
            return None
        got, want = (
            Measure(f"accuracy of the {side}", value, wilson(value, self.samples), "Wilson")
            for side, right in zip(("browser", "reference"), self._right, strict=True)
            for value in (float(np.concatenate(right).mean()),)
        )
        return got, want

    def vacuous(self) -> str | None:
        """Why the classes could not have differed, in words; None if they could."""
        if len(self._seen) > 1:
            return None
        only = next(iter(self._seen), None)
        samples = "the one sample" if self.samples == 1 else f"all {self.samples} samples"
        same = f"a model that always gives class {only} would also agree"
        return f"the reference gives class {only} for {samples}: {same}"

    def _add_flips(self, want: NDArray[Any], found: NDArray[Any], expected: NDArray[Any]) -> None:
        places = np.nonzero(found != expected)
        self.flips += len(places[0])
        if not len(places[0]):
            return
        margins, near = self._margins(want, found, expected, places)
        self.near_ties += int(near.sum())
        for at in _largest_first(margins)[:_SHOWN_FLIPS]:
            index = tuple(int(axis[at]) for axis in places)
            flip = Flip(
                sample=self.samples + index[0],
                place=index[1:],
                reference=int(expected[index]),
                browser=int(found[index]),
                margin=float(margins[at]),
                near_tie=bool(near[at]),
            )
            self.worst.append(flip)
        order = _largest_first(np.array([flip.margin for flip in self.worst]))
        self.worst = [self.worst[at] for at in order[:_SHOWN_FLIPS]]

    def _margins(
        self,
        want: NDArray[Any],
        found: NDArray[Any],
        expected: NDArray[Any],
        places: tuple[NDArray[Any], ...],
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """By how much the reference prefers its class at each place, and where that may be rounding."""
        if want.dtype.kind == "i":
            return np.full(len(places[0]), np.nan), np.zeros(len(places[0]), np.bool_)
        rows = want[places].astype(np.float64)
        classes = np.stack([expected[places], found[places]], axis=-1)
        own, other = np.take_along_axis(rows, np.maximum(classes, 0), axis=-1).T
        with np.errstate(invalid="ignore"):  # Inf - Inf is NaN
            margins = np.where((classes >= 0).all(axis=-1), own - other, np.nan)
        floors = np.array([self.tolerance.floor(float(scale)) for scale in np.abs(rows).max(axis=-1)])
        near = margins <= 2 * floors + self.tolerance.rtol * (np.abs(own) + np.abs(other))
        return margins, near


def _largest_first(margins: Floats) -> list[int]:
    """The positions of the margins, the largest first; NaN before all others."""
    order = np.argsort(-np.where(np.isnan(margins), np.inf, margins), kind="stable")
    return [int(place) for place in order]


def scores_of(output: NDArray[Any]) -> NDArray[Any]:
    """An output with a score for each class along the last axis; integers, which are classes, as they are."""
    if output.dtype.kind in "iub":
        return output.astype(np.int64)
    scores = output[:, np.newaxis] if output.ndim == 1 else output
    if scores.shape[-1] == 1:
        scores = np.concatenate([1 - scores, scores], axis=-1)
    return scores


def classes_of(scores: NDArray[Any], nan: int = -1) -> NDArray[np.int64]:
    """The class at each place: of equal scores the first; `nan` where a score is NaN."""
    if scores.dtype.kind == "i":
        return scores
    classes: NDArray[np.int64] = np.where(np.isnan(scores).any(axis=-1), nan, scores.argmax(axis=-1))
    return classes


def among_first(scores: NDArray[Any], classes: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Whether each class is among the k that have the largest scores; of equal scores the first count more.

    Never where a score is NaN or the class is -1. Classes in the place of scores are equal or not.
    """
    if scores.dtype.kind == "i":
        return np.asarray(scores == classes)
    taken = np.maximum(classes, 0)[..., np.newaxis]
    own = np.take_along_axis(scores, taken, axis=-1)
    before = np.arange(scores.shape[-1]) < taken
    ahead = ((scores > own) | ((scores == own) & before)).sum(axis=-1)
    known = (classes >= 0) & ~np.isnan(scores).any(axis=-1)
    return np.asarray(known & (ahead < k))


def _class_count(scores: NDArray[Any]) -> int:
    return int(scores.max()) + 1 if scores.dtype.kind == "i" else int(scores.shape[-1])


def _per_sample(agree: NDArray[np.bool_]) -> Floats:
    means: Floats = agree.reshape(len(agree), -1).mean(axis=1)
    return means


def _overlaps(found: NDArray[Any], expected: NDArray[Any], classes: int) -> Floats:
    """The counts of places where both sides have a class, and where either has: (samples, 2, classes)."""
    result = np.zeros((len(found), 2, classes))
    flat = (one.reshape(len(found), -1) for one in (found, expected))
    for sample, (got, want) in enumerate(zip(*flat, strict=True)):
        both = _counts(want[got == want], classes)
        result[sample] = both, _counts(got, classes) + _counts(want, classes) - both
    return result


def _counts(classes: NDArray[Any], number: int) -> NDArray[np.int64]:
    return np.bincount(classes[(classes >= 0) & (classes < number)], minlength=number)


def _mean_iou(sums: Floats) -> float:
    both, either = sums.reshape(2, -1)
    occur = either > 0
    return float((both[occur] / either[occur]).mean()) if occur.any() else float("nan")


def judge_task(measures: Sequence[Measure], vacuous: str | None) -> tuple[TaskVerdict, str | None]:
    """The verdict, and why it is not `close`: a figure below its minimum comes before `vacuous`."""
    low = [one for one in measures if not one.passed]
    if low:
        return "diverged", "; ".join(f"{one.name} is {one.value:.4g}, {one.least:g} required" for one in low)
    return ("close", None) if vacuous is None else ("vacuous", vacuous)


def unproven(measure: Measure, samples: int) -> str | None:
    """A note that the samples are too few to prove a figure that reaches its minimum; None otherwise."""
    if measure.least is None or not measure.passed or measure.proven:
        return None
    text = f"{samples} samples do not prove a {measure.name} of {measure.least:g}"
    if measure.interval is None:
        return f"{text}: every sample has the same value, so there is no confidence interval"
    text += f": the 95 % interval begins at {measure.interval[0]:.4g}"
    needed = samples_to_prove(measure.least) if measure.method == "Wilson" else None
    return text if needed is None else f"{text} (at least {needed} samples are needed, if all agree)"
