from __future__ import annotations

import base64

import pytest

from pytest_tfjs.reference.graph import Graph, converted_node, parse_ref
from tests.support.graph_building import graph, node


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("a", ("a", 0)),
        ("scope/a:2", ("scope/a", 2)),
        ("a:b", ("a:b", 0)),
        ("a:", ("a:", 0)),
        ("a:b:1", ("a:b", 1)),
    ],
)
def test_a_reference_names_an_output(text, ref):
    assert parse_ref(text) == ref


def test_a_converted_node_is_read_as_model_json_has_it():
    def encoded(*words):
        return {"list": {"s": [base64.b64encode(word.encode()).decode() for word in words]}}

    frame = {"s": base64.b64encode(b"while_frame").decode()}
    read = converted_node(
        "n",
        "_FusedConv2D",
        ["x", "k:1", "^control"],
        {"fused_ops": encoded("NoOp", "Relu"), "frame_name": frame},
    )
    assert read.inputs == (("x", 0), ("k", 1))
    assert read.fused_ops == ("Relu",)
    assert read.frame == "while_frame"
    assert converted_node("n", "Relu", [], {}).fused_ops == ()


def test_identities_are_seen_through():
    found = graph(
        node("split", "Split", "axis", "x"),
        node("pair", "IdentityN", "x", "split:1"),
        node("i", "Identity", "pair:1"),
        node("one", "Mul", "i", "c", same="i"),
        node("two", "Mul", "one", "d"),
    )
    assert found.resolve(("one", 0)) == ("split", 1)
    assert found.resolve(("pair", 0)) == ("x", 0)
    assert found.inputs(found.nodes["two"]) == (("split", 1), ("d", 0))
    assert found.consumers["split"] == ("pair", "two")
    kept = found.distinguishing({"one"})
    assert kept.resolve(("one", 0)) == ("one", 0)
    assert kept.inputs(kept.nodes["two"])[0] == ("one", 0)


def test_a_long_chain_of_nodes_is_no_trouble():
    count = 5000
    chain = graph(
        node("n0", "Relu", "x"), *(node(f"n{i}", "Relu", f"n{i - 1}") for i in range(1, count)), outputs="n9"
    )
    assert len(chain.order) == count + 1
    assert len(chain.live) == 11
    assert chain.constants == frozenset()


def test_the_order_follows_the_inputs_whatever_the_order_of_the_nodes():
    found = graph(node("c", "Sub", "b", "a"), node("b", "Relu", "a"), node("a", "Tanh", "x"))
    assert found.order == ("x", "a", "b", "c")


def test_constants_and_shapes_are_told_from_what_depends_on_values():
    found = graph(
        node("k", "Add", "c", "d"),
        node("shape", "Shape", "x"),
        node("size", "Prod", "shape", "axes"),
        node("zeros", "Fill", "size", "zero"),
        node("a", "Mul", "x", "k"),
        node("b", "AddV2", "zeros", "a"),
    )
    assert {"c", "d", "k"} <= found.constants
    assert found.shapes_only == {"shape", "size", "zeros"}
    assert not {"a", "b", "x"} & (found.constants | found.shapes_only)


LOOP = graph(
    node("a", "Tanh", "x"),
    node("i", "Identity", "a"),
    node("enter", "Enter", "i", frame="f"),
    node("limit", "Enter", "y", frame="f"),
    node("other", "Enter", "z", frame="g"),
    node("merge", "Merge", "enter", "next"),
    node("less", "Less", "merge", "limit"),
    node("cond", "LoopCond", "less"),
    node("switch", "Switch", "merge", "cond"),
    node("body", "Sigmoid", "switch:1"),
    node("next", "NextIteration", "body"),
    node("exit", "Exit", "switch"),
    node("after", "Relu", "exit"),
    outputs="after",
)


def test_a_loop_is_in_order_once_and_only_its_inside_is_deep():
    assert set(LOOP.order) == set(LOOP.nodes)
    inside = {"enter", "limit", "other", "merge", "less", "cond", "switch", "body", "next"}
    assert {name for name, depth in LOOP.loop_depth.items() if depth} == inside
    assert {"body", "next", "enter", "limit"} <= LOOP.live
    assert "other" not in LOOP.live


def test_what_enters_a_loop_is_what_its_own_enters_take():
    assert LOOP.loop_inputs(LOOP.nodes["exit"]) == (("a", 0), ("y", 0))


def test_what_only_an_undone_operation_takes_is_live_and_not_needed():
    found = graph(
        node("a", "Tanh", "x"),
        node("neg", "Neg", "a"),
        node("neg_1", "Neg", "neg", same="a"),
        node("r", "Relu", "neg_1"),
        outputs="r",
    )
    assert {"neg", "neg_1"} <= found.live
    assert found.needed == {"r", "a", "x"}


def test_a_graph_keeps_its_outputs():
    assert Graph.of([node("a", "Relu", "a")], [("a", 0)]).distinguishing(()).outputs == (("a", 0),)
