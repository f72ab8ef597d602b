"""The tensors of a plan have the values that Keras computes layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.reference.matching.keras_layers import plan_keras
from tests.support.keras_layer_models import X, dense, shared, states, wrapped

WORDS = np.array([[1, 2, 0, 0], [3, 0, 0, 0]], np.int32)


def plain(k):
    x = k.Input((6,), name="x")
    a = dense(k, "a")(x)
    b = dense(k, "b")(k.layers.Dropout(0.5, name="drop")(a))
    model = k.Model(x, [b, a], name="plain")
    a_value = model.get_layer("a")(X)
    return model, [X], {"a": a_value, "drop": a_value, "b": model.get_layer("b")(a_value)}


def returned_input(k):
    x = k.Input((6,), name="x")
    model = k.Model(x, [x, dense(k, "a")(x)], name="returned_input")
    return model, [X], {"x": X, "a": model.get_layer("a")(X)}


def in_sequence(k):
    model = k.Sequential([dense(k, "a"), dense(k, "b", 3)], name="in_sequence")
    model.build((None, 6))
    a = model.get_layer("a")(X)
    return model, [X], {"a": a, "b": model.get_layer("b")(a)}


def nested_twice(k):
    e = k.Input((6,), name="e")
    middle = dense(k, "d")(e)
    inner = k.Model(e, [dense(k, "last")(middle), middle], name="encoder")
    x = k.Input((6,), name="x")
    first = dense(k, "d")(x)
    ahead, _ = inner(first)
    _, behind = inner(ahead)
    model = k.Model(x, behind, name="nested_twice")
    own, d, last = model.get_layer("d"), inner.get_layer("d"), inner.get_layer("last")
    once = own(X)
    values = {"d": once, "encoder/d": d(once), "encoder/last": last(d(once))}
    again = d(values["encoder/last"])
    values |= {"encoder": values["encoder/last"], "encoder#2/d": again, "encoder#2:1": again}
    return model, [X], {**values, "encoder#2/last": last(again)}


def nested_deep(k):
    core = k.Sequential([dense(k, "d"), dense(k, "d2")], name="core")
    e = k.Input((6,), name="e")
    inner = k.Model(e, core(dense(k, "before")(e)), name="inner")
    x = k.Input((6,), name="x")
    model = k.Model(x, inner(x), name="nested_deep")
    before = inner.get_layer("before")(X)
    d = core.get_layer("d")(before)
    d2 = core.get_layer("d2")(d)
    values = {"inner/before": before, "inner/core/d": d, "inner/core/d2": d2, "inner/core": d2, "inner": d2}
    return model, [X], values


def model_first(k):
    inner = k.Sequential([k.Input((6,)), dense(k, "d")], name="inner")
    model = k.Sequential([inner, dense(k, "d2")], name="model_first")
    model.build((None, 6))
    d = inner.get_layer("d")(X)
    return model, [X], {"inner/d": d, "inner": d, "d2": model.get_layer("d2")(d)}


def in_two_places(k):
    d = dense(k, "d")
    e = k.Input((6,), name="e")
    inner = k.Model(e, k.layers.ReLU(name="r")(d(e)), name="inner")
    x = k.Input((6,), name="x")
    model = k.Model(x, inner(d(x)), name="in_two_places")
    once = d(X)
    return model, [X], {"d": once, "inner/d": d(once), "inner": np.maximum(d(once), 0)}


def same_twice(k):
    one, two = k.Input((6,), name="one"), k.Input((6,), name="two")
    inner = k.Model([one, two], k.layers.Subtract(name="minus")([dense(k, "d")(one), two]), name="inner")
    x = k.Input((6,), name="x")
    model = k.Model(x, inner([x, x]), name="same_twice")
    d = inner.get_layer("d")(X)
    return model, [X], {"inner/d": d, "inner/minus": d - X}


def masked(k):
    x = k.Input((4,), dtype="int32", name="x")
    y = k.layers.Embedding(5, 3, mask_zero=True, name="embed")(x)
    model = k.Model(x, k.layers.LSTM(4, name="lstm")(y), name="masked")
    vectors = model.get_layer("embed")(WORDS)
    return model, [WORDS], {"embed": vectors, "lstm": model.get_layer("lstm")(vectors, mask=WORDS > 0)}


def two_inputs(k):
    right, left = k.Input((6,), name="right"), k.Input((6,), name="left")
    model = k.Model(
        [right, left], k.layers.Subtract(name="minus")([left, dense(k, "d")(right)]), name="two_inputs"
    )
    d = model.get_layer("d")(X)
    return model, [X, 2 * X], {"d": d, "minus": 2 * X - d}


WRAPPED = {"wrapped": {"each/inside", "both/gru"}}


@pytest.mark.convert
@pytest.mark.parametrize(
    "build",
    [
        plain,
        returned_input,
        in_sequence,
        shared,
        nested_twice,
        nested_deep,
        model_first,
        in_two_places,
        same_twice,
        states,
        wrapped,
        masked,
        two_inputs,
    ],
    ids=lambda build: build.__name__,
)
def test_tapped_values_equal_the_layers_called_by_hand(build):
    k = pytest.importorskip("tf_keras")
    from pytest_tfjs.reference.running.keras_model import TappedKerasModel

    k.utils.set_random_seed(11)
    model, feed, expected = build(k)
    nodes = count_nodes(model)
    weights = model.get_weights()
    outputs = model(feed if len(feed) > 1 else feed[0])

    tapped = TappedKerasModel(model)
    plan = plan_keras(tapped.config, tapped.config)
    assert {row.coverage for row in plan.layers} <= {"compared", "fused"}
    assert {row.name for row in plan.layers if row.coverage == "fused"} == WRAPPED.get(model.name, set())
    values = tapped.run(feed, list(plan.tensors.values()))
    found = {name: values[tensor] for name, tensor in plan.tensors.items()}
    assert found.keys() >= expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], np.asarray(value), rtol=1e-5, atol=1e-6, err_msg=name)
    actual = [found[row.name] for row in plan.layers if row.output]
    wanted = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    assert {v.tobytes() for v in actual} == {np.asarray(v).tobytes() for v in wanted}

    assert count_nodes(model) == nodes
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


def count_nodes(model):
    return {
        layer.name: (len(layer.inbound_nodes), len(layer.outbound_nodes))
        for part in model.submodules
        if hasattr(part, "inbound_nodes")
        for layer in [part]
    }
