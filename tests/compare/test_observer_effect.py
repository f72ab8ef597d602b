"""Whether reading alters outputs, and what is read then: over arrays and rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.observer_effect import Observation, differing, fewer, fingerprint
from tests.support.comparisons import f32, layer


def other_nan(*values):
    array = f32(*values)
    array.view(np.uint32)[np.isnan(array)] += 5
    return array


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (f32(1, 2), f32(1, 2), True),
        (f32(1, np.nan), other_nan(1, np.nan), True),
        (f32(1, np.nan), f32(np.nan, 1), False),
        (f32(0.0), f32(-0.0), False),
        (f32(1), np.nextafter(f32(1), 2), False),
        (f32(1, 2), f32(1, 2).reshape(2, 1), False),
        (f32(0), np.zeros(1, np.int32), False),
        (np.array([1 + np.nan * 1j], np.complex64), np.array([1 + np.nan * 1j], np.complex64), True),
        (np.array([1 + 2j], np.complex64), np.array([1 - 2j], np.complex64), False),
        (np.array(["a", "b"]), np.array(["a", "b"], object), False),
        (np.array(["a", "b"]), np.array(["a", "c"]), False),
        (np.ones(1 << 17, bool), np.ones(1 << 17, bool), True),
        (np.float32(3), np.float32(3), True),
    ],
)
def test_a_fingerprint_is_of_the_bits(one, other, same):
    one, other = np.asarray(one), np.asarray(other)
    assert (fingerprint(one) == fingerprint(other)) is same


def test_layouts_in_memory_make_no_difference():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert fingerprint(array.T) == fingerprint(np.ascontiguousarray(array.T))


def test_a_change_far_into_an_array_is_seen():
    array = np.zeros(300_000, np.float32)
    before = fingerprint(array)
    array[-1] = 1e-45
    assert fingerprint(array) != before


def test_what_differs_is_told_once_and_only_of_what_both_have():
    one = {(0, "a"): b"1", (1, "a"): b"2", (0, "b"): b"3", (0, "alone"): b"4"}
    other = {(0, "a"): b"x", (1, "a"): b"y", (0, "b"): b"3"}
    assert differing(one, other) == ("a",)


ROWS = (
    layer("conv", op="Conv2D+BiasAdd", tap={}),
    layer("relu", "conv", op="Relu", tap={}),
    layer("taken", op="BiasAdd", coverage="fused", into="relu", shape=None),
    layer("scale", "relu", op="Mul", tap={}),
    layer("left", "scale", op="Tanh", tap={}),
    layer("right", "scale", op="Exp", tap={}),
    layer("sum", "left", "right", op="AddV2", tap={}),
    layer("product", "sum", op="MatMul", tap={}),
    layer("softmax", "product", op="Softmax", output=True, tap={}),
    layer("stray", "product", op="Abs", tap={}),
)


def accounts(extent):
    rows = {row.name: row for row in fewer(ROWS, extent)}
    assert list(rows) == [row.name for row in ROWS]
    return rows


def test_all_rows_are_the_rows():
    assert fewer(ROWS, "all") == ROWS


def test_boundaries_have_weights_part_or_are_outputs():
    rows = accounts("boundaries")
    compared = [name for name, row in rows.items() if row.coverage == "compared"]
    assert compared == ["conv", "scale", "product", "softmax"]
    assert {name: rows[name].into for name in ("relu", "left", "right", "sum")} == {
        "relu": "scale",
        "left": "product",
        "right": "product",
        "sum": "product",
    }
    assert rows["relu"].reason == (
        "not read: reading it changes the outputs; it is compared as part of 'scale'"
    )
    # What was fused into a row that is no longer read follows it.
    assert (rows["taken"].coverage, rows["taken"].into) == ("fused", "scale")
    assert rows["product"].inputs == ("scale",)
    assert (rows["stray"].coverage, rows["stray"].into) == ("eliminated", None)


def test_outputs_alone():
    rows = accounts("outputs")
    assert [name for name, row in rows.items() if row.coverage == "compared"] == ["softmax"]
    assert rows["softmax"].inputs == ()
    assert rows["conv"].into == "softmax"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sets(st.integers(0, 7))), max_size=8))
def test_no_row_is_lost_and_none_leads_nowhere(drawn):
    rows = [
        layer(
            str(at),
            *(str(one) for one in sorted(inputs) if one < at),
            op="Conv2D" if heavy else "Relu",
            output=output,
            tap={},
        )
        for at, (heavy, output, inputs) in enumerate(drawn)
    ]
    for extent in ("boundaries", "outputs"):
        left = fewer(rows, extent)
        assert [row.name for row in left] == [row.name for row in rows]
        compared = {row.name for row in left if row.coverage == "compared"}
        assert {row.name for row in rows if row.output} <= compared
        assert all(row.into in compared for row in left if row.coverage == "fused")
        assert all(set(row.inputs) <= compared for row in left)


def test_what_was_found_is_said_in_words():
    assert str(Observation(checked=("y",))) == ""
    found = Observation(("y",), ("y",), "nondeterministic", settled=False)
    assert "not deterministic" in str(found)
    found = Observation(("y", "z"), ("y",), "reading", "boundaries")
    assert str(found).startswith("reading activations changed the outputs ('y'), so only layers with weights")
    found = Observation(("y",), tuple("abcde"), "reading", "outputs", settled=False)
    assert "'c' and 2 more), even when only the outputs were read" in str(found)
