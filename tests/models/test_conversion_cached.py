"""Conversions are cached, and repeated only if the model, the options or a version changed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pytest_tfjs.errors import ArtifactsError, ConversionError
from pytest_tfjs.models import conversion
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.sources import Prebuilt, as_source
from tests.support.paths import ROOT
from tests.support.twin_models import FEED, assert_close, names, run_graph, run_saved_model, twin

pytestmark = pytest.mark.convert


def test_prebuilt_artifacts_are_unchanged_and_have_the_sources_saved_model(tf, tf_keras, made):
    model = twin(tf_keras)
    for format_ in ("layers", "graph"):
        built = made(model, format=format_, weights="uint8")
        prebuilt = made(Prebuilt(built.model_json, model))
        assert (prebuilt.model_json, prebuilt.weights) == (built.model_json, "uint8")
        assert made(built.model_json).saved_model is None
        if format_ == "graph":
            assert_close(run_saved_model(tf, prebuilt, FEED), run_saved_model(tf, built, FEED))
        else:
            assert prebuilt.saved_model is None
            with pytest.raises(
                ConversionError, match="to format 'layers', so it cannot be tested in format='graph'"
            ):
                made(Prebuilt(built.model_json, model), format="graph")


def test_prebuilt_artifacts_with_a_short_shard_are_rejected(tf_keras, made, tmp_path):
    import shutil

    built = made(twin(tf_keras))
    shutil.copytree(built.model_json.parent, tmp_path / "copy")
    shard = tmp_path / "copy" / built.manifest[0]["paths"][0]
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(ArtifactsError, match="too short"):
        made(Prebuilt(tmp_path / "copy", twin(tf_keras)))


def test_changes_of_model_weights_and_versions_convert_again(tf_keras, tmp_path, monkeypatch):
    built = []
    original = conversion.build_artifacts
    monkeypatch.setattr(
        conversion, "build_artifacts", lambda *args: (built.append(args[1:3]), original(*args))[1]
    )
    x = tf_keras.Input((3,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(x))
    with ContentCache(tmp_path) as cache:
        first = convert(as_source(model), cache=cache)
        assert convert(as_source(model), cache=cache) == first
        assert convert(as_source(model), format="layers", cache=cache) == first
        assert len(built) == 1
        convert(as_source(model), weights="uint8", cache=cache)
        assert built[1:] == [("layers", "uint8")]
        model.layers[1].bias.assign_add([0, 1e-7])
        assert convert(as_source(model), cache=cache) != first
        assert len(built) == 3
        monkeypatch.setattr(conversion.converters, "versions", lambda: {"tensorflow": "9"})
        convert(as_source(model), cache=cache)
        assert len(built) == 4


def test_a_file_changed_during_conversion_is_an_error(tf_keras, tmp_path, monkeypatch):
    x = tf_keras.Input((3,), name="x")
    tf_keras.Model(x, tf_keras.layers.Dense(2)(x)).save(tmp_path / "m.keras")
    original = conversion.build_artifacts

    def build(*args):
        original(*args)
        with (tmp_path / "m.keras").open("ab") as stream:
            stream.write(b"more")

    monkeypatch.setattr(conversion, "build_artifacts", build)
    with (
        ContentCache(tmp_path / "cache") as cache,
        pytest.raises(ConversionError, match="changed while it was converted"),
    ):
        convert(as_source(tmp_path / "m.keras"), cache=cache)
    assert list((tmp_path / "cache").rglob("model.json")) == []


WARM = """
import sys
from pathlib import Path
from pytest_tfjs.models.cache import ContentCache
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.sources import as_source

with ContentCache(Path(sys.argv[1])) as cache:
    for path in sys.argv[2:]:
        print(convert(as_source(path), cache=cache).format, end=" ")
print("tensorflow" in sys.modules)
"""


def test_a_warm_conversion_of_files_imports_no_tensorflow(tf, tf_keras, tmp_path):
    x = tf_keras.Input((3,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(x))
    paths = [tmp_path / "m.keras", tmp_path / "m.h5", tmp_path / "saved model"]
    model.save(paths[0])
    model.save(str(paths[1]))
    model.export(str(paths[2]))
    with ContentCache(tmp_path / "cache") as cache:
        for path in paths:
            convert(as_source(path), cache=cache)
    result = subprocess.run(
        [sys.executable, "-c", WARM, str(tmp_path / "cache"), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stdout == "layers layers graph False\n"


@pytest.mark.parametrize("name", ["mlp", "text", "two_in_two_out"])
def test_samples_give_equal_outputs_from_saved_model_and_graph(tf, keras, made, name):
    samples = pytest.importorskip("fixtures.samples")
    feed = samples.inputs(name)
    artifacts = made(samples.build(name, int(keras.__version__[0])), format="graph")
    assert set(names(artifacts.inputs)) == set(feed)
    actual, expected = run_graph(tf, artifacts, feed), run_saved_model(tf, artifacts, feed)
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(actual[key], value, rtol=1e-4, atol=1e-5)
