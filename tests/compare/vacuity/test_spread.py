from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_tfjs.compare.vacuity.spread import (
    constant_of,
    disturbed,
    is_repeated,
    is_same,
    is_saturated,
    same_value,
)
from tests.support.comparisons import f32

NAN = float("nan")
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def spread(*values):
    return constant_of([same_value(np.asarray(one)) for one in values], sum(np.size(one) for one in values))


@pytest.mark.parametrize(
    ("values", "expected", "zero"),
    [
        ([f32(0, 0)], "0", True),
        ([f32(0.001, 0.001, 0.001)], "0.001", False),
        ([f32(1, 1 + 5e-7)], "1", False),
        ([f32(1, 1 + 5e-6)], None, False),
        ([f32(NAN, NAN)], "NaN", True),
        ([f32(NAN, 1)], None, False),
        ([f32(np.inf, np.inf)], "inf", False),
        ([f32(0, 1e-30)], None, False),
        ([f32(2, 2), f32(2, 2)], "2", False),
        ([f32(2, 2), f32(3, 3)], None, False),
        ([f32(2), f32(2)], "2", False),
        ([f32(2)], None, False),
        ([np.array([3, 3])], "3", False),
        ([np.array([True, True])], "True", False),
        ([np.array(["a", "a"])], "'a'", False),
        ([np.array(["a", "b"])], None, False),
        ([np.array([1 + 1j, 1 + 1j], np.complex64)], "1+1j", False),
        ([np.array([1 + 1j, 1 - 1j], np.complex64)], None, False),
        ([f32()], None, False),
    ],
)
def test_the_common_value_of_an_activation(values, expected, zero):
    found = spread(*values)
    assert (found.value, found.zero) == (expected, zero)


@given(arrays.arrays(np.float32, st.integers(1, 30_000), elements=st.floats(-1, 1, width=32)), st.data())
def test_one_different_element_is_found_at_any_index(array, data):
    array = np.full_like(array, 0.25)
    assert same_value(array) == np.float32(0.25)
    if array.size > 1:
        array[data.draw(st.integers(0, array.size - 1))] = 0.26
        assert same_value(array) is None


@given(arrays.arrays(np.float32, (4,), elements=st.floats(width=32)))
def test_an_array_is_the_same_as_itself(array):
    assert is_same(array, array.copy())
    assert is_same(array, array.copy(), exactly=True)


def test_arrays_that_are_not_the_same():
    assert not is_same(f32(1, 2), f32(1, NAN))
    assert not is_same(f32(np.inf), f32(-np.inf))
    assert not is_same(f32(1, 2), f32(1, 2).reshape(2, 1))
    assert not is_same(f32(1), np.array([True]))
    assert not is_same(f32(1), f32(1 + 2e-7), exactly=True)
    assert not is_same(np.array([1]), np.array([2]))


@pytest.mark.parametrize(
    ("values", "saturated"),
    [
        (f32(0, 1, 0), True),
        (f32(-1, 1), True),
        (f32(0, 1e-20, 1 - 6e-8), True),
        (f32(0, 1e-20), True),  # a sigmoid of large negative numbers
        (f32(1e-9, 1), False),  # a confident classifier
        (f32(-1e-20, 1e-20), False),  # small numbers, of tanh or of no activation
        (f32(0, 0.5), False),
        (f32(NAN, 1), False),
        (np.array([0, 1]), False),
        (f32(), False),
    ],
)
def test_saturated_elements_are_0_1_or_minus_1(values, saturated):
    assert is_saturated(values) is saturated


def test_activations_repeated_over_the_batch():
    same = f32(1, 2, 1, 2).reshape(2, 2)
    assert is_repeated(same, [X])
    assert not is_repeated(X, [X])
    assert not is_repeated(same, [np.stack([X[0], X[0]])])
    assert not is_repeated(same, [X.reshape(3, 2)])  # its first axis is no batch
    assert not is_repeated(same[:1], [X[:1]])
    assert not is_repeated(f32(1)[0], [X])


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.one_of(
            arrays.arrays(np.float32, arrays.array_shapes(), elements=st.floats(-100, 100, width=32)),
            arrays.arrays(np.int32, arrays.array_shapes(), elements=st.integers(0, 50)),
            arrays.arrays(np.bool_, arrays.array_shapes()),
        ),
        min_size=1,
    )
)
def test_disturbed_feeds_keep_shape_dtype_and_range(feed):
    varied = {name for name, value in feed.items() if same_value(value) is None}
    for other in disturbed(feed):
        assert other.keys() == feed.keys()
        for name, value in feed.items():
            assert (other[name].shape, other[name].dtype) == (value.shape, value.dtype)
            if varied:
                # The mirror of the largest is the smallest but for a rounding.
                room = 1e-6 * np.abs(value).max() if value.dtype.kind == "f" else 0
                assert value.min() - room <= other[name].min()
                assert other[name].max() <= value.max() + room
            if varied and name not in varied:
                np.testing.assert_array_equal(other[name], value)


def test_disturbed_feeds_change_a_sum_and_are_reproducible():
    feeds = [other["x"] for other in disturbed({"x": X})]
    assert any(feed.sum() != X.sum() for feed in feeds)
    for one, other in zip(feeds, disturbed({"x": X}), strict=True):
        np.testing.assert_array_equal(one, other["x"])


def test_single_valued_integer_inputs_are_not_disturbed():
    assert list(disturbed({"steps": np.array(3), "mask": np.ones((2, 2), bool)})) == []
    assert len(list(disturbed({"x": f32(1, 1)}))) > 1
