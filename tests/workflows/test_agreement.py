"""Tasks in a real browser: classes, class maps and the user's metric, over many samples."""

from __future__ import annotations

import numpy as np
import pytest

from demo.fault import double_largest_weight
from pytest_tfjs import NotAgreed, Prebuilt
from pytest_tfjs.errors import FeedError, SettingsError
from pytest_tfjs.models.artifacts import TensorSpec
from pytest_tfjs.models.feeds import Feed
from pytest_tfjs.workflows.preparation import batched

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="wasm")]

X = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """`classes.h5`: 6 to 3 classes; `two.h5`: its classes, and a number."""
    keras = pytest.importorskip("tf_keras")
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(1)
    x = keras.Input((6,), name="x")
    hidden = keras.layers.Dense(8, activation="tanh", name="hidden")(x)
    classes = keras.layers.Dense(3, activation="softmax", name="classes")(hidden)
    keras.Model(x, classes).save(folder / "classes.h5")
    keras.Model(x, [classes, keras.layers.Dense(1, name="number")(hidden)]).save(folder / "two.h5")
    return folder


@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_sound_model_agrees_with_its_source(tfjs, models, format_):
    labels = np.arange(300) % 3
    agreement = tfjs.assert_agrees(
        models / "classes.h5", X, min_top1=0.98, min_topk=(2, 1.0), labels=labels, format=format_
    )
    assert (agreement.verdict, agreement.samples, agreement.flips) == ("close", 300, 0)
    top1 = agreement.measure("top-1 agreement")
    assert (top1.value, top1.proven) == (1.0, True)
    assert agreement.measure("top-2 agreement").value == 1.0
    ours, theirs = agreement.accuracy
    assert 0 < ours.value == theirs.value < 1
    assert agreement.test.startswith(
        "tests/workflows/test_agreement.py::test_sound_model_agrees_with_its_source["
    )
    again = tfjs.agreement(models / "classes.h5", X, batch=7, labels=labels, format=format_)
    assert again.measure("top-1 agreement").value == 1.0
    assert (again.samples, again.accuracy) == (300, agreement.accuracy)


def test_wrong_weight_flips_classes_and_the_worst_are_named(tfjs, models, tmp_path):
    source = models / "classes.h5"
    damaged = double_largest_weight(tfjs.convert(source), "classes", tmp_path / "damaged")
    with pytest.raises(NotAgreed) as failure:
        tfjs.assert_agrees(Prebuilt(damaged.model_json, source), X, min_top1=0.999)
    agreement = failure.value.agreement
    top1 = agreement.measure("top-1 agreement")
    assert agreement.flips == round(300 * (1 - top1.value)) > 0
    first, *rest = str(failure.value).splitlines()
    low, high = top1.interval
    assert first == (
        f"wasm on chrome: top-1 agreement {top1.value:.4g} (95 % interval {low:.4g} to {high:.4g}) "
        "over 300 samples, 0.999 required"
    )
    worst = agreement.worst_flips[0]
    assert any(f"sample {worst.sample}: class {worst.browser} in the browser" in line for line in rest)
    assert any("repeat" in line and "test_agreement.py" in line for line in rest)
    # The reported class is the source's.
    reference = tfjs.agreement(source, X[[worst.sample]], metric=lambda ours, _: float(ours.argmax()))
    assert reference.measure("metric").value == worst.reference


def test_quantised_weights_are_compared_with_the_source(tfjs, models):
    def least_difference(ours, theirs):
        return -float(np.abs(ours - theirs).max())

    costs = [
        -tfjs.agreement(models / "classes.h5", X, metric=least_difference, weights=weights).measures[0].value
        for weights in ("float32", "uint8")
    ]
    assert costs[0] < 1e-6
    assert costs[1] > 1e-4


def test_metric_of_all_outputs_and_choice_of_one_output(tfjs, models):
    seen = {}

    def metric(ours, theirs):
        seen.update(ours=ours, theirs=theirs)
        return float(all(np.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs))

    agreement = tfjs.assert_agrees(models / "two.h5", [X[:50], X[50:]], metric=metric, min_metric=1.0)
    assert agreement.output is None
    assert {name: value.shape for name, value in seen["theirs"].items()} == {
        "classes": (300, 3),
        "number": (300, 1),
    }
    with pytest.raises(
        SettingsError, match="output= with the name of the one that gives the classes: 'classes', 'number'"
    ):
        tfjs.agreement(models / "two.h5", X)
    with pytest.raises(
        SettingsError, match="output='other': expected one of the model's outputs: 'classes', 'number'"
    ):
        tfjs.agreement(models / "two.h5", X, output="other")
    assert tfjs.assert_agrees(models / "two.h5", X, output="classes", min_top1=1.0).output == "classes"


def test_check_that_could_not_fail_is_vacuous_or_rejected(tfjs, models):
    with pytest.raises(NotAgreed, match=r"wasm on chrome: vacuous: the reference gives class \d for all 4 "):
        tfjs.assert_agrees(models / "classes.h5", np.repeat(X[:1], 4, axis=0), min_top1=0.5)
    tfjs.assert_agrees(
        models / "classes.h5", np.repeat(X[:1], 4, axis=0), min_top1=0.5, allow_vacuous="classes"
    )
    with pytest.raises(NotAgreed, match="vacuous: the reference gives the same output for all samples"):
        tfjs.assert_agrees(
            models / "classes.h5", np.repeat(X[:1], 4, axis=0), metric=lambda *_: 1.0, min_metric=0
        )
    with pytest.raises(SettingsError, match="has no minimum to check"):
        tfjs.assert_agrees(models / "classes.h5", X)


def test_labels_of_another_length_or_dtype_are_rejected(tfjs, models):
    with pytest.raises(
        FeedError, match=r"labels have dtype int64 and shape \[299\]: expected .* of shape \[300\]"
    ):
        tfjs.agreement(models / "classes.h5", X, labels=np.arange(299) % 3)
    with pytest.raises(FeedError, match="labels have dtype float64"):
        tfjs.agreement(models / "classes.h5", X, labels=np.ones(300))


@pytest.mark.tfjs(backends="webgl,webgl:f16")
def test_class_maps_are_compared_by_iou(tfjs, tmp_path):
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(1)
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3, padding="same", name="map")]
    keras.Sequential(layers).save(tmp_path / "maps.h5")
    pictures = np.random.default_rng(2).normal(size=(40, 8, 8, 3)).astype(np.float32)
    agreement = tfjs.assert_agrees(tmp_path / "maps.h5", pictures, min_iou=0.95)
    iou = agreement.measure("mean IoU")
    assert 0.95 <= iou.value <= 1
    if tfjs.target.variant == "f16":
        assert agreement.flips == agreement.near_ties  # half precision flips near ties only
        assert iou.interval is None or iou.interval[0] <= iou.value
    else:
        assert agreement.measure("top-1 agreement").value == pytest.approx(1.0)


SPECS = (TensorSpec("a", (None, 2), "float32"), TensorSpec("b", (None,), "float32"))


def feed(a, b):
    values = {"a": np.arange(2.0 * a).reshape(a, 2), "b": np.arange(float(b))}
    return Feed(values, dict(values))


@pytest.mark.parametrize(
    ("specs", "given", "sizes"),
    [
        (SPECS, feed(5, 5), [2, 2, 1]),
        (SPECS, feed(5, 3), [5]),  # the inputs have different numbers of rows
        ((TensorSpec("a", (5, 2), "float32"), SPECS[1]), feed(5, 5), [5]),  # made for a batch of 5
        ((TensorSpec("a", None, "float32"), SPECS[1]), feed(5, 5), [5]),
    ],
)
def test_feeds_are_split_into_batches_only_if_all_inputs_have_a_free_batch_axis(specs, given, sizes):
    pieces = batched([given], specs, 2)
    assert [len(piece.reference["a"]) for piece in pieces] == sizes
    for side in ("reference", "browser"):
        joined = np.concatenate([getattr(piece, side)["a"] for piece in pieces])
        np.testing.assert_array_equal(joined, given.reference["a"])


def test_json_summary_and_failure_report_tasks(tiny_project):
    project = tiny_project("tasks")
    project.write(
        test_task="""
def test_few(tfjs, models, x):
    tfjs.assert_agrees(models / "tiny.h5", x, min_top1=0.9, allow_vacuous="scores")

def test_low(tfjs, models, x):
    def share(ours, theirs):
        return 0.25
    tfjs.assert_agrees(models / "tiny.h5", x, metric=share, min_metric=0.5)
"""
    )
    run = project.run("--tfjs-backends=wasm")
    few, low = run.results["task"]
    assert run.results["comparisons"] == []
    assert (few["test"], few["verdict"], few["samples"]) == (
        "test_task.py::test_few[chrome-wasm]",
        "close",
        2,
    )
    assert (few["measures"][0]["value"], few["measures"][0]["proven"]) == (1.0, False)
    assert (low["verdict"], low["measures"][0]["name"]) == ("diverged", "share")
    assert low["measures"][0]["null_reasons"] == dict.fromkeys(("low", "high"), "no interval can be drawn")
    first, warning, second = run.section("tfjs tasks")[:3]
    assert first == "tiny.h5, wasm on chrome: top-1 agreement 1 (0.3424 to 1), 2 samples, 0.9 required"
    assert warning.startswith(
        "  2 samples do not prove a top-1 agreement of 0.9: the 95 % interval begins at 0.3424"
    )
    assert second == "tiny.h5, wasm on chrome: share 0.25, 2 samples, 0.5 required"
    message = run.cases["test_low[chrome-wasm]"].message
    assert (
        message.splitlines()[0]
        == "pytest_tfjs.NotAgreed: wasm on chrome: share 0.25 over 2 samples, 0.5 required"
    )
    assert "checker.py" not in run.cases["test_low[chrome-wasm]"].failure
