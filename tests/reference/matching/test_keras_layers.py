from __future__ import annotations

import json

import pytest

from pytest_tfjs.reference.matching.keras_layers import plan_keras
from tests.support.keras_layer_models import encoder, functional, layer


def sequential(name, *layers):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def rows(model, converted=None):
    return {row.name: row for row in plan_keras(model, model if converted is None else converted).layers}


INPUT = (layer("InputLayer", "x"), [])


CHAIN = functional(
    "chain",
    [INPUT, (layer("Dense", "a"), [[("x", 0, 0)]]), (layer("ReLU", "b"), [[("a", 0, 0)]])],
    [["x", 0, 0]],
    [["b", 0, 0]],
)


def test_a_functional_model_has_a_row_for_each_layer_but_its_inputs():
    plan = plan_keras(CHAIN, CHAIN)
    assert [(row.name, row.op, row.inputs, row.output) for row in plan.layers] == [
        ("a", "Dense", (), False),
        ("b", "ReLU", ("a",), True),
    ]
    assert plan.layers[1].tap == {"path": ["b"], "node": 0, "tensor": 0}
    assert json.loads(plan.tensors["b"]) == [[], "b", 0, 0]


@pytest.mark.parametrize("first", [[layer("InputLayer", "x")], []], ids=["input layer", "none"])
def test_a_sequential_model_is_a_chain(first):
    found = rows(sequential("s", *first, layer("Dense", "a"), layer("ReLU", "b")))
    assert [(row.name, row.inputs, row.output) for row in found.values()] == [
        ("a", (), False),
        ("b", ("a",), True),
    ]


def test_each_call_of_a_shared_layer_is_a_row():
    model = functional(
        "shared",
        [INPUT, (layer("Dense", "d"), [[("x", 0, 0)], [("d", 0, 0)]]), (layer("ReLU", "r"), [[("d", 1, 0)]])],
        [["x", 0, 0]],
        [["r", 0, 0], ["d", 0, 0]],
    )
    found = rows(model)
    assert {name: (row.inputs, row.output) for name, row in found.items()} == {
        "d": ((), True),
        "d#2": (("d",), False),
        "r": (("d#2",), True),
    }
    assert found["d#2"].tap == {"path": ["d"], "node": 1, "tensor": 0}


def test_each_used_output_of_a_layer_is_a_row():
    model = functional(
        "states",
        [INPUT, (layer("LSTM", "l"), [[("x", 0, 0)]]), (layer("ReLU", "r"), [[("l", 0, 2)]])],
        [["x", 0, 0]],
        [["r", 0, 0]],
    )
    found = rows(model)
    assert list(found) == ["l", "l:2", "r"]
    assert found["l:2"].tap == {"path": ["l"], "node": 0, "tensor": 2}
    assert found["r"].inputs == ("l:2",)


def test_only_tensor_arguments_count_as_inputs():
    model = functional(
        "arguments",
        [INPUT, (layer("Dense", "a"), [[("x", 0, 0)]]), (layer("Attention", "t"), [])],
        [["x", 0, 0]],
        [["t", 0, 0]],
    )
    attention = model["config"]["layers"][2]
    attention["inbound_nodes"] = [[["x", 0, 0, {"value": ["a", 0, 0], "mode": ["causal", 0, 0]}]]]
    assert rows(model)["t"].inputs == ("a",)


def test_an_input_returned_by_the_model_is_a_row():
    model = functional(
        "pair", [INPUT, (layer("Dense", "a"), [[("x", 0, 0)]])], [["x", 0, 0]], [["a", 0, 0], ["x", 0, 0]]
    )
    plan = plan_keras(model, model)
    assert [(row.name, row.op, row.inputs, row.output) for row in plan.layers] == [
        ("x", "InputLayer", (), True),
        ("a", "Dense", ("x",), True),
    ]
    assert plan.layers[0].tap == {"path": ["x"], "node": 0, "tensor": 0}


def test_each_call_of_a_nested_model_has_its_rows():
    model = functional(
        "outer",
        [
            INPUT,
            (layer("Dense", "first"), [[("x", 0, 0)]]),
            (encoder(), [[("first", 0, 0)], [("encoder", 1, 1)]]),
            (layer("ReLU", "last"), [[("encoder", 2, 0)]]),
        ],
        [["x", 0, 0]],
        [["last", 0, 0]],
    )
    found = rows(model)
    assert {name: row.inputs for name, row in found.items()} == {
        "first": (),
        "encoder/d": ("first",),
        "encoder/r": ("encoder/d",),
        "encoder": ("encoder/r",),
        "encoder:1": ("encoder/d",),
        "encoder#2/d": ("encoder:1",),
        "encoder#2/r": ("encoder#2/d",),
        "encoder#2": ("encoder#2/r",),
        "last": ("encoder#2",),
    }
    assert [name for name, row in found.items() if row.output] == ["last"]
    assert found["encoder/d"].tap == {"path": [["encoder", 1], "d"], "node": 0, "tensor": 0}
    assert found["encoder#2/d"].tap == {"path": [["encoder", 2], "d"], "node": 0, "tensor": 0}
    assert found["encoder#2"].tap == {"path": ["encoder"], "node": 2, "tensor": 0}
    assert found["encoder"].op == "Functional"


def test_a_nested_model_that_returns_its_input_passes_it_on():
    inner = functional("inner", [(layer("InputLayer", "e"), [])], [["e", 0, 0]], [["e", 0, 0]])
    model = functional(
        "outer",
        [INPUT, (layer("Dense", "a"), [[("x", 0, 0)]]), (inner, [[("a", 0, 0)]])],
        [["x", 0, 0]],
        [["inner", 1, 0]],
    )
    found = rows(model)["inner"]
    assert (found.inputs, found.output, found.tap) == (("a",), True, {"path": ["inner"], "tensor": 0})


@pytest.mark.parametrize("first", [[layer("InputLayer", "e")], []], ids=["input layer", "none"])
def test_a_nested_sequential_model_has_the_outer_tensor_as_input(first):
    inner = sequential("inner", *first, layer("Dense", "d"))
    found = rows(sequential("outer", layer("InputLayer", "x"), layer("Dense", "a"), inner))
    assert {name: row.inputs for name, row in found.items()} == {
        "a": (),
        "inner/d": ("a",),
        "inner": ("inner/d",),
    }


def test_the_operation_of_a_wrapper_includes_the_wrapped_layer():
    wrapped = layer("Bidirectional", "b", layer=layer("LSTM", "lstm"))
    assert rows(sequential("s", layer("InputLayer", "x"), wrapped))["b"].op == "Bidirectional(LSTM)"


def test_wrapped_layers_are_fused_into_each_call_of_the_wrapper():
    body = sequential("body", layer("InputLayer", "e"), layer("Dense", "d"))
    each = layer("TimeDistributed", "each", layer=body)
    stacked = layer(
        "StackedRNNCells", "two", cells=[layer("GRUCell", "low"), layer("LSTMCell", "high")], dtype="float32"
    )
    both = layer("Bidirectional", "both", layer=layer("RNN", "ahead", cell=stacked), backward_layer=None)
    model = functional(
        "outer",
        [INPUT, (each, [[("x", 0, 0)], [("each", 0, 0)]]), (both, [[("each", 1, 0)]])],
        [["x", 0, 0]],
        [["both", 0, 0]],
    )
    found = rows(model)
    assert {name: (row.op, row.into) for name, row in found.items() if row.coverage == "fused"} == {
        "each/body": ("Sequential", "each"),
        "each/body/d": ("Dense", "each"),
        "each#2/body": ("Sequential", "each#2"),
        "each#2/body/d": ("Dense", "each#2"),
        "both/ahead": ("RNN", "both"),
        "both/ahead/two": ("StackedRNNCells", "both"),
        "both/ahead/two/low": ("GRUCell", "both"),
        "both/ahead/two/high": ("LSTMCell", "both"),
    }
    assert all("part of" in row.reason for row in found.values() if row.coverage == "fused")
    assert [row.name for row in found.values() if row.coverage == "compared"] == ["each", "each#2", "both"]


def test_a_different_wrapped_layer_in_the_artifacts_is_unmapped():
    ours, theirs = (
        changed(layer("TimeDistributed", "each", layer=layer(kind, "inside"))) for kind in ("Dense", "ReLU")
    )
    found = {row.name: row.reason for row in plan_keras(ours, theirs).layers if row.coverage == "unmapped"}
    assert found["each/inside"] == "its class in the artifacts is ReLU"


def test_layers_are_in_order_of_computation():
    model = {**CHAIN, "config": {**CHAIN["config"], "layers": CHAIN["config"]["layers"][::-1]}}
    assert list(rows(model)) == ["a", "b"]


def changed(*layers):
    return sequential("s", layer("InputLayer", "x"), *layers)


SOURCE = changed(layer("Dense", "a"), layer("ReLU", "b"), layer("Dense", "c"))


@pytest.mark.parametrize(
    ("artifacts", "unmapped"),
    [
        (SOURCE, {}),
        (changed(layer("Dense", "a"), layer("Dense", "c")), {"b": "the artifacts do not have this layer"}),
        (
            changed(layer("Dense", "a"), layer("ELU", "b"), layer("Dense", "c")),
            {"b": "its class in the artifacts is ELU"},
        ),
        (
            changed(layer("Dense", "a"), layer("ReLU", "b"), layer("Dense", "c"), layer("Softmax", "d")),
            {"d": "only the artifacts have this layer"},
        ),
    ],
    ids=["same", "missing", "another class", "extra"],
)
def test_missing_extra_and_different_layers_are_unmapped(artifacts, unmapped):
    plan = plan_keras(SOURCE, artifacts)
    assert {row.name: row.reason for row in plan.layers if row.coverage == "unmapped"} == unmapped
    for row in plan.layers:
        assert (row.tap is None) == (row.coverage == "unmapped") == (row.name not in plan.tensors)


def test_a_cyclic_config_is_rejected():
    model = functional("loop", [(layer("Dense", "a"), [[("a", 0, 0)]])], [], [["a", 0, 0]])
    with pytest.raises(ValueError, match="'a' depends on its own output"):
        plan_keras(model, model)


HEADS = [
    INPUT,
    (layer("Dense", "a"), [[("x", 0, 0)]]),
    (layer("Dense", "b"), [[("x", 0, 0)], [("a", 0, 0)]]),
]


def test_outputs_have_the_names_that_keras_gives_them():
    found = rows(functional("heads", HEADS, [["x", 0, 0]], [["b", 0, 0], ["b", 1, 0]]))
    assert {name: row.output_names for name, row in found.items()} == {"a": (), "b": ("b",), "b#2": ("b_1",)}
    keys = functional("heads", HEADS, [["x", 0, 0]], {"classes": ["a", 0, 0], "boxes": ["b", 0, 0]})
    found = rows(keys)
    assert {name: row.output_names for name, row in found.items() if row.output} == {
        "a": ("classes", "a"),
        "b": ("boxes", "b"),
    }
    assert found["a"].known_as == "classes"


def test_outputs_in_another_order_are_unmapped():
    source, swapped, rotated = (
        functional("heads", HEADS, [["x", 0, 0]], [[name, call, 0] for name, call in order])
        for order in (
            (("a", 0), ("b", 0), ("b", 1)),
            (("b", 0), ("a", 0), ("b", 1)),
            (("b", 0), ("b", 1), ("a", 0)),
        )
    )
    found = rows(source, swapped)
    assert {name: row.coverage for name, row in found.items()} == {
        "a": "unmapped",
        "b": "unmapped",
        "b#2": "compared",
    }
    assert found["a"].reason == "the outputs 'a' and 'b' are swapped in the artifacts"
    found = rows(source, rotated)
    assert found["b"].reason == "the artifacts return 'b#2' in place of this output"
    assert all(row.coverage == "unmapped" for row in found.values())
