"""Where a divergence begins: the frontier of a graph, layers that were run alone, and errors that grow."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.blame import blame, frontier
from pytest_tfjs.compare.numbers.function_ulps import is_held
from pytest_tfjs.compare.results import Blame, Growth, LayerResult
from tests.support.comparisons import layer, measured


def results(*rows, diverged=""):
    """Rows are a name and the names of its inputs; those named in `diverged` are wrong."""
    return [
        LayerResult(
            layer(name, *inputs), "diverged" if name in diverged.split() else "close", None, None, None
        )
        for name, *inputs in rows
    ]


DIAMOND = [("in",), ("left", "in"), ("right", "in"), ("add", "left", "right"), ("out", "add")]


@pytest.mark.parametrize(
    ("diverged", "first"),
    [
        ("", ()),
        ("out", ("out",)),
        ("left add out", ("left",)),
        ("left right add out", ("left", "right")),
        ("in left right add out", ("in",)),
        ("add out", ("add",)),
        # What comes through a layer that is close, as the error is below its tolerance, is no new fault.
        ("left out", ("left",)),
        ("in out", ("in",)),
    ],
)
def test_the_frontier_of_a_diamond(diverged, first):
    assert frontier(results(*DIAMOND, diverged=diverged)) == first


def test_faults_in_separate_branches_are_all_named():
    rows = [("a",), ("a2", "a"), ("b",), ("b2", "b"), ("c",)]
    assert frontier(results(*rows, diverged="a a2 b2 c")) == ("a", "b2", "c")


def test_the_frontier_does_not_depend_on_the_order_of_rows():
    assert frontier(results(*DIAMOND[::-1], diverged="left add out")) == ("left",)


def test_a_layer_between_that_is_not_compared_is_walked_through():
    rows = results(*DIAMOND, diverged="in out")
    rows[3] = LayerResult(layer("add", "left", "right", coverage="fused"), None, None, None, None)
    assert frontier(rows) == ("in",)


@pytest.mark.parametrize("diverged", ["a b", "b a c"])
def test_a_cycle_has_a_first_layer(diverged):
    rows = [("a", "b"), ("b", "a"), ("c", "b"), ("self", "self")]
    assert frontier(results(*rows, diverged=diverged)) == ("a",)
    assert frontier(results(*rows, diverged=f"{diverged} self")) == ("a", "self")


def test_what_leads_into_a_cycle_comes_first():
    rows = [("a", "b"), ("b", "a", "source"), ("source",)]
    assert frontier(results(*rows, diverged="a b source")) == ("source",)


GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))),
        st.sets(st.integers(0, size - 1)),
    )
)


@given(GRAPHS)
def test_the_frontier_of_any_graph(graph):
    size, edges, bad = graph
    edges = {(low, high) for low, high in edges if low < high}
    rows = [(str(node), *(str(low) for low, high in edges if high == node)) for node in range(size)]
    above: dict[int, set[int]] = {}
    for node in range(size):
        above[node] = {low for low, high in edges if high == node}
        above[node] |= {higher for low in above[node] for higher in above[low]}
    expected = tuple(str(node) for node in sorted(bad) if not above[node] & bad)
    assert frontier(results(*rows, diverged=" ".join(map(str, bad)))) == expected


def found(*rows):
    """Rows are a name, the names of its inputs, its verdict, whether it is right run alone, and its error."""
    return [
        LayerResult(
            layer(name, *inputs.split()),
            "diverged" if diverged else "close",
            measured([scale + error, 0], [scale, 0]),
            None,
            None,
            local=None if right is None else SimpleNamespace(passed=right),
        )
        for name, inputs, diverged, right, error in rows
        for scale in [1.0]
    ]


def test_a_layer_that_is_wrong_by_itself_is_blamed_and_not_those_that_it_hands_its_error_to():
    rows = found(
        ("a", "", 0, True, 0), ("b", "a", 1, False, 1), ("c", "b", 1, True, 1), ("d", "c", 1, True, 9)
    )
    assert blame(rows) == Blame(("b",), frozenset({"b"}))


def test_each_fault_is_named_also_below_another_and_behind_a_layer_that_is_close():
    rows = found(
        ("a", "", 1, False, 1), ("b", "a", 0, True, 1), ("c", "b", 1, False, 1), ("d", "c", 1, True, 1)
    )
    assert blame(rows).first == ("a", "c")


def test_a_layer_that_cannot_be_given_its_inputs_is_not_blamed_below_the_one_that_left_the_range():
    rows = found(
        ("a", "", 1, False, 1),
        ("b", "", 1, False, 1),
        ("cast", "b", 0, True, 1),
        ("c", "cast", 1, False, 1),
        ("d", "c", 1, False, 1),
        ("e", "d", 1, False, 1),
    )
    assert blame(rows, {"b", "cast", "c"}).first == ("a", "b", "e")
    assert blame(rows, {"b"}).first == ("a", "b", "c", "d", "e")
    # Nothing wrong before it: what it was given has no part in it.
    assert blame(rows, {"cast"}).first == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("largest", "dtype", "backend", "half", "held"),
    [
        (1e30, "float32", "webgl", False, True),
        (65504, "float32", "webgl", True, True),
        (65505, "float32", "webgl", True, False),
        (1e-9, "float32", "webgl", True, False),
        (0, "float32", "webgl", True, True),
        (2**24, "int32", "webgl", False, True),
        (2**24 + 1, "int32", "webgl", False, False),
        (2**24 + 1, "int32", "webgpu", False, True),
        (2**24 + 1, "int32", "wasm", False, True),
        (2049, "int32", "webgl", True, False),
        (1, "bool", "webgl", True, True),
        (0, None, "webgl", True, True),
    ],
)
def test_what_a_backend_has_numbers_for(largest, dtype, backend, half, held):
    assert is_held(largest, dtype, backend, half=half) == held


def test_of_layers_that_could_not_run_alone_those_are_blamed_that_nothing_wrong_leads_to():
    rows = found(
        ("a", "", 1, None, 1), ("b", "a", 1, None, 1), ("c", "", 1, False, 1), ("d", "c", 1, None, 1)
    )
    assert blame(rows) == Blame(("a", "c"), frozenset({"c"}))


def test_a_chain_of_right_layers_is_told_by_how_its_error_grows():
    rows = found(
        ("a", "", 0, True, 2**-20),
        ("b", "a", 0, True, 2**-19),
        ("side", "", 0, True, 2**-22),
        ("c", "b side", 0, True, 2**-16),
        ("d", "c", 1, True, 2**-10),
        ("e", "d", 1, True, 2**-9),
    )
    assert blame(rows) == Blame(("d",), growth=Growth("b", "d", 512.0))
    assert str(blame(rows).growth) == "no layer is wrong by itself; errors grow 512-fold starting at 'b'"


def test_where_no_layer_before_has_an_error_nothing_is_said_of_growth():
    rows = found(("a", "", 0, True, 0), ("b", "a", 1, True, 1))
    assert blame(rows) == Blame(("b",))


def test_where_nothing_diverged_nobody_is_to_blame():
    assert blame(found(("a", "", 0, True, 1), ("b", "a", 0, None, 1))) == Blame()
