"""The types of a comparison's results: layers, verdicts, blame, and the comparison itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_tfjs.compare.observer_effect import Observation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.numbers.compression import Compression
    from pytest_tfjs.compare.numbers.local_error import Local
    from pytest_tfjs.compare.numbers.metrics import Metrics
    from pytest_tfjs.compare.numbers.tolerances import Tolerance
    from pytest_tfjs.compare.numbers.zero_signs import WrongZeros
    from pytest_tfjs.compare.sensitivity import Sensitivity
    from pytest_tfjs.compare.vacuity.vacuous import Vacuity
    from pytest_tfjs.compare.weight_check import WeightCheck
    from pytest_tfjs.errors import RefusedLayer
    from pytest_tfjs.timing.samples import Timing

LayerVerdict = Literal["close", "diverged", "unmapped"]
Verdict = Literal["close", "diverged", "vacuous", "unmapped", "error"]


@dataclass(frozen=True)
class LayerResult:
    """The result of one layer; `verdict` is None for a fused or eliminated one. `reason`: why, in words.

    `metrics` are of the whole run, by `tolerance`, which is the user's own if `given`. `local`: the local
    error, of the layer run alone on the reference's inputs, by its allowance; None if the layer was not run
    alone, for the reason `not_alone`. `propagated`: the largest |whole run - run alone|, which is the error
    that the layer's inputs caused, in the activation's unit; infinite if NaN or Inf differ.

    `overwrites`: the layers, or inputs of the model, whose activation the layer's kernel writes into.
    `spoils_inputs`: whether this made other layers wrong, which is what the layer is blamed for.

    `wrong_zeros`: zeros of the wrong sign in the layer run alone, if a later layer divides. `divided_by`: the
    later layer that they made wrong, which is what the layer is blamed for.
    """

    layer: Layer
    verdict: LayerVerdict | None
    metrics: Metrics | None
    tolerance: Tolerance | None
    reason: str | None
    local: Local | None = None
    propagated: float | None = None
    given: bool = False
    not_alone: str | None = None
    overwrites: tuple[str, ...] = ()
    spoils_inputs: bool = False
    wrong_zeros: WrongZeros | None = None
    divided_by: str | None = None

    @property
    def made_error(self) -> bool:
        """Whether the layer diverged and its local error exceeds its allowance."""
        return self.verdict == "diverged" and self.local is not None and not self.local.passed

    @property
    def right_by_itself(self) -> bool:
        """Whether the layer is blamed for the errors of others; its values are right, `reason` says more."""
        return self.spoils_inputs or self.divided_by is not None

    @property
    def error_from_inputs(self) -> bool:
        """Whether the layer diverged in the whole run only, and not by a tolerance that the user gave."""
        passed = self.local is not None and self.local.passed
        return self.verdict == "diverged" and passed and not self.given and not self.right_by_itself


@dataclass(frozen=True)
class Alone:
    """The results of layers that were run alone, by name.

    `local` and `propagated`: see `LayerResult`. `reasons`: why other layers were not run alone, in words.
    `unrepresentable`: layers whose reference has values that the target cannot represent. `overwrites`: the
    layers or inputs that a layer's kernel writes into, by the layer. `wrong_zeros`: see `LayerResult`.
    """

    local: Mapping[str, Local] = field(default_factory=dict)
    propagated: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    unrepresentable: Collection[str] = ()
    overwrites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wrong_zeros: Mapping[str, WrongZeros] = field(default_factory=dict)


@dataclass(frozen=True)
class Growth:
    """The growth of an error that no layer makes alone: too large at `end`.

    `start`: the nearest layer before `end` whose error is still small. `factor`: how much the error, relative
    to the layer's largest value, grew from there.
    """

    start: str
    end: str
    factor: float

    def __str__(self) -> str:
        return f"no layer is wrong alone; the error grows {self.factor:.3g}-fold from {self.start!r} on"


@dataclass(frozen=True)
class Blame:
    """`first`: the layers that the divergence begins at, in the comparison's order; see `blame`.

    `made`: those of them whose local error is too large. `spoils`: those that are right, but write into an
    input that a wrong layer takes. `zeros`: those that give zeros of the wrong sign, each with the wrong
    layer that divides by them. `growth`: how the error grew if no layer is wrong.
    """

    first: tuple[str, ...] = ()
    made: frozenset[str] = frozenset()
    spoils: frozenset[str] = frozenset()
    zeros: Mapping[str, str] = field(default_factory=dict)
    growth: Growth | None = None


@dataclass(frozen=True)
class Judgement:
    """The verdict on a comparison that ran; `reason` is None for `close` only."""

    verdict: Verdict
    reason: str | None
    results: tuple[LayerResult, ...]
    blame: Blame = field(default_factory=Blame)

    @property
    def first_divergence(self) -> tuple[str, ...]:
        """The layers that the divergence begins at."""
        return self.blame.first


@dataclass(frozen=True)
class TargetFacts:
    """What a comparison ran on, as the page reported it.

    `renderer`, `software`, `float32_textures`: None if the backend has no GPU. `software`: the processor
    emulates the GPU; also None if the browser hides its renderer.
    """

    browser: str
    browser_version: str
    backend: str
    variant: str | None
    flags: Mapping[str, bool | int | float]
    renderer: str | None
    software: bool | None
    float32_textures: bool | None

    @property
    def id(self) -> str:
        """The part of a test's id that names the target: `chrome-webgl:f16`."""
        return f"{self.browser}-{self._backend_variant}"

    @property
    def _backend_variant(self) -> str:
        return self.backend if self.variant is None else f"{self.backend}:{self.variant}"

    def __str__(self) -> str:
        return f"{self._backend_variant} on {self.browser}"


@dataclass(frozen=True)
class Reproducer:
    """A folder that shows the error of `layer` alone; `path` is None if it could not be written.

    `note`: why it was not written, or that the layer is close alone, in words.
    """

    layer: str
    path: str | None
    note: str | None = None


@dataclass(frozen=True)
class Comparison:
    """One model on one target over one set of feeds: all its layers and one verdict.

    - `bytes`: of the `artifacts` served and the `activations` received. `feeds`: how many. `test`: the
      pytest node id.
    - `stage`, `stack`: of an `error` in the page, the stage it was in and the JavaScript stack. `refused`:
      TF.js itself cannot load or run the model there; `refused_layer`: at which layer, if that was found.
      Then `layers` and `first_divergence` have the layers before it.
    - `observation`: whether reading activations changed the outputs. `weight_check`: whether the artifacts'
      weights are the source's. `compression`: the cost of quantised weights, None if they are not quantised.
    - `growth`: how errors grew if it diverged and no layer is wrong alone. `diagnosis`: the cause of a
      divergence.
    - `vacuity`: which parts could not have failed, and which layers are dead; None if that was not judged.
    - `reproducers`: those written for the layers of `first_divergence`, if the settings ask for them.
      `sensitivity`: which faults it would have caught, if the settings ask for it.
    - `retried`: how a first browser was lost, in words; all other fields are of the second run.
    - `notes`: changes to the artifacts, the feeds and the reference that the user has to know.
    """

    model: str
    format: str
    weights: str
    target: TargetFacts
    verdict: Verdict
    reason: str | None
    layers: tuple[LayerResult, ...]
    first_divergence: tuple[str, ...]
    outputs: tuple[str, ...]
    timing: Timing | None
    bytes: Mapping[str, int]
    feeds: int
    test: str
    tfjs_version: str | None = None
    stage: str | None = None
    stack: str | None = None
    refused: bool = False
    refused_layer: RefusedLayer | None = None
    notes: tuple[str, ...] = ()
    observation: Observation = field(default_factory=Observation)
    weight_check: WeightCheck | None = None
    compression: Compression | None = None
    growth: Growth | None = None
    vacuity: Vacuity | None = None
    reproducers: tuple[Reproducer, ...] = ()
    diagnosis: Diagnosis | None = None
    sensitivity: Sensitivity | None = None
    retried: str | None = None

    @property
    def output_names(self) -> dict[str, tuple[str, ...]]:
        """The names of each output in the model's signature, by the name of its layer."""
        return {one.layer.name: one.layer.output_names for one in self.layers if one.layer.output}

    def __repr__(self) -> str:
        """The model, the target, the verdict with its reason, and how many layers there are."""
        reason = "" if self.reason is None else f" ({self.reason})"
        layers = "1 layer" if len(self.layers) == 1 else f"{len(self.layers)} layers"
        return f"<Comparison of {self.model!r} on {self.target}: {self.verdict}{reason}, {layers}>"
