from __future__ import annotations

import dataclasses
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_tfjs.compare.numbers import element_loops
from pytest_tfjs.compare.numbers.allowance import Allowance, allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local, merge_local
from tests.support.comparisons import f32, layer
from tests.support.float32_sums import SUMS, judged

NAN, INF = math.nan, math.inf
EXACT = Arithmetic(exact=True)
UNKNOWN = Arithmetic(known=False)
BACKENDS = st.sampled_from(["cpu", "wasm", "webgl", "webgpu"])


def test_activations_that_cannot_be_compared_fail():
    reference = f32(1, 2)
    for actual, failed_by in (
        (None, "missing"),
        (f32(1, 2, 3), "shape"),
        (np.array([1, 2], np.int32), "dtype"),
    ):
        found = judged(actual, reference, Arithmetic())
        assert (found.passed, found.failed_by, found.share, found.metrics.worst) == (
            False,
            failed_by,
            INF,
            None,
        )
    empty = judged(f32(), f32(), Arithmetic())
    assert (empty.failed_by, empty.empty) == ("empty", True)


def test_symptoms_name_transposed_axes():
    reference = np.arange(12, dtype=np.float32).reshape(1, 3, 4) + 1
    assert judged(reference.transpose(0, 2, 1), reference, EXACT).metrics.symptoms.permutation == (0, 2, 1)
    square = np.arange(16, dtype=np.float32).reshape(1, 4, 4) + 1
    assert judged(square.transpose(0, 2, 1), square, EXACT).metrics.symptoms.permutation == (0, 2, 1)


# ---- the figures ----


@settings(max_examples=60)
@given(SUMS, st.floats(1e-9, 1.0), st.sampled_from([1, 7, element_loops.BLOCK]), st.booleans())
def test_a_layer_passes_if_and_only_if_all_elements_are_within_the_allowance(sums, error, block, uneven):
    arithmetic, reference = sums.arithmetic(), sums.by("pairwise")
    if uneven:
        excess = arithmetic.magnitude * np.where(np.arange(reference.size) % 3, 0, 1000).astype(np.float32)
        arithmetic = replace(arithmetic, excess=excess)
    noise = np.random.default_rng(0).normal(size=reference.shape) * error
    with np.errstate(over="ignore"):
        actual = (reference + arithmetic.magnitude * noise).astype(np.float32)
    allowed = allowance(layer("a"), arithmetic, reference, backend="wasm", half=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(element_loops, "BLOCK", block)
        found = measure_local(actual, reference, arithmetic, allowed)
    theirs, entering = reference.astype(np.float64), arithmetic.magnitude.astype(np.float64)
    errors = np.abs(actual.astype(np.float64) - theirs)
    most = (np.maximum(entering, np.abs(theirs)) + np.abs(theirs)) / 2
    limits = allowed.factor * most + allowed.floor
    limits += 0 if allowed.extra is None else allowed.extra.astype(np.float64)
    rms = math.sqrt(np.mean(errors**2))
    assert found.passed == bool((errors <= limits).all() and rms <= allowed.rms)
    assert found.metrics.mismatched == np.count_nonzero(errors > limits)
    assert found.share == pytest.approx(
        max((errors / limits).max(), rms / allowed.rms if allowed.rms else 0.0)
    )
    assert found.metrics.rms == pytest.approx(rms)
    assert found.metrics.worst == (int(np.argmax(errors / limits)),)
    assert found.metrics.allowed == pytest.approx(limits[found.metrics.worst])
    assert (found.metrics.worst_actual, found.metrics.worst_reference) == (
        actual[found.metrics.worst],
        reference[found.metrics.worst],
    )


def test_needed_is_the_multiple_that_would_have_passed():
    reference, arithmetic = f32(1, 2, 3), Arithmetic(terms=9, noise=1e-8)
    allowed = allowance(layer("a"), arithmetic, reference, backend="wasm", half=False)
    found = measure_local(f32(1, 2.001, 3), reference, arithmetic, allowed)
    for by, passes in ((found.needed * 1.000001, True), (found.needed * 0.999, False)):
        more = Allowance(allowed.factor * by, allowed.floor * by, allowed.rms * by)
        assert measure_local(f32(1, 2.001, 3), reference, arithmetic, more).passed is passes


def test_all_fields_are_builtins():
    found = judged(f32(1, 2.5), f32(1, 2), Arithmetic(terms=9, noise=1e-8))
    assert pickle.loads(pickle.dumps(found)) == found
    builtins = (int, float, bool, str, type(None), tuple)
    for part, nested in ((found, "metrics"), (found.metrics, "symptoms")):
        for field in dataclasses.fields(part):
            assert field.name == nested or type(getattr(part, field.name)) in builtins
    assert all(type(place) is int for place in found.metrics.worst)


# ---- several feeds ----


def test_a_merge_has_the_worst_feed_and_the_counts_of_all():
    reference = f32(1, 2)
    found = [judged(actual, reference, Arithmetic()) for actual in (f32(1, 2), f32(1, 9), f32(3, 2))]
    merged = merge_local(found)
    assert (merged.metrics.worst_feed, merged.metrics.worst, merged.passed, merged.failed_by) == (
        1,
        (1,),
        False,
        "element",
    )
    assert (merged.metrics.elements, merged.metrics.mismatched, merged.metrics.max_abs) == (6, 2, 7.0)
    assert merge_local(found[:1]) == found[0]


def test_a_merge_prefers_a_feed_that_failed():
    right, missing = judged(f32(1), f32(1), EXACT), judged(None, f32(1), EXACT)
    assert merge_local([right, missing, right]).metrics.worst_feed == 1


def test_an_empty_feed_adds_nothing():
    empty, right = judged(f32(), f32(), EXACT), judged(f32(1), f32(1), EXACT)
    assert merge_local([empty, right]).passed
    assert merge_local([empty, empty]).empty
    with pytest.raises(ValueError, match="at least one feed"):
        merge_local([])
