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
def test_parse_ref_splits_node_and_output(text, ref):
    assert parse_ref(text) == ref


def test_converted_node_decodes_attributes_of_model_json():
    def encoded(*names):
        return {"list": {"s": [base64.b64encode(name.encode()).decode() for name in names]}}

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


def test_resolve_skips_identities():
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
    distinguished = found.distinguishing({"one"})
    assert distinguished.resolve(("one", 0)) == ("one", 0)
    assert distinguished.inputs(distinguished.nodes["two"])[0] == ("one", 0)


def test_a_long_chain_of_nodes_needs_no_recursion():
    count = 5000
    chain = graph(
        node("n0", "Relu", "x"), *(node(f"n{i}", "Relu", f"n{i - 1}") for i in range(1, count)), outputs="n9"
    )
    assert len(chain.order) == count + 1
    assert len(chain.live) == 11
    assert chain.constants == frozenset()


def test_nodes_are_in_topological_order():
    found = graph(node("c", "Sub", "b", "a"), node("b", "Relu", "a"), node("a", "Tanh", "x"))
    assert found.order == ("x", "a", "b", "c")


def test_constants_and_shape_arithmetic_are_recognised():
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


def test_only_nodes_inside_a_loop_have_a_loop_depth():
    assert set(LOOP.order) == set(LOOP.nodes)
    inside = {"enter", "limit", "other", "merge", "less", "cond", "switch", "body", "next"}
    assert {name for name, depth in LOOP.loop_depth.items() if depth} == inside
    assert {"body", "next", "enter", "limit"} <= LOOP.live
    assert "other" not in LOOP.live


def test_loop_inputs_are_those_of_the_loops_own_frame():
    assert LOOP.loop_inputs(LOOP.nodes["exit"]) == (("a", 0), ("y", 0))


def test_operations_that_are_undone_are_live_but_not_needed():
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
