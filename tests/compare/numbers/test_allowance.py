"""Honest recomputation passes, whatever its order; what is wrong does not, above a stated size."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_tfjs.compare.numbers import elements
from pytest_tfjs.compare.numbers.allowance import Allowance, allowance
from pytest_tfjs.compare.numbers.arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import Local, measure_local, merge_local
from tests.support.comparisons import f32, layer

NAN, INF = math.nan, math.inf
EXACT = Arithmetic(exact=True)
UNKNOWN = Arithmetic(known=False)
BACKENDS = st.sampled_from(["cpu", "wasm", "webgl", "webgpu"])


def judged(
    actual: np.ndarray | None,
    reference: np.ndarray,
    arithmetic: Arithmetic,
    *,
    op: str = "MatMul",
    backend: str = "wasm",
    half: bool = False,
) -> Local:
    allowed = allowance(layer("a", op=op), arithmetic, reference, backend=backend, half=half)
    return measure_local(actual, reference, arithmetic, allowed)


# ---- sums in float32, in the orders of kernels ----


def one_by_one(terms: np.ndarray) -> np.ndarray:
    """As JavaScript and C++ loops do."""
    return np.add.accumulate(terms, axis=0)[-1]


def pairwise(terms: np.ndarray) -> np.ndarray:
    """As Eigen's reductions do."""
    while len(terms) > 1:
        if len(terms) % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[:1])])
        terms = terms[::2] + terms[1::2]
    return terms[0]


def in_lanes(lanes: int):
    """As SIMD code and shaders do: every n-th term into one of n sums."""

    def summed(terms: np.ndarray) -> np.ndarray:
        padding = np.zeros((-len(terms) % lanes, *terms.shape[1:]), np.float32)
        split = np.concatenate([terms, padding]).reshape(-1, lanes, *terms.shape[1:])
        return pairwise(np.add.accumulate(split, axis=0)[-1])

    return summed


def in_blocks(terms: np.ndarray) -> np.ndarray:
    """As matrix products do that keep a tile in the cache."""
    parts = [one_by_one(terms[start : start + 48]) for start in range(0, len(terms), 48)]
    return one_by_one(np.stack(parts))


ORDERS = {
    "one by one": one_by_one,
    "pairwise": pairwise,
    "4 lanes": in_lanes(4),
    "8 lanes": in_lanes(8),
    "blocks": in_blocks,
    "last first": lambda terms: one_by_one(terms[::-1]),
}


def fused(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """One by one, with products that are not rounded: multiply-add."""
    total = np.zeros(w.shape[1], np.float32)
    for one, weights in zip(x.astype(np.float64), w.astype(np.float64), strict=True):
        total = (total + one * weights).astype(np.float32)
    return total


@dataclasses.dataclass(frozen=True)
class Sums:
    """Elements that are sums of products: x [n], w [n, elements]."""

    x: np.ndarray
    w: np.ndarray
    kind: str = ""

    @property
    def terms(self) -> np.ndarray:
        return self.x[:, None] * self.w

    def by(self, order: str) -> np.ndarray:
        return fused(self.x, self.w) if order == "fused" else ORDERS[order](self.terms)

    def arithmetic(self, seed: int = 0) -> Arithmetic:
        """As the reference tells it: the noise from a sample of elements, each summed in 6 random orders."""
        rng = np.random.default_rng(seed)
        magnitude = np.abs(self.x.astype(np.float64)) @ np.abs(self.w.astype(np.float64))
        sample = rng.choice(self.w.shape[1], min(64, self.w.shape[1]), replace=False)
        exact = self.x.astype(np.float64) @ self.w[:, sample].astype(np.float64)
        changes = [one_by_one(rng.permutation(self.terms[:, sample])) - exact for _ in range(6)]
        rms = np.sqrt(np.mean(np.square(magnitude[sample])))
        noise = float(np.sqrt(np.mean(np.square(changes))) / rms) if rms else 0.0
        return Arithmetic(terms=len(self.x), magnitude=magnitude.astype(np.float32), noise=noise)


KINDS = (
    "normal",
    "positive",
    "heavy",
    "sorted",
    "cancelling",
    "halves",
    "dominated",
    "sparse",
    "equal",
    "rows",
)

# All elements have their terms in the order that is worst for them: the noise of random orders tells less.
ORDERED = ("sorted", "halves")


def made(kind: str, terms: int, scale: float, seed: int, count: int = 300) -> Sums:
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=terms), rng.normal(size=(terms, count))
    match kind:
        case "positive":
            x, w = np.abs(x), np.abs(w)
        case "heavy":
            x, w = np.exp(3 * x), w * np.exp(2 * rng.normal(size=w.shape))
        case "sorted":
            x, w = np.abs(x), np.sort(w, axis=0)
        case "cancelling":
            half = terms // 2
            w[half : 2 * half], x[half : 2 * half] = -w[:half], x[:half]
        case "halves":
            x, w = np.abs(x), np.where(np.arange(terms)[:, None] < terms / 2, 1, -1) * np.abs(w)
        case "dominated":
            x[0] = 1e4
        case "sparse":
            x = np.maximum(x, 0)
        case "equal":
            x, w = np.full(terms, 0.1), np.full((terms, count), 0.7)
        case "rows":
            w[:, : count // 50] = 1
            x = np.abs(x)
    return Sums((scale * x).astype(np.float32), w.astype(np.float32), kind)


SUMS = st.builds(
    made,
    st.sampled_from(KINDS),
    st.integers(1, 60) | st.sampled_from([147, 576, 1152, 4096, 10_000]),
    st.sampled_from([1e-30, 1e-6, 1.0, 1e3, 1e25]),
    st.integers(0, 2**32),
)


@settings(max_examples=60)
# Two products that cancel but for the rounding that a multiply-add leaves out.
@example(made("cancelling", 2, 1.0, 0), "fused", "pairwise", "cpu")
@given(SUMS, st.sampled_from(["fused", *ORDERS]), st.sampled_from(list(ORDERS)), BACKENDS)
def test_summing_in_another_order_is_right(sums, ours, theirs, backend):
    found = judged(sums.by(ours), sums.by(theirs), sums.arithmetic(), backend=backend)
    assert found.metrics.mismatched == 0, found.share
    assert found.passed or sums.kind in ORDERED, (found.failed_by, found.share)


@pytest.mark.parametrize("seed", range(20))
def test_an_element_that_the_noise_tells_nothing_of_is_right(seed):
    sums = made("sparse", 576, 1.0, seed)
    noise = sums.arithmetic().noise
    # From the first term on, the partial sums of this one are as large as they can be.
    sums.x[0], sums.w[0, 0] = 1, 1050
    arithmetic = dataclasses.replace(sums.arithmetic(), noise=noise)
    found = judged(sums.by("one by one"), sums.by("last first"), arithmetic)
    assert found.passed, (found.failed_by, found.share)


@pytest.mark.parametrize("order", ORDERS)
def test_sums_of_equal_products_are_right_though_their_roundings_are_not_random(order):
    sums = made("equal", 10_000, 1.0, seed=0)
    arithmetic = sums.arithmetic()
    # Measured against the exact sums, or from order to order.
    for noise in (arithmetic.noise, 0.0):
        known = dataclasses.replace(arithmetic, noise=noise)
        found = judged(sums.by("one by one"), sums.by(order), known)
        assert found.passed, (found.failed_by, found.share)


@settings(max_examples=40)
@given(st.integers(1, 10_000), st.sampled_from([0.1, 0.7, 3.3, 1e-3, 123.4]), st.sampled_from(list(ORDERS)))
def test_a_mean_of_equal_numbers_is_right(terms, value, order):
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
def test_a_percent_on_one_weight_is_caught(terms, kind):
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
def test_rounding_to_half_is_caught(terms, kind):
    sums = made(kind, terms, 1.0, seed=terms)
    assert not wrong(sums, in_half(sums.by("one by one"))).passed


def test_swapped_channels_are_caught():
    sums = made("sparse", 1280, 1.0, seed=1)
    actual = sums.by("one by one")
    actual[[4, 5]] = actual[[5, 4]]
    found = wrong(sums, actual)
    assert found.failed_by == "element"
    assert found.metrics.mismatched == 2


@pytest.mark.parametrize("bias", [1e-3, -0.1])
def test_a_dropped_bias_is_caught(bias):
    sums = made("sparse", 576, 1.0, seed=1)
    assert not wrong(sums, sums.by("one by one") + np.float32(bias)).passed


def test_a_small_error_of_all_elements_is_caught_by_its_root_mean_square():
    sums = made("sparse", 1280, 1.0, seed=1)
    arithmetic, reference = sums.arithmetic(), sums.by("pairwise")
    actual = reference + (1e-6 * arithmetic.magnitude).astype(np.float32)
    found = judged(actual, reference, arithmetic)
    assert found.failed_by == "rms"
    assert found.metrics.mismatched == 0
    assert found.share == pytest.approx(found.metrics.rms / found.rms_allowed)
    assert found.share > 1
    assert found.metrics.symptoms is not None


def test_zeros_in_place_of_small_activations_are_caught():
    sums = made("sparse", 144, 1e-8, seed=1)
    found = wrong(sums, np.zeros_like(sums.by("pairwise")))
    assert not found.passed
    assert found.metrics.symptoms.all_zero


# ---- functions ----


def of(*functions: str) -> Arithmetic:
    return Arithmetic(functions=functions)


def test_the_sine_of_a_large_number_is_wrong_on_a_gpu():
    reference = np.sin(np.float64([1e6, 1.0])).astype(np.float32)
    found = judged(reference + f32(0.03, 0), reference, of("Sin"), op="Sin", backend="webgl")
    assert found.failed_by == "element"
    assert found.metrics.worst == (0,)


def test_what_a_gpu_may_do_to_a_sine_is_right_there_alone():
    reference = np.sin(np.linspace(-3, 3, 100)).astype(np.float32)
    actual = reference + np.float32(2.0**-12)
    assert judged(actual, reference, of("Sin"), op="Sin", backend="webgl").passed
    assert not judged(actual, reference, of("Sin"), op="Sin", backend="cpu").passed


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl", "webgpu"])
@pytest.mark.parametrize("function", ["Elu", "Selu", "Softplus", "Tanh"])
def test_a_large_element_does_not_hide_what_is_wrong_of_a_small_one(function, backend):
    reference = f32(-0.93, 0.5, 1.7e7)
    magnitude = f32(2.5, 1.0, 3.4e7)
    arithmetic = Arithmetic(functions=(function,), magnitude=magnitude)
    assert judged(reference, reference, arithmetic, backend=backend).passed
    found = judged(f32(0, 0.5, 1.7e7), reference, arithmetic, backend=backend)
    assert (found.failed_by, found.metrics.worst) == ("element", (0,))


def test_exp_may_be_off_by_more_where_it_is_large():
    x = np.linspace(-80, 80, 1000)
    reference = np.exp(x).astype(np.float32)
    promised = (3 + 2 * np.abs(x)) * 2.0**-23
    magnitude = (np.exp(x) * (1 + np.abs(x))).astype(np.float32)
    exp = Arithmetic(functions=("Exp",), magnitude=magnitude)
    for error, passes in ((promised, True), (4 * promised, False), (1e-4, False)):
        actual = (np.exp(x) * (1 + error)).astype(np.float32)
        assert judged(actual, reference, exp, op="Exp", backend="webgl").passed is passes


def test_tanh_by_its_formula_in_float32_is_right_on_a_gpu():
    x = np.linspace(-5, 5, 4001, dtype=np.float32)
    e = np.exp(-2 * np.abs(x))
    actual = (np.sign(x) * (1 - e) / (1 + e)).astype(np.float32)
    assert judged(actual, np.tanh(x), of("Tanh"), op="Tanh", backend="webgl").passed


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl", "webgpu"])
@pytest.mark.parametrize("function", ["Exp", "Log", "Tanh", "Sigmoid", "Rsqrt", "RealDiv", "Softplus", "Erf"])
def test_rounding_a_function_to_half_is_caught(backend, function):
    reference = np.linspace(0.3, 0.9, 100, dtype=np.float32)
    actual = reference.astype(np.float16).astype(np.float32)
    assert not judged(actual, reference, of(function), op=function, backend=backend).passed


# ---- what is not rounded ----


@given(BACKENDS)
def test_a_copy_is_the_same_but_for_minus_zero_and_denormals(backend):
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
def test_storing_in_half_is_right(kind, terms, scale, seed):
    sums = made(kind, terms, scale, seed)
    stored = Sums(in_half(sums.x), in_half(sums.w))
    actual = in_half(stored.by("one by one"))
    found = judged(actual, sums.by("pairwise"), sums.arithmetic(), backend="webgl", half=True)
    assert found.passed, (found.failed_by, found.share)


def test_what_leaves_the_range_of_half_is_wrong():
    reference = f32(1e5, 3)
    assert judged(in_half(reference), reference, EXACT, backend="webgl", half=True).failed_by == "nonfinite"
    assert judged(f32(0, 3), reference, EXACT, backend="webgl", half=True).failed_by == "element"
    tiny = f32(3e-6, 1e-6, 2e-6)
    for actual in (np.zeros(3, np.float32), in_half(tiny)):
        assert judged(actual, tiny, EXACT, backend="webgl", half=True).failed_by == "element"


def test_small_elements_beside_large_ones_may_vanish_in_half():
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


def test_what_cannot_be_compared_is_wrong():
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


def test_transposed_axes_are_told():
    reference = np.arange(12, dtype=np.float32).reshape(1, 3, 4) + 1
    assert judged(reference.transpose(0, 2, 1), reference, EXACT).metrics.symptoms.permutation == (0, 2, 1)
    square = np.arange(16, dtype=np.float32).reshape(1, 4, 4) + 1
    assert judged(square.transpose(0, 2, 1), square, EXACT).metrics.symptoms.permutation == (0, 2, 1)


# ---- the figures ----


@settings(max_examples=60)
@given(SUMS, st.floats(1e-9, 1.0), st.sampled_from([1, 7, elements.BLOCK]))
def test_it_passes_if_and_only_if_all_is_within_the_allowance(sums, error, block):
    arithmetic, reference = sums.arithmetic(), sums.by("pairwise")
    noise = np.random.default_rng(0).normal(size=reference.shape) * error
    with np.errstate(over="ignore"):
        actual = (reference + arithmetic.magnitude * noise).astype(np.float32)
    allowed = allowance(layer("a"), arithmetic, reference, backend="wasm", half=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elements, "BLOCK", block)
        found = measure_local(actual, reference, arithmetic, allowed)
    theirs, entering = reference.astype(np.float64), arithmetic.magnitude.astype(np.float64)
    errors = np.abs(actual.astype(np.float64) - theirs)
    most = (np.maximum(entering, np.abs(theirs)) + np.abs(theirs)) / 2
    limits = allowed.factor * most + allowed.floor
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


def test_every_figure_is_a_builtin():
    found = judged(f32(1, 2.5), f32(1, 2), Arithmetic(terms=9, noise=1e-8))
    assert pickle.loads(pickle.dumps(found)) == found
    builtins = (int, float, bool, str, type(None), tuple)
    for part, nested in ((found, "metrics"), (found.metrics, "symptoms")):
        for field in dataclasses.fields(part):
            assert field.name == nested or type(getattr(part, field.name)) in builtins
    assert all(type(place) is int for place in found.metrics.worst)


# ---- several feeds ----


def test_the_worst_feed_is_told_and_the_counts_are_of_all():
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


def test_a_feed_that_passed_is_not_told_in_place_of_one_that_failed():
    right, missing = judged(f32(1), f32(1), EXACT), judged(None, f32(1), EXACT)
    assert merge_local([right, missing, right]).metrics.worst_feed == 1


def test_an_empty_feed_adds_nothing():
    empty, right = judged(f32(), f32(), EXACT), judged(f32(1), f32(1), EXACT)
    assert merge_local([empty, right]).passed
    assert merge_local([empty, empty]).empty
    with pytest.raises(ValueError, match="at least one feed"):
        merge_local([])
