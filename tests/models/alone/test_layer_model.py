"""A layer run alone computes bit for bit what it computes in the whole model."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.models.alone.layer_model import AloneModelError, single_layer_model
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from tests.support import page_jobs
from tests.support.page_jobs import open_page, run
from tests.support.tiny_graphs import constant, dense_graph, node, placeholder, write_graph
from tests.support.tiny_layers_models import (
    dense_model,
    functional,
    input_layer,
    layer,
    sequential,
    write_layers_model,
)
from tests.support.tiny_models import BIAS, KERNEL, X


def fed_tensors(content, activations, inputs):
    """The tensors fed to a layer alone, from the rows' activations and the model's inputs."""
    return {
        one.name: inputs[one.source_input] if one.row is None else activations[one.row] for one in content.fed
    }


def compute(page, artifacts, address, fed):
    _, ((_, tensors),) = run(
        page, Job(artifacts.model_json, artifacts.format, (fed,), ((Tap("y", address),),))
    )
    return tensors["y"]


def check_every_row(page, artifacts, taps, inputs, folder):
    """Checks that each row alone equals its activation, bit for bit; gives its feeds, or the error.

    The page's own job that runs each row alone must give the same arrays, from the same rows.
    """
    chunk = tuple(Tap(*tap) for tap in taps.items())
    _, ((_, activations),) = run(page, Job(artifacts.model_json, artifacts.format, (inputs,), (chunk,)))
    by_page, from_rows = run_alone(page, artifacts, chunk, inputs, activations)
    fed_of = {}
    for number, (row, tap) in enumerate(taps.items()):
        try:
            found = single_layer_model(artifacts, tap, taps)
        except AloneModelError as error:
            fed_of[row] = str(error)
            continue
        fed = fed_tensors(found.content, activations, inputs)
        written = found.write(folder / str(number), fed)
        alone = compute(page, written, found.content.address, fed)
        np.testing.assert_array_equal(alone, activations[row], err_msg=row)
        np.testing.assert_array_equal(alone, by_page[row], err_msg=row)
        assert sorted(one.row for one in found.content.fed if one.row is not None) == sorted(
            from_rows[row]
        ), row
        fed_of[row] = [one.row or one.source_input for one in found.content.fed]
    return fed_of


def run_alone(page, artifacts, chunk, inputs, activations):
    """The activation of each row run alone by the page, and the rows that it was fed."""
    job = Job(artifacts.model_json, artifacts.format, (inputs,), (chunk,))
    result, _, (alone,) = page_jobs.run_alone(page, job, [activations])
    return alone, result.alone


def check_model(page, model, inputs, format_, cache):
    source = as_source(model)
    artifacts = convert(source, cache=cache, format=format_)
    feeds = normalise_feeds(inputs, artifacts.inputs)
    plan = capture_reference(source, artifacts, feeds, "all", cache).plan
    taps = {layer.name: layer.tap for layer in plan.layers if layer.tap is not None}
    return check_every_row(page, artifacts, taps, feeds[0].browser, cache.root / "alone")


@pytest.fixture
def cache(tmp_path):
    from pytest_tfjs.models.cache import ContentCache

    with ContentCache(tmp_path / "cache") as made:
        yield made


@pytest.mark.browser
@pytest.mark.convert
def test_each_row_of_a_layers_model_alone_equals_its_activation(harness, cache):
    """Nested, shared, recurrent and wrapped layers, an initial state, and a sum of a tensor with itself."""
    keras = pytest.importorskip("tf_keras")
    layers = keras.layers
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 4), name="x")
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, layers.Dense(3, name="deep")(inner_in), name="inner")
    hidden = layers.TimeDistributed(inner, name="each")(x)
    hidden = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="both")(hidden)
    state = layers.Dense(2, name="state")(layers.Flatten(name="flat")(x))
    hidden = layers.GRU(2, name="recurrent", reset_after=False)(hidden, initial_state=[state])
    stack = keras.Sequential([layers.Dense(2, name="a"), layers.Dense(2, name="b")], name="stack")
    hidden = stack(stack(hidden))
    shared = layers.Dense(2, name="shared")
    hidden = shared(shared(hidden))
    model = keras.Model(x, layers.Add(name="sum")([hidden, hidden]))
    inputs = np.linspace(-1, 1, 48, dtype=np.float32).reshape(2, 6, 4)
    fed = check_model(open_page(harness), model, inputs, "layers", cache)
    assert fed["each"] == ["x"]
    assert fed["recurrent"] == ["both", "state"]
    assert fed["stack#2/a"] == ["stack"]
    assert fed["shared#2"] == ["shared"]
    assert fed["sum"] == ["shared#2"]
    assert fed["stack"] == "the layer is a nested model, whose layers are compared instead"
    assert [row for row, found in fed.items() if isinstance(found, str)] == ["stack", "stack#2"]


@pytest.mark.browser
@pytest.mark.convert
def test_each_row_of_a_graph_model_alone_equals_its_activation(harness, cache):
    """Convolutions that were fused, a recurrent loop, and an operation with two outputs."""
    keras = pytest.importorskip("keras")
    layers = keras.layers
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 4), name="x")
    hidden = layers.Conv1D(4, 3, activation="relu", padding="same", name="conv")(x)
    left, right = keras.ops.split(hidden, 2, axis=-1)
    hidden = layers.LSTM(3, name="recurrent")(layers.Concatenate()([right, left * 2]))
    model = keras.Model(x, layers.Dense(2, activation="softmax", name="scores")(hidden))
    inputs = np.linspace(-1, 1, 48, dtype=np.float32).reshape(2, 6, 4)
    fed = check_model(open_page(harness), model, inputs, "graph", cache)
    assert not [found for found in fed.values() if isinstance(found, str)]
    assert ["x"] in fed.values()
    # The loop runs as a whole, on the tensors that enter it.
    (stacked,) = [found for row, found in fed.items() if row.endswith("TensorListStack")]
    assert [row.rpartition("/")[2] for row in stacked] == ["zeros", "zeros_1", "transpose"]


@pytest.mark.browser
def test_a_graph_alone_has_only_the_node_and_its_weight(harness, tmp_path):
    artifacts = read_artifacts(dense_graph(tmp_path / "whole"))
    taps = {name: {"node": f"{name}:0"} for name in ("product", "sum", "relu")}
    page = open_page(harness)
    fed = check_every_row(page, artifacts, taps, {"x": X}, tmp_path)
    assert fed == {"product": ["x"], "sum": ["product"], "relu": ["sum"]}
    found = single_layer_model(artifacts, taps["sum"], taps)
    written = found.write(tmp_path / "sum", {"product": X @ KERNEL})
    assert [one.name for one in written.nodes()] == ["product", "bias", "sum"]
    assert written.weight_names() == ["bias"]
    assert found.content.described == (
        {"name": "sum", "op": "AddV2", "inputs": ["product", "bias"], "attributes": {}},
    )


@pytest.mark.browser
def test_a_nested_sequential_model(harness, tmp_path):
    inner = sequential("inner", [input_layer("inner_in", 3), layer("Dense", "dense", units=2)])
    outer = sequential("outer", [input_layer("x", 3), layer("ReLU", "before"), inner, layer("ReLU", "after")])
    model = write_layers_model(tmp_path / "whole", outer, {"dense/kernel": KERNEL, "dense/bias": BIAS})
    taps = {
        "before": {"path": ["before"], "tensor": 0, "node": 0},
        "inner/dense": {"path": ["inner", "dense"], "tensor": 0, "node": 0},
        "after": {"path": ["after"], "tensor": 0, "node": 0},
    }
    fed = check_every_row(open_page(harness), read_artifacts(model), taps, {"x": X}, tmp_path)
    assert fed == {"before": ["x"], "inner/dense": ["before"], "after": ["inner/dense"]}


@pytest.mark.browser
def test_uncompared_layers_in_between_are_included(harness, tmp_path):
    model = functional(
        "m",
        [
            (input_layer("x", 3), []),
            (layer("Dense", "dense", units=2), [[("x", 0, 0)]]),
            (layer("ReLU", "relu"), [[("dense", 0, 0)], [("sum", 0, 0)]]),
            (layer("Add", "sum"), [[("relu", 0, 0), ("dense", 0, 0)]]),
        ],
        ["x"],
        [("relu", 1, 0)],
    )
    path = write_layers_model(tmp_path / "whole", model, {"dense/kernel": KERNEL, "dense/bias": BIAS})
    taps = {"relu#2": {"path": ["relu"], "tensor": 0, "node": 1}}
    fed = check_every_row(open_page(harness), read_artifacts(path), taps, {"x": X}, tmp_path)
    assert fed == {"relu#2": ["x"]}


def test_weights_of_other_layers_are_left_out(tmp_path):
    artifacts = read_artifacts(dense_model(tmp_path / "whole"))
    taps = {"dense": {"path": ["dense"], "node": 0}, "relu": {"path": ["relu"], "node": 0}}
    relu = single_layer_model(artifacts, taps["relu"], taps)
    assert relu.write(tmp_path / "relu", {relu.content.fed[0].name: X @ KERNEL}).weight_names() == []
    assert not (tmp_path / "relu" / "weights.bin").exists()
    dense = single_layer_model(artifacts, taps["dense"], taps)
    assert dense.content.weights == {"dense/kernel", "dense/bias"}


@pytest.mark.parametrize(
    ("tap", "why"),
    [
        (
            {"node": "found:0"},
            "the layer reads 'table', a table or variable that is filled only in the whole model",
        ),
        ({"node": "sum:0"}, "the layer depends on 'unfed', which is not in the feed"),
        ({"node": "gone:0"}, "the artifacts have no node 'gone'"),
    ],
)
def test_a_row_that_cannot_run_alone_is_an_error(tmp_path, tap, why):
    nodes = [
        placeholder("x", -1, 3),
        placeholder("unfed", -1, 3),
        constant("bias", BIAS),
        node("HashTableV2", "table"),
        node("LookupTableFindV2", "found", "table", "x", "bias"),
        node("AddV2", "sum", "x", "unfed"),
    ]
    path = write_graph(tmp_path, nodes, {"bias": BIAS}, inputs={"x": "x:0"}, outputs={"y": "sum:0"})
    with pytest.raises(AloneModelError, match=why):
        single_layer_model(read_artifacts(path), tap, {})


def masked_chain(folder, *, masked):
    """Layers `dense` and `lstm`, behind a Masking layer if `masked`, and the tap of each layer."""
    first = [layer("Masking", "hides", mask_value=0.0)] if masked else []
    layers = [*first, layer("Dense", "dense", units=2), layer("LSTM", "lstm", units=2)]
    weights = {"dense/kernel": KERNEL, "dense/bias": BIAS, "lstm/kernel": np.ones((2, 8), np.float32)}
    path = write_layers_model(folder, sequential("m", [input_layer("x", 4, 3), *layers]), weights)
    return read_artifacts(path), {one["config"]["name"]: {"path": [one["config"]["name"]]} for one in layers}


def test_a_layer_that_takes_a_mask_is_refused(tmp_path):
    artifacts, taps = masked_chain(tmp_path, masked=True)
    why = "the layer 'lstm' takes a mask, which a reproducer cannot feed to it"
    with pytest.raises(AloneModelError, match=why):
        single_layer_model(artifacts, taps["lstm"], taps)


def test_the_same_layer_without_a_mask_is_written(tmp_path):
    artifacts, taps = masked_chain(tmp_path / "whole", masked=False)
    found = single_layer_model(artifacts, taps["lstm"], taps)
    assert [one.row for one in found.content.fed] == ["dense"]
    written = found.write(tmp_path / "lstm", {found.content.fed[0].name: np.ones((1, 4, 2), np.float32)})
    assert written.weight_names() == ["lstm/kernel"]


def test_a_layer_that_keeps_its_state_between_calls_is_refused(tmp_path):
    layers = [
        (input_layer("x", 4, 3), []),
        (layer("LSTM", "lstm", units=2, stateful=True), [[("x", 0, 0)], [("x", 0, 0)]]),
        (layer("Add", "sum"), [[("lstm", 0, 0), ("lstm", 1, 0)]]),
    ]
    model = functional("m", layers, ["x"], [("sum", 0, 0)])
    artifacts = read_artifacts(write_layers_model(tmp_path, model, {}))
    with pytest.raises(AloneModelError, match="the layer 'lstm' keeps a state, which its earlier calls"):
        single_layer_model(artifacts, {"path": ["lstm"], "node": 1}, {})
