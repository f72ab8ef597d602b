"""What TF.js refuses to load or run: the first line names the layer and says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_tfjs import Prebuilt
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.failure_message import failure_message
from tests.support.sizes import slow_except

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.browser, pytest.mark.convert]

AS_GRAPH = "As a graph model it runs here: use format='graph', and ship that"
REWRITE = "Build this layer from other operations, or compute it outside the model"


@dataclass(frozen=True)
class Refused:
    """A model that TF.js refuses: `build(tf, keras)` gives it and its feed.

    `layer` is how the first line names the layer, `said` what TF.js says, `advice` what to do.
    """

    build: Callable[[Any, Any], tuple[Any, Any]]
    layer: str
    said: str
    advice: str


def _floats(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


def _stack(keras: Any, shape: tuple[int, ...], *layers: Any, name: str = "net") -> Any:
    x = keras.Input(shape, name="x")
    y = x
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y, name=name)


def _module(tf: Any, function: Callable[..., Any], **inputs: tuple[list[int | None], Any]) -> Any:
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()]

    class Model(tf.Module):
        @tf.function(input_signature=specs)
        def serve(self, *values: Any) -> Any:
            return {"y": function(*values)}

    return Model()


def _unknown(tf: Any, keras: Any) -> Any:
    units = keras.layers.UnitNormalization(name="unit")
    return _stack(keras, (4,), keras.layers.Dense(3, name="before"), units), _floats(2, 4)


def _unknown_inside(tf: Any, keras: Any) -> Any:
    inner = _stack(keras, (3,), keras.layers.UnitNormalization(name="unit"), name="inner")
    return _stack(keras, (4,), keras.layers.Dense(3, name="before"), inner), _floats(2, 4)


def _activation(tf: Any, keras: Any) -> Any:
    return _stack(keras, (4,), keras.layers.Dense(3, "exponential", name="hidden")), _floats(2, 4)


def _separable(tf: Any, keras: Any) -> Any:
    return _stack(keras, (6, 6, 3), keras.layers.SeparableConv2D(4, 3, name="sep")), _floats(1, 6, 6, 3)


def _keepdims(tf: Any, keras: Any) -> Any:
    pool = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")
    return _stack(keras, (6, 6, 3), pool, keras.layers.Conv2D(2, 1, name="head")), _floats(1, 6, 6, 3)


def _dict_of_outputs(tf: Any, keras: Any) -> Any:
    x = keras.Input((4,), name="x")
    heads = {name: keras.layers.Dense(2, name=name)(x) for name in ("boxes", "classes")}
    return keras.Model(x, heads, name="net"), _floats(2, 4)


def _causal(tf: Any, keras: Any) -> Any:
    causal = keras.layers.Conv1D(3, 2, padding="causal", name="causal")
    return _stack(keras, (5, 3), keras.layers.Dense(3, name="before"), causal), _floats(2, 5, 3)


def _crop(tf: Any, keras: Any) -> Any:
    """TF.js's CenterCrop changes the shape that the model's input has to have."""
    return _stack(keras, (4, 4, 3), keras.layers.CenterCrop(8, 8, name="crop")), _floats(2, 4, 4, 3)


def _norm_of_rank_5(tf: Any, keras: Any) -> Any:
    norm = keras.layers.LayerNormalization(axis=[1, 2, 3, 4], name="norm")
    return _stack(keras, (2, 3, 4, 5), norm), _floats(2, 2, 3, 4, 5)


def _grouped(tf: Any, keras: Any) -> Any:
    return _stack(keras, (6, 6, 4), keras.layers.Conv2D(4, 3, groups=2, name="grouped")), _floats(1, 6, 6, 4)


def _diagonal(tf: Any, keras: Any) -> Any:
    def serve(x: Any) -> Any:
        return tf.einsum("bii->bi", tf.tanh(x, name="before"), name="diagonal") * 1.5

    return _module(tf, serve, x=([None, 4, 4], tf.float32)), _floats(2, 4, 4)


def _pattern(tf: Any, keras: Any) -> Any:
    model = _module(
        tf,
        lambda lines: tf.strings.regex_replace(lines, "(?i)a", "", name="clean"),
        lines=([None], tf.string),
    )
    return model, np.array(["a,b", "c"], dtype=object)


def _uint8(tf: Any, keras: Any) -> Any:
    def serve(x: Any) -> Any:
        mask = tf.constant(np.arange(4, dtype="uint8"), name="mask")
        return tf.cast(tf.bitwise.bitwise_and(tf.cast(x, tf.uint8), mask), tf.float32) * 2.0

    return _module(tf, serve, x=([None, 4], tf.float32)), np.abs(_floats(2, 4)) * 9


REFUSED = {
    "unknown layer": Refused(_unknown, "'unit' (UnitNormalization)", "Unknown layer", AS_GRAPH),
    "unknown layer, nested": Refused(
        _unknown_inside, "'inner/unit' (UnitNormalization)", "Unknown layer", AS_GRAPH
    ),
    "activation": Refused(_activation, "'hidden' (Dense)", "Unknown activation: exponential", AS_GRAPH),
    "separable": Refused(_separable, "'sep' (SeparableConv2D)", "Fields kernelInitializer", AS_GRAPH),
    "keepdims": Refused(
        _keepdims,
        "'head' (Conv2D of float32 [any, 3])",
        "found ndim=2; in Python 'pool' gives it [1, 1, 1, 3], so look at 'pool' first",
        AS_GRAPH,
    ),
    "dict of outputs": Refused(
        _dict_of_outputs, "'net' (Functional with a dict of outputs: boxes, classes)", "iter", AS_GRAPH
    ),
    "causal": Refused(_causal, "'causal' (Conv1D of float32 [2, 5, 3])", "CAUSAL padding", AS_GRAPH),
    "input": Refused(_crop, "'x' (InputLayer)", "expected x to have shape", AS_GRAPH),
    "norm of rank 5": Refused(
        _norm_of_rank_5, "'norm' (LayerNormalization of float32 [2, 2, 3, 4, 5])", "rank 5", AS_GRAPH
    ),
    "grouped": Refused(
        _grouped,
        "'grouped' (Conv2D)",
        "Shape mismatch",
        f"{REWRITE}; as a graph model it does not run either ('net' uses operations that TensorFlow.js does "
        "not have: PartitionedCall",
    ),
    "diagonal": Refused(
        _diagonal, "'diagonal/Einsum' (Einsum of float32 [2, 4, 4])", "duplicate axes", REWRITE
    ),
    "pattern": Refused(
        _pattern, "'clean' (StaticRegexReplace of string [2])", "Invalid regular expression", REWRITE
    ),
    "uint8": Refused(_uint8, "mask' (uint8 weight)", "Unsupported dtype in weight", REWRITE),
}


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize(
    "name",
    slow_except(("unknown layer", "keepdims", "dict of outputs", "causal", "diagonal", "uint8"), REFUSED),
)
def test_first_line_names_the_layer_and_says_what_to_do(tfjs, name):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("tf_keras")
    case = REFUSED[name]
    model, feed = case.build(tf, keras)
    comparison = tfjs.compare(model, feed)
    assert (comparison.verdict, comparison.refused) == ("error", True)
    first, *rest = failure_message(comparison).splitlines()
    places = [first.find(part) for part in (case.layer, case.said, case.advice)]
    assert -1 not in places, first
    assert places == sorted(places), first
    assert "  JavaScript stack:" in rest
    assert comparison.refused_layer.name in case.layer or case.layer.strip("'") in str(
        comparison.refused_layer
    )


@pytest.mark.tfjs(backends="cpu,webgl")
@pytest.mark.parametrize("name", slow_except(["cumsum"], ["cumsum", "cumprod"]))
def test_sums_over_a_negative_axis_say_to_count_it_from_the_front(tfjs, name):
    tf = pytest.importorskip("tensorflow")

    def summed(x):
        return tf.tanh(getattr(tf.math, name)(x, -1, name="summed"))

    comparison = tfjs.compare(_module(tf, summed, x=([None, 5], tf.float32)), _floats(3, 5))
    assert (comparison.verdict, comparison.refused) == ("error", True)
    first = failure_message(comparison).splitlines()[0]
    assert f"'summed' ({name.capitalize()}" in first, first
    assert ". If its axis is negative, count it from the front" in first, first


@pytest.mark.tfjs(backends="webgl,wasm")
@pytest.mark.slow
def test_other_backends_name_the_same_layer(tfjs):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("tf_keras")
    comparison = tfjs.compare(*_causal(tf, keras))
    assert comparison.reason.startswith("'causal' (Conv1D of float32 [2, 5, 3])"), comparison.reason


@pytest.mark.tfjs(backends="cpu")
def test_layer_before_that_diverged_is_the_culprit(tfjs):
    """TF.js's lookup loses the rank of its words, and a later concat fails."""
    tf = pytest.importorskip("tensorflow")
    initializer = tf.lookup.KeyValueTensorInitializer(["p", "q"], tf.constant([1.0, 2.0]))

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.StaticHashTable(initializer, -1.0)

        @tf.function(
            input_signature=[
                tf.TensorSpec([2, 3], tf.string, "words"),
                tf.TensorSpec([2, 3], tf.float32, "x"),
            ]
        )
        def serve(self, words, x):
            return tf.concat([self.table.lookup(words), tf.tanh(x, name="beside")], 1, name="both") * 2.0

    feed = (np.array([["p", "q", "z"]] * 2, dtype=object), _floats(2, 3))
    comparison = tfjs.compare(Model(), feed)
    (culprit,) = comparison.first_divergence
    assert "Lookup" in culprit
    first = failure_message(comparison).splitlines()[0]
    assert first.startswith(
        "cpu on chrome: error: 'both' (ConcatV2 of float32 [6], float32 [2, 3], int32 [])"
    )
    assert f"The cause may be '{culprit}', which diverged before it (shape [6] in the browser, " in first
    assert first.endswith("look at that layer first")
    verdicts = {result.layer.name: result.verdict for result in comparison.layers}
    assert (verdicts["beside"], verdicts[culprit], verdicts["both"]) == ("close", "diverged", None)


@pytest.mark.tfjs(backends="cpu")
def test_layers_before_the_refused_one_are_compared(tfjs):
    tf = pytest.importorskip("tensorflow")
    comparison = tfjs.compare(*_diagonal(tf, None))
    verdicts = {result.layer.name: (result.verdict, result.local is not None) for result in comparison.layers}
    assert verdicts["before"] == ("close", True)
    assert verdicts["diagonal/Einsum"] == (None, False)
    assert comparison.first_divergence == ()
    content = comparison_to_json(comparison)
    assert content["refused_layer"] == {
        "name": "diagonal/Einsum",
        "op": "Einsum",
        "inputs": ["float32 [2, 4, 4]"],
    }


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.slow
def test_prebuilt_layers_model_is_converted_for_the_trial(tfjs, tmp_path):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("tf_keras")
    model, feed = _unknown(tf, keras)
    built = tfjs.convert(model, format="layers")
    comparison = tfjs.compare(Prebuilt(built.model_json, model), feed)
    first = comparison.reason.splitlines()[0]
    assert "'unit' (UnitNormalization)" in first
    assert "convert it with --output_format=tfjs_graph_model" in first


@pytest.mark.tfjs(backends="cpu")
def test_agreement_names_the_layer_too(tfjs):
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("tf_keras")
    model, feed = _causal(tf, keras)
    agreement = tfjs.agreement(model, feed)
    assert agreement.verdict == "error"
    assert agreement.reason.startswith("'causal' (Conv1D of float32 [2, 5, 3])"), agreement.reason
    assert AS_GRAPH in agreement.reason.splitlines()[0]
