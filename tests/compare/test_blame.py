"""Finding where a divergence begins, from layers run alone and from growing errors."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.blame import blame, frontier
from pytest_tfjs.compare.numbers.function_ulps import is_held
from pytest_tfjs.compare.results import Blame, Growth, LayerResult
from tests.support.comparisons import layer, measured


def results(*rows, diverged=""):
    """One result for each row of a name and its inputs; the names in `diverged` are wrong."""
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
        # An error that passes through a close layer, below its tolerance, is not a new fault.
        ("left out", ("left",)),
        ("in out", ("in",)),
    ],
)
def test_frontier_of_a_diamond(diverged, first):
    assert frontier(results(*DIAMOND, diverged=diverged)) == first


def test_frontier_has_the_first_layer_of_each_branch():
    rows = [("a",), ("a2", "a"), ("b",), ("b2", "b"), ("c",)]
    assert frontier(results(*rows, diverged="a a2 b2 c")) == ("a", "b2", "c")


def test_frontier_does_not_depend_on_the_order_of_rows():
    assert frontier(results(*DIAMOND[::-1], diverged="left add out")) == ("left",)


def test_frontier_passes_through_layers_that_are_not_compared():
    rows = results(*DIAMOND, diverged="in out")
    rows[3] = LayerResult(layer("add", "left", "right", coverage="fused"), None, None, None, None)
    assert frontier(rows) == ("in",)


@pytest.mark.parametrize("diverged", ["a b", "b a c"])
def test_frontier_of_a_cycle_is_its_first_layer(diverged):
    rows = [("a", "b"), ("b", "a"), ("c", "b"), ("self", "self")]
    assert frontier(results(*rows, diverged=diverged)) == ("a",)
    assert frontier(results(*rows, diverged=f"{diverged} self")) == ("a", "self")


def test_frontier_is_the_layer_that_leads_into_a_cycle():
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
def test_frontier_of_any_acyclic_graph(graph):
    size, edges, bad = graph
    edges = {(low, high) for low, high in edges if low < high}
    rows = [(str(node), *(str(low) for low, high in edges if high == node)) for node in range(size)]
    above: dict[int, set[int]] = {}
    for node in range(size):
        above[node] = {low for low, high in edges if high == node}
        above[node] |= {higher for low in above[node] for higher in above[low]}
    expected = tuple(str(node) for node in sorted(bad) if not above[node] & bad)
    assert frontier(results(*rows, diverged=" ".join(map(str, bad)))) == expected


def alone_results(*rows):
    """One result for each row: name, inputs, whether it diverged, whether it is right alone, error."""
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


def test_layer_that_is_wrong_alone_is_blamed_and_later_layers_are_not():
    rows = alone_results(
        ("a", "", 0, True, 0), ("b", "a", 1, False, 1), ("c", "b", 1, True, 1), ("d", "c", 1, True, 9)
    )
    assert blame(rows) == Blame(("b",), frozenset({"b"}))


def test_second_fault_is_blamed_after_a_first_one_and_a_close_layer():
    rows = alone_results(
        ("a", "", 1, False, 1), ("b", "a", 0, True, 1), ("c", "b", 1, False, 1), ("d", "c", 1, True, 1)
    )
    assert blame(rows).first == ("a", "c")


def test_layer_whose_inputs_the_backend_cannot_represent_is_not_blamed():
    rows = alone_results(
        ("a", "", 1, False, 1),
        ("b", "", 1, False, 1),
        ("cast", "b", 0, True, 1),
        ("c", "cast", 1, False, 1),
        ("d", "c", 1, False, 1),
        ("e", "d", 1, False, 1),
    )
    assert blame(rows, {"b", "cast", "c"}).first == ("a", "b", "e")
    assert blame(rows, {"b"}).first == ("a", "b", "c", "d", "e")
    # No earlier layer is wrong, so its inputs do not explain its error.
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
def test_numbers_that_a_backend_can_represent(largest, dtype, backend, half, held):
    assert is_held(largest, dtype, backend, half=half) == held


def test_first_diverged_layer_is_blamed_among_layers_not_run_alone():
    rows = alone_results(
        ("a", "", 1, None, 1), ("b", "a", 1, None, 1), ("c", "", 1, False, 1), ("d", "c", 1, None, 1)
    )
    assert blame(rows) == Blame(("a", "c"), frozenset({"c"}))


def test_chain_of_right_layers_is_described_by_its_growing_error():
    rows = alone_results(
        ("a", "", 0, True, 2**-20),
        ("b", "a", 0, True, 2**-19),
        ("side", "", 0, True, 2**-22),
        ("c", "b side", 0, True, 2**-16),
        ("d", "c", 1, True, 2**-10),
        ("e", "d", 1, True, 2**-9),
    )
    assert blame(rows) == Blame(("d",), growth=Growth("b", "d", 512.0))
    assert str(blame(rows).growth) == "no layer is wrong alone; the error grows 512-fold from 'b' on"


def test_growth_is_not_reported_without_an_earlier_error():
    rows = alone_results(("a", "", 0, True, 0), ("b", "a", 1, True, 1))
    assert blame(rows) == Blame(("b",))


def test_no_layer_is_blamed_if_none_diverged():
    assert blame(alone_results(("a", "", 0, True, 1), ("b", "a", 0, None, 1))) == Blame()


SCATTER = [("hidden",), ("patched", "hidden"), ("scaled", "hidden"), ("end", "scaled", "patched")]


def overwriting(diverged, *, into=("hidden",), wrong_alone="", rows=SCATTER):
    """Results of `rows`: `patched` writes into what it takes, and all but `wrong_alone` are right alone."""
    right, wrong = SimpleNamespace(passed=True), SimpleNamespace(passed=False)
    return [
        replace(
            one,
            local=wrong if one.layer.name in wrong_alone.split() else right,
            overwrites=into if one.layer.name == "patched" else (),
        )
        for one in results(*rows, diverged=diverged)
    ]


@pytest.mark.parametrize(
    ("diverged", "more", "first", "spoils"),
    [
        ("scaled end", {}, ("patched",), True),
        ("hidden scaled end", {}, ("patched",), True),
        ("end", {}, ("patched",), True),
        ("", {}, (), False),
        ("hidden", {}, ("hidden",), False),  # which is read after `patched` wrote into it
        ("patched end", {"wrong_alone": "patched"}, ("patched",), False),
        ("hidden scaled end", {"wrong_alone": "hidden"}, ("hidden",), False),
        ("scaled end", {"wrong_alone": "scaled"}, ("scaled",), False),
        ("scaled end", {"into": ("x",)}, ("patched",), True),
        ("patched", {"into": ("constant",)}, ("patched",), True),
    ],
)
def test_a_layer_that_writes_into_its_input_is_blamed_for_those_that_take_the_input(
    diverged, more, first, spoils
):
    found = blame(overwriting(diverged, **more))
    assert (found.first, bool(found.spoils), found.growth) == (first, spoils, None)


def test_a_layer_that_spoils_its_input_is_blamed_beside_another_fault():
    rows = [*SCATTER, ("other",), ("after", "other")]
    found = blame(overwriting("scaled end other after", wrong_alone="other", rows=rows))
    assert (found.first, found.made, found.spoils) == (("patched", "other"), {"other"}, {"patched"})


def test_a_layer_that_could_not_run_alone_is_not_blamed_for_a_spoilt_input():
    rows = overwriting("scaled end")
    rows[2] = replace(rows[2], local=None)
    assert blame(rows).first == ("patched",)
