"""Mutants of each layer are caught, or listed with the reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

import fixtures
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.tolerances import Tolerance, Tolerances
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.models.tensorflow.process import run_here
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.faults.layer_faults import LayerAlone, LayerMutants
from pytest_tfjs.reference.reference_model import load_reference_model
from pytest_tfjs.settings.settings import Settings
from pytest_tfjs.workflows.layer_measurement import Precision, tolerances_of
from pytest_tfjs.workflows.preparation import PreparedModel
from pytest_tfjs.workflows.sensitivity import Judge, measure_sensitivity, sensitivity_of
from tests.support.comparisons import layer as layer_of

if TYPE_CHECKING:
    from pytest_tfjs.compare.sensitivity import Outcome, Sensitivity
    from pytest_tfjs.models.cache import ContentCache

pytestmark = pytest.mark.convert

HALF, SCALED, WEIGHT = "rounded to half precision", "output scaled by 1.001", "one weight +1 %"
SWAPPED = "activation swapped"


@dataclass
class PreparedCase:
    """A model with its reference, to measure the sensitivity for any target and settings."""

    model: PreparedModel
    cache: ContentCache

    @classmethod
    def of(cls, model, inputs, cache, **options):
        source = as_source(model)
        layers = options.pop("layers", "all")
        artifacts = convert(source, cache=cache, **options)
        feeds = tuple(normalise_feeds(inputs, artifacts.inputs))
        reference = capture_reference(source, artifacts, feeds, layers, cache, arithmetic=True)
        return cls(PreparedModel(source, artifacts, feeds, reference), cache)

    def judge(self, backend, *, per_layer=None, **settings):
        (target,) = parse_targets(["chrome"], [backend])
        chosen = Settings(**{"alone": "all", **settings})
        rules = tolerances_of(self.model.reference, target, chosen, per_layer)
        return Judge(str(target), *rules, target.half)

    def on(self, backend, runner=run_here, **settings) -> Sensitivity:
        return measure_sensitivity(self.model, self.judge(backend, **settings), self.cache, runner)


def outcome_of(found: Sensitivity, layer: str, kind: str) -> Outcome:
    (one,) = (one for one in found.layers if one.name == layer)
    return next(each for each in one.outcomes if each.kind == kind)


@pytest.fixture(scope="module")
def clipped(cache):
    """A dense layer and a ReLU6; only the feed `large` exceeds 6."""
    keras = pytest.importorskip("tf_keras")
    x = keras.Input((3,), name="x")
    dense = keras.layers.Dense(4, name="dense")(x)
    model = keras.Model(x, keras.layers.ReLU(6.0, name="clip")(dense), name="clipped")
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1, weight.shape).astype(np.float32) for weight in model.weights])
    small, large = (np.full((1, 3), value, np.float32) + np.float32(1 / 3) for value in (0.5, 7))
    return lambda feeds: PreparedCase.of(
        model, [{"small": small, "large": large}[feed] for feed in feeds], cache
    )


def test_mutant_is_judged_by_the_kernels_of_the_target():
    tiny, known = np.float32([1e-20, 2e-20]), Arithmetic(terms=9, noise=1e-7, started=1e-14)
    for packed in (True, False):
        tolerances = Tolerances({"y": Tolerance(1e-4, 1e-5)})
        judge = Judge("webgl", tolerances, Precision("webgl", half=False, packed=packed), half=False)
        assert judge.judge(layer_of("y"), tiny + np.float32(1e-21), tiny, known).passed is packed


def test_mutant_that_changes_no_bit_is_equivalent_and_not_counted(clipped):
    found = clipped(["small"]).on("wasm")
    swapped = outcome_of(found, "clip", SWAPPED)
    assert (swapped.fate, swapped.why) == (
        "equivalent",
        "no input of the activation function exceeds 6 for these feeds",
    )
    assert found.counts["equivalent"] == 1
    assert found.share == found.counts["caught"] / (found.counts["caught"] + found.counts["survived"])


def test_mutant_is_caught_if_one_feed_shows_it(clipped):
    assert outcome_of(clipped(["large"]).on("wasm"), "clip", SWAPPED).fate == "caught"
    for feeds in (["small", "large"], ["large", "small"]):
        assert outcome_of(clipped(feeds).on("wasm"), "clip", SWAPPED).fate == "caught"


def test_given_tolerance_replaces_the_default(clipped):
    case = clipped(["small"])
    loose = case.on("wasm", rtol=0.01, atol=0.0)
    scaled = outcome_of(loose, "dense", SCALED)
    assert scaled.fate == "survived"
    assert " allowed" in scaled.why
    assert [layer.smallest for layer in loose.layers] == pytest.approx([0.01, 0.01], rel=1e-3)
    assert [layer.smallest for layer in case.on("wasm", rtol=0.0, atol=0.0).layers] == [0, 0]
    one = case.on("wasm", per_layer={"clip": Tolerance(0.5, 0.5)})
    assert outcome_of(one, "clip", SCALED).fate == "survived"


def test_smallest_error_is_the_smallest_that_fails(clipped):
    case = clipped(["small"])
    judge = case.judge("wasm")
    for layer in case.on("wasm").layers:
        (row,) = (row for row in case.model.reference.plan.layers if row.name == layer.name)
        reference = case.model.reference.activations(0, [row.name])[row.name]
        arithmetic = case.model.reference.arithmetic(0, [row.name])[row.name]
        assert layer.smallest is not None
        for factor, passes in ((0.5, True), (2.0, False)):
            off = (reference * (1 + factor * layer.smallest)).astype(np.float32)
            judged = judge.judge(row, off, reference, arithmetic)
            assert judged.passed == (passes or layer.smallest == 0)


def test_rounding_to_half_is_not_applicable_on_half_precision_targets(clipped):
    case = clipped(["small"])
    assert outcome_of(case.on("webgl"), "dense", HALF).fate != "not applicable"
    assert outcome_of(case.on("webgl:f16"), "dense", HALF).fate == "not applicable"


def test_mutant_that_needs_missing_inputs_is_not_applicable(clipped):
    case = clipped(["small"])
    inputs = [feed.reference["x"] for feed in case.model.feeds]
    outputs = PreparedCase.of(case.model.source.model, inputs, case.cache, layers="outputs").on("wasm")
    (clip,) = outputs.layers
    assert clip.name == "clip"
    swapped = outcome_of(outputs, "clip", SWAPPED)
    assert swapped.fate == "not applicable"
    assert "dense" in swapped.why
    assert outcome_of(outputs, "clip", SCALED).fate == "caught"


def test_mutant_of_a_layer_that_is_wrong_alone_is_not_applicable(clipped, monkeypatch):
    """Otherwise the layer's own error would count as a caught mutant."""
    monkeypatch.setattr(LayerAlone, "right", property(lambda layer: layer.run() + 1))
    dropped = outcome_of(clipped(["small"]).on("cpu"), "dense", "bias dropped")
    assert dropped.fate == "not applicable"
    assert "the layer does not reproduce its activation when it is recomputed alone" in dropped.why


def test_repeated_measurement_is_read_from_the_cache(clipped):
    def nowhere(doing, *_):
        raise AssertionError(doing)

    case = clipped(["small"])
    found = case.on("wasm", rtol=0.125)
    assert case.on("wasm", nowhere, rtol=0.125) == found
    with pytest.raises(AssertionError, match="measuring the sensitivity of 'clipped'"):
        case.on("wasm", nowhere, rtol=0.25)


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("cnn", "graph"),
        pytest.param("cnn", "layers", marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", "graph", marks=pytest.mark.slow),
    ],
)
def test_default_tolerances_catch_99_percent_of_mutants(cache, name, format_):
    pytest.importorskip("tf_keras")
    case = PreparedCase.of(fixtures.build(name, 2), fixtures.inputs(name), cache, format=format_)
    prepared = case.model
    model = load_reference_model(prepared.source, prepared.artifacts, prepared.feeds)
    mutating = LayerMutants(model.alone(), model.refolded)
    for backend in ("cpu", "wasm", "webgl"):
        judge = case.judge(backend)
        found = sensitivity_of(mutating, prepared.feeds, prepared.reference, judge, label=name)
        assert found.counts["caught"] > 3 * len(found.layers)
        assert found.share >= 0.99, str(found)
        for _, survivor in found.survivors:
            assert " allowed" in survivor.why


RUN = """
import pytest

def test_enabled(tfjs, models, x):
    found = tfjs.compare(models / "tiny.h5", x).sensitivity
    assert found is not None
    assert found.share == tfjs.sensitivity(models / "tiny.h5", x).share
    assert {layer.name for layer in found.layers} == {"hidden", "scores"}

@pytest.mark.tfjs(sensitivity=False)
def test_disabled(tfjs, models, x):
    assert tfjs.compare(models / "tiny.h5", x).sensitivity is None

@pytest.mark.tfjs(rtol=0.5)
def test_loose_tolerance(tfjs, models, x):
    tfjs.assert_close(models / "tiny.keras", x)
"""


@pytest.mark.browser
def test_run_reports_the_sensitivity_of_its_comparisons(tiny_project):
    project = tiny_project("sensitivity")
    project.write(test_tiny=RUN)
    run = project.run("--tfjs-sensitivity", "--tfjs-backends=cpu", "-rP")
    assert run.code == 0, run.text
    first, none, loose = (one["sensitivity"] for one in run.results["comparisons"])
    assert none is None
    assert first["share"] > loose["share"]
    assert {mutant["fate"] for layer in loose["layers"] for mutant in layer["mutants"]} >= {"survived"}
    summary = "\n".join(run.section("tfjs"))
    assert "sensitivity of tiny.h5, cpu on chrome: " in summary
    assert "sensitivity of tiny.keras, cpu on chrome: " in summary
    assert "survived: " in summary
    assert "mutants                    caught  survived  equivalent  not applicable" in run.text
