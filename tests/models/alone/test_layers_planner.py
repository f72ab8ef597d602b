"""Plans to run a Keras layer alone: shared and nested layers, and their feeds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.models.alone.plan import CannotRunAloneError, Fed
from pytest_tfjs.models.alone.planner import plan_alone
from tests.support.layers_plans import artifacts, called, chain, masks_of, plan_of, takes, tap
from tests.support.tiny_layers_models import functional, input_layer, layer, sequential

ABC = chain(layer("Dense", "a"), layer("Dense", "b"), layer("Dense", "c"))


@pytest.mark.parametrize(
    ("known", "text", "expected"),
    [
        (["a", "b", "c"], "c", "c(b)"),
        (["a", "c"], "c", "b(a) c(0)"),
        ([], "b", "a(<x>) b(0)"),
        (["a"], "a", "a(<x>)"),
        (["gone", "b@7"], "b", "a(<x>) b(0)"),
    ],
)
def test_a_layer_is_fed_the_nearest_known_layers_before_it(known, text, expected):
    assert called(ABC, known, text) == expected


def test_a_plan_as_json():
    plan = plan_of(ABC, ["a"], "c")
    assert json.loads(json.dumps(plan.to_json())) == {
        "rows": ["a"],
        "steps": [
            {"layer": ["b"], "node": 0, "inputs": [{"row": "a"}], "masks": [None]},
            {"layer": ["c"], "node": 0, "inputs": [{"step": 0, "output": 0}], "masks": [None]},
        ],
        "output": 0,
    }
    assert plan_of(ABC, [], "a").to_json()["steps"][0]["inputs"] == [{"input": "x"}]


SHARED = functional(
    "whole",
    [
        (input_layer("x", 3), []),
        (input_layer("y", 3), []),
        (layer("Dense", "shared"), [[("x", 0, 0)], [("y", 0, 0)]]),
        (layer("Concatenate", "both"), [[("shared", 1, 0), ("shared", 0, 0)]]),
    ],
    ["x", "y"],
    [("both", 0, 0)],
)


def test_calls_of_a_shared_layer_are_separate_rows():
    whole = artifacts(SHARED, "x", "y")
    known = ["shared@0", "shared@1", "both"]
    assert takes(whole, known, "both") == "shared@1 shared@0"
    assert called(whole, known, "shared@1") == "shared(<y>)"


def test_inputs_have_the_names_of_the_feed():
    assert called(artifacts(SHARED, "left", "right"), [], "shared@1") == "shared(<right>)"


def test_a_layer_with_several_outputs_is_called_once():
    model = functional(
        "whole",
        [
            (input_layer("x", 3), []),
            (layer("LSTM", "states"), [[("x", 0, 0)]]),
            (layer("Concatenate", "end"), [[("states", 0, 2), ("states", 0, 0)]]),
        ],
        ["x"],
        [("end", 0, 0)],
    )
    assert takes(model, ["states", "states:2"], "end") == "states:2 states"
    assert called(model, ["states"], "end") == "states(<x>) end(0:2 states)"
    assert called(model, [], "end") == "states(<x>) end(0:2 0)"
    assert plan_of(model, [], "states:1").output == 1


INNER = functional(
    "inner",
    [
        (input_layer("within", 3), []),
        (layer("Dense", "first"), [[("within", 0, 0)]]),
        (layer("Dense", "last"), [[("first", 0, 0)]]),
    ],
    ["within"],
    [("last", 0, 0)],
)
NESTED = functional(
    "outer",
    [
        (input_layer("x", 3), []),
        (layer("Dense", "pre"), [[("x", 0, 0)]]),
        (INNER, [[("pre", 0, 0)], [("mid", 0, 0)]]),
        (layer("Dense", "mid"), [[("inner", 1, 0)]]),
        (layer("Dense", "end"), [[("inner", 2, 0)]]),
    ],
    ["x"],
    [("end", 0, 0)],
)


@pytest.mark.parametrize(
    ("known", "text", "expected"),
    [
        (["pre", "mid", "inner#1/last", "inner#2/last"], "inner#1/first", "inner/first(pre)"),
        (["pre", "mid", "inner#1/last", "inner#2/last"], "inner#2/first", "inner/first(mid)"),
        (["inner#1/last", "inner#2/last"], "mid", "mid(inner#1/last)"),
        (["inner#1/last", "inner#2/last"], "end", "end(inner#2/last)"),
        (["inner@1", "inner#1/last"], "mid", "mid(inner@1)"),
        (["pre", "inner@1", "inner#1/first"], "inner@1", "inner/last(inner#1/first)"),
        (["pre", "inner#2/first"], "inner#1/last", "inner/first(pre) inner/last(0)"),
    ],
)
def test_calls_of_a_nested_model_are_separate_rows(known, text, expected):
    assert called(NESTED, known, text) == expected


def test_a_row_of_a_shared_nested_model_needs_a_call_number():
    for text in ("inner/first", "inner", "inner#7/first", "pre/first"):
        with pytest.raises(CannotRunAloneError, match="have no layer at"):
            plan_of(NESTED, [], text)


def test_a_sequential_model_whose_first_layer_is_a_model():
    whole = sequential("whole", [chain(layer("Dense", "first"), name="front"), layer("Dense", "end")])
    assert called(whole, ["front/first", "end"], "end") == "end(front/first)"
    assert called(whole, ["front/first", "end"], "front/first") == "front/first(<x>)"


@pytest.mark.parametrize("begins", [[], [input_layer("x", 3)]])
def test_a_sequential_model_with_and_without_an_input_layer(begins):
    whole = sequential("whole", [*begins, layer("Dense", "a"), layer("Dense", "b")])
    assert called(whole, [], "b") == "a(<x>) b(0)"


def twice(stateful):
    """A model that calls `stateful` twice, and takes both results."""
    name = stateful["config"]["name"]
    layers = [
        (input_layer("x", 3), []),
        (stateful, [[("x", 0, 0)], [("x", 0, 0)]]),
        (layer("Add", "end"), [[(name, 0, 0), (name, 1, 0)]]),
    ]
    return functional("m", layers, ["x"], [("end", 0, 0)])


@pytest.mark.parametrize(
    ("model", "text", "reason"),
    [
        (ABC, "x", "the layer is the model's input 'x'"),
        (ABC, "gone", 'the artifacts have no layer at {"path": ["gone"]'),
        (twice(layer("LSTM", "keeps", stateful=True)), "keeps", "'keeps' keeps a state, which its earlier"),
        (
            twice(layer("Bidirectional", "keeps", layer=layer("LSTM", "in", stateful=True))),
            "end",
            "'keeps' keeps a state, which its earlier",
        ),
    ],
)
def test_the_error_says_why_a_layer_cannot_run_alone(model, text, reason):
    with pytest.raises(CannotRunAloneError) as caught:
        plan_of(model, [], text)
    assert reason in str(caught.value)


def drawing(class_name, training, **config):
    """A model whose layer `draws` is called with `training`, and `end` on its result."""
    model = chain(layer(class_name, "draws", **config), layer("Dense", "end"))
    model["config"]["layers"][1]["inbound_nodes"] = [[["x", 0, 0, {"training": training}]]]
    return artifacts(model)


@pytest.mark.parametrize(
    ("class_name", "training", "config", "draws"),
    [
        ("Dropout", True, {"rate": 0.5}, True),
        ("Dropout", False, {"rate": 0.5}, False),
        ("Dropout", None, {"rate": 0.5}, False),
        ("SpatialDropout1D", True, {}, True),
        ("GaussianNoise", True, {}, True),
        ("AlphaDropout", True, {}, True),
        ("LSTM", True, {"dropout": 0.1}, True),
        ("LSTM", True, {"dropout": 0.0}, False),
        ("Bidirectional", True, {"layer": layer("GRU", "in", recurrent_dropout=0.2)}, True),
        ("RNN", True, {"cell": layer("GRUCell", "in", dropout=0.2)}, True),
        ("BatchNormalization", True, {}, False),
        ("RandomWidth", False, {}, True),
    ],
)
def test_layers_that_draw_random_numbers(class_name, training, config, draws):
    model = drawing(class_name, training, **config)
    found = plan_alone(model, {"draws": tap("draws")}, {})
    assert ("draws" in found.random) is draws
    assert ("draws" in found.plans) is not draws
    whole = plan_alone(model, {"end": tap("end")}, {})
    assert ("end" in whole.random) is draws
    assert "end" in plan_alone(model, {"end": tap("end")}, {"draws": tap("draws")}).plans


def test_the_error_names_an_input_that_the_model_lacks():
    rows = [(input_layer("x", 3), []), (input_layer("y", 3), []), (layer("Dense", "a"), [[("y", 0, 0)]])]
    model = functional("m", rows, ["x"], [("a", 0, 0)])
    with pytest.raises(
        CannotRunAloneError, match="the layer depends on 'y', which is not an input of the model"
    ):
        plan_of(model, [], "a")


def test_a_layer_with_a_state_runs_alone_if_it_is_called_once():
    model = chain(layer("LSTM", "keeps", stateful=True), layer("Dense", "end"))
    assert called(model, ["keeps"], "end") == "end(keeps)"
    assert called(model, [], "keeps") == "keeps(<x>)"


def test_long_chains_and_long_masks_need_no_recursion():
    layers = [layer("Dense", f"d{number}") for number in range(1500)]
    model = chain(layer("Masking", "hides"), *layers)
    assert len(plan_of(model, [], "d1499").steps) == 1501
    assert masks_of(model, ["d1498"], "d1499") == ["d1498"]


@st.composite
def models(draw):
    """A model of layers `n0`, `n1`, ... on any earlier ones, the known layers, and the one to compute."""
    count = draw(st.integers(1, 10))
    rows = [(input_layer("x", 3), [])]
    for number in range(count):
        before = st.sampled_from(["x", *(f"n{i}" for i in range(number))])
        class_name = draw(st.sampled_from(["Add", "Masking", "LSTM", "Conv1D"]))
        inputs = draw(st.lists(before, min_size=1, max_size=3))
        rows.append((layer(class_name, f"n{number}"), [[(name, 0, 0) for name in inputs]]))
    names = [f"n{number}" for number in range(count)]
    known = draw(st.lists(st.sampled_from(names), unique=True))
    return functional("m", rows, ["x"], [(names[-1], 0, 0)]), known, draw(st.sampled_from(names))


@given(models())
def test_each_step_takes_fed_tensors_or_earlier_steps(drawn):
    model, known, text = drawn
    plan = plan_of(model, known, text)
    inputs = {row["config"]["name"]: row["inbound_nodes"] for row in model["config"]["layers"]}
    assert plan.steps[-1].layer == (text,)
    assert len({step.layer for step in plan.steps}) == len(plan.steps)
    rows = set()
    for at, step in enumerate(plan.steps):
        names = [tensor[0] for tensor in inputs[step.layer[0]][0]]
        for name, source in zip(names, step.inputs, strict=True):
            if isinstance(source, Fed):
                assert (source.row, source.source_input) in ((name, None), (None, name))
                assert source.row is None or name in known
                rows |= {source.row} - {None}
            else:
                assert source.step < at
                assert plan.steps[source.step].layer == (name,)
                assert name not in known
        assert all(mask is None or mask < at for mask in step.masks)
    assert rows == set(plan.fetched)
    assert set(plan.takes) <= rows
