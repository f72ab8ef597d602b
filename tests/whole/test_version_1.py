"""SavedModels of TensorFlow 1 with lookup tables are converted and close."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs import Prebuilt
from pytest_tfjs.models.tensorflow.graph_conversion import is_of_version_1
from pytest_tfjs.models.tensorflow.importing import captured, import_converter

pytestmark = [pytest.mark.browser, pytest.mark.convert]

WORDS = np.array(["p", "z", "q"], dtype=object)


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow")


def save(tf, folder, *, variable=False, second=False):
    """A SavedModel with a table from words to numbers; with a weight; with a second table behind it."""
    one = tf.compat.v1
    with tf.Graph().as_default(), one.Session() as session:
        words = one.placeholder(tf.string, [None], name="words")
        keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["p", "q"]), tf.constant([5, 8]))
        found = tf.lookup.StaticHashTable(keys, -1).lookup(words)
        outputs = {"found": found}
        if variable:
            weight = one.get_variable("weight", initializer=np.float32([0.2, 0.3]))
            scaled = tf.cast(found, tf.float32)[:, None] * weight
            outputs["scaled"] = tf.nn.tanh(scaled, name="act")
        if second:
            pairs = tf.lookup.KeyValueTensorInitializer(
                tf.constant([5, 8], tf.int64), tf.constant([0.5, 0.25])
            )
            outputs["score"] = tf.lookup.StaticHashTable(pairs, 7.0).lookup(tf.cast(found, tf.int64)) * 3.0
        session.run([one.tables_initializer(), one.global_variables_initializer()])
        one.saved_model.simple_save(
            session, str(folder), {"words": words}, outputs, legacy_init_op=one.tables_initializer()
        )
    return folder


@pytest.mark.tfjs(backends="cpu,wasm")
@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ("float32", {}),
        ("float16", {"variable": True, "second": True}),
        pytest.param("float32", {"variable": True}, marks=pytest.mark.slow),
        pytest.param("float32", {"second": True}, marks=pytest.mark.slow),
    ],
)
def test_tables_are_filled_and_close(tfjs, tf, tmp_path, weights, parts):
    path = save(tf, tmp_path / "model", **parts)
    assert is_of_version_1(path)
    comparison = tfjs.assert_close(path, WORDS, weights=weights)
    verdicts = {result.layer.op: result.verdict for result in comparison.layers}
    assert verdicts["LookupTableFindV2"] == "close"


@pytest.mark.tfjs(backends="cpu")
def test_artifacts_of_the_converter_itself_are_close(tfjs, tf, tmp_path):
    path = save(tf, tmp_path / "model", variable=True)
    with captured():
        import_converter().graph.convert_tf_saved_model(str(path), str(tmp_path / "web"))
    tfjs.assert_close(Prebuilt(tmp_path / "web", path), WORDS)


@pytest.mark.tfjs(backends="cpu")
def test_wrong_value_in_a_table_is_found(tfjs, tf, tmp_path):
    """The artifacts are of a model whose table has another value."""
    path, other = save(tf, tmp_path / "model"), save(tf, tmp_path / "other")
    built = tfjs.convert(other)
    shard = next(built.model_json.parent.glob("*.bin"))
    folder = tmp_path / "web"
    folder.mkdir()
    for file in built.model_json.parent.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = bytearray(shard.read_bytes())
    at = content.index(np.int32([5, 8]).tobytes())
    content[at : at + 4] = np.int32(6).tobytes()
    (folder / shard.name).write_bytes(content)
    comparison = tfjs.compare(Prebuilt(folder, path), WORDS)
    assert comparison.verdict == "diverged", comparison
    assert "LookupTableFindV2" in comparison.first_divergence[0]


def test_models_of_tensorflow_2_are_not_of_version_1(tf, tmp_path):
    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def serve(self, x):
            return x * 2.0

    tf.saved_model.save(Model(), str(tmp_path))
    assert not is_of_version_1(tmp_path)
