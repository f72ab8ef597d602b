"""Symptoms: properties of a layer's wrong elements that hint at a likely cause."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SAMPLE = 1 << 20
_BLOCK = 1 << 16
_MOST_AXES = 5
_FEWEST_TO_FIT = 3
_UNEXPLAINED = 1e-4


@dataclass(frozen=True)
class Symptoms:
    """Properties of the mismatched elements of one activation; all fields are Python builtins.

    - `zeros`: how many mismatched elements are 0 in the browser and not 0 in the reference.
    - `all_zero`: the browser's whole activation is 0.
    - `low`, `high`: the range of |reference| over the mismatched elements; None if none is finite.
    - `box`: first and last index of the mismatched elements along each axis; None for a scalar.
    - `ratio`, `offset`: browser = ratio * reference, or browser = reference + offset, if that explains 99% of
      the error of the finite mismatched elements, or of an even sample of them, and if these elements follow
      the reference. At most one is set.
    - `permutation`: the browser's activation is the reference with its axes in this order.
    """

    zeros: int = 0
    all_zero: bool = False
    low: float | None = None
    high: float | None = None
    box: tuple[tuple[int, int], ...] | None = None
    ratio: float | None = None
    offset: float | None = None
    permutation: tuple[int, ...] | None = None


def symptoms_of(actual: NDArray[Any], reference: NDArray[Any], mask: NDArray[np.bool_]) -> Symptoms:
    """The symptoms of two arrays of numbers of the same shape.

    `mask`: which elements are mismatched; at least one.
    """
    zeros, low, high = 0, math.inf, -math.inf
    for got, want in _mismatched_blocks(actual, reference, mask):
        with np.errstate(over="ignore", invalid="ignore"):  # the modulus of a complex number may overflow
            sizes = np.abs(want.astype(np.complex128 if want.dtype.kind == "c" else np.float64))
        zeros += int(np.count_nonzero((got == 0) & (sizes != 0)))
        sizes = sizes[np.isfinite(sizes)]
        low, high = float(sizes.min(initial=low)), float(sizes.max(initial=high))
    ratio, offset = _factor_or_shift(actual, reference, mask)
    return Symptoms(
        zeros=zeros,
        all_zero=not actual.any(),
        low=low if low <= high else None,
        high=high if low <= high else None,
        box=_box(mask),
        ratio=ratio,
        offset=offset,
        permutation=_permutation(actual, reference),
    )


def permutation_of(actual: NDArray[Any], reference: NDArray[Any]) -> Symptoms | None:
    """The symptom of two arrays of different shape whose axes are permuted; None if that is not so."""
    numbers = all(array.dtype.kind in "biufc" for array in (actual, reference))
    if not numbers or sorted(actual.shape) != sorted(reference.shape) or reference.size == 0:
        return None
    permutation = _permutation(actual, reference)
    return None if permutation is None else Symptoms(permutation=permutation)


def _box(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], ...] | None:
    if mask.ndim == 0:
        return None
    box = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append((int(places[0]), int(places[-1])))
    return tuple(box)


def _factor_or_shift(
    actual: NDArray[Any], reference: NDArray[Any], mask: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    """The ratio or the offset that explains the mismatched elements, by least squares; or None."""
    if reference.dtype.kind not in "iuf":
        return None, None
    step = max(1, math.ceil(np.count_nonzero(mask) / _SAMPLE))
    got, want = _sample(actual, reference, mask, step)
    usable = np.isfinite(got) & np.isfinite(want)
    got, want = got[usable], want[usable]
    # One or two elements, or elements of equal value, fit any ratio and offset.
    if got.size < _FEWEST_TO_FIT or np.ptp(want) == 0:
        return None, None
    with np.errstate(all="ignore"):
        error = got - want
        ratio, offset = float(np.dot(got, want) / np.dot(want, want)), float(error.mean())
        # The means are subtracted first, so that a huge offset does not absorb the values.
        varying = want - want.mean()
        unscaled, unshifted = got - ratio * want, (got - got.mean()) - varying
        total, scaled, shifted = (_squares(each) for each in (error, unscaled, unshifted))
        # Constants, and values that are tiny beside the reference, do not follow it.
        follows = _squares(got), _squares(varying)
    if scaled <= _UNEXPLAINED * min(total, follows[0]) and scaled <= shifted:
        return (ratio if ratio != 0 else None), None
    return None, offset if shifted <= _UNEXPLAINED * min(total, follows[1]) else None


def _mismatched_blocks(
    actual: NDArray[Any], reference: NDArray[Any], mask: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """The mismatched elements of both, block by block, so that a whole layer is never copied."""
    flat, got, want = mask.reshape(-1), actual.reshape(-1), reference.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        yield got[block][flat[block]], want[block][flat[block]]


def _sample(
    actual: NDArray[Any], reference: NDArray[Any], mask: NDArray[np.bool_], step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every `step`-th mismatched element of both, in float64."""
    samples = []
    skip = 0
    for got, want in _mismatched_blocks(actual, reference, mask):
        samples.append((got[skip::step], want[skip::step]))
        skip = (skip - got.size) % step
    found, expected = (np.concatenate(parts).astype(np.float64) for parts in zip(*samples, strict=True))
    return found, expected


def _squares(array: NDArray[np.float64]) -> float:
    return float(np.dot(array, array))


def _permutation(actual: NDArray[Any], reference: NDArray[Any]) -> tuple[int, ...] | None:
    """The order of axes that turns the reference into the browser's activation; None if there is none."""
    if not 1 < reference.ndim <= _MOST_AXES or actual.ndim != reference.ndim:
        return None
    step = max(1, actual.size // 4096)
    places = np.unravel_index(np.arange(0, actual.size, step), actual.shape)
    sample = actual[places]
    largest = float(np.max(np.abs(sample), initial=0.0, where=np.isfinite(sample)))
    own = tuple(range(reference.ndim))
    for order in itertools.permutations(own):
        turned = reference.transpose(order)
        if order == own or turned.shape != actual.shape or largest == 0:
            continue
        if _moves_anything(reference, order) and np.allclose(
            sample, turned[places], rtol=1e-2, atol=1e-3 * largest
        ):
            return order
    return None


def _moves_anything(reference: NDArray[Any], order: tuple[int, ...]) -> bool:
    """Whether the order changes that of axes longer than 1: moving an axis of length 1 moves no element."""
    long = [axis for axis in order if reference.shape[axis] > 1]
    return long != sorted(long)
