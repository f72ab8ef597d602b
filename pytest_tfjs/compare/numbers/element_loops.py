"""Computes errors, counts and sums over two activations, one block of elements at a time.

One block of both arrays at a time is converted to float64, so that the work stays in the processor's cache
and a layer of ten million elements needs only a few hundred kilobytes of extra memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Larger blocks are slower: they do not fit the cache, and dot() starts threads that wait for each other.
BLOCK = 1 << 13


class Kind(Enum):
    """How elements of a dtype are compared."""

    NUMBER = "number"
    BOOL = "bool"
    TEXT = "text"
    OTHER = "other"


def kind_of(array: NDArray[np.generic]) -> Kind:
    """The kind of an array; object arrays are text if all their elements are `str` or `bytes`."""
    if array.dtype.kind in "iufc":
        return Kind.NUMBER
    if array.dtype.kind == "b":
        return Kind.BOOL
    if array.dtype.kind in "SU":
        return Kind.TEXT
    if array.dtype.kind == "O" and all(isinstance(element, (str, bytes)) for element in array.flat):
        return Kind.TEXT
    return Kind.OTHER


def text_elements(array: NDArray[np.generic]) -> list[bytes]:
    """The elements of a text array in C order; `str` as UTF-8, so that it equals the same `bytes`."""
    return [
        element.encode("utf-8", "surrogatepass") if isinstance(element, str) else bytes(element)
        for element in array.ravel().tolist()
    ]


@dataclass
class Tally:
    """Counts and errors of one pass over two arrays. Errors include only elements that are finite in both.

    - `squares`: the sum of the squared errors. `excess`: the largest |error| - rtol * |reference|.
    - `worst_at`: the flat index of the element with the largest |error| / allowed error, or the largest
      |error| if no error is allowed anywhere. `worst_error`: its |error|.
    - `first_nonfinite`: the flat index of the first element that is NaN or Inf in one array and different in
      the other.
    """

    finite: int = 0
    mismatched: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    squares: float = 0.0
    excess: float = -math.inf
    worst_share: float = -1.0
    worst_at: int | None = None
    worst_error: float = 0.0
    nan_actual: int = 0
    nan_reference: int = 0
    inf_actual: int = 0
    inf_reference: int = 0
    nonfinite_mismatched: int = 0
    first_nonfinite: int | None = None

    @property
    def rms(self) -> float:
        """Root mean square of the error; 0 if no element is finite in both."""
        return math.sqrt(self.squares / self.finite) if self.finite else 0.0

    def add_errors(self, start: int, errors: _Errors, rtol: float, floor: float) -> None:
        """Adds the errors of the block that begins at the flat index `start`."""
        error, size = errors.error, errors.size
        peak = float(error.max())
        self.finite += error.size if errors.finite is None else int(np.count_nonzero(errors.finite))
        self.max_abs = max(self.max_abs, peak)
        self.squares += float(np.dot(error, error))
        if peak > 0:
            self.max_rel = max(self.max_rel, _greatest_ratio(error, size))
        excess = errors.excess(rtol)
        most = float(excess.max())
        self.excess = max(self.excess, most)
        if most > floor:
            self.mismatched += int(np.count_nonzero(excess > floor))
        share = errors.share(rtol, floor)
        at = int(share.argmax())
        if share[at] > self.worst_share:
            self.worst_share, self.worst_at = float(share[at]), start + at
            self.worst_error = float(error[at])

    def add_nonfinite(self, start: int, got: NDArray[Any], want: NDArray[Any]) -> None:
        """Counts the NaN and Inf of the block that begins at the flat index `start`."""
        self.nan_actual += int(np.count_nonzero(np.isnan(got)))
        self.nan_reference += int(np.count_nonzero(np.isnan(want)))
        self.inf_actual += _count_inf(got)
        self.inf_reference += _count_inf(want)
        wrong = np.flatnonzero(_nonfinite_mismatch(got, want))
        self.nonfinite_mismatched += len(wrong)
        self.mismatched += len(wrong)
        if len(wrong) and self.first_nonfinite is None:
            self.first_nonfinite = start + int(wrong[0])


@dataclass
class _Errors:
    """One block in float64: |error|, the size that `rtol` is relative to, and the error allowed beside that.

    The size is |reference| or the largest partial sum. Both are 0 where an element is not `finite` in both
    arrays; `finite` is None if the whole block is.
    """

    error: NDArray[np.float64]
    size: NDArray[np.float64]
    finite: NDArray[np.bool_] | None = None
    extra: NDArray[np.float64] | None = None

    def excess(self, rtol: float) -> NDArray[np.float64]:
        """|error| - rtol * size - extra; 0 or less where not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            excess = self.error - rtol * self.size
            if self.extra is not None:
                excess -= self.extra
        if self.finite is not None:
            excess[np.isnan(excess)] = math.inf
        return excess

    def share(self, rtol: float, floor: float) -> NDArray[np.float64]:
        """|error| / allowed error, or |error| if no error is allowed anywhere; -1 where not finite."""
        if rtol == 0 and floor == 0 and self.extra is None:
            share = self.error.copy()
        else:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                allowed = rtol * self.size + floor
                share = self.error / (allowed if self.extra is None else allowed + self.extra)
            if floor == 0:
                share[np.isnan(share)] = 0.0
        if self.finite is not None:
            share[np.isnan(share)] = math.inf
            share[~self.finite] = -1.0
        return share


def tally(
    actual: NDArray[Any],
    reference: NDArray[Any],
    rtol: float,
    floor: float,
    magnitude: NDArray[Any] | None = None,
    *,
    extra: NDArray[Any] | None = None,
) -> Tally:
    """Compares two arrays of numbers or bools in one pass; both have the same shape and dtype, and elements.

    An element mismatches if |error| - rtol * |reference| > floor, or if it is NaN or Inf in one array and
    different in the other. With `magnitude`, of the same shape, `partial_sum` replaces |reference| here and
    in every result relative to it. `extra`, of the same shape: an error allowed beside these.
    """
    result = Tally()
    for start, got, want, entering, beside in _blocks(actual, reference, magnitude, extra):
        errors = _errors(got, want, entering, beside)
        if errors.finite is not None:
            result.add_nonfinite(start, got, want)
        result.add_errors(start, errors, rtol, floor)
    return result


def mismatches(
    actual: NDArray[Any],
    reference: NDArray[Any],
    rtol: float,
    floor: float,
    magnitude: NDArray[Any] | None = None,
    *,
    extra: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Which elements `tally` counts as mismatched, in the arrays' shape."""
    mask = np.empty(reference.size, dtype=np.bool_)
    for start, got, want, entering, beside in _blocks(actual, reference, magnitude, extra):
        block = mask[start : start + len(want)]
        errors = _errors(got, want, entering, beside)
        np.greater(errors.excess(rtol), floor, out=block)
        if errors.finite is not None:
            block |= _nonfinite_mismatch(got, want)
    return mask.reshape(reference.shape)


def largest(array: NDArray[Any]) -> float:
    """The largest finite magnitude in an array of numbers or bools; 0 if there is none."""
    flat, result = array.reshape(-1), 0.0
    for start in range(0, flat.size, BLOCK):
        size = np.abs(_wide(flat[start : start + BLOCK])).astype(np.float64, copy=False)
        peak = float(size.max())
        if not math.isfinite(peak):
            peak = float(np.max(size, initial=0.0, where=np.isfinite(size)))
        result = max(result, peak)
    return result


@dataclass(frozen=True)
class Sizes:
    """The finite magnitudes of an array: the largest, the smallest above 0, and their root mean square.

    All are 0 if there is none.
    """

    largest: float
    smallest: float
    rms: float


def sizes_of(array: NDArray[Any]) -> Sizes:
    """The sizes of an array of numbers or bools, in one pass."""
    flat, most, least, squares, count = array.reshape(-1), 0.0, math.inf, 0.0, 0
    for start in range(0, flat.size, BLOCK):
        size = np.abs(_wide(flat[start : start + BLOCK])).astype(np.float64, copy=False)
        if not math.isfinite(size.max()):
            size = size[np.isfinite(size)]
        most = max(most, float(size.max(initial=0.0)))
        low = float(size.min(initial=math.inf))
        least = min(least, low if low > 0 else float(np.min(size, initial=math.inf, where=size > 0)))
        squares, count = squares + float(np.dot(size, size)), count + size.size
    return Sizes(most, least if most > 0 else 0.0, math.sqrt(squares / count) if count else 0.0)


def partial_sum(entering: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest partial sum that any order of summing can reach: (sum of |terms| + |sum of terms|) / 2.

    Neither the positive nor the negative terms add up to more. `entering`: the sums of |terms|; `size`: the
    |sums|, which replace `entering` where that is smaller or not finite.
    """
    largest_sum: NDArray[np.float64] = (np.maximum(entering, size) + size) / 2
    if not math.isfinite(largest_sum.max()):
        largest_sum = np.where(np.isfinite(largest_sum), largest_sum, size)
    return largest_sum


def _blocks(
    actual: NDArray[Any],
    reference: NDArray[Any],
    magnitude: NDArray[Any] | None,
    extra: NDArray[Any] | None,
) -> Iterator[tuple[int, NDArray[Any], NDArray[Any], NDArray[np.float64] | None, NDArray[np.float64] | None]]:
    got, want = actual.reshape(-1), reference.reshape(-1)
    entering = None if magnitude is None else magnitude.reshape(-1)
    beside = None if extra is None else extra.reshape(-1)
    for start in range(0, want.size, BLOCK):
        block = slice(start, start + BLOCK)
        yield (
            start,
            _wide(got[block]),
            _wide(want[block]),
            None if entering is None else entering[block].astype(np.float64),
            None if beside is None else beside[block].astype(np.float64),
        )


def _wide(block: NDArray[Any]) -> NDArray[Any]:
    """The block as float64 or complex128; 64-bit integers stay, because float64 cannot represent them."""
    if block.dtype in (np.int64, np.uint64):
        return block
    return block.astype(np.complex128 if block.dtype.kind == "c" else np.float64)


def _errors(
    got: NDArray[Any],
    want: NDArray[Any],
    entering: NDArray[np.float64] | None = None,
    extra: NDArray[np.float64] | None = None,
) -> _Errors:
    if want.dtype.kind in "iu":
        size = want.astype(np.float64)
        error = np.abs(got.astype(np.float64) - size)
        # Adjacent integers above 2**53 are the same float64, but they differ by at least 1.
        np.maximum(error, got != want, out=error)
        return _Errors(error, np.abs(size), extra=extra)
    with np.errstate(invalid="ignore", over="ignore"):
        error, size = np.abs(got - want), np.abs(want)
    finite = None
    if not math.isfinite(error.max()):
        finite = np.isfinite(got) & np.isfinite(want)
        error, size = np.where(finite, error, 0.0), np.where(np.isfinite(want), size, 0.0)
    return _Errors(error, size if entering is None else partial_sum(entering, size), finite, extra)


def _greatest_ratio(error: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """The greatest error / size over the elements whose size is not 0; 0 if all sizes are 0."""
    zero = size == 0
    if not zero.any():
        return float((error / size).max())
    # Arithmetic with the mask is ten times as fast as assignment through it.
    return float((error * ~zero / (size + zero)).max())


def _nonfinite_mismatch(got: NDArray[Any], want: NDArray[Any]) -> NDArray[np.bool_]:
    """Where one is NaN or Inf and the other differs; real and imaginary parts separately."""
    same = _same(got.real, want.real) & _same(got.imag, want.imag)
    wrong: NDArray[np.bool_] = ~(np.isfinite(got) & np.isfinite(want)) & ~same
    return wrong


def _same(got: NDArray[Any], want: NDArray[Any]) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = (got == want) | (np.isnan(got) & np.isnan(want))
    return equal


def _count_inf(block: NDArray[Any]) -> int:
    # A complex number may be both; it counts once, as NaN.
    return int(np.count_nonzero(np.isinf(block) & ~np.isnan(block)))
