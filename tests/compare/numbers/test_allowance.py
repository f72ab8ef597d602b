"""Sums in any order are within the allowance; errors above a stated size are not."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_tfjs.compare.numbers.allowance import Allowance, allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from tests.support.comparisons import f32, layer
from tests.support.float32_sums import KINDS, ORDERED, ORDERS, SUMS, Sums, judged, made

if TYPE_CHECKING:
    from pytest_tfjs.compare.numbers.local_error import Local

NAN, INF = math.nan, math.inf
EXACT = Arithmetic(exact=True)
UNKNOWN = Arithmetic(known=False)
BACKENDS = st.sampled_from(["cpu", "wasm", "webgl", "webgpu"])


@settings(max_examples=60)
# Two products that cancel but for the rounding that a multiply-add leaves out.
@example(made("cancelling", 2, 1.0, 0), "fused", "pairwise", "cpu")
@given(SUMS, st.sampled_from(["fused", *ORDERS]), st.sampled_from(list(ORDERS)), BACKENDS)
def test_every_summation_order_passes(sums, ours, theirs, backend):
    found = judged(sums.by(ours), sums.by(theirs), sums.arithmetic(), backend=backend)
    assert found.metrics.mismatched == 0, found.share
    assert found.passed or sums.kind in ORDERED, (found.failed_by, found.share)


@pytest.mark.parametrize("seed", range(20))
def test_elements_without_measured_noise_pass(seed):
    sums = made("sparse", 576, 1.0, seed)
    noise = sums.arithmetic().noise
    # From the first term on, the partial sums of this one are as large as they can be.
    sums.x[0], sums.w[0, 0] = 1, 1050
    arithmetic = dataclasses.replace(sums.arithmetic(), noise=noise)
    found = judged(sums.by("one by one"), sums.by("last first"), arithmetic)
    assert found.passed, (found.failed_by, found.share)


@pytest.mark.parametrize("order", ORDERS)
def test_sums_of_equal_products_pass_although_their_roundings_are_not_random(order):
    sums = made("equal", 10_000, 1.0, seed=0)
    arithmetic = sums.arithmetic()
    # Measured against the exact sums, or from order to order.
    for noise in (arithmetic.noise, 0.0):
        known = dataclasses.replace(arithmetic, noise=noise)
        found = judged(sums.by("one by one"), sums.by(order), known)
        assert found.passed, (found.failed_by, found.share)


@settings(max_examples=40)
@given(st.integers(1, 10_000), st.sampled_from([0.1, 0.7, 3.3, 1e-3, 123.4]), st.sampled_from(list(ORDERS)))
def test_a_mean_of_equal_numbers_passes(terms, value, order):
    # Among others: the sample that the noise comes from may have seen these alone.
    rng = np.random.default_rng(terms)
    numbers = rng.random((terms, 8)).astype(np.float32)
    numbers[:, 0] = value
    reference = (numbers.astype(np.float64).sum(0) / terms).astype(np.float32)
    arithmetic = Sums(np.ones(terms, np.float32), numbers).arithmetic()
    arithmetic = dataclasses.replace(arithmetic, magnitude=reference)
    found = judged(ORDERS[order](numbers) / np.float32(terms), reference, arithmetic, op="Mean")
    assert found.passed, (found.failed_by, found.share)


# ---- what is wrong ----


def wrong(sums: Sums, actual: np.ndarray) -> Local:
    return judged(actual, sums.by("pairwise"), sums.arithmetic())


@pytest.mark.parametrize("terms", [9, 27, 144, 576, 1280])
@pytest.mark.parametrize("kind", ["normal", "positive", "sparse"])
def test_one_percent_on_one_weight_fails(terms, kind):
    sums = made(kind, terms, 1.0, seed=terms, count=1000)
    w = sums.w.copy()
    # One of usual size, with an input of usual size.
    at = np.argsort(np.abs(sums.x))[-terms // 4]
    w[at, 3] += 0.01 * np.median(np.abs(w))
    found = wrong(sums, Sums(sums.x, w).by("one by one"))
    assert not found.passed
    assert found.metrics.worst == (3,)


@pytest.mark.parametrize("terms", [1, 9, 144, 1280, 4096])
@pytest.mark.parametrize("kind", ["normal", "positive", "sparse", "heavy"])
def test_rounding_to_half_fails(terms, kind):
    sums = made(kind, terms, 1.0, seed=terms)
    assert not wrong(sums, in_half(sums.by("one by one"))).passed


def test_swapped_channels_fail():
    sums = made("sparse", 1280, 1.0, seed=1)
    actual = sums.by("one by one")
    actual[[4, 5]] = actual[[5, 4]]
    found = wrong(sums, actual)
    assert found.failed_by == "element"
    assert found.metrics.mismatched == 2


@pytest.mark.parametrize("bias", [1e-3, -0.1])
def test_a_dropped_bias_fails(bias):
    sums = made("sparse", 576, 1.0, seed=1)
    assert not wrong(sums, sums.by("one by one") + np.float32(bias)).passed


def test_a_small_error_of_all_elements_fails_by_its_root_mean_square():
    sums = made("sparse", 1280, 1.0, seed=1)
    arithmetic, reference = sums.arithmetic(), sums.by("pairwise")
    actual = reference + (1e-6 * arithmetic.magnitude).astype(np.float32)
    found = judged(actual, reference, arithmetic)
    assert found.failed_by == "rms"
    assert found.metrics.mismatched == 0
    assert found.share == pytest.approx(found.metrics.rms / found.rms_allowed)
    assert found.share > 1
    assert found.metrics.symptoms is not None


def test_zeros_instead_of_small_activations_fail():
    sums = made("sparse", 144, 1e-8, seed=1)
    found = wrong(sums, np.zeros_like(sums.by("pairwise")))
    assert not found.passed
    assert found.metrics.symptoms.all_zero


# ---- functions ----


def of(*functions: str) -> Arithmetic:
    return Arithmetic(functions=functions)


def test_a_wrong_sine_of_a_large_number_fails_on_a_gpu():
    reference = np.sin(np.float64([1e6, 1.0])).astype(np.float32)
    found = judged(reference + f32(0.03, 0), reference, of("Sin"), op="Sin", backend="webgl")
    assert found.failed_by == "element"
    assert found.metrics.worst == (0,)


def test_the_gpu_error_of_a_sine_passes_only_on_gpus():
    reference = np.sin(np.linspace(-3, 3, 100)).astype(np.float32)
    actual = reference + np.float32(2.0**-12)
    assert judged(actual, reference, of("Sin"), op="Sin", backend="webgl").passed
    assert not judged(actual, reference, of("Sin"), op="Sin", backend="cpu").passed


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl", "webgpu"])
@pytest.mark.parametrize("function", ["Elu", "Selu", "Softplus", "Tanh"])
def test_a_large_element_does_not_hide_the_error_of_a_small_one(function, backend):
    reference = f32(-0.93, 0.5, 1.7e7)
    magnitude = f32(2.5, 1.0, 3.4e7)
    arithmetic = Arithmetic(functions=(function,), magnitude=magnitude)
    assert judged(reference, reference, arithmetic, backend=backend).passed
    found = judged(f32(0, 0.5, 1.7e7), reference, arithmetic, backend=backend)
    assert (found.failed_by, found.metrics.worst) == ("element", (0,))


def test_exp_of_large_arguments_may_have_a_larger_error():
    x = np.linspace(-80, 80, 1000)
    reference = np.exp(x).astype(np.float32)
    promised = (3 + 2 * np.abs(x)) * 2.0**-23
    magnitude = (np.exp(x) * (1 + np.abs(x))).astype(np.float32)
    exp = Arithmetic(functions=("Exp",), magnitude=magnitude)
    for error, passes in ((promised, True), (4 * promised, False), (1e-4, False)):
        actual = (np.exp(x) * (1 + error)).astype(np.float32)
        assert judged(actual, reference, exp, op="Exp", backend="webgl").passed is passes


def test_tanh_by_its_formula_in_float32_passes_on_a_gpu():
    x = np.linspace(-5, 5, 4001, dtype=np.float32)
    e = np.exp(-2 * np.abs(x))
    actual = (np.sign(x) * (1 - e) / (1 + e)).astype(np.float32)
    assert judged(actual, np.tanh(x), of("Tanh"), op="Tanh", backend="webgl").passed


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl", "webgpu"])
@pytest.mark.parametrize("function", ["Exp", "Log", "Tanh", "Sigmoid", "Rsqrt", "RealDiv", "Softplus", "Erf"])
def test_rounding_a_function_to_half_fails(backend, function):
    reference = np.linspace(0.3, 0.9, 100, dtype=np.float32)
    actual = reference.astype(np.float16).astype(np.float32)
    assert not judged(actual, reference, of(function), op=function, backend=backend).passed


# ---- what is not rounded ----


@given(BACKENDS)
def test_a_copy_may_differ_only_in_the_sign_of_zero_and_denormals(backend):
    reference = f32(1, -0.0, 1e-40, 3)
    assert judged(f32(1, 0, 0, 3), reference, EXACT, backend=backend).passed
    found = judged(np.nextafter(reference, f32(9)), reference, EXACT, backend=backend)
    assert found.failed_by == "element"
    assert found.metrics.worst in {(0,), (3,)}


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.uint8])
@pytest.mark.parametrize("arithmetic", [EXACT, UNKNOWN, Arithmetic(terms=100), Arithmetic(noise=1.0)])
@pytest.mark.parametrize("half", [False, True])
def test_integers_and_bools_are_exact(dtype, arithmetic, half):
    reference = np.array([1, 0, 1, 1]).astype(dtype)
    assert judged(reference.copy(), reference, arithmetic, half=half).passed
    found = judged(np.array([1, 0, 1, 0]).astype(dtype), reference, arithmetic, half=half)
    assert (found.failed_by, found.share, found.metrics.worst) == ("element", INF, (3,))


def test_strings_are_exact():
    reference = np.array(["a", "b"], object)
    assert judged(np.array(["a", "b"], object), reference, EXACT).passed
    assert judged(np.array(["a", "c"], object), reference, EXACT).failed_by == "element"


def allowed(arithmetic, *, backend="cpu", packed=False):
    return allowance(layer("y"), arithmetic, f32(1, 2), backend=backend, half=False, packed=packed)


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl", "webgpu"])
def test_what_kernels_of_webgl_add_is_allowed_where_they_run(backend):
    plain = allowed(Arithmetic(noise=1e-7), backend=backend)
    started = Arithmetic(noise=1e-7, started=1.0)
    assert allowed(started, backend=backend) == plain
    packed = allowed(started, backend=backend, packed=True)
    assert packed.floor == pytest.approx(plain.floor + 2.0**-23)
    assert packed.rms == pytest.approx(plain.rms + 2.0**-23)
    assert packed.factor == plain.factor
    mixed = allowed(Arithmetic(exact=True, mixed=f32(0, 3)), backend=backend)
    assert (mixed.factor, mixed.extra is not None) == (0.0, backend == "webgl")
    assert backend != "webgl" or mixed.extra.tolist() == [0, 3 * 2.0**-23]


def test_the_error_of_computed_constants_is_added():
    plain, wider = allowed(Arithmetic(noise=1e-7)), allowed(Arithmetic(noise=1e-7, constants=1e-6))
    assert wider.factor == pytest.approx(plain.factor + 2e-6)
    assert wider.rms == pytest.approx(plain.rms + 1e-6 * math.sqrt(2.5))


def test_an_excess_is_of_its_own_elements_in_units_of_the_roundoff():
    excess = f32(0, 1000)
    for backend, unit in (("cpu", 2.0**-24), ("wasm", 2.0**-24), ("webgl", 2.0**-23), ("webgpu", 2.0**-23)):
        plain, wider = (
            allowed(Arithmetic(terms=64, noise=1e-7, excess=one), backend=backend) for one in (None, excess)
        )
        assert plain.extra is None
        assert (wider.factor, wider.floor) == (plain.factor, plain.floor)
        assert wider.extra.tolist() == [0, 1000 * unit]
        assert wider.rms == pytest.approx(plain.rms + 1000 * unit / math.sqrt(2))


def test_allowances_add_up():
    one, other = Allowance(1.0, 2.0, 3.0, f32(1, 2)), Allowance(0.5, 0.5, 0.5)
    assert (one + other).extra.tolist() == [1, 2]
    assert (other + one).extra.tolist() == [1, 2]
    assert (one + one).extra.tolist() == [2, 4]
    assert (other + other).extra is None
    half = (one + other).times(0.5)
    assert (half.factor, half.floor, half.rms, half.extra.tolist()) == (0.75, 1.25, 1.75, [0.5, 1])


def test_an_unknown_layer_has_the_default_tolerance_of_its_backend():
    reference = f32(1, 100)
    one = layer("a")
    assert allowance(one, UNKNOWN, reference, backend="cpu", half=False) == Allowance(5e-4, 5e-3)
    assert allowance(one, UNKNOWN, reference, backend="webgl", half=False) == Allowance(1e-3, 1e-2)
    assert allowance(one, UNKNOWN, reference, backend="webgl", half=True) == Allowance(1e-2, 1.0)


# ---- half precision ----


def in_half(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


@settings(max_examples=40)
@given(
    st.sampled_from([kind for kind in KINDS if kind not in ("heavy", "dominated")]),
    st.integers(1, 60) | st.sampled_from([576, 1152, 4096]),
    st.sampled_from([0.01, 1.0]),
    st.integers(0, 2**32),
)
def test_storing_in_half_passes(kind, terms, scale, seed):
    sums = made(kind, terms, scale, seed)
    stored = Sums(in_half(sums.x), in_half(sums.w))
    actual = in_half(stored.by("one by one"))
    found = judged(actual, sums.by("pairwise"), sums.arithmetic(), backend="webgl", half=True)
    assert found.passed, (found.failed_by, found.share)


def test_overflow_of_half_precision_fails():
    reference = f32(1e5, 3)
    assert judged(in_half(reference), reference, EXACT, backend="webgl", half=True).failed_by == "nonfinite"
    assert judged(f32(0, 3), reference, EXACT, backend="webgl", half=True).failed_by == "element"
    tiny = f32(3e-6, 1e-6, 2e-6)
    for actual in (np.zeros(3, np.float32), in_half(tiny)):
        assert judged(actual, tiny, EXACT, backend="webgl", half=True).failed_by == "element"


def test_small_elements_beside_large_ones_may_underflow_in_half():
    assert judged(f32(0, 1), f32(1e-6, 1), EXACT, backend="webgl", half=True).passed


# ---- NaN, Inf, shapes, nothing ----


@pytest.mark.parametrize("arithmetic", [EXACT, UNKNOWN, Arithmetic(), Arithmetic(terms=9, noise=1e-8)])
def test_nan_and_inf_must_be_where_the_reference_has_them(arithmetic):
    reference = f32(1, NAN, INF, 2)
    assert judged(reference.copy(), reference, arithmetic).passed
    for actual in (f32(NAN, 1, INF, 2), f32(1, INF, NAN, 2), f32(1, NAN, -INF, 2), f32(1, NAN, 3e38, 2)):
        found = judged(actual, reference, arithmetic)
        assert (found.failed_by, found.share, found.metrics.max_abs, found.needed) == (
            "nonfinite",
            INF,
            INF,
            INF,
        )


def test_a_magnitude_that_is_not_finite_allows_no_more_than_the_reference_does():
    reference = f32(1, 2)
    arithmetic = Arithmetic(magnitude=f32(INF, NAN))
    assert not judged(f32(1.001, 2), reference, arithmetic).passed
    assert not judged(f32(1, 2.001), reference, arithmetic).passed


def test_a_magnitude_below_the_reference_allows_as_much_as_the_reference_does():
    reference = f32(1, 2)
    arithmetic = Arithmetic(magnitude=f32(0, 0))
    actual = np.nextafter(np.nextafter(reference, f32(9)), f32(9))
    assert judged(actual, reference, arithmetic).passed
