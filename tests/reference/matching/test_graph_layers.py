from __future__ import annotations

import pytest

from pytest_tfjs.reference.graph import Graph
from pytest_tfjs.reference.matching.graph_layers import plan_graph
from tests.support.graph_building import graph, node


def rows(source, converted):
    return {row.name: row for row in plan_graph(source, converted).layers}


FUSED = graph(
    node("m/conv", "Conv2D", "x", "k"),
    node("m/bias", "BiasAdd", "m/conv", "b"),
    node("m/relu", "Relu6", "m/bias"),
    node("m/tanh", "Tanh", "m/relu"),
    outputs="m/tanh",
)


FUSED_CONVERTED = graph(
    node("m/relu", "_FusedConv2D", "x", "k", "b", fused=["BiasAdd", "Relu6"]),
    node("m/tanh", "Tanh", "m/relu"),
    outputs="m/tanh",
)


def test_a_fused_row_is_named_after_the_operation_with_the_weights():
    plan = plan_graph(FUSED, FUSED_CONVERTED)
    found = {row.name: row for row in plan.layers}
    conv = found["conv"]
    assert (conv.coverage, conv.op, conv.members) == ("compared", "Conv2D+BiasAdd+Relu6", ("bias", "relu"))
    assert conv.tap == {"node": "m/relu:0"}
    assert plan.tensors == {"conv": "m/relu:0", "tanh": "m/tanh:0"}
    assert {name: (found[name].coverage, found[name].into) for name in ("bias", "relu")} == {
        "bias": ("fused", "conv"),
        "relu": ("fused", "conv"),
    }
    assert found["bias"].reason == "the browser computes it as part of 'conv', which is compared after 'relu'"
    assert found["relu"].reason == "the browser computes it as part of 'conv'"
    assert found["tanh"].inputs == ("conv",)
    assert [row.name for row in plan.layers if row.output] == ["tanh"]


def test_the_prefix_shared_by_all_names_is_removed():
    source = graph(node("m/a/one", "Tanh", "x"), node("m/b", "Relu", "m/a/one"), outputs="m/b")
    assert set(rows(source, source)) == {"a/one", "b"}
    alone = graph(node("tanh", "Tanh", "x"), outputs="tanh")
    assert set(rows(alone, alone)) == {"tanh"}


def test_eliminated_rows_have_a_reason():
    source = graph(
        node("folded", "Add", "c", "d"),
        node("shape", "Shape", "x"),
        node("size", "Prod", "shape", "axes"),
        node("mul", "Mul", "x", "folded"),
        node("stop", "StopGradient", "mul"),
        node("neg", "Neg", "stop"),
        node("neg_1", "Neg", "neg", same="stop"),
        node("r", "Reshape", "neg_1", "size"),
        node("dead", "Tanh", "x"),
        outputs="r",
    )
    converted = graph(node("mul", "Mul", "x", "folded"), node("r", "Reshape", "mul", "made"), outputs="r")
    assert {name: (row.coverage, row.reason) for name, row in rows(source, converted).items()} == {
        "folded": ("eliminated", "constant: computed from weights during conversion"),
        "shape": ("eliminated", "shape: shape arithmetic, folded during conversion"),
        "size": ("eliminated", "shape: shape arithmetic, folded during conversion"),
        "mul": ("compared", None),
        "stop": ("eliminated", "identity"),
        "neg": ("eliminated", "undone: the next operation reverses it"),
        "neg_1": ("eliminated", "identity"),
        "r": ("compared", None),
    }


@pytest.mark.parametrize("draws", ["RandomUniform", "StatelessRandomUniformV2"])
def test_constants_computed_in_the_browser_are_not_called_folded(draws):
    table = [node("range", "Range", "start", "stop", "step"), node("sin", "Sin", "range")]
    noise = [node("draw", draws, "size"), node("scaled", "Mul", "draw", "factor")]
    ends = [node("add", "AddV2", "x", "sin"), node("noisy", "AddV2", "add", "scaled")]
    source = graph(*table, *noise, *ends, outputs="noisy")
    folded = graph(*noise, *ends, outputs="noisy")

    def reasons(converted):
        found = rows(source, converted)
        assert {found[name].coverage for name in ("range", "sin", "draw", "scaled")} == {"eliminated"}
        return [found[name].reason for name in ("range", "sin", "draw", "scaled")]

    drawn = ["random: the browser draws its own random numbers, which cannot be compared"] * 2
    computed = "constant: computed from weights alone; an error in it shows in the layers that use it"
    assert reasons(source) == [computed, computed, *drawn]
    assert reasons(folded) == ["constant: computed from weights during conversion"] * 2 + drawn


def test_a_no_op_that_the_artifacts_keep_is_compared():
    source = graph(node("mul", "Mul", "x", "one", same="x"), node("r", "Relu", "mul"), outputs="r")
    converted = graph(node("mul", "Mul", "x", "one"), node("r", "Relu", "mul"), outputs="r")
    found = rows(source, converted)
    assert {name: row.coverage for name, row in found.items()} == {"mul": "compared", "r": "compared"}
    assert found["r"].inputs == ("mul",)


def test_inputs_are_the_nearest_compared_rows():
    source = graph(
        node("a", "Tanh", "x"),
        node("b", "Sigmoid", "x"),
        node("i", "Identity", "a"),
        node("neg", "Neg", "b"),
        node("sub", "AddV2", "i", "neg"),
        node("deep", "Relu", "sub"),
        outputs="deep",
    )
    converted = graph(
        node("a", "Tanh", "x"),
        node("b", "Sigmoid", "x"),
        node("sub", "Sub", "a", "b"),
        node("deep", "Relu", "sub"),
        outputs="deep",
    )
    found = rows(source, converted)
    assert set(found["sub"].inputs) == {"a", "b"}
    assert found["deep"].inputs == ("sub",)
    assert (found["neg"].coverage, found["neg"].into) == ("fused", "sub")


def test_each_used_output_of_a_node_is_a_row():
    source = graph(
        node("split", "Split", "axis", "x", dtypes=("float32",) * 3),
        node("a", "Tanh", "split:2"),
        outputs="a",
    )
    found = rows(source, source)
    assert list(found) == ["split", "split:2", "a"]
    assert found["split:2"].tap == {"node": "split:2"}
    assert found["a"].inputs == ("split:2",)


def test_the_second_output_of_a_node_may_be_an_output_of_the_model():
    source = graph(node("top", "TopKV2", "x", "k", dtypes=("float32", "int32")), outputs="top:1 top")
    plan = plan_graph(source, source)
    assert [(row.name, row.output, row.coverage) for row in plan.layers] == [
        ("top", True, "compared"),
        ("top:1", True, "compared"),
    ]
    assert plan.tensors == {"top": "top:0", "top:1": "top:1"}


def test_tensor_lists_are_not_compared():
    source = graph(
        node("list", "TensorListFromTensor", "x", "shape", dtypes=("variant",)),
        node("while", "While", "zero", "list", dtypes=("int32", "variant")),
        node("stack", "TensorListStack", "while:1", "shape"),
        outputs="stack",
    )
    found = rows(source, source)
    assert {name: row.coverage for name, row in found.items()} == {
        "list": "eliminated",
        "while": "compared",
        "while:1": "eliminated",
        "stack": "compared",
    }
    assert found["list"].reason == "tensor list: holds no tensor that could be read"


def test_each_used_output_of_a_loop_is_compared():
    dtypes = ("variant", "int32", "float32", "variant", "float32")
    source = graph(
        node("while", "While", "list", "zero", "x", "list", "y", dtypes=dtypes),
        node("stack", "TensorListStack", "while:3", "shape"),
        node("a", "Relu", "while:2"),
        outputs="stack a while:4",
    )
    plan = plan_graph(source, source)
    found = {row.name: (row.coverage, row.output) for row in plan.layers}
    assert found == {
        "while:2": ("compared", False),
        "while:3": ("eliminated", False),
        "while:4": ("compared", True),
        "stack": ("compared", True),
        "a": ("compared", True),
    }
    assert plan.tensors["while:2"] == "while:2"
    assert next(row for row in plan.layers if row.name == "a").inputs == ("while:2",)


def test_loop_bodies_are_eliminated():
    source = graph(
        node("a", "Tanh", "x"),
        node("enter", "Enter", "a", frame="f"),
        node("merge", "Merge", "enter", "next"),
        node("less", "Less", "merge", "limit"),
        node("cond", "LoopCond", "less"),
        node("switch", "Switch", "merge", "cond"),
        node("body", "Sigmoid", "switch:1"),
        node("next", "NextIteration", "body"),
        node("exit", "Exit", "switch"),
        outputs="exit",
    )
    found = rows(source, source)
    assert found["exit"].coverage == "compared"
    assert found["exit"].inputs == ("a",)
    assert {found[name].coverage for name in ("merge", "less", "switch", "body", "next")} == {"eliminated"}
    assert found["body"].reason == "inside a loop body: it runs many times; the loop's results are compared"


def test_nodes_inside_a_branch_are_eliminated():
    """They have no value if the other branch runs. A loop before the branch is not a branch."""
    source = graph(
        node("enter", "Enter", "x", frame="f"),
        node("merge_loop", "Merge", "enter", "next"),
        node("less", "Less", "merge_loop", "limit"),
        node("loop_cond", "LoopCond", "less"),
        node("switch_loop", "Switch", "merge_loop", "loop_cond"),
        node("next", "NextIteration", "switch_loop:1"),
        node("exit", "Exit", "switch_loop"),
        node("greater", "Greater", "exit", "zero"),
        node("switch", "Switch", "exit", "greater"),
        node("then", "Tanh", "switch:1"),
        node("else", "Sigmoid", "switch"),
        node("merge", "Merge", "else", "then", dtypes=("float32", "int32")),
        node("after", "Relu", "merge"),
        outputs="after",
    )
    plan = plan_graph(source, source)
    found = {row.name: row for row in plan.layers}
    assert {name for name, row in found.items() if row.coverage == "compared"} == {
        "exit",
        "greater",
        "merge",
        "after",
    }
    for name in ("switch", "then", "else"):
        assert found[name].reason == (
            "inside a branch: it may not run at all; the branch's results are compared"
        )
    assert set(found["merge"].inputs) == {"exit", "greater"}


def test_a_node_that_produces_the_wrong_output_is_unmapped():
    source = graph(node("a", "Tanh", "x"), node("b", "Relu", "a"), outputs="b")
    converted = graph(
        node("a", "Tanh", "x"), node("b", "Relu", "a"), node("out", "Identity", "a"), outputs="out"
    )
    source = Graph.of([*source.nodes.values(), node("out", "Identity", "b")], [("out", 0)])
    plan = plan_graph(source, converted)
    found = {row.name: row for row in plan.layers}
    assert (found["out"].coverage, found["out"].output, plan.tensors["out"]) == ("compared", True, "out:0")
    assert found["a"].coverage == "unmapped"
    assert (
        found["a"].reason
        == "the artifacts compute the output 'out' in this layer, but the source computes it in 'b'"
    )
    assert "a" not in plan.tensors


def test_outputs_have_their_names_in_the_signature():
    nodes = (
        node("a", "Relu", "x"),
        node("b", "Tanh", "a"),
        node("one", "Identity", "a"),
        node("two", "Identity", "a"),
    )
    outputs = graph(*nodes, outputs="one b two")
    names = [("first",), ("b", "last"), ("second",)]
    found = {row.name: row for row in plan_graph(outputs, outputs, names=names).layers}
    assert found["a"].output_names == ("first", "second")
    assert found["b"].output_names == ("b", "last")
    assert (found["a"].known_as, found["b"].known_as) == ("first", "b")
    inner = graph(*nodes, outputs="b")
    assert {row.name: row.output_names for row in plan_graph(inner, inner, names=[("y",)]).layers} == {
        "a": (),
        "b": ("y",),
    }


@pytest.mark.parametrize("entering", ["x", "c"], ids=["input", "constant"])
def test_an_output_that_is_an_input_or_a_constant_is_compared(entering):
    nodes = (node("out", "Identity", entering), node("a", "Relu", "x"))
    plan = plan_graph(graph(*nodes, outputs="out a"), graph(*nodes, outputs="out a"))
    found = {row.name: row for row in plan.layers}
    assert (found["out"].coverage, found["out"].output, found["out"].inputs) == ("compared", True, ())
    assert found["out"].tap == {"node": "out:0"}
    assert found["a"].output


def test_a_tensor_returned_twice_is_one_output_row():
    nodes = (node("a", "Relu", "x"), node("one", "Identity", "a"), node("two", "Identity", "a"))
    found = rows(graph(*nodes, outputs="one two"), graph(*nodes, outputs="one two"))
    assert {name: row.output for name, row in found.items()} == {"a": True}


def test_an_extra_node_is_unmapped_unless_it_is_an_output():
    source = graph(node("a", "Tanh", "x"), outputs="a")
    converted = graph(node("a", "Tanh", "x"), node("extra", "Elu", "a"), outputs="extra")
    plan = plan_graph(source, converted)
    found = {row.name: row for row in plan.layers}
    assert (found["extra"].coverage, found["extra"].tap) == ("compared", {"node": "extra:0"})
    assert found["extra"].output
    unused = graph(node("a", "Tanh", "x"), node("extra", "Elu", "a"), outputs="a")
    assert rows(source, unused)["extra"].coverage == "unmapped"


def test_an_operation_missing_from_the_artifacts_is_unmapped():
    source = graph(node("a", "Tanh", "x"), node("b", "Relu", "a"), node("c", "Erf", "b"), outputs="c")
    converted = graph(node("a", "Tanh", "x"), node("c", "Erf", "a"), outputs="c")
    found = rows(source, converted)
    assert found["b"].coverage == "unmapped"
    assert found["b"].reason == "no matching node was found in the artifacts"
