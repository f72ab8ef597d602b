from __future__ import annotations

import dataclasses
import math
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pytest_tfjs.compare.numbers import element_loops
from pytest_tfjs.compare.numbers.comparability import incomparable_reason
from pytest_tfjs.compare.numbers.metrics import MISSING, Metrics, measure, merge
from pytest_tfjs.compare.numbers.symptoms import Symptoms
from pytest_tfjs.compare.numbers.tolerances import EXACT, Tolerance
from tests.support.comparisons import f32, measured

NAN, INF = math.nan, math.inf
WIDE = Tolerance(rtol=1e-2, atol=1e-2)


def c64(*values: complex) -> np.ndarray:
    return np.array(values, dtype=np.complex64)


# ---- against a slow, obvious implementation ----


def same(left: complex, right: complex) -> bool:
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    return left == right or (math.isnan(left) and math.isnan(right))


def finite(value: complex) -> bool:
    return math.isfinite(value.real) and math.isfinite(value.imag)


def obvious(actual: np.ndarray, reference: np.ndarray, tolerance: Tolerance) -> dict[str, object]:
    pairs = list(zip(actual.ravel().tolist(), reference.ravel().tolist(), strict=True))
    scale = max((abs(theirs) for _, theirs in pairs if finite(theirs)), default=0.0)
    floor = tolerance.atol * (1.0 if tolerance.absolute else scale)
    both = [(float(abs(a - r)), float(abs(r))) for a, r in pairs if finite(a) and finite(r)]
    broken = [place for place, (a, r) in enumerate(pairs) if not (finite(a) and finite(r)) and not same(a, r)]
    wrong = [place for place, (error, size) in enumerate(both) if error - tolerance.rtol * size > floor]
    return {
        "elements": len(pairs),
        "finite": len(both),
        "mismatched": len(wrong) + len(broken),
        "nonfinite_mismatched": len(broken),
        "scale": scale,
        "passed": not wrong and not broken,
        "max_abs": INF if broken else max((error for error, _ in both), default=0.0),
        "max_rel": INF if broken else max((error / size for error, size in both if size), default=0.0),
        "rms": INF
        if broken
        else math.sqrt(math.fsum(error**2 for error, _ in both) / len(both))
        if both
        else 0.0,
        "nan_reference": sum(r != r for _, r in pairs),  # noqa: PLR0124
        "nan_actual": sum(a != a for a, _ in pairs),  # noqa: PLR0124
    }


SPECIAL = [0.0, 1.0, NAN, INF, -INF, 1j, complex(1, NAN), complex(1, INF), complex(INF, 1), complex(NAN, 1)]
SPECIAL_OF = {"f": (float,), "c": (float, complex)}


def both_arrays(dtype: type, **element: object) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    shapes = arrays.array_shapes(min_dims=0, max_dims=3, max_side=3)
    special = [value for value in SPECIAL if type(value) in SPECIAL_OF.get(np.dtype(dtype).kind, ())]
    values = arrays.from_dtype(np.dtype(dtype), **element)
    if special and not element:
        values |= st.sampled_from(special)
    # Without a fill, as that would make nearly all elements the same.
    return shapes.flatmap(
        lambda shape: st.tuples(
            *(arrays.arrays(dtype, shape, elements=values, fill=st.nothing()) for _ in range(2))
        )
    )


TOLERANCES = st.builds(
    Tolerance,
    rtol=st.sampled_from([0.0, 1e-6, 1e-2, 0.5]),
    atol=st.sampled_from([0.0, 1e-6, 1e-2, 2.0]),
    absolute=st.booleans(),
)
PAIRS = st.one_of(
    both_arrays(np.float32),
    both_arrays(np.float32, allow_nan=False, allow_infinity=False, min_value=-4, max_value=4),
    both_arrays(np.int32),
    both_arrays(np.bool_),
    both_arrays(np.complex64),
    both_arrays(np.uint8),
)


@given(PAIRS, TOLERANCES, st.sampled_from([1, 3, element_loops.BLOCK]))
def test_metrics_agree_with_a_naive_implementation(pair, tolerance, block):
    actual, reference = pair
    expected = obvious(actual, reference, EXACT if reference.dtype == bool else tolerance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(element_loops, "BLOCK", block)
        found = measure(actual, reference, tolerance)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-9, abs=0), name


@given(PAIRS, TOLERANCES, st.sampled_from([1, 3, element_loops.BLOCK]))
def test_the_worst_element_is_the_first_of_those_with_the_greatest_share(pair, tolerance, block):
    actual, reference = pair
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(element_loops, "BLOCK", block)
        found = measure(actual, reference, tolerance)
    if found.nonfinite_mismatched or found.worst is None:
        return
    tolerance = EXACT if reference.dtype == bool else tolerance
    floor = tolerance.floor(found.scale)
    exact = floor == tolerance.rtol == 0
    shares = []
    for a, r in zip(actual.ravel().tolist(), reference.ravel().tolist(), strict=True):
        error, allowed = abs(a - r), floor + tolerance.rtol * abs(r)
        share = error if exact else (error / allowed if allowed else (INF if error else 0.0))
        shares.append(share if finite(a) and finite(r) else -1.0)
    at = int(np.ravel_multi_index(found.worst, reference.shape)) if reference.ndim else 0
    assert shares[at] == pytest.approx(max(shares), rel=1e-9)
    assert all(share < max(shares) * (1 + 1e-9) or share == 0 for share in shares[:at])


@given(PAIRS, TOLERANCES)
# Here the quotient rounds down.
@example((f32(1.4609999656677246), f32(1.3700000047683716)), Tolerance(rtol=0, atol=0))
def test_needed_is_the_smallest_atol_that_passes(pair, tolerance):
    actual, reference = pair
    found = measure(actual, reference, tolerance)
    if reference.dtype == bool or not math.isfinite(found.needed):
        return
    assert measure(actual, reference, dataclasses.replace(tolerance, atol=found.needed)).passed
    if found.needed > 0:
        less = dataclasses.replace(tolerance, atol=found.needed * (1 - 1e-9))
        assert not measure(actual, reference, less).passed


@given(PAIRS, TOLERANCES)
def test_a_layer_passes_if_and_only_if_nothing_mismatches(pair, tolerance):
    found = measure(*pair, tolerance)
    assert found.passed == (found.mismatched == 0) == (found.share <= 1 + 1e-9)
    assert (found.symptoms is None) == found.passed


@given(PAIRS)
def test_an_activation_is_equal_to_itself(pair):
    found = measure(pair[0], pair[0].copy(), EXACT)
    assert found.passed
    assert (found.max_abs, found.max_rel, found.rms, found.needed) == (0, 0, 0, 0)


@given(PAIRS, TOLERANCES)
def test_all_fields_are_builtins(pair, tolerance):
    found = measure(*pair, tolerance)
    allowed = {bool, int, float, complex, str, type(None)}
    for field in dataclasses.fields(Metrics):
        value = getattr(found, field.name)
        parts = dataclasses.astuple(value) if isinstance(value, Symptoms) else (value,)
        for part in flattened(parts):
            assert type(part) in allowed, field.name
    assert pickle.loads(pickle.dumps(found)) is not None


def flattened(values):
    for value in values:
        yield from flattened(value) if isinstance(value, tuple) else (value,)


# ---- what must not pass ----


def one_of_a_million() -> tuple[np.ndarray, np.ndarray]:
    reference = np.random.default_rng(0).standard_normal(10**6).astype(np.float32)
    actual = reference.copy()
    actual[123_456] += 5
    return actual, reference


FALSE_PASSES = {
    "NaN for Inf": (f32(1, NAN), f32(1, INF)),
    "Inf for NaN": (f32(1, INF), f32(1, NAN)),
    "-Inf for Inf": (f32(1, -INF), f32(1, INF)),
    "NaN for a number": (f32(1, NAN), f32(1, 2)),
    "a number for NaN": (f32(1, 2), f32(1, NAN)),
    "the largest float for Inf": (f32(1, 3.4e38), f32(1, INF)),
    "NaN in both at different places": (f32(NAN, 1), f32(1, NAN)),
    "empty": (f32(), f32()),
    "empty in one dimension": (np.zeros((2, 0), np.float32), np.zeros((2, 0), np.float32)),
    "empty for something": (f32(), f32(1)),
    "missing": (None, f32(1)),
    "an extra dimension": (f32(1, 2)[None], f32(1, 2)),
    "a lost dimension": (f32(1), np.float32(1)),
    "broadcastable": (f32(1), f32(1, 1, 1)),
    "float for int": (f32(1, 2), np.array([1, 2], np.int32)),
    "int for float": (np.array([1, 2], np.int32), f32(1, 2)),
    "float64 for float32": (np.array([1.0, 2.0]), f32(1, 2)),
    "True for 1": (np.array([True]), np.array([1], np.int32)),
    "1 for True": (np.array([1], np.int32), np.array([True])),
    "False for True": (np.array([False, True]), np.array([True, True])),
    "one of a million": one_of_a_million(),
    "0 for the tiny": (f32(0, 0, 0), f32(1e-6, 2e-6, -3e-6)),
    "0 for a denormal": (f32(0), f32(1e-40)),
    "int off by one": (np.array([7, 8], np.int32), np.array([7, 9], np.int32)),
    "long ints that are one float": (np.array([2**53], np.int64), np.array([2**53 + 1], np.int64)),
    "another string": (np.array(["a", "b"], object), np.array(["a", "c"], object)),
    "a string with a blank": (np.array(["a "], object), np.array(["a"], object)),
    "a string for a number": (np.array(["1"], object), f32(1)),
    "a number for a string": (f32(1), np.array(["1"], object)),
    "objects": (np.array([{}], object), np.array([{}], object)),
    "NaN in the imaginary part": (c64(complex(1, NAN)), c64(complex(1, 1))),
    "NaN for Inf in the imaginary part": (c64(complex(1, NAN)), c64(complex(1, INF))),
    "the imaginary part lost": (c64(1), c64(complex(1, 1))),
}


@pytest.mark.parametrize(("actual", "reference"), FALSE_PASSES.values(), ids=FALSE_PASSES.keys())
def test_mismatches_do_not_pass(actual, reference):
    tolerance = EXACT if reference.dtype.kind in "iOb" else WIDE
    found = measure(actual, reference, tolerance)
    assert not found.passed
    assert found.mismatched > 0 or found.elements == 0
    assert not found.share <= 1


@pytest.mark.parametrize("actual", [np.array([True, False]), np.array(["a", "b"], object)])
def test_no_tolerance_lets_bools_and_strings_differ(actual):
    assert not measure(actual, actual[::-1], Tolerance(rtol=1, atol=1, absolute=True)).passed


def test_a_tolerance_applies_to_integers():
    actual, reference = np.array([7, 250], np.uint8), np.array([8, 250], np.uint8)
    assert measure(actual, reference, Tolerance(rtol=0, atol=1, absolute=True)).passed


def test_an_extra_allowance_counts_at_its_own_element_only():
    reference, extra = f32(1, 2, 4), f32(0, 0.5, 0)
    for actual, passes in ((f32(1, 2.5, 4), True), (f32(1, 2.51, 4), False), (f32(1.1, 2, 4), False)):
        assert measure(actual, reference, Tolerance(0.0, 0.0), extra=extra).passed is passes
    wider = measure(f32(1, 2.75, 4), reference, Tolerance(0.1, 0.0), extra=extra)
    assert (wider.worst, wider.allowed) == ((1,), pytest.approx(0.7))
    assert wider.needed == pytest.approx(0.05 / 4)


@pytest.mark.parametrize("wrong", [NAN, INF])
def test_an_extra_allowance_allows_no_nan_or_inf(wrong):
    extra = np.full(2, INF, np.float32)
    assert not measure(f32(1, wrong), f32(1, 2), Tolerance(0.0, 0.0), extra=extra).passed


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_an_extra_allowance_is_for_numbers_that_round(dtype):
    reference, actual = np.array([0, 1], dtype), np.array([1, 1], dtype)
    assert not measure(actual, reference, Tolerance(0.0, 0.0), extra=f32(9, 9)).passed


def test_the_difference_of_integers_does_not_wrap():
    lowest, highest = np.array([-(2**31)], np.int32), np.array([2**31 - 1], np.int32)
    assert measure(lowest, highest, EXACT).max_abs == 2**32 - 1


def test_bytes_and_str_of_the_same_text_are_equal():
    assert measure(np.array(["ä", b"b"], object), np.array(["ä".encode(), b"b"], object), EXACT).passed


# ---- what cannot be compared, and where the elements are ----


@pytest.mark.parametrize(("actual", "reference"), [(None, f32(1)), (f32(1, 2), f32(1)), (f32(), f32())])
def test_activations_that_cannot_be_compared_are_infinitely_wrong(actual, reference):
    found = measure(actual, reference, WIDE)
    assert found.reason == (MISSING if actual is None else incomparable_reason(actual, reference))
    assert (found.max_abs, found.rms, found.needed) == (INF, INF, INF)
    assert (found.missing, found.empty) == (actual is None, reference.size == 0)


def test_the_index_of_the_first_nan():
    actual, reference = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    actual[1, 1], actual[1, 2], reference[0, 0], actual[0, 0] = NAN, INF, -INF, -INF
    found = measure(actual, reference, WIDE)
    assert found.first_nonfinite_mismatch == found.worst == (1, 1)
    assert (found.nan_actual, found.inf_actual, found.nan_reference, found.inf_reference) == (1, 2, 0, 1)
    assert (found.nonfinite_mismatched, found.finite, found.elements) == (2, 3, 6)
    assert math.isnan(found.worst_actual)
    assert (found.worst_reference, found.worst_error) == (1, INF)


@pytest.mark.parametrize("value", [7.0, NAN, INF])
def test_the_index_of_a_late_element(value):
    reference = np.ones((30, element_loops.BLOCK // 10), np.float32)
    actual = reference.copy()
    actual[25, 17] = value
    assert measure(actual, reference, WIDE).worst == (25, 17)


def test_a_layer_of_equal_nans_has_no_worst_element():
    found = measure(f32(NAN, INF), f32(NAN, INF), WIDE)
    assert found.passed
    assert (found.worst, found.share, found.scale) == (None, -1, 0)


def test_the_allowed_error_at_the_worst_element():
    found = measure(f32(100, 1.5), f32(100, 1), Tolerance(rtol=0.1, atol=0.01))
    assert (found.worst, found.worst_error, found.allowed) == ((1,), 0.5, pytest.approx(0.1 + 0.01 * 100))


def test_an_error_at_a_scalar_has_an_empty_index():
    assert measure(np.float32(2), np.float32(1), WIDE).worst == ()


def test_layouts_in_memory_do_not_matter():
    reference = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    actual = np.asfortranarray(reference)
    actual[1, 2, 3] += 10
    assert measure(actual, np.ascontiguousarray(reference[::-1])[::-1], WIDE).worst == (1, 2, 3)


def test_memory_stays_far_below_the_layer():
    reference = np.ones(2**22, np.float32)
    actual = reference.copy()
    tracemalloc.start()
    measure(actual, reference, WIDE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < reference.nbytes / 8


# ---- several feeds ----


def test_empty_feeds_do_not_change_a_merge():
    empty, right, wrong = measured([], []), measured([1, 2], [1, 2]), measured([1, 5], [1, 2])
    assert empty.empty
    assert not empty.passed
    for others in ([right], [wrong], [right, wrong]):
        found = merge([empty, *others])
        assert (found.empty, found.passed, found.elements) == (False, wrong not in others, 2 * len(others))
        assert found.max_abs == (3 if wrong in others else 0)
    assert merge([empty, right, wrong]).worst_feed == 2
    assert merge([empty, empty]).empty
    assert merge([empty, empty]).reason == empty.reason
    assert not merge([empty, measured([], [1])]).empty


@given(st.lists(both_arrays(np.float32), min_size=1, max_size=4), TOLERANCES)
def test_a_merge_equals_the_metrics_of_all_feeds(pairs, tolerance):
    parts = [measure(*pair, tolerance) for pair in pairs]
    found = merge(parts)
    assert found.passed == all(part.passed for part in parts)
    assert found.mismatched == sum(part.mismatched for part in parts)
    assert found.max_abs == max(part.max_abs for part in parts)
    assert found.needed == max(part.needed for part in parts)
    assert found.worst == parts[found.worst_feed].worst
    assert not any(part.share > found.share for part in parts)
    if math.isfinite(found.rms) and found.finite:
        squares = math.fsum(part.rms**2 * part.finite for part in parts)
        assert found.rms == pytest.approx(math.sqrt(squares / found.finite), rel=1e-9, abs=1e-30)


def test_one_bad_feed_among_good_ones_is_named():
    good, bad = measure(f32(1), f32(1), WIDE), measure(f32(1, 2), f32(1), WIDE)
    found = merge([good, bad, good])
    assert not found.passed
    assert found.reason == "in feed 1: shape [2] in the browser, [1] in the reference"
    assert (found.rms, found.worst_feed) == (INF, 1)


def test_the_worst_feed_has_the_greatest_share():
    small, large = measure(f32(1.5), f32(1), WIDE), measure(f32(1010), f32(1000), WIDE)
    assert merge([large, small, large]).worst_feed == 1
    assert merge([large, small]).max_abs == 10


def test_a_feed_that_is_missing_fails_the_layer():
    good, gone = measure(f32(1), f32(1), WIDE), measure(None, f32(1), WIDE)
    assert not merge([good, gone]).passed
    assert merge([gone, gone]).missing


def test_a_merge_of_no_metrics_raises():
    with pytest.raises(ValueError, match="at least one feed"):
        merge([])
