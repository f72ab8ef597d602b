"""Decides the likely cause of a divergence from the evidence about the blamed layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_tfjs.compare.diagnosis.evidence import AGREE, Evidence, OtherResult
from pytest_tfjs.compare.dtypes import HALF_ROUNDOFF, LARGEST_HALF, WHOLE_IN_HALF

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfjs.compare.diagnosis.semantics import Trial

Cause = Literal[
    "conversion",
    "kernel",
    "half range",
    "half resolution",
    "quantised weights",
    "semantics",
    "feed",
    "overwritten input",
    "sign of zero",
    "random numbers",
    "nondeterminism",
    "weight",
    "wiring",
    "growth",
    "unknown",
]

_AS_GRAPH = "Try format='graph', which runs TensorFlow's own operations"
_FLUSHED = 0.5
_PREDICTED = 4.0
_COARSE = 4.0


@dataclass(frozen=True)
class Diagnosis:
    """The likely cause of a divergence. `layer`: the layer it applies to, None for the whole model.

    - `conversion`: the artifacts do not compute what the source computes, on any backend.
    - `kernel`: one backend computes something else than the others, which agree with Python.
    - `half range`, `half resolution`: half precision cannot hold values over 65504 or close to 0; it rounds
      to 2**-11 of a value, and such errors may grow.
    - `quantised weights`: quantising the weights changes the outputs too much.
    - `semantics`: the operation means something else in the browser; `said` names the difference.
    - `feed`: the browser's model expects the feed in another range, layout or channel order.
    - `overwritten input`: the layer is right, but its kernel writes into an input that other layers take.
    - `sign of zero`: the layer gives -0 for 0, or 0 for -0, and another layer divides by them.
    - `random numbers`: the layer, or one before it, draws random numbers.
    - `nondeterminism`: two runs on the same inputs differ.
    - `weight`: a weight of the layer differs from the source's.
    - `wiring`: the layer has other inputs, the same inputs in another order, or outputs are swapped.
    - `growth`: no layer is wrong alone, but rounding errors grow from layer to layer.
    - `unknown`: no cause that was tried explains the divergence, or it came in through inputs not read.

    `said`: the cause in words. `evidence`: one sentence for each finding, then what was not tried and why.
    `briefly`: of swapped outputs, the cause in words that fit behind the layer's name; otherwise None.
    """

    kind: Cause
    layer: str | None
    said: str
    evidence: tuple[str, ...] = ()
    briefly: str | None = None


def diagnose(evidence: Evidence) -> Diagnosis:
    """The most likely cause."""
    facts = _facts(evidence)
    for cause in _CAUSES:
        found = cause(evidence)
        if found is not None:
            kind, text = found
            briefly = evidence.swapped_briefly if cause is _swapped else None
            return Diagnosis(kind, evidence.layer, text, facts, briefly)
    return Diagnosis("unknown", evidence.layer, "no cause that was tried explains the error", facts)


Found = tuple[Cause, str] | None


def _random(evidence: Evidence) -> Found:
    if evidence.random is None:
        return None
    return "random numbers", f"{evidence.random}. Make them an input of the model, or leave them out of it"


def _overwritten(evidence: Evidence) -> Found:
    return None if evidence.overwrites is None else ("overwritten input", evidence.overwrites)


def _divided(evidence: Evidence) -> Found:
    return None if evidence.divided is None else ("sign of zero", evidence.divided)


def _grown(evidence: Evidence) -> Found:
    return None if evidence.growth is None else _growth(evidence.growth, half=evidence.half)


def _no_layer(evidence: Evidence) -> Found:
    if evidence.layer is not None:
        return None
    if evidence.weight is not None:
        return "weight", evidence.weight
    if evidence.compressed is not None:
        return "quantised weights", evidence.compressed
    return None


def _growth(text: str, *, half: bool) -> Found:
    if half:
        return (
            "half resolution",
            f"{text} (half precision has 11 significant bits)",
        )
    return "growth", text


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


def _mask(evidence: Evidence) -> Found:
    if not evidence.loses_mask:
        return None
    return "semantics", f"TF.js passes the layer no mask, although Keras does. {_AS_GRAPH}"


def _training(evidence: Evidence) -> Found:
    if not evidence.trains or not evidence.same or evidence.weight is not None:
        return None
    text = "Keras calls the layer with training=True, which TF.js ignores"
    return "semantics", f"{text}. Call it without training=True"


def _feed(evidence: Evidence) -> Found:
    found, python = _best(evidence.feeds), evidence.over_artifacts
    if found is None or evidence.right or (python is not None and python.right):
        return None
    return "feed", f"the browser's result matches what Python computes for the feed {found.name}"


def _wiring(evidence: Evidence) -> Found:
    takes, source, python = evidence.takes, evidence.source_takes, evidence.over_artifacts
    if evidence.right or (python is not None and python.right):
        return None
    if takes is not None and source is not None and set(takes) != set(source):
        return (
            "wiring",
            f"the layer's inputs are {_names(takes)} in the artifacts, but {_names(source)} in the source",
        )
    found = _best(evidence.interpretations)
    if found is None or found.kind != "wiring":
        return None
    return "wiring", f"the browser's result matches {found.name}{_declared(found)}"


def _swapped(evidence: Evidence) -> Found:
    return None if evidence.swapped is None else ("wiring", evidence.swapped)


def _half_range(evidence: Evidence) -> Found:
    sizes = evidence.sizes
    if not evidence.half or evidence.same:
        return None
    if sizes.overflown and sizes.largest > LARGEST_HALF:
        largest = {
            "|reference|": sizes.reference,
            "an input or weight": sizes.inputs,
            "a sum in the layer": sizes.magnitude,
        }
        what = next(name for name, size in largest.items() if size > LARGEST_HALF)
        return "half range", f"half precision overflows above 65504, but {what} reaches {largest[what]:.3g}"
    if sizes.flushed >= _FLUSHED:
        share = _percent(sizes.flushed)
        text = f"{share} of the mismatched elements are 0 in the browser and below 6.1e-05 in Python"
        return "half range", f"half precision flushes values below 6.1e-05 to 0: {text}"
    return None


def _interpretation(evidence: Evidence) -> Found:
    found = _best(evidence.interpretations)
    if found is None:
        return None
    text = f"the browser's result matches {found.name}{_declared(found)}"
    if evidence.right:
        return "kernel", f"{_kernel(evidence)}: {text}"
    if found.kind == "weight" and evidence.over_artifacts is not None and evidence.over_artifacts.same:
        return "weight", text
    return "semantics", f"{text}. {_AS_GRAPH}" if evidence.declared_alike else text


def _half_resolution(evidence: Evidence) -> Found:
    sizes = evidence.sizes
    if not evidence.half or evidence.same or not 0 < sizes.error < math.inf:
        return None
    unit = HALF_ROUNDOFF * sizes.largest  # 0 where it underflows
    units = sizes.error / unit if unit else math.inf
    predicted = sizes.predicted is not None and sizes.predicted >= 1 / _PREDICTED
    if not predicted and units > _COARSE:
        return None
    text = (
        f"the error is {units:.2g} times 2**-11 of the layer's largest value "
        "(half precision has 11 significant bits)"
    )
    if predicted:
        text += ", as expected from rounding inputs, weights and result to half precision"
    if sizes.integers > WHOLE_IN_HALF:
        text += f". It holds integers up to 2048 only, and the layer's reach {sizes.integers:.0f}"
    return "half resolution", text


def _kernel_alone(evidence: Evidence) -> Found:
    return ("kernel", _kernel(evidence)) if evidence.right else None


def _conversion(evidence: Evidence) -> Found:
    python = evidence.over_artifacts
    if evidence.same:
        return _alike(evidence)
    if python is None:
        return None
    if python.same:
        return (
            "conversion",
            "the artifacts do not compute what the source computes: TensorFlow gets the same wrong values",
        )
    if python.right:
        return "kernel", _kernel(evidence)
    return None


def _alike(evidence: Evidence) -> Found:
    """Whether the artifacts or TF.js is wrong, if other backends give the same wrong values."""
    python = evidence.over_artifacts
    alike = f"{_and(evidence.same)} and {evidence.target} give the same wrong values"
    if python is not None and python.right:
        text = "TensorFlow gets the right values from the same artifacts"
        return "semantics", f"{alike}, but {text}, so TF.js computes this operation differently"
    if python is None and evidence.declared_alike and evidence.weight is None:
        text = "the artifacts have the layer's config and weights from the source"
        return "semantics", f"{alike}, but {text}, so TF.js computes this layer differently. {_AS_GRAPH}"
    whose = "the artifacts" if python is not None else "the artifacts, or TF.js on every backend,"
    return "conversion", f"{whose} do not compute what the source computes: {alike}"


_CAUSES: tuple[Callable[[Evidence], Found], ...] = (
    _overwritten,
    _divided,
    _random,
    _no_layer,
    _nondeterminism,
    _grown,
    _swapped,
    _weight,
    _mask,
    _training,
    _feed,
    _half_range,
    _wiring,
    _interpretation,
    _weight_by_effect,
    _half_resolution,
    _kernel_alone,
    _conversion,
)


def _kernel(evidence: Evidence) -> str:
    if evidence.over_artifacts is not None and evidence.others and not evidence.right:
        others = _and(tuple(seen.who for seen in evidence.others))
        who = "TensorFlow, running the same artifacts, agrees with Python"
        return f"{evidence.target} is wrong, {others} too (in another way), but {who}"
    who = _and(evidence.right) or "TensorFlow, running the same artifacts,"
    agrees = "agrees" if len(evidence.right) < 2 else "agree"  # noqa: PLR2004
    return f"{evidence.target} is wrong, but {who} {agrees} with Python"


def _facts(evidence: Evidence) -> tuple[str, ...]:
    """One sentence for each finding, then what was not tried."""
    python = evidence.over_artifacts  # where it is right, the feed was too
    facts = [_other_result(seen, evidence.target) for seen in evidence.others]
    if python is not None:
        facts.append(_other_result(python, evidence.target))
    if evidence.repeated is not None and evidence.repeated <= AGREE:
        again = (
            "are bit-identical"
            if evidence.repeated == 0
            else f"differ by {_percent(evidence.repeated)} of the error"
        )
        facts.append(f"two runs on the same inputs {again}")
    for what, tried in (
        (("other interpretation", "of the operation"), evidence.interpretations),
        (("change", "to the feed"), () if python is not None and python.right else evidence.feeds),
    ):
        if tried:
            facts.append(_of_tried(*what, tried))
    return (*facts, *(f"not tried: {what}" for what in evidence.not_tried))


def _other_result(seen: OtherResult, target: str) -> str:
    if seen.right:
        return f"{seen.who} agrees with Python{_remainder(seen.off, seen.of)}"
    if seen.same:
        return f"{seen.who} is wrong in the same way{_remainder(seen.apart, seen.of)}"
    off = seen.off_by if math.isinf(seen.off) else f"off by {_percent(seen.off)} of {seen.of}"
    return f"{seen.who} agrees neither with Python ({off}) nor with {target}"


def _remainder(share: float, of: str) -> str:
    return f" (they differ by {_percent(share)} of {of})" if share else ""


def _of_tried(what: str, of: str, tried: tuple[Trial, ...]) -> str:
    best = min(tried, key=lambda one: one.left)
    explained = [one for one in tried if one.explains]
    many = len(tried) > 1
    counted = f"{len(tried)} {what}s {of} were tried" if many else f"1 {what} {of} was tried"
    if not explained:
        return f"{counted}; {'none explains' if many else 'it does not explain'} the error"
    also = [f"{one.name} ({_percent(1 - one.left)})" for one in explained if one is not best][:3]
    others = f"; so do {', '.join(also)}" if also else ""
    return f"{counted}: {best.name} explains {_percent(1 - best.left)} of the error{others}"


def _best(tried: tuple[Trial, ...]) -> Trial | None:
    """The trial that explains most; among equals the one that the artifacts declare, else the first."""
    explaining = [one for one in tried if one.explains]
    if not explaining:
        return None
    least = min(one.left for one in explaining)
    alike = [one for one in explaining if one.left <= 2 * least + 1e-6]
    return next((one for one in alike if one.declared), alike[0])


def _declared(found: Trial) -> str:
    return ", as model.json declares" if found.declared else ""


def _percent(share: float) -> str:
    """A share for people; 0% and 100% only if exact."""
    percent = 100 * share
    if 0 < percent < 0.1:  # noqa: PLR2004
        return "under 0.1%"
    if 99.9 < percent < 100:  # noqa: PLR2004
        return "over 99.9%"
    return f"{percent:.3g}%"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names) or "only feeds and weights"


def _and(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}" if names else ""
