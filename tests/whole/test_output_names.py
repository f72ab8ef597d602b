"""Outputs are known by their names in the signature, and an input by its tensor's name."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs import NotClose, Tolerance
from pytest_tfjs.errors import FeedError, SettingsError
from pytest_tfjs.report.comparison_json import comparison_to_json

pytestmark = [pytest.mark.browser, pytest.mark.convert]

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def with_heads(package, *, dead="zeros"):
    """A model with the outputs `classes` and `boxes`; the biases of the second are made by `dead`."""
    x = package.Input((3,), name="x")
    classes = package.layers.Dense(4, activation="softmax", name="head_c")(x)
    boxes = package.layers.Dense(4, name="head_b", bias_initializer=dead)(x)
    return package.Model(x, {"classes": classes, "boxes": boxes}, name="heads")


def from_module():
    made = tf.Module()
    made.kernel = tf.constant(np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x):
        return {"classes": tf.nn.softmax(x @ made.kernel, name="c"), "boxes": tf.tanh(x, name="b")}

    made.serve = serve
    return made


MODELS = {"keras": lambda: with_heads(keras), "tf_keras": lambda: with_heads(tf_keras), "module": from_module}


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize("kind", MODELS)
def test_arguments_take_the_names_of_outputs(tfjs, kind, tmp_path):
    model = MODELS[kind]()
    if kind == "module":
        tf.saved_model.save(model, str(tmp_path / "saved"), signatures=model.serve)
        model = tmp_path / "saved"
    agreement = tfjs.assert_agrees(model, X, output="classes", min_top1=0.9, format="graph")
    assert agreement.output_name == "classes"
    seen = {}

    def metric(ours, theirs):
        seen.update({name: theirs[name].shape for name in ("classes", "boxes")})
        assert "classes" in ours
        assert ours.get("other") is None
        return float(np.allclose(ours["boxes"], theirs["boxes"], atol=1e-4))

    tfjs.assert_agrees(model, X, metric=metric, min_metric=1.0, format="graph")
    assert seen["classes"] == (40, 4)
    comparison = tfjs.assert_close(
        model, X, per_layer={"boxes": Tolerance(0.5, 0.5)}, allow_vacuous="classes", format="graph"
    )
    given = [one.layer.output_names for one in comparison.layers if one.given]
    assert given == [("boxes",)]
    names = comparison_to_json(comparison)["output_names"]
    assert sorted(name for each in names.values() for name in each) == ["boxes", "classes"]
    with pytest.raises(SettingsError, match="expected one of the model's outputs: 'boxes', 'classes'"):
        tfjs.agreement(model, X, output="class", min_top1=0.9, format="graph")


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize(
    ("package", "format_"), [(keras, "graph"), (tf_keras, "graph"), (tf_keras, "layers")]
)
def test_names_that_an_export_changes_are_known(tfjs, package, format_):
    x = package.Input((3,), name="my-input")
    classes = package.layers.Dense(4, activation="softmax", name="head.c")(x)
    scores = package.layers.Dense(4, name="head.b")(x)
    model = package.Model(x, {"top-k": classes, "score (raw)": scores}, name="heads")
    agreement = tfjs.assert_agrees(model, {"my-input": X}, output="top-k", min_top1=0.9, format="graph")
    assert agreement.output_name == "top-k"
    comparison = tfjs.compare(
        model,
        {"my-input": X},
        per_layer={"score (raw)": Tolerance(0.0, 0.0)},
        allow_vacuous="top-k",
        format="graph",
    )
    assert [one.layer.output_name for one in comparison.layers if one.given] == ["score (raw)"]
    assert {one.layer.output_name for one in comparison.layers if one.layer.output} == {
        "top-k",
        "score (raw)",
    }


@pytest.mark.tfjs(backends="cpu")
def test_messages_have_the_names_of_outputs(tfjs):
    made = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def serve(x):
        return {"zero": tf.multiply(x, 0.0, name="a"), "whole": tf.math.floordiv(x, 1.5, name="b")}

    made.serve = serve
    with pytest.raises(NotClose) as caught:
        tfjs.assert_close(made, X, allow_vacuous="zero")
    assert "(output 'whole'; " in str(caught.value).splitlines()[0]

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def vacuous(x):
        return {"zero": tf.multiply(x, 0.0, name="a"), "other": tf.tanh(x, name="b")}

    made.serve = vacuous
    with pytest.raises(NotClose) as caught:
        tfjs.assert_close(made, X)
    first = str(caught.value).splitlines()[0]
    assert "the output 'zero' is 0 everywhere" in first
    assert "pass allow_vacuous='zero'" in first
    tfjs.assert_close(made, X, allow_vacuous="zero")


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_an_input_is_known_by_the_name_of_its_tensor(tfjs, format_):
    x = tf_keras.Input((3,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2, bias_initializer="ones", name="out")(x))
    tfjs.assert_close(model, {"x:0": X}, format=format_)
    ones = np.ones((2, 3), np.float32)
    assert tfjs.compare(model, ones, format=format_).verdict == "vacuous"
    tfjs.assert_close(model, {"x": ones}, format=format_, allow_vacuous=["x:0", "out"])
    assert tfjs.time(model, {"x:0": X}, runs=1).first_ms > 0
    with pytest.raises(FeedError, match="the model has no input 'x:1'"):
        tfjs.compare(model, {"x:1": X}, format=format_)


@pytest.mark.tfjs(backends="cpu,wasm")
@pytest.mark.parametrize("others", [False, True])
def test_an_output_in_which_nothing_is_found_is_compared(tfjs, others):
    made = tf.Module()

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32, name="boxes"),
            tf.TensorSpec([None], tf.float32, name="scores"),
        ]
    )
    def serve(boxes, scores):
        found = tf.boolean_mask(boxes, scores > 0.5)
        outputs = {"found": found * 2.0, "number": tf.shape(found)[0]}
        return {**outputs, "rescaled": tf.sqrt(scores)} if others else outputs

    made.serve = serve
    boxes = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    nothing, some = np.float32([0.1, 0.2, 0.3]), np.float32([0.1, 0.9, 0.3])
    comparison = tfjs.compare(made, (boxes, nothing))
    if others:
        assert comparison.verdict == "close", comparison.reason
    else:
        assert comparison.verdict == "vacuous"
        assert "the output 'found' is empty (shape [0, 4])" in comparison.reason
        assert comparison.reason.endswith("pass allow_vacuous='found,number'")
    for allowed in ("*", ["found", "number"]):
        tfjs.assert_close(made, (boxes, nothing), allow_vacuous=allowed)
    tfjs.assert_close(made, [(boxes, nothing), (boxes, some)])
