"""What made a divergence: one cause out of the evidence that was gathered of the layer that is blamed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_tfjs.compare.dtypes import HALF_ROUNDOFF, LARGEST_HALF

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.compare.diagnosis.semantics import Tried

Kind = Literal[
    "conversion",
    "kernel",
    "half range",
    "half resolution",
    "quantised weights",
    "semantics",
    "feed",
    "nondeterminism",
    "weight",
    "wiring",
    "growth",
    "unknown",
]

AGREE = 0.1
"""Two agree where they differ by less than this share of the error, as root mean square."""

_FLUSHED = 0.5
_PREDICTED = 4.0
_COARSE = 4.0


@dataclass(frozen=True)
class Diagnosis:
    """What made a divergence. `layer`: of which layer it is said, None where of the whole model.

    - `conversion`: the artifacts compute something else than the source, on every backend.
    - `kernel`: one backend computes something else than the others, which agree with Python.
    - `half range`, `half resolution`: values over 65504 or next to 0; errors of 2**-11 of the values, or what
      became of such on their way.
    - `quantised weights`: the weights as they are stored move the outputs too far.
    - `semantics`: the operation means something else in the browser, which `said` names.
    - `feed`: the browser's model takes the feed in another range, layout or order of channels.
    - `nondeterminism`: two runs on the same inputs differ.
    - `weight`: a weight of the layer differs from the source's.
    - `wiring`: the layer takes other inputs, or in another order.
    - `growth`: no layer is wrong, and rounding errors grow on their way.
    - `unknown`: nothing that was tried explains it.

    `said`: the cause in words. `evidence`: what was found, a sentence each, and what was not tried, with why.
    """

    kind: Kind
    layer: str | None
    said: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What another gave for the blamed layer, on the same inputs.

    `who`: `cpu on chrome`. `off`: how far it is off Python, and `apart`: off the target in question, each as
    a share of the target's own error (root mean square); infinite where NaN or Inf stand at other places.
    """

    who: str
    off: float
    apart: float

    @property
    def right(self) -> bool:
        """Whether it agrees with Python."""
        return self.off <= AGREE

    @property
    def same(self) -> bool:
        """Whether it is wrong just as the target is."""
        return self.apart <= AGREE


@dataclass(frozen=True)
class Sizes:
    """The numbers that tell half precision, in the activation's unit; all finite.

    - `reference`, `inputs`, `magnitude`: the largest |reference|, |input| or |weight|, and sum of
      |terms| of an element.
    - `overflown`: whether the browser has NaN, Inf or 0 where the reference is over 65504, or NaN or Inf that
      the reference has not.
    - `flushed`: of the mismatched elements, the share that is 0 in the browser and below 2**-14 in Python.
    - `error`: the largest |error| of the finite elements. `predicted`: the root mean square error that half
      precision of inputs, weights and result makes, over that which there is; None where it was not computed.
    """

    reference: float = 0.0
    inputs: float = 0.0
    magnitude: float = 0.0
    overflown: bool = False
    flushed: float = 0.0
    error: float = 0.0
    predicted: float | None = None

    @property
    def largest(self) -> float:
        """The largest of all."""
        return max(self.reference, self.inputs, self.magnitude)


@dataclass(frozen=True)
class Evidence:
    """All that is known of the blamed layer on one target; `layer` None: no layer is blamed.

    - `others`: other backends. `over_artifacts`: TensorFlow, over the artifacts' own nodes and weights.
    - `repeated`: how far two runs on the same inputs are apart, as a share of the error; None: not tried.
      `unsteady`: what was found where even the outputs of two runs differ.
    - `weight`: the layer's weight that differs from the source's, and how; `by_effect`: only its effect is
      known.
    - `takes`, `source_takes`: the rows that enter it in the artifacts and in the source; None: not known.
    - `readings`, `feeds`: what was tried, in any order.
    - `compressed`: what the stored weights cost, where it is too much. `growth`: the same of growing errors.
    - `not_tried`: sentences.
    """

    layer: str | None
    target: str
    half: bool = False
    others: tuple[Seen, ...] = ()
    over_artifacts: Seen | None = None
    repeated: float | None = None
    unsteady: str | None = None
    weight: str | None = None
    by_effect: bool = False
    takes: tuple[str, ...] | None = None
    source_takes: tuple[str, ...] | None = None
    sizes: Sizes = field(default_factory=Sizes)
    readings: tuple[Tried, ...] = ()
    feeds: tuple[Tried, ...] = ()
    compressed: str | None = None
    growth: str | None = None
    not_tried: tuple[str, ...] = ()

    @property
    def right(self) -> tuple[str, ...]:
        """The other backends that agree with Python."""
        return tuple(seen.who for seen in self.others if seen.right)

    @property
    def same(self) -> tuple[str, ...]:
        """The other backends that are wrong just as the target is."""
        return tuple(seen.who for seen in self.others if seen.same and not seen.right)


def diagnose(evidence: Evidence) -> Diagnosis:
    """The one cause that the evidence speaks for most."""
    told = _facts(evidence)
    for cause in _CAUSES:
        found = cause(evidence)
        if found is not None:
            kind, said = found
            return Diagnosis(kind, evidence.layer, said, told)
    return Diagnosis("unknown", evidence.layer, "nothing that was tried explains it", told)


Found = tuple[Kind, str] | None


def _no_layer(evidence: Evidence) -> Found:
    if evidence.growth is not None:
        return _growth(evidence.growth, half=evidence.half)
    if evidence.layer is not None:
        return None
    if evidence.weight is not None:
        return "weight", evidence.weight
    if evidence.compressed is not None:
        return "quantised weights", evidence.compressed
    return None


def _growth(said: str, *, half: bool) -> Found:
    if half:
        return "half resolution", f"half precision holds 11 bits, and its rounding grows: {said}"
    return "growth", said


def _nondeterminism(evidence: Evidence) -> Found:
    if evidence.repeated is not None and evidence.repeated > AGREE:
        share = _percent(evidence.repeated)
        return "nondeterminism", f"two runs of the layer on the same inputs differ by {share} of the error"
    return None if evidence.unsteady is None else ("nondeterminism", evidence.unsteady)


def _weight(evidence: Evidence) -> Found:
    return None if evidence.weight is None or evidence.by_effect else ("weight", evidence.weight)


def _weight_by_effect(evidence: Evidence) -> Found:
    python = evidence.over_artifacts
    if evidence.weight is None or evidence.right or (python is not None and python.right):
        return None
    return "weight", evidence.weight


def _feed(evidence: Evidence) -> Found:
    found = _best(evidence.feeds)
    if found is None:
        return None
    return "feed", f"the browser gives what Python gives for the feed {found.name}"


def _wiring(evidence: Evidence) -> Found:
    takes, source, python = evidence.takes, evidence.source_takes, evidence.over_artifacts
    if evidence.right or (python is not None and python.right):
        return None
    if takes is not None and source is not None and set(takes) != set(source):
        return "wiring", f"the artifacts compute it from {_names(takes)}, the source from {_names(source)}"
    found = _best(evidence.readings)
    if found is None or found.kind != "wiring":
        return None
    return "wiring", f"the browser gives what Python gives for {found.name}{_declared(found)}"


def _half_range(evidence: Evidence) -> Found:
    sizes = evidence.sizes
    if not evidence.half or evidence.same:
        return None
    if sizes.overflown and sizes.largest > LARGEST_HALF:
        largest = {
            "|reference|": sizes.reference,
            "an input or weight": sizes.inputs,
            "a sum in it": sizes.magnitude,
        }
        what = next(name for name, size in largest.items() if size > LARGEST_HALF)
        return "half range", f"half precision ends at 65504, and {what} reaches {largest[what]:.3g}"
    if sizes.flushed >= _FLUSHED:
        share = _percent(sizes.flushed)
        said = f"{share} of the mismatched elements are 0 in the browser and below 6.1e-05 in Python"
        return "half range", f"half precision takes for 0 what is next to it: {said}"
    return None


def _reading(evidence: Evidence) -> Found:
    found = _best(evidence.readings)
    if found is None:
        return None
    said = f"the browser gives what Python gives for {found.name}{_declared(found)}"
    if evidence.right:
        return "kernel", f"{_kernel(evidence)}: {said}"
    if found.kind == "weight" and evidence.over_artifacts is not None and evidence.over_artifacts.same:
        return "weight", said
    return "semantics", said


def _half_resolution(evidence: Evidence) -> Found:
    sizes = evidence.sizes
    if not evidence.half or evidence.same or not 0 < sizes.error < math.inf:
        return None
    unit = HALF_ROUNDOFF * sizes.largest  # 0 where it underflows
    units = sizes.error / unit if unit else math.inf
    predicted = sizes.predicted is not None and sizes.predicted >= 1 / _PREDICTED
    if not predicted and units > _COARSE:
        return None
    said = f"half precision holds 11 bits: the error is {units:.2g} times 2**-11 of the largest value there"
    if predicted:
        said += ", as rounding inputs, weights and result to half precision makes it"
    return "half resolution", said


def _kernel_alone(evidence: Evidence) -> Found:
    return ("kernel", _kernel(evidence)) if evidence.right else None


def _conversion(evidence: Evidence) -> Found:
    python = evidence.over_artifacts
    if evidence.same:
        alike = f"{_and(evidence.same)} and {evidence.target} give the same wrong values"
        if python is not None and python.right:
            said = "TensorFlow gives the right ones from the same artifacts: TF.js computes this otherwise"
            return "semantics", f"{alike}, and {said}"
        whose = "the artifacts" if python is not None else "the artifacts, or TF.js on every backend,"
        return "conversion", f"{whose} compute something else than the source: {alike}"
    if python is None:
        return None
    if python.same:
        return (
            "conversion",
            "the artifacts compute something else than the source: TensorFlow gives what the browser gives",
        )
    if python.right:
        return "kernel", _kernel(evidence)
    return None


_CAUSES: tuple[Callable[[Evidence], Found], ...] = (
    _no_layer,
    _nondeterminism,
    _weight,
    _feed,
    _half_range,
    _wiring,
    _reading,
    _weight_by_effect,
    _half_resolution,
    _kernel_alone,
    _conversion,
)


def _kernel(evidence: Evidence) -> str:
    who = _and(evidence.right) or "TensorFlow on the same artifacts"
    agrees = "agrees" if len(evidence.right) < 2 else "agree"  # noqa: PLR2004
    return f"{evidence.target} computes this otherwise than {who}, which {agrees} with Python"


def _facts(evidence: Evidence) -> tuple[str, ...]:
    """What was found, and what was not tried."""
    facts = [_of_another(seen) for seen in evidence.others]
    if evidence.over_artifacts is not None:
        facts.append(_of_another(evidence.over_artifacts))
    if evidence.repeated is not None and evidence.repeated <= AGREE:
        again = (
            "the same to the bit"
            if evidence.repeated == 0
            else f"{_percent(evidence.repeated)} of the error apart"
        )
        facts.append(f"two runs on the same inputs are {again}")
    for what, tried in (
        ("readings of the operation", evidence.readings),
        ("changes of the feed", evidence.feeds),
    ):
        if tried:
            facts.append(_of_tried(what, tried))
    return (*facts, *(f"not tried: {what}" for what in evidence.not_tried))


def _of_another(seen: Seen) -> str:
    if seen.right:
        return f"{seen.who} agrees with Python{_but_for(seen.off)}"
    if seen.same:
        return f"{seen.who} is wrong in the same way{_but_for(seen.apart)}"
    off = (
        "NaN or Inf where Python has none, or none there"
        if math.isinf(seen.off)
        else f"{_percent(seen.off)} of the error"
    )
    return f"{seen.who} agrees neither with Python ({off}) nor with this target"


def _but_for(share: float) -> str:
    return f", but for {_percent(share)} of the error" if share else ""


def _of_tried(what: str, tried: tuple[Tried, ...]) -> str:
    best = min(tried, key=lambda one: one.left)
    explained = [one for one in tried if one.explains]
    counted = f"{len(tried)} {what} were tried" if len(tried) > 1 else f"one of the {what} was tried"
    if not explained:
        return f"{counted}, and none explains the error"
    also = [f"{one.name} ({_percent(1 - one.left)})" for one in explained if one is not best][:3]
    others = f"; so do {', '.join(also)}" if also else ""
    return f"{counted}: {best.name} explains {_percent(1 - best.left)} of the error{others}"


def _best(tried: tuple[Tried, ...]) -> Tried | None:
    """The one that explains most; of those that do so alike, what the artifacts have, then the first."""
    explaining = [one for one in tried if one.explains]
    if not explaining:
        return None
    least = min(one.left for one in explaining)
    alike = [one for one in explaining if one.left <= 2 * least + 1e-6]
    return next((one for one in alike if one.declared), alike[0])


def _declared(found: Tried) -> str:
    return ", as model.json has it" if found.declared else ""


def _percent(share: float) -> str:
    """A share as a person reads it; 0% and 100% only where it is so."""
    percent = 100 * share
    if 0 < percent < 0.1:  # noqa: PLR2004
        return "under 0.1%"
    if 99.9 < percent < 100:  # noqa: PLR2004
        return "over 99.9%"
    return f"{percent:.3g}%"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names) or "the feed and weights alone"


def _and(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}" if names else ""
