"""What TensorFlow refuses to convert or run: an error of a few lines that names the layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_tfjs.errors import ConversionError, SourceError, TfjsError
from tests.support.sizes import slow_except

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.convert]

IDS = np.int32([[1, 2, 10]])
BEYOND = "indices[0,2] = 10 is not in [0, 10). Feed numbers from 0 to 9"
MEND = "Feed inputs that the layer accepts, or mend the layer"
OTHERS = "Build these layers from other operations"


@dataclass(frozen=True)
class Refused:
    """A model that TensorFlow refuses, as `build(tf, keras, folder)` gives it with its feed.

    `parts` of the first line, in order: the layer first, what to do last.
    """

    build: Callable[[Any, Any, Path], tuple[Any, Any]]
    parts: tuple[str, ...]
    error: type[TfjsError] = SourceError
    format: str = "auto"
    weights: str = "float32"


def _floats(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def _stack(keras: Any, x: Any, *layers: Any, name: str = "net") -> Any:
    y = x
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y, name=name)


def _module(tf: Any, function: Callable[..., Any], shape: list[int | None], dtype: Any, **owned: Any) -> Any:
    class Model(tf.Module):
        def __init__(self) -> None:
            super().__init__(name="net")
            self.owned = owned

        @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name="x")])
        def serve(self, x: Any) -> Any:
            return {"y": function(x)}

    return Model()


def _embedding(tf: Any, keras: Any, folder: Path) -> Any:
    ids = keras.Input((3,), dtype="int32", name="ids")
    return _stack(keras, ids, keras.layers.Embedding(10, 4, name="embedding")), IDS


def _nested_embedding(tf: Any, keras: Any, folder: Path) -> Any:
    inner, _ = _embedding(tf, keras, folder)
    ids = keras.Input((3,), dtype="int32", name="words")
    return _stack(keras, ids, inner, keras.layers.Dense(2, name="head"), name="outer"), IDS


def _saved(extension: str) -> Callable[[Any, Any, Path], Any]:
    def build(tf: Any, keras: Any, folder: Path) -> Any:
        model, feed = _embedding(tf, keras, folder)
        model.save(str(folder / f"net{extension}"))
        return folder / f"net{extension}", feed

    return build


def _keras_3(tf: Any, keras: Any, folder: Path) -> Any:
    return _embedding(tf, pytest.importorskip("keras"), folder)


def _gather(tf: Any, keras: Any, folder: Path) -> Any:
    model = _module(tf, lambda x: tf.gather(tf.ones([10, 4]), x, name="table") * 2.0, [None, 3], tf.int32)
    tf.saved_model.save(model, str(folder / "gather"))
    return folder / "gather", IDS


def _shape(tf: Any, keras: Any, folder: Path) -> Any:
    x = keras.Input((None,), name="x")
    return _stack(keras, x, keras.layers.Reshape((3, 7), name="folded")), _floats(2, 5)


def _shape_of_function(tf: Any, keras: Any, folder: Path) -> Any:
    return _module(
        tf, lambda x: tf.reshape(tf.tanh(x), [3, 7], name="folded"), [None, 3], tf.float32
    ), _floats(2, 3)


def _assertion(tf: Any, keras: Any, folder: Path) -> Any:
    class Checked(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            with tf.control_dependencies([tf.debugging.assert_less(x, 0.5, message="too large")]):
                return tf.identity(x)

    x = keras.Input((4,), name="x")
    return _stack(keras, x, keras.layers.ReLU(name="before"), Checked(name="checked")), _floats(2, 4) + 9


def _own_error(tf: Any, keras: Any, folder: Path) -> Any:
    class Odd(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            if x.shape[0] == 2:  # not when Keras builds the model
                raise ValueError("only pairs of three")
            return x * 2.0

    x = keras.Input((4,), name="x")
    return _stack(keras, x, Odd(name="odd")), _floats(2, 4)


def _stateful(tf: Any, keras: Any, folder: Path) -> Any:
    x = keras.Input(batch_shape=(1, 4, 3), name="x")
    return _stack(keras, x, keras.layers.LSTM(5, stateful=True, name="memory")), _floats(1, 4, 3)


def _counting(tf: Any, keras: Any, folder: Path) -> Any:
    count = tf.Variable(1.0, name="calls")
    return _module(
        tf, lambda x: x * count.assign_add(1.0, name="counted"), [None, 3], tf.float32, count=count
    ), _floats(2, 3)


def _branch(tf: Any, keras: Any, folder: Path) -> Any:
    """TensorFlow freezes this one, and TF.js lacks the operation."""
    count = tf.Variable(1.0)

    def serve(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 9.0, lambda: x * count.assign_add(1.0), lambda: x * 2.0)

    return _module(tf, serve, [None, 3], tf.float32, count=count), _floats(2, 3)


def _flip(tf: Any, keras: Any, folder: Path) -> Any:
    x = keras.Input((4, 4, 3), name="x")
    y = keras.layers.RandomFlip("horizontal", seed=1, name="flip")(x, training=True)
    return keras.Model(x, y, name="net"), _floats(1, 4, 4, 3)


def _generator(tf: Any, keras: Any, folder: Path) -> Any:
    generator = tf.random.Generator.from_seed(1)
    return _module(tf, lambda x: x + generator.normal([3], name="noise"), [None, 3], tf.float32), _floats(
        2, 3
    )


def _no_counterpart(tf: Any, keras: Any, folder: Path) -> Any:
    x = keras.Input((4,), name="x")
    return _stack(keras, x, keras.layers.Lambda(tf.math.lgamma, name="gamma")), _floats(2, 4)


def _python(tf: Any, keras: Any, folder: Path) -> Any:
    def serve(x: Any) -> Any:
        return tf.numpy_function(lambda value: value * 2, [x], tf.float32, name="called")

    return _module(tf, serve, [None, 3], tf.float32), _floats(2, 3)


def _unregistered(tf: Any, keras: Any, folder: Path) -> Any:
    """A SavedModel with an operation of a package that is not imported."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / "custom"
    tf.saved_model.save(_module(tf, lambda x: tf.tanh(x, name="odd") * 2.0, [None, 3], tf.float32), str(path))
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for function in content.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = "OfAnotherPackage" if node.op == "Tanh" else node.op
    (path / "saved_model.pb").write_bytes(content.SerializeToString())
    return path, _floats(2, 3)


def _mutable_table(tf: Any, keras: Any, folder: Path) -> Any:
    table = tf.lookup.experimental.DenseHashTable(tf.string, tf.int64, -1, "", "$")
    table.insert(tf.constant(["a"]), tf.constant([5], tf.int64))
    return _module(tf, table.lookup, [None], tf.string, table=table), np.array(["a"], object)


def _no_config(tf: Any, keras: Any, folder: Path) -> Any:
    class Scale(keras.layers.Layer):
        def __init__(self, factor: float, **more: Any) -> None:
            super().__init__(**more)
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor

    x = keras.Input((4,), name="x")
    return _stack(keras, x, keras.layers.Dense(3), Scale(2.0, name="scale")), _floats(2, 4)


def _closure(tf: Any, keras: Any, folder: Path) -> Any:
    x = keras.Input((4,), name="x")
    inner = _stack(keras, x, keras.layers.Lambda(lambda v: tf.nn.l2_normalize(v, -1), name="unit"))
    return _stack(keras, keras.Input((4,), name="y"), inner), _floats(2, 4)


def _vocabulary(tf: Any, keras: Any, folder: Path) -> Any:
    layer = keras.layers.TextVectorization(max_tokens=9, output_sequence_length=4, name="words")
    layer.adapt(["the cat", "the dog"])
    return _stack(keras, keras.Input((), dtype="string", name="text"), layer), np.array(["a cat"], object)


REFUSED = {
    "ids": Refused(_embedding, ("'embedding' (Embedding): ", BEYOND)),
    "ids, graph": Refused(_embedding, ("'embedding' (Embedding): ", BEYOND), format="graph"),
    "ids, quantised": Refused(
        _embedding, ("'embedding' (Embedding): ", BEYOND), format="graph", weights="float16"
    ),
    "ids, nested": Refused(_nested_embedding, ("'embedding' (Embedding): ", BEYOND)),
    "ids, Keras 3": Refused(_keras_3, ("'embedding' (Embedding): ", BEYOND)),
    "ids, h5": Refused(_saved(".h5"), ("'embedding' (Embedding): ", BEYOND)),
    "ids, SavedModel": Refused(_gather, ("'table': ", BEYOND)),
    "shape": Refused(_shape, ("'folded' (Reshape): ", "10 values", MEND)),
    "shape, function": Refused(_shape_of_function, ("'folded': ", "Cannot reshape", MEND)),
    "assertion": Refused(_assertion, ("'checked' (Checked): ", "too large", MEND)),
    "own error": Refused(_own_error, ("'odd' (Odd): ", "only pairs of three", MEND)),
    "state": Refused(
        _stateful,
        ("'memory' (LSTM, ", "changes a variable when it runs", "stateful=False"),
        ConversionError,
        format="graph",
    ),
    "assignment": Refused(
        _counting,
        ("(AssignAddVariableOp of the variable 'calls') changes a variable", "Build it without state"),
        ConversionError,
    ),
    "mutable table": Refused(
        _mutable_table,
        ("LookupTableFindV2 (in ", "can change (", "DenseHashTable", "Use a tf.lookup.StaticHashTable"),
        ConversionError,
    ),
    "layer without a config": Refused(
        _no_config,
        ("the layer 'scale' (Scale) has no get_config() that begins with super()", "Use format='graph'"),
        ConversionError,
    ),
    "layer with a closure": Refused(
        _closure,
        ("the config of the layer 'unit' (Lambda)", "cannot pickle 'module' object", "Use format='graph'"),
        ConversionError,
    ),
    "layer with a vocabulary": Refused(
        _vocabulary,
        ("the layer 'words' (TextVectorization) has weights that are no arrays", "Use format='graph'"),
        ConversionError,
    ),
    "layer with a vocabulary, graph": Refused(
        _vocabulary,
        ("LookupTableFindV2 (in 'words' (TextVectorization))", "vocabulary= instead of calling adapt()"),
        ConversionError,
        format="graph",
    ),
    "random layer": Refused(
        _flip,
        ("'flip' (RandomFlip, ", "draws random numbers from a generator", "without training=True"),
        ConversionError,
        format="graph",
    ),
    "random function": Refused(
        _generator, ("'noise/RngReadAndSkip'", "draws random numbers", "feed them"), ConversionError
    ),
    "assignment in a branch": Refused(
        _branch, ("AssignAddVariableOp", "changes a variable when it runs"), ConversionError
    ),
    "no counterpart": Refused(
        _no_counterpart, ("Lgamma (in 'gamma' (Lambda))", OTHERS), ConversionError, format="graph"
    ),
    "Python code": Refused(_python, ("PyFunc (in 'called')", OTHERS), ConversionError),
    "unregistered": Refused(
        _unregistered, ("OfAnotherPackage (in 'odd')", "Import the package"), ConversionError
    ),
}
QUICK = (
    "ids",
    "ids, graph",
    "ids, SavedModel",
    "assertion",
    "state",
    "assignment",
    "random layer",
    "unregistered",
)


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize("name", slow_except(QUICK, REFUSED))
def test_error_names_the_layer_and_says_what_to_do(tfjs, tmp_path, name):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("tf_keras")
    case = REFUSED[name]
    model, feed = case.build(tf, keras, tmp_path)
    with pytest.raises(case.error) as caught:
        tfjs.compare(model, feed, format=case.format, weights=case.weights)
    text = str(caught.value)
    places = [text.find(part) for part in case.parts]
    assert -1 not in places, text
    assert places == sorted(places), text
    assert len(text.splitlines()) == 1, text
    assert len(text) < 600, text
    assert 'File "' not in text
    assert "lookup tables" not in text
    assert caught.value.__cause__ is None


TEST = """
import numpy as np

def test_ids(tfjs):
    tfjs.assert_close("net.h5", np.int32([[1, 2, 10]]))
"""


def test_error_of_the_tensorflow_process_is_as_short(project):
    """Nothing imports TensorFlow in pytest's process, so that a model in a file runs in the other one."""
    keras = pytest.importorskip("tf_keras")
    _embedding(None, keras, project.folder)[0].save(str(project.folder / "net.h5"))
    project.write(test_model=TEST)
    run = project.run("--tfjs-backends=cpu")
    (case,) = run.cases.values()
    assert case.outcome == "failure", run.text
    assert f"'net.h5' cannot be computed in Python: 'embedding' (Embedding): {BEYOND}" in " ".join(
        case.failure.split()
    )
    assert len(case.failure.splitlines()) < 20, case.failure
