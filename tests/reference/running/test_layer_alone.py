"""A layer run alone gives the reference's activation, or an error with a reason."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fixtures import SAMPLES, build, inputs
from fixtures.families import FAMILIES, cases
from pytest_tfjs.errors import SourceError
from pytest_tfjs.reference.running.layer_alone import attributes_of
from tests.support.layer_alone_cases import graph_of, load
from tests.support.sizes import slow_except

pytestmark = pytest.mark.convert
X = np.float32([[1, -2, 3], [0.5, 0, -1]])
QUICK = ("classifier", "lstm", "gru", "attention")


def errors_of(loaded):
    """The largest error of each layer run alone, relative to its largest value; None if it cannot run."""
    return {name: _error(loaded, name) for name in loaded.activations if name in loaded.plan.tensors}


def _error(loaded, name):
    if loaded.alone.obstacle(name) is not None:
        return None
    value = loaded.alone.run(name, loaded.activations)
    expected = loaded.activations[name]
    assert value.shape == expected.shape
    if expected.dtype.kind in "OS":
        expected = np.array([text.decode() for text in expected.flat], object).reshape(expected.shape)
    if expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(value, expected) else np.inf
    if not value.size:
        return 0.0
    np.testing.assert_array_equal(np.isnan(value), np.isnan(expected))
    return float(np.nanmax(np.abs(value - expected), initial=0) / (np.nanmax(np.abs(expected)) or 1))


@pytest.mark.parametrize("format_", ["graph", "layers"])
@pytest.mark.parametrize("name", slow_except([name for name in SAMPLES if name != "mobilenet_v2"], SAMPLES))
def test_each_layer_of_a_sample_run_alone_equals_its_reference(cache, name, format_):
    pytest.importorskip("tf_keras")
    found = errors_of(load(build(name, 2), inputs(name), cache, format=format_))
    assert len(found) >= 3
    assert None not in found.values()
    assert max(found.values()) < 5e-6  # the order of sums differs between processors


def test_weights_passed_to_run_replace_the_stored_weights(cache):
    keras = pytest.importorskip("tf_keras")
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(4, activation="relu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(hidden), name="two")
    model.layers[1].bias.assign([0.5, 0.25, -0.5, 1])
    kernel = model.layers[1].kernel.numpy()
    for format_, name in (("layers", "hidden"), ("graph", "hidden/MatMul")):
        loaded = load(model, X, cache, format=format_)
        alone, activations = loaded.alone, loaded.activations
        assert alone.inputs_of(name) == ("x",)
        weights = {value.shape: (key, value) for key, value in alone.weights_of(name).items()}
        assert weights.keys() >= {(3, 4), (4,)}
        np.testing.assert_allclose(weights[3, 4][1], kernel, rtol=1e-6)
        negated = {weights[3, 4][0]: -weights[3, 4][1]}
        before = -X @ kernel + np.float32([0.5, 0.25, -0.5, 1])
        np.testing.assert_allclose(
            alone.run(name, activations, negated), np.maximum(before, 0), rtol=1e-5, atol=1e-6
        )
        linear = alone.run(name, activations, negated, before_activation=True)
        np.testing.assert_allclose(linear, before, rtol=1e-5, atol=1e-6)
        # The next call uses the artifacts' own weights again.
        np.testing.assert_allclose(alone.run(name, activations), activations[name], rtol=1e-6, atol=1e-6)
        attributes = alone.attributes(name)
        assert (attributes["op"], attributes["activation"]) == ("MatMul", "Relu")
        assert attributes["transpose_b"] is False


def test_other_inputs_change_the_activation(cache):
    pytest.importorskip("tf_keras")
    for format_ in ("layers", "graph"):
        loaded = load(build("cnn", 2), inputs("cnn"), cache, format=format_)
        name = next(layer.name for layer in loaded.plan.layers if layer.output)
        (before,) = loaded.alone.inputs_of(name)
        reversed_inputs = {before: loaded.activations[before][:, ::-1]}
        turned = loaded.alone.run(name, {**loaded.activations, **reversed_inputs})
        assert np.abs(turned - loaded.activations[name]).max() > 1e-3


def test_missing_inputs_and_unknown_weights_and_layers_are_errors(cache):
    loaded = load(build("mlp", 2), inputs("mlp"), cache, format="layers")
    with pytest.raises(SourceError, match="'squash' needs inputs that are missing: 'widen'"):
        loaded.alone.run("squash", {})
    with pytest.raises(SourceError, match=r"'squash' has no weight 'kernel'; its weights: squash/kernel"):
        loaded.alone.run("squash", loaded.activations, {"kernel": X})
    with pytest.raises(SourceError, match="'strange' cannot be run alone: it is not a compared layer"):
        loaded.alone.run("strange", loaded.activations)
    with pytest.raises(SourceError, match="cannot run"):
        loaded.alone.run("squash", {"widen": np.ones((2, 5), np.float32)})


def test_a_layer_that_draws_random_numbers_cannot_run_alone(cache):
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="x")])
    def function(x):
        return {"noisy": x * tf.random.uniform([2, 3], seed=3), "sound": tf.tanh(x)}

    loaded = load(function, X, cache)
    reasons = [loaded.alone.obstacle(layer) for layer in loaded.plan.tensors]
    assert [reason for reason in reasons if reason and "draws random numbers" in reason]
    assert None in reasons


def _norm(tf, x, version):
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    norm = getattr(tf.raw_ops, f"FusedBatchNorm{version}")
    return norm(x=x, scale=ones, offset=zeros, mean=zeros, variance=ones, epsilon=0.25, is_training=False).y


@pytest.mark.parametrize("version", ["", "V2", "V3"])
def test_the_main_operation_is_a_batch_norm_of_any_version(version):
    pytest.importorskip("tensorflow")
    x = np.ones((1, 2, 2, 2), np.float32)
    alone = graph_of(lambda tf, x: tf.nn.relu(_norm(tf, x, version)), x=x)
    attributes = alone.attributes("y")
    assert attributes["op"] == f"FusedBatchNorm{version}"
    assert attributes["epsilon"] == 0.25


def test_an_activation_is_found_before_copying_operations():
    pytest.importorskip("tensorflow")
    alone = graph_of(lambda tf, x: tf.stop_gradient(tf.identity(tf.nn.relu(x))), x=X)
    assert alone.attributes("y")["activation"] == "Relu"
    np.testing.assert_array_equal(alone.run("y", {"x": X}), np.maximum(X, 0))
    np.testing.assert_array_equal(alone.run("y", {"x": X}, before_activation=True), X)


def test_attributes_are_numbers_strings_and_lists():
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [1, 4, 4, 1], name="x")
        pooled = tf.nn.max_pool2d(x, 2, 1, "SAME").op
    assert attributes_of(pooled) == {
        "ksize": [1, 2, 2, 1],
        "strides": [1, 1, 1, 1],
        "padding": "SAME",
        "data_format": "NHWC",
        "explicit_paddings": [],
    }
    # Attributes that are dtypes or shapes are left out.
    assert attributes_of(graph.get_operation_by_name("x")) == {}


def test_an_attribute_without_a_value_is_omitted():
    tf = pytest.importorskip("tensorflow")
    node = tf.compat.v1.NodeDef(op="Relu", name="y")
    node.attr["unset"].SetInParent()
    node.attr["list"].list.i.append(1)
    values = {"list": [1], "unset": None}
    assert attributes_of(SimpleNamespace(node_def=node, get_attr=values.get)) == {"list": [1]}


def test_a_nested_model_is_a_copy_of_its_last_layer(cache):
    keras = pytest.importorskip("tf_keras")
    layers = keras.layers
    given = keras.Input((4,), name="given")
    inner = keras.Sequential(
        [layers.Dense(4, activation="tanh", name="turn"), layers.Dense(4, name="shift")], name="inner"
    )
    outer = keras.Model(given, layers.Add(name="sum")([given, inner(given)]), name="outer")
    x = keras.Input((4,), name="x")
    first = outer(x)
    model = keras.Model(x, layers.Concatenate(name="both")([outer(first), first]), name="nested")
    loaded = load(model, np.float32([[1, -2, 3, 0.5]]), cache, format="layers")
    assert max(errors_of(loaded).values()) < 1e-6
    assert loaded.alone.inputs_of("outer") == ("outer/sum",)
    assert loaded.alone.attributes("outer")["ops"] == ("Identity",)
    assert loaded.alone.inputs_of("outer#2/inner/turn") == ("outer",)
    assert loaded.alone.inputs_of("outer#2/inner/shift") == ("outer#2/inner/turn",)
    assert set(loaded.alone.weights_of("outer#2/inner/shift")) == {"shift/kernel", "shift/bias"}


@pytest.mark.parametrize("name", ["lstm", "control_flow", "strings", "spectrum"])
def test_each_layer_of_special_models_run_alone_equals_its_reference(cache, name, tmp_path):
    for case in cases():
        if case.family is FAMILIES.get(name):
            path = case.family.save(case.keras, tmp_path)
            found = errors_of(load(path, case.family.inputs(), cache, format=case.format))
            assert max(value for value in found.values() if value is not None) < 1e-5
