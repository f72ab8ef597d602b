"""Faults in artifacts, feeds and precision are named by the diagnosis, in a real browser."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from pytest_tfjs import Prebuilt
from pytest_tfjs.browsers.harness import Harness, Page
from pytest_tfjs.errors import PageError
from pytest_tfjs.workflows import diagnosis as workflow

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.tfjs(backends="wasm", weight_check="fail"),
]

keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")


def values(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def with_nonzero_weights(model):
    """The model, with all weights between 0.1 and 1."""
    model.set_weights(
        [values(*each.shape, seed=n, low=0.1, high=1.0) for n, each in enumerate(model.get_weights())]
    )
    return model


def edit_topology(artifacts, out, change):
    """Copies the artifacts to `out` and applies `change` to their topology."""
    shutil.copytree(artifacts.model_json.parent, out)
    path = out / "model.json"
    content = json.loads(path.read_text())
    change(content["modelTopology"])
    path.write_text(json.dumps(content))
    return path


def nodes(topology, op):
    found = [node for node in topology["node"] if node["op"] == op]
    assert found
    return found


def keras_layer(topology, name):
    layers = topology["model_config"]["config"]["layers"]
    return next(layer for layer in layers if layer["config"]["name"] == name)


def diagnosis(tfjs, tmp_path, source, x, change, *, format_):
    """The diagnosis of artifacts whose topology `change` has altered."""
    path = tmp_path / ("source.keras" if format_ == "graph" else "source.h5")
    source.save(path)
    altered = edit_topology(tfjs.convert(path, format=format_), tmp_path / "altered", change)
    comparison = tfjs.compare(Prebuilt(altered, path), x)
    assert comparison.verdict == "diverged"
    return comparison.diagnosis


def resized(library):
    image = library.Input((5, 5, 3), name="image")
    return library.Model(image, library.layers.UpSampling2D(3, interpolation="bilinear", name="up")(image))


def test_flipped_half_pixel_centers_are_named(tfjs, tmp_path):
    def flip(topology):
        for node in nodes(topology, "ResizeBilinear"):
            node["attr"]["half_pixel_centers"] = {"b": False}

    found = diagnosis(tfjs, tmp_path, resized(keras), values(1, 5, 5, 3), flip, format_="graph")
    assert found.kind == "semantics"
    assert (
        "ResizeBilinear with half_pixel_centers=false instead of true, as model.json declares" in found.said
    )


def test_changed_epsilon_is_named(tfjs, tmp_path):
    image = tf_keras.Input((4, 4, 3), name="image")
    model = with_nonzero_weights(
        tf_keras.Model(image, tf_keras.layers.BatchNormalization(name="norm")(image))
    )

    def change(topology):
        keras_layer(topology, "norm")["config"]["epsilon"] = 0.25

    found = diagnosis(tfjs, tmp_path, model, values(1, 4, 4, 3), change, format_="layers")
    assert (found.kind, found.layer) == ("semantics", "norm")
    assert "epsilon=0.25 instead of 0.001, as model.json declares" in found.said


def test_shifted_padding_is_named(tfjs, tmp_path):
    image = tf_keras.Input((6, 6, 2), name="image")
    padded = tf_keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(image)
    model = with_nonzero_weights(
        tf_keras.Model(image, tf_keras.layers.Conv2D(2, 3, strides=2, name="conv")(padded))
    )

    def change(topology):
        keras_layer(topology, "pad")["config"]["padding"] = [[1, 0], [1, 0]]

    found = diagnosis(tfjs, tmp_path, model, values(1, 6, 6, 2), change, format_="layers")
    assert (found.kind, found.layer) == ("semantics", "pad")
    assert "Pad with the padding before and after swapped" in found.said


@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_swapped_activation_is_named(tfjs, tmp_path, format_):
    library = keras if format_ == "graph" else tf_keras
    x = library.Input((6,), name="x")
    model = with_nonzero_weights(
        library.Model(x, library.layers.Dense(5, activation="tanh", name="dense")(x))
    )

    def change(topology):
        if format_ == "layers":
            keras_layer(topology, "dense")["config"]["activation"] = "softsign"
        else:
            nodes(topology, "Tanh")[0]["op"] = "Sigmoid"

    found = diagnosis(tfjs, tmp_path, model, values(2, 6), change, format_=format_)
    assert found.kind == "semantics"
    assert {"graph": "Sigmoid", "layers": "Softsign"}[format_] in found.said


def test_swapped_inputs_are_named(tfjs, tmp_path):
    a, b = (keras.Input((4,), name=name) for name in "ab")
    left, right = keras.layers.Dense(4, name="left")(a), keras.layers.Dense(4, name="right")(b)
    model = with_nonzero_weights(keras.Model([a, b], keras.layers.Subtract(name="minus")([left, right])))

    def change(topology):
        (node,) = nodes(topology, "Sub")
        node["input"] = node["input"][::-1]

    found = diagnosis(
        tfjs, tmp_path, model, {"a": values(1, 4), "b": values(1, 4, seed=9)}, change, format_="graph"
    )
    assert found.kind == "wiring"
    assert "Sub with its two inputs swapped" in found.said


def test_wrong_input_layer_is_named(tfjs, tmp_path):
    x = tf_keras.Input((4,), name="x")
    first = tf_keras.layers.Dense(4, activation="tanh", name="first")(x)
    second = tf_keras.layers.Dense(4, activation="tanh", name="second")(first)
    last = tf_keras.layers.Dense(4, name="last")(second)
    model = with_nonzero_weights(tf_keras.Model(x, [last, second]))

    def change(topology):
        keras_layer(topology, "last")["inbound_nodes"][0][0][0] = "first"

    found = diagnosis(tfjs, tmp_path, model, values(2, 4), change, format_="layers")
    assert (found.kind, found.layer) == ("wiring", "last")
    assert "'first' in the artifacts, but 'second' in the source" in found.said


def test_transposed_weight_is_named(tfjs, tmp_path):
    from pytest_tfjs.models.artifacts import with_weights

    x = tf_keras.Input((4,), name="x")
    path = tmp_path / "source.h5"
    with_nonzero_weights(tf_keras.Model(x, tf_keras.layers.Dense(4, name="dense")(x))).save(path)
    artifacts = tfjs.convert(path, format="layers")
    kernel = artifacts.read_weights()["dense/kernel"]
    altered = with_weights(artifacts, {"dense/kernel": kernel.T}, tmp_path / "altered")
    found = tfjs.compare(Prebuilt(altered.model_json, path), values(2, 4)).diagnosis
    assert (found.kind, found.layer) == ("weight", "dense")
    assert "'dense/kernel'" in found.said


def save_folded_convolution(tmp_path):
    """Saves a convolution without bias, into which the converter folds a batch-norm."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, use_bias=False, name="conv")(image))
    x = layers.MaxPooling2D(name="pool")(layers.ReLU(name="relu")(x))
    path = tmp_path / "source.keras"
    with_nonzero_weights(keras.Model(image, layers.Conv2D(2, 2, name="last")(x))).save(path)
    return path


def test_wrong_folded_weight_is_named(tfjs, tmp_path):
    """A folded batch-norm is no fault; a factor other than the source's is one."""
    from pytest_tfjs.models.artifacts import with_weights

    path = save_folded_convolution(tmp_path)
    artifacts = tfjs.convert(path, format="graph")
    name, kernel = next((n, w) for n, w in artifacts.read_weights().items() if w.shape == (3, 3, 3, 4))
    altered = with_weights(artifacts, {name: kernel * np.float32(1.5)}, tmp_path / "altered")
    found = tfjs.compare(Prebuilt(altered.model_json, path), values(2, 8, 8, 3)).diagnosis
    assert (found.kind, found.layer.partition("/")[0]) == ("weight", "conv_1")


def test_wrong_padding_is_named_when_the_next_node_rejects_the_shape(tfjs, tmp_path):
    """TensorFlow rejects the shape at the next node, so no weight can be checked by its effect."""
    path = save_folded_convolution(tmp_path)

    def pad(topology):
        for node in topology["node"]:
            if node["op"] in ("Conv2D", "_FusedConv2D"):
                node["attr"]["padding"] = {"s": "U0FNRQ=="}

    altered = edit_topology(tfjs.convert(path, format="graph"), tmp_path / "altered", pad)
    comparison = tfjs.compare(Prebuilt(altered, path), values(2, 8, 8, 3))
    assert comparison.verdict == "diverged"
    assert comparison.diagnosis.kind == "semantics"
    assert "with padding=SAME instead of VALID, as model.json declares" in comparison.diagnosis.said


def test_artifacts_of_an_earlier_training_are_blamed_on_their_weights(tfjs, tmp_path):
    """The layers have other names, so no weight can be compared with the source's directly."""

    def trained(seed):
        rng = np.random.default_rng(seed)
        image = keras.Input((8, 8, 3), name="image")
        conv = keras.layers.Conv2D(4, 3, activation="relu", name=f"conv_{seed}")(image)
        model = keras.Model(image, conv, name=f"run_{seed}")
        model.set_weights([rng.normal(0.1, 0.3, each.shape) for each in model.get_weights()])
        return model

    earlier = tfjs.convert(trained(1), format="graph").model_json
    comparison = tfjs.compare(Prebuilt(earlier, trained(2)), values(2, 8, 8, 3))
    assert comparison.verdict == "diverged"
    assert comparison.diagnosis.kind == "weight"
    assert ", or another of its weights, may differ from the source's" in comparison.diagnosis.said


@pytest.mark.parametrize("change", ["scaled", "reversed"])
def test_lost_preprocessing_is_blamed_on_the_feed(tfjs, tmp_path, change):
    """The artifacts are of the same model without its first layer."""

    def build(*, whole):
        image = keras.Input((8, 8, 3), name="image")
        inside = image
        if whole and change == "scaled":
            inside = keras.layers.Rescaling(1 / 255, name="rescaling")(image)
        elif whole:
            inside = image[..., ::-1]
        conv = keras.layers.Conv2D(4, 3, name="conv", activation="relu")(inside)
        return with_nonzero_weights(keras.Model(image, keras.layers.Conv2D(2, 3, name="last")(conv)))

    whole, bare = tmp_path / "whole.keras", tmp_path / "bare.keras"
    build(whole=True).save(whole)
    build(whole=False).save(bare)
    altered = tfjs.convert(bare, format="graph")
    comparison = tfjs.compare(Prebuilt(altered.model_json, whole), values(1, 8, 8, 3, low=0, high=255))
    found = comparison.diagnosis
    assert found.kind == "feed"
    assert {"scaled": "the feed times 255", "reversed": "BGR for RGB"}[change] in found.said


# ---- effects on the run ----


class OpenedPages:
    """Records the backend of each page that is opened during a test."""

    def __init__(self, monkeypatch):
        self.targets = []
        plain = Page.__init__

        def counted(page, harness, browser, target, **limits):
            self.targets.append(target.backend)
            plain(page, harness, browser, target, **limits)

        monkeypatch.setattr(Page, "__init__", counted)


@pytest.fixture
def opened_backends(monkeypatch):
    return OpenedPages(monkeypatch).targets


@pytest.fixture
def compare_broken(tfjs, tmp_path):
    """A function that compares a model with artifacts that have another activation."""
    x = tf_keras.Input((6,), name="x")
    path = tmp_path / "source.h5"
    with_nonzero_weights(
        tf_keras.Model(x, tf_keras.layers.Dense(5, activation="tanh", name="dense")(x))
    ).save(path)

    def change(topology):
        keras_layer(topology, "dense")["config"]["activation"] = "softsign"

    altered = edit_topology(tfjs.convert(path, format="layers"), tmp_path / "altered", change)
    return lambda: tfjs.compare(Prebuilt(altered, path), values(2, 6))


def test_close_comparison_is_not_diagnosed(tfjs, tmp_path, monkeypatch, opened_backends):
    path = tmp_path / "resized.keras"
    resized(keras).save(path)
    monkeypatch.setattr(workflow, "_Diagnosing", None)
    comparison = tfjs.compare(path, values(1, 5, 5, 3))
    assert (comparison.verdict, comparison.diagnosis) == ("close", None)
    assert set(opened_backends) <= {"wasm"}


def test_page_of_the_target_is_reopened_after_a_diagnosis(tfjs, tmp_path, compare_broken, opened_backends):
    assert compare_broken().diagnosis.kind == "semantics"
    path = tmp_path / "resized.keras"
    resized(keras).save(path)
    assert tfjs.compare(path, values(1, 5, 5, 3)).verdict == "close"
    assert tfjs.target.backend == "wasm"
    assert opened_backends[-2:] == ["cpu", "wasm"]


def test_failing_parts_of_a_diagnosis_are_listed_and_leave_the_verdict(compare_broken, monkeypatch):
    plain = Harness.open

    def no_cpu(harness, target, **limits):
        if target.backend == "cpu":
            raise PageError("no page today")
        return plain(harness, target, **limits)

    def boom(*arguments, **more):
        raise RuntimeError("boom")

    monkeypatch.setattr(Harness, "open", no_cpu)
    monkeypatch.setattr(workflow, "examine_layer", boom)
    comparison = compare_broken()
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", ("dense",))
    assert comparison.diagnosis.kind == "unknown"
    assert "not tried: cpu on chrome: no page today" in comparison.diagnosis.evidence
    what = "other interpretations and changed feeds: RuntimeError: boom"
    assert f"not tried: {what}" in comparison.diagnosis.evidence


def test_diagnosis_stops_when_its_time_is_used_up(compare_broken, monkeypatch, opened_backends):
    monkeypatch.setattr(workflow, "BUDGET_S", 0.0)
    comparison = compare_broken()
    assert comparison.diagnosis.kind == "unknown"
    assert (
        "not tried: wasm on chrome: the 0 s for the diagnosis were used up" in comparison.diagnosis.evidence
    )
    assert "cpu" not in opened_backends


@pytest.mark.tfjs(rtol=1e-12, atol=1e-12)
def test_tolerance_below_rounding_is_named(tfjs, tmp_path):
    x = tf_keras.Input((600,), name="x")
    path = tmp_path / "source.h5"
    hidden = tf_keras.layers.Dense(50, name="dense")(x)
    with_nonzero_weights(tf_keras.Model(x, tf_keras.layers.Dense(5, name="last")(hidden))).save(path)
    comparison = tfjs.compare(path, values(2, 600), alone="all")
    assert comparison.verdict == "diverged"
    assert comparison.diagnosis.kind == "growth"
    assert "the given tolerance is smaller than its rounding error" in comparison.diagnosis.said


def test_quantised_weights_are_named_as_the_cause(tfjs, tmp_path):
    x = tf_keras.Input((6,), name="x")
    path = tmp_path / "source.h5"
    with_nonzero_weights(tf_keras.Model(x, tf_keras.layers.Dense(5, name="dense")(x))).save(path)
    found = tfjs.compare(path, values(2, 6), weights="uint8", compression=1e-9).diagnosis
    assert (found.kind, found.layer) == ("quantised weights", None)
    assert "quantising the weights to uint8 changes" in found.said
