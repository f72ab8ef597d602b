"""Each mutation operator makes its change and no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pytest_tfjs.compare.mutants import (
    SWAPS,
    Mutated,
    NotApplicable,
    change_one,
    drop,
    other_epsilon,
    round_to_half,
    same_bits,
    scale,
    shift_map,
    swap_activation,
    swap_channels,
    transpose_map,
)

numbers = st.floats(-1e4, 1e4, width=32)
sizes = st.integers(2, 5)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def arrays(shape):
    return hnp.arrays(np.float32, shape, elements=numbers)


activations = hnp.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=5).flatmap(arrays)
maps = st.tuples(st.integers(1, 2), sizes, sizes, st.integers(1, 3)).flatmap(arrays)
square_maps = st.tuples(sizes, st.integers(1, 3)).map(lambda s: (1, s[0], s[0], s[1])).flatmap(arrays)


def mutated_value(made):
    assert isinstance(made, Mutated)
    assert made.what
    return made.value


def reason_not_applicable(made):
    assert isinstance(made, NotApplicable)
    return made.why


@given(activations, seeds)
def test_swap_channels_swaps_two_channels_only(activation, rng):
    before = activation.copy()
    made = swap_channels(activation, rng)
    value = mutated_value(made)
    one, other = (int(word) for word in made.what.removeprefix("channels ").split(" and "))
    assert one < other
    order = list(range(activation.shape[-1]))
    order[one], order[other] = other, one
    assert np.array_equal(value, before[..., order])
    assert np.array_equal(activation, before)


@given(square_maps)
def test_transpose_map_swaps_height_and_width(activation):
    assert np.array_equal(mutated_value(transpose_map(activation)), np.einsum("nhwc->nwhc", activation))


@given(activations)
def test_round_to_half_is_idempotent(activation):
    value = mutated_value(round_to_half(activation))
    assert value.dtype == np.float32
    assert np.abs(value - activation).max() <= np.abs(activation).max() * 2.0**-11 + 2.0**-25
    assert same_bits(mutated_value(round_to_half(value)), value)


def test_round_to_half_overflows_to_infinity():
    assert mutated_value(round_to_half(np.array([[70000.0, 1.0]], np.float32))).tolist() == [[np.inf, 1.0]]


@given(activations)
def test_scale_multiplies_by_1_001(activation):
    assert mutated_value(scale(activation)) == pytest.approx(activation * 1.001, rel=1e-6)


@given(maps)
def test_shift_map_drops_the_last_row_and_column(activation):
    value = mutated_value(shift_map(activation))
    assert np.array_equal(value[:, 1:, 1:], activation[:, :-1, :-1])
    assert not value[:, 0].any()
    assert not value[:, :, 0].any()


@given(arrays((2, 3)), seeds)
def test_change_one_multiplies_one_weight_by_1_01(weight, rng):
    assume(weight.any())
    before = weight.copy()
    value = mutated_value(change_one(weight, rng))
    assert np.array_equal(weight, before)
    changed = value != before
    assert changed.sum() <= 1  # a denormal weight may round to itself
    assert value[changed] == pytest.approx(before[changed] * 1.01, rel=1e-6)


@given(arrays((3,)))
def test_drop_gives_zeros(bias):
    value = mutated_value(drop(bias))
    assert not value.any()
    assert same_bits(value, bias) == (not bias.any())


@given(st.sampled_from([1e-3, 1e-5, 1.001e-5, 1e-6, 1e-2]))
def test_other_epsilon_is_far_from_the_given_one(epsilon):
    wrong = other_epsilon(epsilon)
    assert wrong in (1e-3, 1e-5)
    assert max(wrong, epsilon) > 9 * min(wrong, epsilon)


@given(st.sampled_from(sorted(SWAPS)), arrays((2, 6)))
def test_swapped_activation_has_the_same_shape_and_dtype(op, entering):
    value = mutated_value(swap_activation(op, entering, np.dtype(np.float32)))
    assert (value.shape, value.dtype) == (entering.shape, entering.dtype)
    assert np.isfinite(value).all()


def test_relu6_swapped_to_relu_differs_only_above_6():
    entering = np.array([[-2.0, 0.0, 5.5, 6.0]], np.float32)
    right = np.clip(entering, 0, 6)
    assert same_bits(mutated_value(swap_activation("Relu6", entering, right.dtype)), right)
    over = np.append(entering, [[6.5]], axis=1).astype(np.float32)
    assert not same_bits(mutated_value(swap_activation("Relu6", over, over.dtype)), np.clip(over, 0, 6))


def test_harmless_case_of_each_swap_changes_no_bit():
    """An activation that holds only elements described by `harmless` is the same after the swap."""
    right = {
        "Relu6": ([-1, 5], lambda x: np.clip(x, 0, 6)),
        "Relu": ([-1, 5], lambda x: np.maximum(x, 0)),
        "LeakyRelu": ([0, 7], lambda x: np.where(x < 0, 0.3 * x, x)),
        "Elu": ([0, 7], lambda x: np.where(x < 0, np.expm1(x), x)),
        "Sigmoid": ([0, 40], lambda x: 1 / (1 + np.exp(-x))),
        "Tanh": ([0, 40], np.tanh),
        "Selu": ([0], lambda x: 1.05 * np.where(x < 0, 1.67 * np.expm1(x), x)),
        "Softplus": ([-200, 40], lambda x: np.log1p(np.exp(x))),
    }
    assert right.keys() == SWAPS.keys()
    for op, (entering, function) in right.items():
        x = np.array(entering, np.float64)
        made = mutated_value(swap_activation(op, x.astype(np.float32), np.dtype(np.float32)))
        assert same_bits(made, function(x).astype(np.float32)), op


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda rng: swap_channels(np.ones((4, 1)), rng), "channels"),
        (lambda _: transpose_map(np.ones((1, 4, 5, 2))), "square"),
        (lambda _: transpose_map(np.ones((1, 1, 1, 2))), "not a map"),
        (lambda _: transpose_map(np.ones((1, 4))), "not a map"),
        (lambda _: round_to_half(np.ones((1, 4), np.int32)), "int32"),
        (lambda _: scale(np.ones((1, 4), np.int32)), "int32"),
        (lambda _: shift_map(np.ones((1, 4))), "not a map"),
        (lambda rng: change_one(np.zeros(4), rng), "weight"),
        (lambda _: swap_activation("Conv2D", np.ones(4), np.dtype(np.float32)), "activation"),
    ],
)
def test_reason_why_a_mutant_is_not_applicable(made, why):
    assert why in reason_not_applicable(made(np.random.default_rng(0)))


@given(activations, seeds)
def test_same_bits_compares_values_dtype_and_shape(activation, rng):
    assert same_bits(activation, activation.copy())
    assert not same_bits(activation, activation.astype(np.float64))
    assert not same_bits(activation, activation[..., :1])
    at = tuple(rng.integers(size) for size in activation.shape)
    other = activation.copy()
    other[at] = np.nextafter(other[at], np.float32(np.inf))
    assert same_bits(activation, other) == (other[at] == activation[at])


def test_same_bits_requires_nan_at_the_same_elements():
    one = np.array([np.nan, 1.0], np.float32)
    assert same_bits(one, one.copy())
    assert not same_bits(one, one[::-1])
