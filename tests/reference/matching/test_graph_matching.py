from __future__ import annotations

import pytest

from pytest_tfjs.reference.graph import Graph
from pytest_tfjs.reference.matching.graph_matching import match_graphs
from tests.support.graph_building import graph, node
from tests.support.pushed_constants import PUSHED_CONSTANTS
from tests.support.rewrites import CASES
from tests.support.same_names import SAME_NAMES


def tails(source, converted):
    """For each matched node of `converted`, the source node with the same output."""
    return {name: match.tail for name, match in match_graphs(source, converted).matches.items()}


def by_name(source, converted):
    """The matches of a matcher that compares only names."""
    return {
        name: name
        for name, found in converted.nodes.items()
        if found.op not in ("Const", "Placeholder", "Identity") and name in source.nodes
    }


ALL = CASES | PUSHED_CONSTANTS | SAME_NAMES


@pytest.mark.parametrize("case", ALL.values(), ids=ALL.keys())
def test_each_node_matches_the_tensor_it_computes(case):
    matching = match_graphs(case.source, case.converted)
    assert {name: match.tail for name, match in matching.matches.items()} == case.expected
    assert dict(matching.unmatched) == {}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_matching_by_name_alone_is_not_enough(case):
    assert (by_name(case.source, case.converted) == case.expected) == case.names_suffice


@pytest.mark.parametrize("case", SAME_NAMES.values(), ids=SAME_NAMES.keys())
def test_matching_by_name_alone_is_wrong(case):
    """Equal names in both graphs stand for different tensors."""
    matched = by_name(case.source, case.converted)
    assert {name for name, meaning in case.expected.items() if matched.get(name, meaning) != meaning}


def test_a_match_lists_its_operations_in_order():
    case = CASES["folded batch-norm under the convolution's name"]
    assert match_graphs(case.source, case.converted).matches["conv"].subgraph == ("conv", "bias", "bn")


def test_an_ambiguous_node_is_unmatched_and_names_the_candidates():
    source = graph(node("left", "Softmax", "x"), node("right", "Softmax", "x"))
    matching = match_graphs(source, graph(node("new", "Softmax", "x")))
    assert not matching.matches
    assert (
        matching.unmatched["new"]
        == "Softmax matches both 'left' and 'right' in the source, and nothing distinguishes them"
    )


def test_nested_concatenations_match_only_in_order():
    source = graph(
        node("inner", "ConcatV2", "x", "y", "axis"),
        node("a", "Tanh", "x"),
        node("join", "ConcatV2", "inner", "a", "axis"),
    )
    converted = graph(node("a", "Tanh", "x"), node("join", "ConcatV2", "y", "x", "a", "axis"))
    assert tails(source, converted) == {"a": "a"}


def test_a_derived_node_name_matches_the_original_operation():
    norm = node("bn", "FusedBatchNormV3", "x", "gamma", "beta", "mean", "variance")
    source = graph(
        norm, node("add", "AddV2", "x", "x"), node("add_1", "AddV2", "x", "x"), node("neg", "Neg", "x")
    )
    converted = graph(
        node("bn/Mul", "Mul", "x", "bn/Scaled"),
        node("bn", "Add", "bn/Mul", "bn/Offset"),
        node("ArithmeticOptimizer/SimplifyAggregation_Mul_add_1", "Mul", "two", "x"),
    )
    assert tails(source, converted) == {
        "bn": "bn",
        "ArithmeticOptimizer/SimplifyAggregation_Mul_add_1": "add_1",
    }


# Equal names of different computations: a matcher that compares only names matches all of them.
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
def test_an_equal_name_with_another_computation_does_not_match(ours, theirs):
    source = graph(ours, node("keep", "AddN", "x", "y", "z"))
    converted = graph(theirs, node("keep", "AddN", "x", "y", "z"))
    matching = match_graphs(source, converted)
    assert set(matching.matches) == {"keep"}
    assert "the source's graph has no " in matching.unmatched["a"]
    assert "a" in by_name(source, converted)


def test_names_are_ignored_only_if_every_node_then_matches():
    source = graph(node("a", "Tanh", "x"), node("b", "Tanh", "a"), node("c", "Softmax", "y"))
    renamed = graph(node("b", "Tanh", "x"), node("b_1", "Tanh", "b"), node("c", "Softmax", "y"))
    assert tails(source, renamed) == {"b": "a", "b_1": "b", "c": "c"}
    strange = graph(*renamed.nodes.values(), node("odd", "Elu", "y"))
    assert tails(source, strange) == {"b_1": "b", "c": "c"}


def test_renamed_branches_with_folded_weights_are_unmatched():
    source = graph(
        node("a", "MatMul", "x", "a/k"),
        node("a_1", "MatMul", "x", "a_1/k"),
        node("b", "Tanh", "a"),
        node("c", "Elu", "y"),
        node("w", "Mul", "c", "d"),
        values={"a/k": "A", "a_1/k": "B", "d": "D", "e": "E"},
    )
    converted = graph(
        node("a_1", "MatMul", "x", "folded"),
        node("a_2", "MatMul", "x", "folded_2"),
        node("c", "Elu", "y"),
        node("w", "Mul", "c", "a/k"),
        values={"a/k": "D"},
    )
    found = match_graphs(source, converted)
    assert {name: match.tail for name, match in found.matches.items()} == {"c": "c", "w": "w"}
    assert " matches both " in found.unmatched["a_1"]


def test_a_changed_weight_does_not_mean_that_scopes_were_renamed():
    source = graph(
        node("a", "MatMul", "x", "a/k"), node("b", "MatMul", "x", "b/k"), values={"a/k": "A", "b/k": "B"}
    )
    damaged = graph(
        node("a", "MatMul", "x", "a/k"), node("b", "MatMul", "x", "b/k"), values={"a/k": "?", "b/k": "B"}
    )
    assert tails(source, damaged) == {"a": "a", "b": "b"}


def test_a_folded_factor_needs_a_constant_operand():
    source = graph(node("mm", "MatMul", "x", "y"), node("mul", "Mul", "mm", "c"), node("r", "Relu", "mul"))
    converted = graph(node("mul", "MatMul", "x", "y"), node("r", "Relu", "mul"))
    assert "mul" not in tails(source, converted)


def test_an_operation_kept_in_the_artifacts_is_not_folded_into_another():
    source = graph(node("a", "Mul", "x", "c"), node("b", "Mul", "a", "d"), node("conv", "Conv2D", "b", "k"))
    converted = graph(node("a", "Mul", "x", "c"), node("conv", "Conv2D", "a", "merged"))
    assert tails(source, converted) == {"a": "a", "conv": "conv"}


def test_nodes_after_an_unknown_node_match_by_name_and_inputs():
    source = graph(node("a", "Erf", "x"), node("b", "Relu", "a"), node("c", "Sub", "b", "y"))
    converted = graph(node("a", "Odd", "x", "y"), node("b", "Relu", "a"), node("c", "Sub", "b", "y"))
    matching = match_graphs(source, converted)
    assert {name: match.tail for name, match in matching.matches.items()} == {"b": "b", "c": "c"}
    assert set(matching.unmatched) == {"a"}


@pytest.mark.parametrize(
    "following",
    [node("b", "Relu", "new"), node("b", "Tanh", "a"), node("b", "Relu", "a:1"), node("b", "Relu", "x")],
    ids=["another input", "another operation", "another output", "a known input"],
)
def test_nodes_after_an_unknown_node_do_not_match_by_name_alone(following):
    source = graph(node("a", "Erf", "x"), node("b", "Relu", "a"))
    converted = graph(node("a", "Odd", "x", "y"), node("new", "Odd", "x", "y"), following)
    assert "b" not in tails(source, converted)


def test_an_extra_node_is_unmatched():
    source = graph(node("a", "Relu", "x"))
    converted = graph(node("extra", "Elu", "x"), node("a", "Relu", "x"))
    matching = match_graphs(source, converted)
    assert list(matching.unmatched) == ["extra"]
    assert matching.unmatched["extra"] == "the source's graph has no Elu with the same inputs"


def test_an_unknown_input_and_its_consumers_are_unmatched():
    matching = match_graphs(graph(node("a", "Relu", "x")), graph(node("a", "Relu", "y")))
    assert matching.unmatched == {
        "y": "the source has no input of this name",
        "a": "its input 'y' has no counterpart in the source's graph",
    }


def loop(prefix, body, *after):
    """A graph with a loop of TensorFlow 1 over `a`, with one operation as its body."""
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


def test_the_exit_of_a_loop_matches_and_its_body_is_left_out():
    source = loop("", "Sigmoid", node("b", "Relu", "exit"))
    converted = loop("", "Sigmoid", node("new", "Relu", "exit"))
    matching = match_graphs(source, converted)
    assert {name: match.tail for name, match in matching.matches.items()} == {
        "a": "a",
        "exit": "exit",
        "new": "b",
    }
    assert matching.unmatched == {}


def test_a_loop_with_another_input_does_not_match():
    source = loop("", "Sigmoid")
    enter = node("enter", "Enter", "x", frame="f")
    assert "exit" not in tails(source, Graph({**source.nodes, "enter": enter}))
