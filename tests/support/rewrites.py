"""Graphs before and after each rewrite of the converter, for `test_graph_matching.py`."""

from __future__ import annotations

from tests.support.fusions import FUSIONS
from tests.support.graph_building import Case, graph, node

CASES = FUSIONS | {
    "no rewrite": Case(
        graph(node("a", "Tanh", "x"), node("b", "Sub", "a", "x")),
        graph(node("a", "Tanh", "x"), node("b", "Sub", "a", "x")),
        {"a": "a", "b": "b"},
        names_suffice=True,
    ),
    "regrouped sum": Case(
        graph(
            node("a", "Tanh", "x"),
            node("one", "AddV2", "a", "x"),
            node("two", "AddV2", "one", "y"),
            node("three", "AddV2", "two", "a"),
            node("r", "Relu", "three"),
        ),
        graph(
            node("a", "Tanh", "x"),
            node("ArithmeticOptimizer/AddOpsRewrite_Leaf_1_three", "AddN", "a", "x", "a"),
            node(
                "ArithmeticOptimizer/AddOpsRewrite_three",
                "AddV2",
                "ArithmeticOptimizer/AddOpsRewrite_Leaf_1_three",
                "y",
            ),
            node("r", "Relu", "ArithmeticOptimizer/AddOpsRewrite_three"),
        ),
        {"a": "a", "ArithmeticOptimizer/AddOpsRewrite_three": "three", "r": "r"},
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
    "consecutive constants": Case(
        graph(node("a", "AddV2", "x", "c"), node("b", "AddV2", "d", "a"), node("r", "Relu", "b")),
        graph(node("b", "AddV2", "ConstantFolding/b", "x"), node("r", "Relu", "b")),
        {"b": "b", "r": "r"},
        names_suffice=True,
    ),
    "branches distinguished by weights": Case(
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
    "branches distinguished by names": Case(
        graph(node("left", "Softmax", "x"), node("right", "Softmax", "x")),
        graph(node("right", "Softmax", "x"), node("left", "Softmax", "x")),
        {"left": "left", "right": "right"},
        names_suffice=True,
    ),
    "swapped inputs": Case(
        graph(node("a", "Sub", "x", "y"), node("b", "Sub", "y", "x")),
        graph(node("one", "Sub", "y", "x"), node("two", "Sub", "x", "y")),
        {"one": "b", "two": "a"},
    ),
    "several outputs of one node": Case(
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
    "product replaced by square": Case(
        graph(node("mul", "Mul", "x", "x"), node("r", "Relu", "mul")),
        graph(
            node("ArithmeticOptimizer/ReplaceMulWithSquare_mul", "Square", "x"),
            node("r", "Relu", "ArithmeticOptimizer/ReplaceMulWithSquare_mul"),
        ),
        {"ArithmeticOptimizer/ReplaceMulWithSquare_mul": "mul", "r": "r"},
    ),
    "constant quotient moved before a product": Case(
        graph(node("mul", "Mul", "x", "x"), node("div", "RealDiv", "mul", "c"), node("r", "Relu", "div")),
        graph(node("mul", "Mul", "div_recip", "x"), node("div", "Mul", "x", "mul"), node("r", "Relu", "div")),
        {"div": "div", "r": "r"},
    ),
    "constant quotient moved before a product with its dividend": Case(
        graph(
            node("gate", "Relu6", "x"),
            node("div", "RealDiv", "gate", "c"),
            node("mul", "Mul", "x", "div"),
            node("r", "Relu", "mul"),
        ),
        graph(
            node("gate", "Relu6", "x"),
            node("div", "Mul", "div_recip", "x"),
            node("mul", "Mul", "div", "gate"),
            node("r", "Relu", "mul"),
        ),
        {"gate": "gate", "mul": "mul", "r": "r"},
    ),
    "squared difference with the difference's name": Case(
        graph(
            node("sub", "Sub", "x", "y"),
            node("square", "Square", "sub"),
            node("mean", "Mean", "square", "axis"),
        ),
        graph(node("sub", "SquaredDifference", "x", "y"), node("mean", "Mean", "sub", "axis")),
        {"sub": "square", "mean": "mean"},
    ),
    "negated comparison with the comparison's name": Case(
        graph(
            node("gt", "Greater", "x", "y"),
            node("not", "LogicalNot", "gt"),
            node("s", "SelectV2", "not", "x", "y"),
        ),
        graph(node("gt", "LessEqual", "x", "y"), node("s", "SelectV2", "gt", "x", "y")),
        {"gt": "not", "s": "s"},
    ),
    "consecutive reshapes": Case(
        graph(node("a", "Reshape", "x", "s"), node("b", "Reshape", "a", "t"), node("r", "Relu", "b")),
        graph(node("b", "Reshape", "x", "t"), node("r", "Relu", "b")),
        {"b": "b", "r": "r"},
        names_suffice=True,
    ),
    "transposition folded into a product": Case(
        graph(node("t", "Transpose", "x", "perm"), node("mm", "BatchMatMulV2", "y", "t")),
        graph(node("ArithmeticOptimizer/FoldTransposeIntoMatMul_mm", "BatchMatMulV2", "y", "x")),
        {"ArithmeticOptimizer/FoldTransposeIntoMatMul_mm": "mm"},
    ),
    "transposition folded into a product and also kept": Case(
        graph(
            node("t", "Transpose", "x", "perm"),
            node("r", "Relu", "t"),
            node("mm", "BatchMatMulV2", "t", "r"),
        ),
        graph(
            node("t", "Transpose", "x", "perm"),
            node("r", "Relu", "t"),
            node("ArithmeticOptimizer/FoldTransposeIntoMatMul_mm", "BatchMatMulV2", "x", "r"),
        ),
        {"t": "t", "r": "r", "ArithmeticOptimizer/FoldTransposeIntoMatMul_mm": "mm"},
    ),
    "nested concatenations": Case(
        graph(
            node("left", "ConcatV2", "x", "y", "axis"),
            node("a", "Tanh", "x"),
            node("right", "ConcatV2", "y", "a", "axis"),
            node("join", "ConcatV2", "left", "x", "right", "axis"),
            node("r", "Relu", "join"),
        ),
        graph(
            node("a", "Tanh", "x"),
            node("join", "ConcatV2", "x", "y", "x", "y", "a", "axis"),
            node("r", "Relu", "join"),
        ),
        {"a": "a", "join": "join", "r": "r"},
        names_suffice=True,
    ),
    "activation moved after a concatenation": Case(
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
    "activation moved after a maximum": Case(
        graph(node("r", "Relu", "x"), node("max", "Max", "r", "axes"), node("t", "Tanh", "max")),
        graph(node("max", "Max", "x", "axes"), node("r", "Relu", "max"), node("t", "Tanh", "r")),
        {"r": "max", "t": "t"},
    ),
    "bias moved before a squeeze": Case(
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
    "list of a tensor reversed along an axis of size 1": Case(
        graph(
            node("r", "ReverseV2", "x", "axis", same="x"),
            node("list", "TensorListFromTensor", "r", "shape"),
            node("loop", "StatelessWhile", "zero", "list"),
        ),
        graph(
            node("list", "TensorListFromTensor", "x", "shape"), node("loop", "StatelessWhile", "zero", "list")
        ),
        {"list": "list", "loop": "loop"},
        names_suffice=True,
    ),
    "operation without effect": Case(
        graph(
            node("beta", "Mul", "one", "x", same="x"),
            node("s", "Sigmoid", "beta"),
            node("m", "Mul", "x", "s"),
        ),
        graph(node("s", "Sigmoid", "x"), node("m", "Mul", "x", "s")),
        {"s": "s", "m": "m"},
        names_suffice=True,
    ),
    "shape arithmetic": Case(
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
    "Switch and Merge loop with a count from a shape": Case(
        graph(
            node("shape", "Shape", "x"),
            node("count", "StridedSlice", "shape", "begin", "end"),
            node("enter", "Enter", "a", frame="f"),
            node("enter_count", "Enter", "count", frame="f"),
            node("a", "Tanh", "x"),
            node("merge", "Merge", "enter", "next"),
            node("less", "Less", "merge", "enter_count"),
            node("cond", "LoopCond", "less"),
            node("switch", "Switch", "merge", "cond"),
            node("next", "NextIteration", "switch:1"),
            node("exit", "Exit", "switch"),
        ),
        graph(
            node("shape", "Shape", "x"),
            node("count", "StridedSlice", "shape", "begin", "end"),
            node("enter_count", "Enter", "count", frame="f"),
            node("enter", "Enter", "a", frame="f"),
            node("a", "Tanh", "x"),
            node("merge", "Merge", "enter", "next"),
            node("less", "Less", "merge", "enter_count"),
            node("cond", "LoopCond", "less"),
            node("switch", "Switch", "merge", "cond"),
            node("next", "NextIteration", "switch:1"),
            node("exit", "Exit", "switch"),
        ),
        {"shape": "shape", "count": "count", "a": "a", "exit": "exit"},
    ),
    "loop as one node": Case(
        graph(node("a", "Tanh", "x"), node("loop", "While", "zero", "a"), node("b", "Relu", "loop:1")),
        graph(node("a", "Tanh", "x"), node("loop", "While", "zero", "a"), node("new_b", "Relu", "loop:1")),
        {"a": "a", "loop": "loop", "new_b": "b"},
    ),
}
