from __future__ import annotations

import dataclasses
import gc
import json
import mmap
import subprocess
import sys
import weakref

import numpy as np
import pytest

from fixtures import SAMPLES, build, inputs
from pytest_tfjs.errors import SourceError
from pytest_tfjs.models import weights as artifact_weights
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import Prebuilt, as_source
from pytest_tfjs.reference import capture
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.reference.running.casts import Casts
from tests.support.converted_graph import disagreements
from tests.support.paths import ROOT
from tests.support.sizes import slow_except

pytestmark = pytest.mark.convert
X = np.float32([[1, -2, 3], [0.5, 0, -1]])


SMALL = [name for name in SAMPLES if name != "mobilenet_v2"]


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def captured(cache):
    """Converts a model and captures its reference: the artifacts, the feeds and the reference."""

    def run(model, feed, *, layers="all", **options):
        source = as_source(model)
        artifacts = convert(source, cache=cache, **options)
        feeds = normalise_feeds(feed, artifacts.inputs)
        return artifacts, feeds, capture_reference(source, artifacts, feeds, layers, cache)

    return run


def sample(name, version):
    pytest.importorskip("tf_keras" if version == 2 else "keras")
    return build(name, version), inputs(name)


def dense(name="m", seed=3):
    k = pytest.importorskip("tf_keras")
    k.utils.set_random_seed(seed)
    x = k.Input((3,), name="x")
    y = k.layers.Dense(4, activation="relu", bias_initializer="ones", name="d")(x)
    return k.Model(x, k.layers.Dense(2, name="out")(y), name=name)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", slow_except(SMALL, SAMPLES))
def test_each_row_of_a_graph_model_equals_the_converted_node(captured, name, version):
    artifacts, feeds, reference = captured(*sample(name, version), format="graph")
    assert [layer.reason for layer in reference.plan.layers if layer.coverage == "unmapped"] == []
    assert disagreements(artifacts, feeds[0], reference, rtol=1e-3) == {}
    assert [layer.name for layer in reference.plan.layers if layer.output]


@pytest.mark.parametrize("name", SMALL)
def test_the_plan_does_not_depend_on_weight_quantisation(captured, name):
    model, feed = sample(name, 2)
    _, _, exact = captured(model, feed, format="graph")
    _, _, half = captured(model, feed, format="graph", weights="float16")
    assert half.plan == exact.plan


@pytest.mark.parametrize("name", slow_except(SMALL, SAMPLES))
def test_every_layer_of_a_layers_model_is_compared(captured, name):
    model, feed = sample(name, 2)
    artifacts, _, reference = captured(model, feed, format="layers")
    within = [layer.name for layer in reference.plan.layers if layer.coverage == "fused"]
    assert within == (["bidirectional/lstm"] if name == "text" else [])
    assert {layer.coverage for layer in reference.plan.layers if layer.name not in within} == {"compared"}
    expected = model(list(feed.values()) if len(feed) > 1 else next(iter(feed.values())), training=False)
    outputs = [layer.name for layer in reference.plan.layers if layer.output]
    activations = reference.activations(0)
    assert set(outputs) == {spec.name for spec in artifacts.outputs}
    named = dict(zip(model.output_names, expected if isinstance(expected, list) else [expected], strict=True))
    for output in outputs:
        np.testing.assert_allclose(activations[output], named[output], rtol=1e-5, atol=1e-6)


def test_a_wrong_weight_changes_only_later_rows(tf, captured, tmp_path):
    from pytest_tfjs.models.artifacts import with_weights

    model, feed = sample("cnn", 2)
    artifacts, feeds, reference = captured(model, feed, format="graph")
    weights = artifacts.read_weights()
    name = next(name for name in weights if "head_conv" in name and weights[name].ndim == 4)
    broken = with_weights(artifacts, {name: weights[name] * 2}, tmp_path / "broken")
    wrong = disagreements(broken, feeds[0], reference, rtol=1e-3)
    assert "head_conv/Conv2D" in wrong
    assert not any(name.startswith(("stem", "down", "mix")) for name in wrong)


def test_shapes_are_of_the_first_feed_and_activations_of_each(captured):
    _, _, reference = captured(dense(), [X, X[:1] * 2])
    row = next(layer for layer in reference.plan.layers if layer.name == "d")
    assert (row.shape, row.dtype) == ((2, 4), "float32")
    assert reference.activations(0)["d"].shape == (2, 4)
    np.testing.assert_allclose(reference.activations(1)["d"], dense().get_layer("d")(X[:1] * 2), rtol=1e-6)


def test_layers_outputs_captures_only_the_outputs(captured):
    model = dense()
    for format_ in ("layers", "graph"):
        _, _, reference = captured(model, X, layers="outputs", format=format_)
        assert [layer.output for layer in reference.plan.layers] == [True]
        (value,) = reference.activations(0).values()
        np.testing.assert_allclose(value, model(X), rtol=1e-5)


def test_activations_have_the_browsers_dtypes(tf, captured):
    spec = tf.TensorSpec([None, 3], tf.float64, name="x")

    @tf.function(input_signature=[spec, tf.TensorSpec([None], tf.string, name="words")])
    def mixed(x, words):
        return {
            "double": tf.nn.relu(x),
            "long": tf.argmax(x, 1),
            "short": tf.cast(x, tf.int16),
            "yes": x > 0,
            "complex": tf.cast(x, tf.complex64),
            "words": tf.where(tf.equal(words, "a"), "none", words),
        }

    artifacts, feeds, reference = captured(mixed, (X.astype(np.float64), np.array(["a", "größer"])))
    rows = {layer.name: layer.dtype for layer in reference.plan.layers if layer.output}
    assert sorted(rows.values()) == ["bool", "complex64", "float32", "int32", "int32", "str"]
    activations = reference.activations(0)
    for name, dtype in rows.items():
        assert (
            activations[name].dtype.kind == "U" if dtype == "str" else activations[name].dtype.name == dtype
        )
    words = next(name for name, dtype in rows.items() if dtype == "str")
    assert activations[words].tolist() == ["none", "größer"]
    assert disagreements(artifacts, feeds[0], reference) == {}


def test_bfloat16_becomes_float32(tf):
    value = tf.constant([1.5, -2.0], tf.bfloat16).numpy()
    casts = Casts()
    found = casts.apply({"a": value})["a"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.5, -2.0]
    assert casts.notes == ()


def test_activations_are_memory_mapped(captured):
    _, _, reference = captured(dense(), X)
    value = reference.activations(0)["d"]
    assert not value.flags.owndata
    base = value
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj, mmap.mmap)


@pytest.mark.parametrize("weights", ["float32", "uint8"])
@pytest.mark.parametrize("format_", ["layers", "graph"])
@pytest.mark.parametrize("prebuilt", [False, True])
def test_a_capture_decodes_the_weights_once_and_frees_them(cache, monkeypatch, format_, weights, prebuilt):
    decoded = []

    def counting(*arguments):
        result = decode_weights(*arguments)
        decoded.append([weakref.ref(value) for value in result.values()])
        return result

    model = dense(seed=11)
    artifacts = convert(as_source(model), format=format_, weights=weights, cache=cache)
    source = as_source(Prebuilt(artifacts.model_json, model) if prebuilt else model)
    artifacts = convert(source, format=format_, weights=weights, cache=cache)
    feeds = normalise_feeds(X, artifacts.inputs)
    decode_weights = artifact_weights.decode_weights
    monkeypatch.setattr(artifact_weights, "decode_weights", counting)
    with ContentCache(None) as empty:
        capture_reference(source, artifacts, feeds, "all", empty, arithmetic=True)
    assert len(decoded) == 1
    gc.collect()
    assert [value for value in decoded[0] if value() is not None] == []


# The cache.


def folder_of(cache, model, feed=X, layers="all", **options):
    source = as_source(model)
    artifacts = convert(source, cache=cache, **options)
    feeds = normalise_feeds(feed, artifacts.inputs)
    return capture_reference(source, artifacts, feeds, layers, cache).folder


def test_an_equal_capture_uses_the_same_entry(cache):
    assert folder_of(cache, dense()) == folder_of(cache, dense())


def test_other_feeds_weights_layers_and_versions_use_other_entries(cache, monkeypatch):
    changed = dense()
    changed.get_layer("d").bias.assign_add([0, 0, 0, 1e-6])
    more = pytest.importorskip("tf_keras").Sequential([*dense().layers])
    folders = [
        folder_of(cache, dense()),
        folder_of(cache, dense(), X + np.float32(1e-6)),
        folder_of(cache, dense(), [X, X]),
        folder_of(cache, dense(), layers="outputs"),
        folder_of(cache, dense(), format="graph"),
        folder_of(cache, changed),
        folder_of(cache, more),
    ]
    monkeypatch.setattr(capture, "versions", lambda: {"tensorflow": "9"})
    folders.append(folder_of(cache, dense()))
    assert len(set(folders)) == len(folders)


def test_other_topologies_and_quantisations_use_other_entries(cache):
    model = dense()
    source = as_source(model)
    artifacts = convert(source, format="graph", cache=cache)
    feeds = normalise_feeds(X, artifacts.inputs)

    def folder(artifacts):
        return capture_reference(source, artifacts, feeds, "all", cache).folder

    extra = {"name": "extra", "op": "Elu", "input": [artifacts.outputs[0].tensor], "attr": {}}
    other = {**artifacts.topology, "node": [*artifacts.topology["node"], extra]}
    assert folder(dataclasses.replace(artifacts, topology=other)) != folder(artifacts)
    assert folder(convert(source, format="graph", weights="float16", cache=cache)) != folder(artifacts)


@pytest.mark.parametrize("format_", ["layers", "graph"])
@pytest.mark.parametrize("harm", ["truncated", "foreign"])
def test_a_damaged_entry_is_captured_again(tmp_path, harm, format_):
    with ContentCache(tmp_path) as cache:
        folder = folder_of(cache, dense(), format=format_)
        good = {file.name: file.read_bytes() for file in folder.iterdir()}
        if harm == "truncated":
            (folder / "feed-0-0.safetensors").write_bytes(good["feed-0-0.safetensors"][:-4])
        else:
            other = json.loads(good["plan.json"])
            other["layers"][0]["name"] = other["layers"][0]["name"][::-1]
            (folder / "plan.json").write_text(json.dumps(other))
    with ContentCache(tmp_path) as cache:
        assert folder_of(cache, dense(), format=format_) == folder
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == good


WARM = """
import sys
from pathlib import Path
import numpy as np
from pytest_tfjs.models import weights as artifact_weights
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference

with ContentCache(Path(sys.argv[1])) as cache:
    for path in sys.argv[2:]:
        source = as_source(path)
        artifacts = convert(source, cache=cache)
        feeds = normalise_feeds(np.ones((1, 3), np.float32), artifacts.inputs)
        reference = capture_reference(source, artifacts, feeds, "all", cache)
        print(artifacts.format, len(reference.activations(0)))
print("tensorflow" in sys.modules)
"""


def test_a_second_capture_from_files_imports_no_tensorflow(tf, tmp_path):
    model = dense()
    paths = [str(tmp_path / "m.keras"), str(tmp_path / "m.h5"), str(tmp_path / "saved model")]
    model.save(paths[0])
    model.save(paths[1])
    model.export(paths[2])
    command = [sys.executable, "-c", WARM, str(tmp_path / "cache"), *paths]
    outputs = [
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout for _ in "ab"
    ]
    assert outputs == [f"layers 2\nlayers 2\ngraph 2\n{imported}\n" for imported in (True, False)]


def test_prebuilt_artifacts_have_the_plan_of_their_source(captured):
    model = dense()
    for format_ in ("layers", "graph"):
        built, _, direct = captured(model, X, format=format_)
        _, _, reference = captured(Prebuilt(built.model_json, model), X)
        assert reference.plan == direct.plan


def test_layers_of_another_models_artifacts_are_unmapped(captured):
    k = pytest.importorskip("tf_keras")
    x = k.Input((3,), name="x")
    other = k.Model(
        x, k.layers.Dense(2, name="out")(k.layers.Dense(4, activation="tanh", name="e")(x)), name="m"
    )
    for format_, unmapped in (
        ("layers", {"d", "e"}),
        # Both models begin with a matrix product and a bias, under other names.
        ("graph", {"d/Relu", "StatefulPartitionedCall/m/e/Tanh"}),
    ):
        built, _, _ = captured(other, X, format=format_)
        _, _, reference = captured(Prebuilt(built.model_json, dense()), X)
        found = {layer.name for layer in reference.plan.layers if layer.coverage == "unmapped"}
        assert found >= unmapped
        assert reference.plan.layers[0].coverage == ("unmapped" if format_ == "layers" else "compared")


def test_artifacts_without_a_source_are_rejected(captured, cache):
    built, feeds, _ = captured(dense(), X, format="graph")
    alone = as_source(built.model_json)
    with pytest.raises(SourceError, match="nothing to compare it with"):
        capture_reference(alone, convert(alone, cache=cache), feeds, "all", cache)
