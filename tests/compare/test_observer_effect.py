"""Detecting that reading activations changes outputs, and choosing fewer layers to read."""

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
def test_equal_fingerprints_mean_equal_bits_and_nan_payloads_are_ignored(one, other, same):
    one, other = np.asarray(one), np.asarray(other)
    assert (fingerprint(one) == fingerprint(other)) is same


def test_fingerprint_does_not_depend_on_memory_layout():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert fingerprint(array.T) == fingerprint(np.ascontiguousarray(array.T))


def test_fingerprint_covers_the_end_of_a_large_array():
    array = np.zeros(300_000, np.float32)
    before = fingerprint(array)
    array[-1] = 1e-45
    assert fingerprint(array) != before


def test_differing_names_each_layer_once_and_only_layers_in_both():
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


def rows_of(extent):
    rows = {row.name: row for row in fewer(ROWS, extent)}
    assert list(rows) == [row.name for row in ROWS]
    return rows


def test_extent_all_returns_the_rows_unchanged():
    assert fewer(ROWS, "all") == ROWS


def test_boundaries_are_layers_with_weights_branch_points_and_outputs():
    rows = rows_of("boundaries")
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
    # A row fused into one that is no longer read moves to the same row.
    assert (rows["taken"].coverage, rows["taken"].into) == ("fused", "scale")
    assert rows["product"].inputs == ("scale",)
    assert (rows["stray"].coverage, rows["stray"].into) == ("eliminated", None)


def test_extent_outputs_compares_only_outputs():
    rows = rows_of("outputs")
    assert [name for name, row in rows.items() if row.coverage == "compared"] == ["softmax"]
    assert rows["softmax"].inputs == ()
    assert rows["conv"].into == "softmax"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sets(st.integers(0, 7))), max_size=8))
def test_fewer_returns_every_row_and_refers_only_to_compared_rows(drawn):
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


def test_text_of_an_observation():
    assert str(Observation(checked=("y",))) == ""
    found = Observation(("y",), ("y",), "nondeterministic", settled=False)
    assert "not deterministic" in str(found)
    found = Observation(("y", "z"), ("y",), "reading", "boundaries")
    assert str(found).startswith("reading activations changed the outputs ('y'), so only layers with weights")
    found = Observation(("y",), tuple("abcde"), "reading", "outputs", settled=False)
    assert "'c' and 2 more), even when only the outputs were read" in str(found)
