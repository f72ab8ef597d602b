"""The artifacts' weights are compared with the source's, after a real conversion."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from fixtures import build, inputs
from pytest_tfjs.errors import ConversionError, SourceError
from pytest_tfjs.models.artifacts import with_weights
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.running.keras_model import TappedKerasModel
from pytest_tfjs.workflows.layer_measurement import measure_compression

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def cnn():
    return as_source(build("cnn", pytest.importorskip("tf_keras") and 2))


@pytest.fixture
def checked(cache, cnn, tmp_path):
    """The weight check of the CNN's artifacts after `damage` has changed some weights."""

    def check(format_, weights="float32", damage=None):
        artifacts = convert(cnn, format=format_, weights=weights, cache=cache)
        if damage is not None:
            changes = damage(artifacts.read_weights())
            assert changes
            artifacts = with_weights(artifacts, changes, tmp_path / "damaged")
        feeds = normalise_feeds(inputs("cnn"), artifacts.inputs)
        return capture_reference(cnn, artifacts, feeds, "outputs", cache).weights

    return check


@pytest.mark.parametrize("weights", ["float32", "float16", "uint16", "uint8"])
@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_all_weights_of_a_sound_model_have_a_state(checked, format_, weights):
    check = checked(format_, weights)
    assert check.findings == ()
    kinds = {"equal"} if weights == "float32" else {"quantised"}
    kinds |= {"folded", "equal"} if format_ == "graph" else set()
    assert check.counts.keys() == kinds
    assert sum(check.counts.values()) == {"layers": 18, "graph": 12}[format_]


def lowest_bit(name):
    def damage(weights):
        (full,) = (each for each in weights if name in each and weights[each].dtype.kind == "f")
        value = weights[full].copy()
        at = np.unravel_index(np.abs(value).argmax(), value.shape)
        value[at] = np.nextafter(value[at], np.float32(np.inf))
        return {full: value}

    return damage


@pytest.mark.parametrize(
    ("format_", "name", "layer"),
    [
        ("layers", "mix_conv/kernel", "mix_conv"),
        ("layers", "down_bn/moving_mean", "down_bn"),
        ("graph", "mix_conv/Conv2D/ReadVariableOp", "mix_conv/Conv2D"),
    ],
)
def test_a_flipped_bit_of_a_weight_is_a_difference_that_names_it(checked, format_, name, layer):
    (found,) = checked(format_, damage=lowest_bit(name)).differences
    assert name in found.name
    assert found.what.startswith("1 of ")
    if format_ == "layers":  # of a graph's outputs alone, those are the only layers
        assert found.layer == layer


@pytest.mark.parametrize("weights", ["float32", "uint8"])
@pytest.mark.parametrize("name", ["stem_conv/Conv2D_weights", "down_depthwise/depthwise_bn_offset"])
def test_a_wrong_folded_weight_is_a_difference(checked, name, weights):
    def damage(stored):
        (full,) = (each for each in stored if each.endswith(name))
        changed = stored[full].copy()
        changed.flat[3] += np.float32(0.01 if weights == "float32" else 0.5)
        return {full: changed}

    (found,) = checked("graph", weights, damage).differences
    assert found.name.endswith(name)


def test_missing_and_extra_weights_are_differences(cache, cnn):
    artifacts = convert(cnn, format="layers", cache=cache)
    (group,) = artifacts.manifest
    entries = [
        {**entry, "name": "strange/kernel"} if entry["name"] == "mix_conv/kernel" else entry
        for entry in group["weights"]
    ]
    other = dataclasses.replace(artifacts, manifest=({**group, "weights": entries},))
    feeds = normalise_feeds(inputs("cnn"), artifacts.inputs)
    found = capture_reference(cnn, other, feeds, "outputs", cache).weights.differences
    assert {(one.name, one.what) for one in found} == {
        ("mix_conv/kernel", "the artifacts have no weight of this name"),
        ("strange/kernel", "the source has no weight of this name"),
    }


@pytest.mark.parametrize("format_", ["layers", "graph"])
def test_a_weight_that_matches_patterns_of_two_dtypes_is_an_error(cache, cnn, format_):
    weights = {"uint8": "*stem*", "float16": "*conv*"}
    with pytest.raises(ConversionError) as error:
        convert(cnn, format=format_, weights=weights, cache=cache)
    assert re.search(r"both match the weight '\S*stem\S*' of '.*'\. Make one", str(error.value))
    assert "the patterns '*stem*' and '*conv*' have different dtypes" in str(error.value)


def test_a_pattern_that_matches_only_unquantised_constants_is_an_error(cache, cnn):
    names = convert(cnn, format="graph", cache=cache).read_weights()
    whole = [name for name, value in names.items() if value.dtype.kind == "i"]
    with pytest.raises(ConversionError) as error:
        convert(cnn, format="graph", weights={"uint8": whole[0]}, cache=cache)
    message = str(error.value)
    suggested = re.findall(r"'([^']+)'", message.partition(" names: ")[2])
    assert suggested
    assert not set(suggested) & set(whole)


def test_a_stored_weight_of_another_shape_is_an_error():
    k = pytest.importorskip("tf_keras")
    x = k.Input((3,), name="x")
    model = k.Model(x, k.layers.Dense(2, name="dense")(x))
    with pytest.raises(
        SourceError, match=r"'dense/kernel' has shape \[2, 3\], but the source's has \[3, 2\]"
    ):
        TappedKerasModel(model, {"dense/kernel": np.zeros((2, 3), np.float32)})


@pytest.fixture
def reference_of(cache):
    def run(model, feed, changes=None, folder=None):
        source = as_source(model)
        artifacts = convert(source, format="graph", cache=cache)
        if changes is not None:
            artifacts = with_weights(artifacts, changes(artifacts.read_weights()), folder)
        feeds = normalise_feeds(feed, artifacts.inputs)
        return artifacts, capture_reference(source, artifacts, feeds, "all", cache)

    return run


def regrouped(tf):
    constant = np.float32([1, -2, 3])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def function(x):
        return tf.nn.relu(((x + constant) * 3.0 + 2.0) / 4.0)

    return function


X = np.float32([[1, -2, 3], [0.5, 0, -1]])


def test_constants_made_by_the_optimiser_are_checked_by_their_effect(reference_of, tmp_path):
    tf = pytest.importorskip("tensorflow")
    artifacts, reference = reference_of(regrouped(tf), X)
    assert reference.weights.findings == ()
    weights = artifacts.read_weights()
    assert reference.weights.counts.get("folded", 0) > 0
    wrong = {}
    for name, value in weights.items():
        folder = tmp_path / str(len(wrong))
        changed = {name: value * np.float32(1.5)}
        _, broken = reference_of(regrouped(tf), X, lambda _, changed=changed: changed, folder)
        wrong[name] = [one.name for one in broken.weights.differences]
    assert all(name in found for name, found in wrong.items()), wrong


def test_weights_in_loop_bodies_and_slopes_of_prelu_are_checked(reference_of):
    k = pytest.importorskip("tf_keras")
    k.utils.set_random_seed(4)
    x = k.Input((5, 3), name="x")
    y = k.layers.PReLU(alpha_initializer="random_normal", shared_axes=[1])(k.layers.Dense(4)(x))
    model = k.Model(x, k.layers.LSTM(3)(y), name="m")
    artifacts, reference = reference_of(model, np.ones((2, 5, 3), np.float32))
    assert any(name.startswith("__inference") for name in artifacts.weight_names())
    assert reference.weights.findings == ()


@pytest.mark.parametrize("feeds", [[0], [1, 0], [0, 1]])
def test_a_layer_whose_values_exceed_int32_is_unmapped_and_has_no_cost(cache, feeds):
    """The quantised middle weight is smaller than in the source."""
    tf = pytest.importorskip("tensorflow")
    weight = tf.Variable(np.float32([[0.0], [0.4995], [1.0]]))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def function(x):
        large = tf.matmul(x, weight) * np.float32(2**31 / 0.499)
        return {"large": tf.cast(large, tf.int64), "small": tf.matmul(tf.tanh(x), weight)}

    function.weight = weight
    source = as_source(function)
    artifacts = convert(source, format="graph", weights="uint8", cache=cache)
    rows = [np.float32([[0, 1, 0]]), np.float32([[0, 0.1, 0]])]
    normalised = normalise_feeds([rows[number] for number in feeds], artifacts.inputs)
    reference = capture_reference(source, artifacts, normalised, "all", cache)
    (unmapped,) = (layer for layer in reference.plan.layers if layer.coverage == "unmapped")
    assert "the only integer dtype of TF.js, holds" in unmapped.reason
    stored = any(unmapped.name in reference.sizes(number) for number in range(len(feeds)))
    assert stored, "with the weights as they are stored it fits"
    found = measure_compression(reference, artifacts.weights, None, 1000)
    assert found.unmeasured == (unmapped.name,)
    assert found.costs.keys() == {
        layer.name for layer in reference.plan.layers if layer.coverage == "compared"
    }


@pytest.fixture(scope="module")
def gru():
    k = pytest.importorskip("tf_keras")
    k.utils.set_random_seed(1)
    x = k.Input((4, 6), name="x")
    return as_source(k.Model(x, k.layers.GRU(3, name="g", bias_initializer="random_normal")(x), name="m"))


BIAS = "/unstack-folded-0"
GRU_FEED = np.random.default_rng(3).normal(size=(2, 4, 6)).astype(np.float32)


@pytest.mark.parametrize("weights", ["float32", "float16", "uint8", {"uint8": f"*{BIAS}"}], ids=str)
def test_constants_used_by_a_loop_are_checked_by_its_outputs(cache, gru, tmp_path, weights):
    """The biases have no effect on the loop's first output, its counter."""
    artifacts = convert(gru, format="graph", weights=weights, cache=cache)
    feeds = normalise_feeds(GRU_FEED, artifacts.inputs)
    sound = capture_reference(gru, artifacts, feeds, "all", cache).weights
    assert sound.findings == ()
    assert sound.counts["folded"] == 2
    (bias,) = (name for name in artifacts.weight_names() if name.endswith(BIAS))
    changed = {bias: np.full_like(artifacts.read_weights()[bias], 0.05)}
    damaged = with_weights(artifacts, changed, tmp_path / "damaged")
    found = capture_reference(gru, damaged, feeds, "all", cache).weights.differences
    assert bias in {one.name for one in found}
