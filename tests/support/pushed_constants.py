"""Graphs before and after the converter moves constants through sums and products.

A node that a constant was moved into keeps its name and computes no tensor of the source any more.
"""

from __future__ import annotations

from tests.support.graph_building import Case, graph, node

SQUARE = (
    node("square", "Mul", "x", "x"),
    node("scaled", "Mul", "square", "a"),
)

PUSHED_INTO_SQUARE = graph(
    node("scaled", "Mul", "x", "square"), node("end", "Mul", "x", "scaled"), node("r", "Relu", "end")
)

PUSHED_CONSTANTS = {
    "two factors of a square": Case(
        graph(*SQUARE, node("end", "Mul", "scaled", "b"), node("r", "Relu", "end")),
        PUSHED_INTO_SQUARE,
        {"end": "end", "r": "r"},
    ),
    "a factor and a divisor of a square": Case(
        graph(*SQUARE, node("end", "RealDiv", "scaled", "b"), node("r", "Relu", "end")),
        PUSHED_INTO_SQUARE,
        {"end": "end", "r": "r"},
    ),
    "four factors of a product": Case(
        graph(
            node("product", "Mul", "x", "y"),
            node("first", "Mul", "product", "a"),
            node("second", "Mul", "first", "b"),
            node("third", "Mul", "second", "c"),
            node("end", "Mul", "third", "d"),
        ),
        graph(node("third", "Mul", "x", "second"), node("end", "Mul", "y", "third")),
        {"end": "end"},
    ),
    "two factors of a cube": Case(
        graph(*SQUARE, node("cube", "Mul", "scaled", "x"), node("end", "Mul", "cube", "b"), outputs="end"),
        graph(
            node("scaled", "Mul", "x", "square"),
            node("cube", "Mul", "x", "scaled"),
            node("end", "Mul", "x", "cube"),
            outputs="end",
        ),
        {"end": "end"},
    ),
    "two summands of a doubled tensor": Case(
        graph(
            node("twice", "AddV2", "x", "x"),
            node("shifted", "AddV2", "twice", "a"),
            node("end", "AddV2", "shifted", "b"),
        ),
        graph(node("shifted", "AddV2", "x", "twice"), node("end", "AddV2", "x", "shifted")),
        {"end": "end"},
    ),
    "a sum taken from a constant": Case(
        graph(node("sum", "AddV2", "x", "y"), node("end", "Sub", "c", "sum"), node("r", "Relu", "end")),
        graph(node("sum", "Sub", "c", "x"), node("end", "Sub", "sum", "y"), node("r", "Relu", "end")),
        {"end": "end", "r": "r"},
    ),
    "a constant between a difference and a difference": Case(
        graph(
            node("apart", "Sub", "x", "y"), node("up", "AddV2", "apart", "a"), node("end", "Sub", "up", "b")
        ),
        graph(node("up", "Sub", "y", "apart"), node("end", "Sub", "x", "up")),
        {"end": "end"},
    ),
    "a factor moved to a doubled tensor": Case(
        graph(
            node("a", "Tanh", "x"),
            node("twice", "AddV2", "y", "y"),
            node("product", "Mul", "a", "twice"),
            node("end", "Mul", "product", "c"),
            outputs="end",
        ),
        graph(
            node("a", "Tanh", "x"),
            node("product", "Mul", "y", "twice_times_c"),
            node("end", "Mul", "a", "product"),
            outputs="end",
        ),
        {"a": "a", "end": "end"},
    ),
}
