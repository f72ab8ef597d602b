from __future__ import annotations

from dataclasses import dataclass

import pytest
from graph_building import graph, node

from pytest_tfjs.reference.graphs import Graph
from pytest_tfjs.reference.mapping import match_graphs


def tails(source, converted):
    """For each matched node of `converted` the source node whose output it gives."""
    return {name: match.tail for name, match in match_graphs(source, converted).matches.items()}


def by_name(source, converted):
    """What matching by name alone would say."""
    return {
        name: name
        for name, found in converted.nodes.items()
        if found.op not in ("Const", "Placeholder", "Identity") and name in source.nodes
    }


@dataclass(frozen=True)
class Case:
    """A source, what the converter makes of it, and the source node behind each converted one."""

    source: Graph
    converted: Graph
    expected: dict[str, str]
    names_suffice: bool = False


CONV_BN = (
    node("conv", "Conv2D", "x", "kernel"),
    node("bn", "FusedBatchNormV3", "conv", "gamma", "beta", "mean", "variance"),
    node("relu6", "Relu6", "bn"),
)
CONV_BIAS_BN = (
    node("conv", "Conv2D", "x", "kernel"),
    node("bias", "BiasAdd", "conv", "b"),
    node("bn", "FusedBatchNormV3", "bias", "gamma", "beta", "mean", "variance"),
    node("relu", "Relu", "bn"),
)

CASES = {
    "the same": Case(
        graph(node("a", "Tanh", "x"), node("b", "Sub", "a", "x")),
        graph(node("a", "Tanh", "x"), node("b", "Sub", "a", "x")),
        {"a": "a", "b": "b"},
        names_suffice=True,
    ),
    "a convolution named after the last operation it took in": Case(
        graph(
            node("conv", "Conv2D", "x", "k"), node("bias", "BiasAdd", "conv", "b"), node("r", "Relu6", "bias")
        ),
        graph(node("r", "_FusedConv2D", "x", "k", "b", fused=["BiasAdd", "Relu6"])),
        {"r": "r"},
        names_suffice=True,
    ),
    "a depthwise convolution that kept its own name": Case(
        graph(
            node("depthwise", "DepthwiseConv2dNative", "x", "k"),
            node("bias", "BiasAdd", "depthwise", "b"),
            node("r", "Relu6", "bias"),
        ),
        graph(node("depthwise", "FusedDepthwiseConv2dNative", "x", "k", "b", fused=["BiasAdd", "Relu6"])),
        {"depthwise": "r"},
    ),
    "a depthwise convolution that took in a batch-norm, and what follows": Case(
        graph(
            node("depthwise", "DepthwiseConv2dNative", "x", "k"),
            node("bn", "FusedBatchNormV3", "depthwise", "gamma", "beta", "mean", "variance"),
            node("r", "Relu6", "bn"),
            node("next", "Conv2D", "r", "k2"),
        ),
        graph(
            node(
                "depthwise",
                "FusedDepthwiseConv2dNative",
                "x",
                "depthwise_weights",
                "depthwise_bn_offset",
                fused=["BiasAdd", "Relu6"],
            ),
            node("next", "Conv2D", "depthwise", "k2"),
        ),
        {"depthwise": "r", "next": "next"},
    ),
    "a matrix product": Case(
        graph(node("mm", "MatMul", "x", "k"), node("bias", "BiasAdd", "mm", "b"), node("r", "Relu", "bias")),
        graph(node("mm", "_FusedMatMul", "x", "k", "b", fused=["BiasAdd", "Relu"])),
        {"mm": "r"},
    ),
    "a batch-norm after a convolution": Case(
        graph(*CONV_BN),
        graph(
            node("conv", "Conv2D", "x", "conv_weights"),
            node("bn", "BiasAdd", "conv", "conv_bn_offset"),
            node("relu6", "Relu6", "bn"),
        ),
        {"bn": "bn", "relu6": "relu6"},
    ),
    "a batch-norm after a convolution with a bias": Case(
        graph(*CONV_BIAS_BN),
        graph(node("relu", "_FusedConv2D", "x", "conv_weights", "conv_bn_offset", fused=["BiasAdd", "Relu"])),
        {"relu": "relu"},
        names_suffice=True,
    ),
    "a batch-norm without its activation, in a node with the convolution's name": Case(
        graph(*CONV_BIAS_BN),
        graph(
            node("conv", "_FusedConv2D", "x", "conv_weights", "conv_bn_offset", fused=["BiasAdd"]),
            node("relu", "Relu", "conv"),
        ),
        {"conv": "bn", "relu": "relu"},
    ),
    "a batch-norm that is not folded": Case(
        graph(
            node("bn", "FusedBatchNormV3", "x", "gamma", "beta", "mean", "variance"), node("r", "Relu", "bn")
        ),
        graph(
            node("bn/Mul", "Mul", "x", "bn/Scaled"),
            node("bn", "Add", "bn/Mul", "bn/Offset"),
            node("r", "Relu", "bn"),
        ),
        {"bn": "bn", "r": "r"},
        names_suffice=True,
    ),
    "a product pushed into a convolution's weights": Case(
        graph(
            node("conv", "Conv2D", "x", "k"),
            node("mul", "Mul", "conv", "c"),
            node("add", "AddV2", "mul", "d"),
        ),
        graph(node("mul", "Conv2D", "x", "merged_input"), node("add", "AddV2", "mul", "d")),
        {"mul": "mul", "add": "add"},
        names_suffice=True,
    ),
    "a sum regrouped": Case(
        graph(
            node("a", "Tanh", "x"),
            node("one", "AddV2", "a", "x"),
            node("two", "AddV2", "one", "y"),
            node("three", "AddV2", "two", "a"),
            node("r", "Relu", "three"),
        ),
        graph(
            node("a", "Tanh", "x"),
            node("AddOpsRewrite_Leaf_1_three", "AddN", "a", "x", "a"),
            node("AddOpsRewrite_three", "AddV2", "AddOpsRewrite_Leaf_1_three", "y"),
            node("r", "Relu", "AddOpsRewrite_three"),
        ),
        {"a": "a", "AddOpsRewrite_three": "three", "r": "r"},
    ),
    "a PReLU": Case(
        graph(
            node("relu", "Relu", "x"),
            node("neg", "Neg", "x"),
            node("relu_1", "Relu", "neg"),
            node("mul", "Mul", "neg_alpha", "relu_1"),
            node("add", "AddV2", "relu", "mul"),
        ),
        graph(node("relu", "Prelu", "x", "neg_alpha")),
        {"relu": "add"},
    ),
    "a PReLU within a convolution": Case(
        graph(
            node("conv", "Conv2D", "x", "k"),
            node("bias", "BiasAdd", "conv", "b"),
            node("relu", "Relu", "bias"),
            node("neg", "Neg", "bias"),
            node("relu_1", "Relu", "neg"),
            node("mul", "Mul", "neg_alpha", "relu_1"),
            node("add", "AddV2", "relu", "mul"),
        ),
        graph(node("bias", "_FusedConv2D", "x", "k", "b", "neg_alpha", fused=["BiasAdd", "Prelu"])),
        {"bias": "add"},
    ),
    "identities": Case(
        graph(
            node("i", "Identity", "x"),
            node("a", "Tanh", "i"),
            node("s", "StopGradient", "a"),
            node("pair", "IdentityN", "s", "x"),
            node("b", "Sub", "pair:0", "pair:1"),
        ),
        graph(node("a", "Tanh", "x"), node("b", "Sub", "a", "x")),
        {"a": "a", "b": "b"},
        names_suffice=True,
    ),
    "constants": Case(
        graph(node("k", "Add", "c", "d"), node("l", "Reshape", "k", "shape"), node("a", "Mul", "x", "l")),
        graph(node("a", "Mul", "x", "l")),
        {"a": "a"},
        names_suffice=True,
    ),
    "constants that follow each other": Case(
        graph(node("a", "AddV2", "x", "c"), node("b", "AddV2", "d", "a"), node("r", "Relu", "b")),
        graph(node("b", "AddV2", "ConstantFolding/b", "x"), node("r", "Relu", "b")),
        {"b": "b", "r": "r"},
        names_suffice=True,
    ),
    "branches that only their weights tell apart": Case(
        graph(
            node("left", "Conv2D", "x", "left/k"),
            node("left_bias", "BiasAdd", "left", "left/b"),
            node("right", "Conv2D", "x", "right/k"),
            node("right_bias", "BiasAdd", "right", "right/b"),
        ),
        graph(
            node("one", "_FusedConv2D", "x", "right/k", "right/b", fused=["BiasAdd"]),
            node("two", "_FusedConv2D", "x", "left/k", "left/b", fused=["BiasAdd"]),
        ),
        {"one": "right_bias", "two": "left_bias"},
    ),
    "branches that only their names tell apart": Case(
        graph(node("left", "Softmax", "x"), node("right", "Softmax", "x")),
        graph(node("right", "Softmax", "x"), node("left", "Softmax", "x")),
        {"left": "left", "right": "right"},
        names_suffice=True,
    ),
    "inputs that entered the other way round": Case(
        graph(node("a", "Sub", "x", "y"), node("b", "Sub", "y", "x")),
        graph(node("one", "Sub", "y", "x"), node("two", "Sub", "x", "y")),
        {"one": "b", "two": "a"},
    ),
    "outputs of one node": Case(
        graph(
            node("split", "Split", "axis", "x"),
            node("a", "Tanh", "split:1"),
            node("b", "Tanh", "split"),
            node("c", "Sub", "split:1", "split:0"),
        ),
        graph(
            node("split", "Split", "axis", "x"),
            node("new_a", "Tanh", "split:1"),
            node("b", "Tanh", "split"),
            node("c", "Sub", "split:1", "split:0"),
        ),
        {"split": "split", "new_a": "a", "b": "b", "c": "c"},
    ),
    "a square": Case(
        graph(node("mul", "Mul", "x", "x"), node("r", "Relu", "mul")),
        graph(node("ReplaceMulWithSquare_mul", "Square", "x"), node("r", "Relu", "ReplaceMulWithSquare_mul")),
        {"ReplaceMulWithSquare_mul": "mul", "r": "r"},
    ),
    "a quotient by a constant, taken before a product": Case(
        graph(node("mul", "Mul", "x", "x"), node("div", "RealDiv", "mul", "c"), node("r", "Relu", "div")),
        graph(node("mul", "Mul", "div_recip", "x"), node("div", "Mul", "x", "mul"), node("r", "Relu", "div")),
        {"div": "div", "r": "r"},
    ),
    "a squared difference that kept the difference's name": Case(
        graph(
            node("sub", "Sub", "x", "y"),
            node("square", "Square", "sub"),
            node("mean", "Mean", "square", "axis"),
        ),
        graph(node("sub", "SquaredDifference", "x", "y"), node("mean", "Mean", "sub", "axis")),
        {"sub": "square", "mean": "mean"},
    ),
    "a negated comparison that kept the comparison's name": Case(
        graph(
            node("gt", "Greater", "x", "y"),
            node("not", "LogicalNot", "gt"),
            node("s", "SelectV2", "not", "x", "y"),
        ),
        graph(node("gt", "LessEqual", "x", "y"), node("s", "SelectV2", "gt", "x", "y")),
        {"gt": "not", "s": "s"},
    ),
    "reshapes that follow each other": Case(
        graph(node("a", "Reshape", "x", "s"), node("b", "Reshape", "a", "t"), node("r", "Relu", "b")),
        graph(node("b", "Reshape", "x", "t"), node("r", "Relu", "b")),
        {"b": "b", "r": "r"},
        names_suffice=True,
    ),
    "a transposition within a product": Case(
        graph(node("t", "Transpose", "x", "perm"), node("mm", "BatchMatMulV2", "y", "t")),
        graph(node("FoldTransposeIntoMatMul_mm", "BatchMatMulV2", "y", "x")),
        {"FoldTransposeIntoMatMul_mm": "mm"},
    ),
    "an activation moved behind a concatenation": Case(
        graph(
            node("a", "Relu", "x"),
            node("b", "Relu", "y"),
            node("join", "ConcatV2", "a", "b", "axis"),
            node("c", "Tanh", "join"),
        ),
        graph(
            node("join", "ConcatV2", "x", "y", "axis"),
            node("a", "Relu", "join"),
            node("c", "Tanh", "a"),
        ),
        {"a": "join", "c": "c"},
    ),
    "an activation moved behind a maximum": Case(
        graph(node("r", "Relu", "x"), node("max", "Max", "r", "axes"), node("t", "Tanh", "max")),
        graph(node("max", "Max", "x", "axes"), node("r", "Relu", "max"), node("t", "Tanh", "r")),
        {"r": "max", "t": "t"},
    ),
    "a bias moved before a squeeze": Case(
        graph(
            node("conv", "Conv2D", "x", "k"),
            node("squeeze", "Squeeze", "conv"),
            node("bias", "BiasAdd", "squeeze", "b"),
        ),
        graph(
            node("conv", "_FusedConv2D", "x", "k", "b", fused=["BiasAdd"]), node("bias", "Squeeze", "conv")
        ),
        {"bias": "bias"},
    ),
    "an operation that leaves its input as it is": Case(
        graph(
            node("beta", "Mul", "one", "x", same="x"),
            node("s", "Sigmoid", "beta"),
            node("m", "Mul", "x", "s"),
        ),
        graph(node("s", "Sigmoid", "x"), node("m", "Mul", "x", "s")),
        {"s": "s", "m": "m"},
        names_suffice=True,
    ),
    "arithmetic on shapes": Case(
        graph(
            node("shape", "Shape", "x"),
            node("size", "Prod", "shape", "axes"),
            node("packed", "Pack", "size", "four"),
            node("r", "Reshape", "x", "packed"),
        ),
        graph(
            node("shape", "Shape", "x"),
            node("made", "GatherV2", "shape", "zero", "zero"),
            node("r", "Reshape", "x", "made"),
        ),
        {"shape": "shape", "r": "r"},
        names_suffice=True,
    ),
    "a loop as one node": Case(
        graph(node("a", "Tanh", "x"), node("loop", "While", "zero", "a"), node("b", "Relu", "loop:1")),
        graph(node("a", "Tanh", "x"), node("loop", "While", "zero", "a"), node("new_b", "Relu", "loop:1")),
        {"a": "a", "loop": "loop", "new_b": "b"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_node_stands_for_the_tensor_that_it_computes(case):
    matching = match_graphs(case.source, case.converted)
    assert {name: match.tail for name, match in matching.matches.items()} == case.expected
    assert dict(matching.unmatched) == {}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_names_alone_would_not_tell(case):
    assert (by_name(case.source, case.converted) == case.expected) == case.names_suffice


def test_a_match_has_all_operations_it_stands_for_in_order():
    case = CASES["a batch-norm without its activation, in a node with the convolution's name"]
    assert match_graphs(case.source, case.converted).matches["conv"].region == ("conv", "bias", "bn")


def test_what_stays_ambiguous_is_unmatched_and_says_between_what():
    source = graph(node("left", "Softmax", "x"), node("right", "Softmax", "x"))
    matching = match_graphs(source, graph(node("new", "Softmax", "x")))
    assert not matching.matches
    assert matching.unmatched["new"] == "Softmax may stand for 'left' or for 'right', and nothing tells which"


# Names that kept nothing of what they meant: a name-only matcher takes every one of these.
SWAPPED = {
    "inputs swapped": (node("a", "Sub", "x", "y"), node("a", "Sub", "y", "x")),
    "constant on the other side": (node("a", "RealDiv", "x", "c"), node("a", "RealDiv", "c", "x")),
    "another operation": (node("a", "Tanh", "x"), node("a", "Sigmoid", "x")),
    "another factor": (node("a", "Mul", "x", "x"), node("a", "Mul", "c", "x")),
    "another input": (node("a", "Tanh", "x"), node("a", "Tanh", "y")),
    "another output of its input": (node("a", "Tanh", "z:1"), node("a", "Tanh", "z")),
    "one input more": (node("a", "Concat", "x", "y"), node("a", "Concat", "x", "y", "z")),
    "an activation fused in that was not there": (
        node("a", "Conv2D", "x", "k"),
        node("a", "_FusedConv2D", "x", "k", "b", fused=["BiasAdd", "Relu"]),
    ),
    "weights with a batch-norm in them": (
        node("a", "Conv2D", "x", "k"),
        node("a", "Conv2D", "x", "a_weights"),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), SWAPPED.values(), ids=SWAPPED.keys())
def test_a_name_with_another_meaning_is_no_match(ours, theirs):
    source = graph(ours, node("keep", "AddN", "x", "y", "z"))
    converted = graph(theirs, node("keep", "AddN", "x", "y", "z"))
    matching = match_graphs(source, converted)
    assert set(matching.matches) == {"keep"}
    assert "is computed by" in matching.unmatched["a"]
    assert "a" in by_name(source, converted)


def test_swapped_names_are_not_believed():
    source = graph(node("a", "Sub", "x", "y"), node("b", "Sub", "y", "x"))
    converted = graph(node("b", "Sub", "x", "y"), node("a", "Sub", "y", "x"))
    assert tails(source, converted) == {}
    assert by_name(source, converted) == {"a": "a", "b": "b"}


def test_a_bias_that_is_folded_needs_constants_to_fold_into():
    source = graph(node("mm", "MatMul", "x", "y"), node("mul", "Mul", "mm", "c"), node("r", "Relu", "mul"))
    converted = graph(node("mul", "MatMul", "x", "y"), node("r", "Relu", "mul"))
    assert "mul" not in tails(source, converted)


def test_an_operation_that_the_converted_graph_still_has_is_not_taken_in():
    source = graph(node("a", "Mul", "x", "c"), node("b", "Mul", "a", "d"), node("conv", "Conv2D", "b", "k"))
    converted = graph(node("a", "Mul", "x", "c"), node("conv", "Conv2D", "a", "merged"))
    assert tails(source, converted) == {"a": "a", "conv": "conv"}


def test_the_nodes_behind_an_unknown_one_are_found_where_names_and_inputs_agree():
    source = graph(node("a", "Erf", "x"), node("b", "Relu", "a"), node("c", "Sub", "b", "y"))
    converted = graph(node("a", "Odd", "x", "y"), node("b", "Relu", "a"), node("c", "Sub", "b", "y"))
    matching = match_graphs(source, converted)
    assert {name: match.tail for name, match in matching.matches.items()} == {"b": "b", "c": "c"}
    assert set(matching.unmatched) == {"a"}


@pytest.mark.parametrize(
    "behind",
    [node("b", "Relu", "new"), node("b", "Tanh", "a"), node("b", "Relu", "a:1"), node("b", "Relu", "x")],
    ids=["another input", "another operation", "another output", "a known input"],
)
def test_the_nodes_behind_an_unknown_one_need_more_than_their_name(behind):
    source = graph(node("a", "Erf", "x"), node("b", "Relu", "a"))
    converted = graph(node("a", "Odd", "x", "y"), node("new", "Odd", "x", "y"), behind)
    assert "b" not in tails(source, converted)


def test_a_part_that_nothing_completes_stays_unmatched():
    source = graph(node("a", "Relu", "x"))
    converted = graph(node("extra", "Elu", "x"), node("a", "Relu", "x"))
    matching = match_graphs(source, converted)
    assert list(matching.unmatched) == ["extra"]
    assert matching.unmatched["extra"] == "no tensor of the source is computed by Elu from the same inputs"


def test_an_input_that_the_source_lacks_is_told_and_so_is_what_depends_on_it():
    matching = match_graphs(graph(node("a", "Relu", "x")), graph(node("a", "Relu", "y")))
    assert matching.unmatched == {
        "y": "the source has no input of this name",
        "a": "its input 'y' stands for no tensor of the source",
    }


def loop(prefix, body, *after):
    """A loop of TensorFlow 1 over `a`, whose body is one operation."""
    return graph(
        node("a", "Tanh", "x"),
        node(f"{prefix}enter", "Enter", "a", frame="f"),
        node(f"{prefix}merge", "Merge", f"{prefix}enter", f"{prefix}next"),
        node(f"{prefix}less", "Less", f"{prefix}merge", "limit"),
        node(f"{prefix}cond", "LoopCond", f"{prefix}less"),
        node(f"{prefix}switch", "Switch", f"{prefix}merge", f"{prefix}cond"),
        node(f"{prefix}body", body, f"{prefix}switch:1"),
        node(f"{prefix}next", "NextIteration", f"{prefix}body"),
        node("exit", "Exit", f"{prefix}switch"),
        *after,
    )


def test_a_loop_is_left_out_and_what_leaves_it_is_matched():
    source = loop("", "Sigmoid", node("b", "Relu", "exit"))
    converted = loop("", "Sigmoid", node("new", "Relu", "exit"))
    matching = match_graphs(source, converted)
    assert {name: match.tail for name, match in matching.matches.items()} == {
        "a": "a",
        "exit": "exit",
        "new": "b",
    }
    assert matching.unmatched == {}


def test_a_loop_that_something_else_enters_is_not_the_same():
    source = loop("", "Sigmoid")
    enter = node("enter", "Enter", "x", frame="f")
    assert "exit" not in tails(source, Graph({**source.nodes, "enter": enter}))
