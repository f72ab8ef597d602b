"""Float32 sums of products in the summation orders of real kernels, and their arithmetic."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from pytest_tfjs.compare.numbers.allowance import allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import Local, measure_local
from tests.support.comparisons import layer


def judged(
    actual: np.ndarray | None,
    reference: np.ndarray,
    arithmetic: Arithmetic,
    *,
    op: str = "MatMul",
    backend: str = "wasm",
    half: bool = False,
    packed: bool = False,
) -> Local:
    allowed = allowance(layer("a", op=op), arithmetic, reference, backend=backend, half=half, packed=packed)
    return measure_local(actual, reference, arithmetic, allowed)


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
