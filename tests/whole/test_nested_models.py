"""Nested models in real browsers: every inner layer is compared."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Job
from pytest_tfjs.errors import PageError
from tests.support.page_jobs import layer_tap, open_page, run, tap
from tests.support.tiny_layers_models import functional, input_layer, layer, sequential, write_layers_model
from tests.support.tiny_models import BIAS, DENSE, KERNEL, RELU, X

pytestmark = pytest.mark.browser


DENSE_LAYER = layer("Dense", "dense", units=2)
WEIGHTS = {"dense/kernel": KERNEL, "dense/bias": BIAS}
INNER = functional(
    "inner",
    [
        (input_layer("inner_in", 3), []),
        (DENSE_LAYER, [[("inner_in", 0, 0)]]),
        (layer("ReLU", "act"), [[("dense", 0, 0)]]),
    ],
    ["inner_in"],
    [("act", 0, 0)],
)


def test_layers_of_a_nested_model_are_compared(harness, tmp_path):
    outer = functional(
        "outer",
        [
            (input_layer("x", 3), []),
            (layer("ReLU", "before"), [[("x", 0, 0)]]),
            (INNER, [[("before", 0, 0)]]),
            (layer("ReLU", "after"), [[("inner", 1, 0)]]),
        ],
        ["x"],
        [("after", 0, 0)],
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    taps = [layer_tap("before"), layer_tap("after"), layer_tap("inner"), layer_tap("d", "inner", "dense")]
    tensors = tap(open_page(harness), model, "layers", {"x": X}, *taps, layer_tap("i", "inner", "inner_in"))
    before = np.maximum(X, 0)
    np.testing.assert_allclose(tensors["before"], before)
    np.testing.assert_allclose(tensors["i"], before)
    np.testing.assert_allclose(tensors["d"], before @ KERNEL + BIAS)
    np.testing.assert_allclose(tensors["after"], np.maximum(before @ KERNEL + BIAS, 0))
    np.testing.assert_allclose(tensors["inner"], tensors["after"])


def test_returned_input_is_read_for_each_feed(harness, tmp_path):
    model = write_layers_model(
        tmp_path,
        functional(
            "pair",
            [(input_layer("x", 3), []), (DENSE_LAYER, [[("x", 0, 0)]])],
            ["x"],
            [("dense", 0, 0), ("x", 0, 0)],
        ),
        WEIGHTS,
    )
    chunks = ((layer_tap("x", node=0),), (layer_tap("again", "x"), layer_tap("dense")))
    result, received = run(open_page(harness), Job(model, "layers", ({"x": X}, {"x": -X}), chunks))
    assert [feed for feed, _ in received] == [0, 1, 0, 1]
    for feed, tensors in received:
        np.testing.assert_array_equal(tensors.get("x", tensors.get("again")), -X if feed else X)
    np.testing.assert_allclose(received[-1][1]["dense"], -X @ KERNEL + BIAS)
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]


def test_deeply_nested_models_are_compared(harness, tmp_path):
    middle = functional(
        "middle",
        [(input_layer("middle_in", 3), []), (INNER, [[("middle_in", 0, 0)]])],
        ["middle_in"],
        [("inner", 1, 0)],
    )
    outer = functional(
        "outer", [(input_layer("x", 3), []), (middle, [[("x", 0, 0)]])], ["x"], [("middle", 1, 0)]
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    result, ((_, tensors),) = run(
        open_page(harness),
        Job(model, "layers", ({"x": X},), ((layer_tap("d", "middle", "inner", "dense"),),)),
    )
    np.testing.assert_allclose(tensors["d"], DENSE)
    assert ["middle", "inner", "dense"] in [entry["path"] for entry in result.model["layers"]]


def test_sequential_model_may_begin_with_a_model(harness, tmp_path):
    outer = sequential("outer", [INNER, layer("ReLU", "last")])
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    taps = [layer_tap("last"), layer_tap("d", "inner", "dense"), layer_tap("inner")]
    tensors = tap(open_page(harness), model, "layers", {"inner_in": X}, *taps)
    np.testing.assert_allclose(tensors["d"], DENSE)
    np.testing.assert_allclose(tensors["inner"], RELU)
    np.testing.assert_allclose(tensors["last"], RELU)


def test_nested_model_called_twice_is_read_at_the_named_call(harness, tmp_path):
    outer = functional(
        "outer",
        [
            (input_layer("x", 3), []),
            (input_layer("y", 3), []),
            (INNER, [[("x", 0, 0)], [("y", 0, 0)]]),
            (layer("Add", "add"), [[("inner", 1, 0), ("inner", 2, 0)]]),
        ],
        ["x", "y"],
        [("add", 0, 0)],
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    page, feed = open_page(harness), {"x": X, "y": -X}
    taps = [
        layer_tap("first", ["inner", 1], "dense"),
        layer_tap("second", ["inner", 2], "dense"),
        layer_tap("add"),
    ]
    tensors = tap(page, model, "layers", feed, *taps, layer_tap("call", "inner", node=2))
    np.testing.assert_allclose(tensors["first"], DENSE)
    np.testing.assert_allclose(tensors["second"], -X @ KERNEL + BIAS)
    np.testing.assert_allclose(tensors["call"], np.maximum(-X @ KERNEL + BIAS, 0))
    with pytest.raises(
        PageError, match=r"'which'.*'outer' calls 'inner' at its nodes 1, 2: name one of them"
    ):
        tap(page, model, "layers", feed, layer_tap("which", "inner", "dense"))


def test_shared_layer_is_read_at_each_of_its_nodes(harness, tmp_path):
    outer = functional(
        "outer",
        [
            (input_layer("x", 3), []),
            (input_layer("y", 3), []),
            (DENSE_LAYER, [[("x", 0, 0)], [("y", 0, 0)]]),
            (layer("Add", "add"), [[("dense", 0, 0), ("dense", 1, 0)]]),
        ],
        ["x", "y"],
        [("add", 0, 0)],
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    taps = [
        layer_tap("first", "dense", node=0),
        layer_tap("second", "dense", node=1),
        layer_tap("again", "dense"),
    ]
    tensors = tap(open_page(harness), model, "layers", {"x": X, "y": -X}, *taps)
    np.testing.assert_allclose(tensors["first"], DENSE)
    np.testing.assert_allclose(tensors["second"], -X @ KERNEL + BIAS)
    np.testing.assert_allclose(tensors["again"], DENSE)
