"""The evidence about the blamed layer, from which the diagnosis is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfjs.compare.diagnosis.semantics import Trial

AGREE = 0.1
"""Two activations agree if the RMS of their difference is at most this share of the error's RMS."""


@dataclass(frozen=True)
class OtherResult:
    """What another backend, or TensorFlow, gave for the blamed layer on the same inputs.

    `who`: its name, such as `cpu on chrome`. `off`: its difference from Python, `apart`: its difference from
    the failing target; each is an RMS relative to the failing target's error, and infinite where they cannot
    be compared. `off_by`: what differs from Python in that case, in words. `of`: what they are relative to.
    """

    who: str
    off: float
    apart: float
    off_by: str = "NaN or Inf at different elements"
    of: str = "the error"

    @property
    def right(self) -> bool:
        """Whether this result agrees with Python."""
        return self.off <= AGREE

    @property
    def same(self) -> bool:
        """Whether this result agrees with the failing target."""
        return self.apart <= AGREE


@dataclass(frozen=True)
class Sizes:
    """The numbers that show whether half precision explains an error; in the activation's unit, all finite.

    - `reference`, `inputs`, `magnitude`: the largest |reference|; |input| or |weight|; sum of |terms| of one
      element. `integers`: the largest integer among reference and inputs.
    - `overflown`: whether the browser has NaN, Inf or 0 where the reference is over 65504, or NaN or Inf
      where the reference is finite.
    - `flushed`: the share of the mismatched elements that is 0 in the browser and below 2**-14 in Python.
    - `error`: the largest |error| of the finite elements. `predicted`: the RMS error made by rounding inputs,
      weights and result to half precision, relative to the actual RMS error; None if not computed.
    """

    reference: float = 0.0
    inputs: float = 0.0
    magnitude: float = 0.0
    integers: float = 0.0
    overflown: bool = False
    flushed: float = 0.0
    error: float = 0.0
    predicted: float | None = None

    @property
    def largest(self) -> float:
        """The largest value that the layer handles."""
        return max(self.reference, self.inputs, self.magnitude)


@dataclass(frozen=True)
class Evidence:
    """Everything known about the blamed layer on one target; `layer` is None if no layer is blamed.

    - `others`: results of other backends. `over_artifacts`: TensorFlow's result from the artifacts.
    - `repeated`: the difference of two runs on the same inputs, relative to the error; None if not tried.
      `unsteady`: a sentence, if even the outputs of two runs differ.
    - `random`: which layer draws random numbers, a sentence; this one, or one on which it depends.
    - `overwrites`: the layer is right, but writes into an input that other layers take; a sentence.
    - `divided`: the layer is right but for the sign of zeros, and another layer divides by them; sentences.
    - `loses_mask`: whether Keras gives the layer a mask and TF.js does not.
    - `trains`: whether Keras calls the layer with training=True, which TF.js ignores.
    - `weight`: the layer's weight that differs from the source's, and how; `by_effect`: only its effect is
      known.
    - `declared_alike`: whether a layers model's artifacts have the layer's class and config from the source.
    - `takes`, `source_takes`: the rows that enter it in the artifacts and in the source; None: not known.
    - `swapped`: which other output the browser gives in place of this one, in words; `swapped_briefly`: the
      same for the first line of a failure, which has the layer's name already.
    - `interpretations`, `feeds`: what was tried, in any order.
    - `compressed`: what the stored weights cost, where it is too much. `growth`: the same of growing errors.
    - `not_tried`: sentences.
    """

    layer: str | None
    target: str
    half: bool = False
    others: tuple[OtherResult, ...] = ()
    over_artifacts: OtherResult | None = None
    repeated: float | None = None
    unsteady: str | None = None
    random: str | None = None
    overwrites: str | None = None
    divided: str | None = None
    loses_mask: bool = False
    trains: bool = False
    weight: str | None = None
    by_effect: bool = False
    declared_alike: bool = False
    takes: tuple[str, ...] | None = None
    source_takes: tuple[str, ...] | None = None
    swapped: str | None = None
    swapped_briefly: str | None = None
    sizes: Sizes = field(default_factory=Sizes)
    interpretations: tuple[Trial, ...] = ()
    feeds: tuple[Trial, ...] = ()
    compressed: str | None = None
    growth: str | None = None
    not_tried: tuple[str, ...] = ()

    @property
    def right(self) -> tuple[str, ...]:
        """The other backends that agree with Python."""
        return tuple(seen.who for seen in self.others if seen.right)

    @property
    def same(self) -> tuple[str, ...]:
        """The other backends that agree with the failing target."""
        return tuple(seen.who for seen in self.others if seen.same and not seen.right)
