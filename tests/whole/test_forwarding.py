"""The GPU computes floats of every size; shapes are computed where an app computes them."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Job
from tests.support import paths
from tests.support.page_jobs import layer_tap, node_tap, open_page, run_alone, tap
from tests.support.sizes import slow_except
from tests.support.tiny_graphs import constant, dtype_attribute, node, placeholder, write_graph
from tests.support.tiny_layers_models import functional, input_layer, layer, write_layers_model

pytestmark = pytest.mark.browser

TARGETS = ["webgl", "webgl:f16", pytest.param("webgl:unpacked", marks=pytest.mark.slow), "webgpu"]

WATCH = (paths.ROOT / "tests" / "support" / "watch_kernels.js").read_text(encoding="utf-8")

X = np.array([1.0001, -2.5, 3.25, 0.75], np.float32)
IDS = np.array([1, 4, 0], np.int32)
TABLE = np.arange(10, dtype=np.float32).reshape(5, 2) / 3
FLOAT, INT = dtype_attribute("float32"), dtype_attribute("int32")


def script(harness, text):
    return harness._browser._driver.execute_script(text)


def floats_in_javascript(harness):
    """The kernels that computed floats, or from floats, in JavaScript."""
    seen = script(harness, "return window.kernelsSeen")
    assert seen
    return [name for name, dtypes, on_gpu in seen if "float32" in dtypes and not on_gpu]


def weights_of(**values):
    return {name: np.asarray(value) for name, value in values.items()}


UNARY = ("Abs", "Ceil", "Exp", "Expm1", "Floor", "Neg", "Sigmoid", "Square", "Tanh")
BINARY = ("AddV2", "Equal", "Greater", "LessEqual", "Maximum", "Minimum", "Mul", "RealDiv", "Sub")


def small_operations(folder):
    """Operations that TF.js can compute in JavaScript, on four floats, on weights alone, and on shapes."""
    weights = weights_of(
        two=np.full(4, 2, np.float32),
        table=TABLE,
        axis=np.int32([0]),
        zero=np.int32(0),
        begin=np.int32([1]),
        size=np.int32([2]),
        perm=np.int32([1, 0]),
        half=np.float32(0.5),
    )
    nodes = [
        *(node(op, op, "x", T=FLOAT) for op in UNARY),
        *(node(op, op, "x", "two", T=FLOAT) for op in BINARY),
        *(node(op, op, "x", "axis", T=FLOAT, keep_dims={"b": True}) for op in ("Max", "Mean", "Prod", "Sum")),
        node("Sqrt", "Sqrt", "Abs", T=FLOAT),
        node("Cast", "Cast", "x", SrcT=FLOAT, DstT=INT),
        node("Slice", "Slice", "x", "begin", "size", T=FLOAT),
        node("ConcatV2", "ConcatV2", "x", "two", "zero", T=FLOAT, N={"i": "2"}),
        node("GatherV2", "rows", "table", "ids", "zero", Tparams=FLOAT),
        node("AddV2", "constants", "table", "table", T=FLOAT),
        node("Transpose", "Transpose", "constants", "perm", T=FLOAT),
        node("Shape", "shape", "x", T=FLOAT),
        node("Cast", "number", "shape", SrcT=INT, DstT=FLOAT),
        node("Mul", "halved", "number", "half", T=FLOAT),
        node("Cast", "new_shape", "halved", SrcT=FLOAT, DstT=INT),
        node("ConcatV2", "both", "new_shape", "new_shape", "zero", T=INT, N={"i": "2"}),
        node("Reshape", "square", "x", "both", T=FLOAT),
    ]
    constants = [constant(name, value) for name, value in weights.items()]
    feeds = [placeholder("x", 4), placeholder("ids", 3, dtype="int32")]
    outputs = {one["name"]: f"{one['name']}:0" for one in nodes if one["name"] not in ("shape", "number")}
    del outputs["halved"], outputs["new_shape"], outputs["both"]
    return write_graph(
        folder,
        [*feeds, *constants, *nodes],
        weights,
        inputs={"x": "x:0", "ids": "ids:0"},
        outputs=outputs,
    ), [node_tap(name) for name in outputs]


@pytest.mark.parametrize("target", TARGETS)
def test_no_float_of_a_graph_model_is_computed_in_javascript(harness, tmp_path, target):
    model, taps = small_operations(tmp_path)
    page = open_page(harness, target)
    feed = {"x": X, "ids": IDS}
    script(harness, WATCH)
    found = tap(page, model, "graph", feed, *taps)
    in_javascript = floats_in_javascript(harness)
    assert in_javascript == ["Multiply", "Cast"]  # of the shape
    assert found["square"].shape == (2, 2)
    if target == "webgl:f16":
        assert found["Mul"][0] == np.float16(X[0]) * np.float32(2) != 2 * X[0]
    script(harness, WATCH)
    run_alone(page, Job(model, "graph", (feed,), (tuple(taps),)), [found])
    in_javascript = floats_in_javascript(harness)
    assert set(in_javascript) <= {"Multiply", "Cast"}
    assert len(in_javascript) <= 4  # of the shape, in the whole run and alone


def small_layers(folder):
    """Layers with weights under 128 elements on integers and on floats."""
    layers = [
        (input_layer("ids", 3, dtype="int32"), []),
        (layer("Embedding", "table", input_dim=5, output_dim=2, dtype="float32"), [[("ids", 0, 0)]]),
        (layer("Flatten", "flat"), [[("table", 0, 0)]]),
        (layer("Dense", "dense", units=2), [[("flat", 0, 0)]]),
        (layer("Activation", "abs", activation="sigmoid"), [[("dense", 0, 0)]]),
        (layer("Add", "sum"), [[("abs", 0, 0), ("dense", 0, 0)]]),
    ]
    model = functional("small", layers, ["ids"], [("sum", 0, 0)])
    weights = {
        "table/embeddings": TABLE,
        "dense/kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2),
        "dense/bias": np.float32([0.5, -0.5]),
    }
    return write_layers_model(folder, model, weights), list(map(layer_tap, ("table", "dense", "abs", "sum")))


@pytest.mark.parametrize("target", TARGETS)
def test_no_float_of_a_layers_model_is_computed_in_javascript(harness, tmp_path, target):
    model, taps = small_layers(tmp_path)
    page = open_page(harness, target)
    feed = {"ids": IDS[None]}
    script(harness, WATCH)
    found = tap(page, model, "layers", feed, *taps)
    np.testing.assert_allclose(found["table"][0], TABLE[IDS], rtol=1e-3)
    run_alone(page, Job(model, "layers", (feed,), (tuple(taps),)), [found])
    assert floats_in_javascript(harness) == []


def integer_operations(folder, size):
    """Operations on `x` that TF.js has no JavaScript for; and a product of `y`, for which it has."""
    weights = weights_of(two=np.int32(2), axis=np.int32([0]), times=np.int32([2]), no=np.zeros(size, bool))
    nodes = [
        node("FloorDiv", "FloorDiv", "x", "two", T=INT),
        node("Sum", "Sum", "x", "axis", T=INT, keep_dims={"b": False}),
        node("Tile", "Tile", "x", "times", T=INT),
        node("SelectV2", "SelectV2", "no", "two", "x", T=INT),
        node("Mul", "Mul", "y", "y", T=INT),
    ]
    constants = [constant(name, value) for name, value in weights.items()]
    names = [one["name"] for one in nodes]
    return write_graph(
        folder,
        [*(placeholder(name, size, dtype="int32") for name in "xy"), *constants, *nodes],
        weights,
        inputs={"x": "x:0", "y": "y:0"},
        outputs={name: f"{name}:0" for name in names},
    ), list(map(node_tap, names))


@pytest.mark.parametrize("size", [2, 200])
def test_kernels_that_are_wrong_for_integers_in_an_app_are_wrong_here(harness, tmp_path, size):
    model, taps = integer_operations(tmp_path, size)
    x = np.full(size, 4099, np.int32)
    found = tap(open_page(harness, "webgl:f16"), model, "graph", {"x": x, "y": x}, *taps)
    right = {"FloorDiv": x // 2, "Sum": x.sum(), "Tile": np.tile(x, 2), "SelectV2": x, "Mul": x * x}
    wrong = {name for name, value in right.items() if not np.array_equal(found[name], value)}
    assert wrong == {"FloorDiv", "Sum", "Tile", "SelectV2"} | ({"Mul"} if size > 128 else set())


def _reshape(tf, x, factor):
    size = tf.shape(x)
    return tf.reshape(x, [size[0], size[1] * 2 + 0, 1], name="flat")


def _product(tf, x, factor):
    return tf.reshape(x, [tf.reduce_prod(tf.shape(x), name="all")], name="flat")


def _resize(tf, x, factor):
    size = tf.cast(tf.cast(tf.shape(x)[1:], tf.float32) * 2.5, tf.int32, name="size")
    return tf.image.resize(x[..., None], size, name="resized")


def _resize_by_what_is_fed(tf, x, factor):
    size = tf.cast(tf.cast(tf.shape(x)[1:], tf.float32) * factor, tf.int32, name="size")
    return tf.image.resize(x[..., None], size, name="resized")


def _most(tf, x, factor):
    kept = tf.cast(tf.math.ceil(tf.cast(tf.shape(x)[1], tf.float32) * 0.75), tf.int32, name="kept")
    return tf.concat([x[:, :kept], x[:, kept:]], 1, name="again")


SHAPES = {
    "reshape": _reshape,
    "product": _product,
    "resize": _resize,
    "resize by what is fed": _resize_by_what_is_fed,
    "slices": _most,
}


@pytest.mark.convert
@pytest.mark.tfjs(backends="webgl:f16")
@pytest.mark.parametrize("name", slow_except(["resize"], SHAPES))
def test_shapes_of_a_model_are_exact_in_half_precision(tfjs, name):
    tf = pytest.importorskip("tensorflow")
    is_fed = "fed" in name

    class Model(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None], tf.float32, name="x"),
                *([tf.TensorSpec([], tf.float32, name="factor")] if is_fed else []),
            ]
        )
        def serve(self, x, factor=None):
            scaled = tf.multiply(x, 0.5, name="scaled")
            return {"y": SHAPES[name](tf, scaled, factor)}

    x = np.random.default_rng(3).normal(size=(1, 1366 * 3 + 1, 2)).astype(np.float32)
    if "resize" in name:
        x = x[:, :1366]
    tfjs.assert_close(Model(), (x, np.float32(2.5)) if is_fed else x)


@pytest.mark.convert
@pytest.mark.tfjs(backends="webgl:f16")
def test_integers_that_a_float_layer_takes_too_are_as_exact_as_in_the_whole_run(tfjs):
    tf = pytest.importorskip("tensorflow")

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 9], tf.int32, name="ids")])
        def serve(self, ids):
            doubled = tf.add(ids * 2, 1, name="doubled")
            return {"n": doubled, "y": tf.cast(ids, tf.float32, name="floats") / 9000.0}

    ids = np.random.default_rng(1).integers(2049, 4999, (3, 9)).astype(np.int32)
    comparison = tfjs.assert_close(Model(), ids)
    assert any(row.not_alone and "whole run" in row.not_alone for row in comparison.layers)
