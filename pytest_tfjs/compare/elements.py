"""The loops over elements: errors, counts and sums of two arrays, near the speed of memory.

A block of both arrays is brought to float64 at a time, so that the work stays in the processor's cache and a
layer of ten million elements costs a few hundred kilobytes beside itself.
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

# Larger blocks are slower: their buffers leave the cache, and dot() starts threads that wait for each other.
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
    """What one pass over two arrays yields; errors are over the elements that are finite in both.

    `greatest`: the largest |error| - rtol * |reference|, at the flat index `greatest_at`, where the error is
    `greatest_error`; minus infinity and None where no element is finite in both. `scale`: the largest finite
    |reference|. `first_nonfinite`: the first element that is NaN or Inf in one and not the same in the other.
    """

    finite: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    squares: float = 0.0
    scale: float = 0.0
    greatest: float = -math.inf
    greatest_at: int | None = None
    greatest_error: float = 0.0
    nan_actual: int = 0
    nan_reference: int = 0
    inf_actual: int = 0
    inf_reference: int = 0
    nonfinite_mismatched: int = 0
    first_nonfinite: int | None = None

    @property
    def rms(self) -> float:
        """Root mean square of the error; 0 where no element is finite in both."""
        return math.sqrt(self.squares / self.finite) if self.finite else 0.0

    def add_errors(self, start: int, errors: _Errors, rtol: float) -> None:
        """Takes in the errors of the block that begins at the flat index `start`."""
        error, size = errors.error, errors.size
        peak = float(error.max())
        self.finite += error.size if errors.finite is None else int(np.count_nonzero(errors.finite))
        self.max_abs = max(self.max_abs, peak)
        self.squares += float(np.dot(error, error))
        self.scale = max(self.scale, float(size.max()))
        excess = errors.excess(rtol)
        at = int(excess.argmax())
        if excess[at] > self.greatest:
            self.greatest, self.greatest_at = float(excess[at]), start + at
            self.greatest_error = float(error[at])
        if peak > 0:
            self.max_rel = max(self.max_rel, _greatest_ratio(error, size))

    def add_nonfinite(self, start: int, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
        """Counts the NaN and Inf of the block that begins at the flat index `start`."""
        self.nan_actual += int(np.count_nonzero(np.isnan(ours)))
        self.nan_reference += int(np.count_nonzero(np.isnan(theirs)))
        self.inf_actual += _count_inf(ours)
        self.inf_reference += _count_inf(theirs)
        wrong = np.flatnonzero(_nonfinite_mismatch(ours, theirs))
        self.nonfinite_mismatched += len(wrong)
        if len(wrong) and self.first_nonfinite is None:
            self.first_nonfinite = start + int(wrong[0])


@dataclass
class _Errors:
    """One block in float64: |error| and |reference|, 0 where not `finite` (in both); None if all of it is."""

    error: NDArray[np.float64]
    size: NDArray[np.float64]
    finite: NDArray[np.bool_] | None = None

    def excess(self, rtol: float) -> NDArray[np.float64]:
        """|error| - rtol * |reference|; minus infinity where not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            excess = self.error - rtol * self.size
        if self.finite is not None:
            excess[np.isnan(excess)] = math.inf
            excess[~self.finite] = -math.inf
        return excess


def tally(actual: NDArray[Any], reference: NDArray[Any], rtol: float) -> Tally:
    """One pass over two arrays of numbers or bools, of one shape and dtype, any rank, not empty."""
    result = Tally()
    for start, ours, theirs in _blocks(actual, reference):
        errors = _errors(ours, theirs)
        if errors.finite is not None:
            result.add_nonfinite(start, ours, theirs)
        result.add_errors(start, errors, rtol)
    return result


def mismatches(actual: NDArray[Any], reference: NDArray[Any], rtol: float, floor: float) -> NDArray[np.bool_]:
    """Which elements differ by more than `floor + rtol * |reference|`, or are not the same NaN or Inf."""
    mask = np.empty(reference.size, dtype=np.bool_)
    for start, ours, theirs in _blocks(actual, reference):
        block = mask[start : start + len(theirs)]
        errors = _errors(ours, theirs)
        np.greater(errors.excess(rtol), floor, out=block)
        if errors.finite is not None:
            block |= _nonfinite_mismatch(ours, theirs)
    return mask.reshape(reference.shape)


def _blocks(
    actual: NDArray[Any], reference: NDArray[Any]
) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    ours, theirs = actual.reshape(-1), reference.reshape(-1)
    for start in range(0, theirs.size, BLOCK):
        yield start, _wide(ours[start : start + BLOCK]), _wide(theirs[start : start + BLOCK])


def _wide(block: NDArray[Any]) -> NDArray[Any]:
    """The block in the widest dtype of its kind; but long integers stay, as float64 cannot hold them."""
    if block.dtype in (np.int64, np.uint64):
        return block
    return block.astype(np.complex128 if block.dtype.kind == "c" else np.float64)


def _errors(ours: NDArray[Any], theirs: NDArray[Any]) -> _Errors:
    if theirs.dtype.kind in "iu":
        size = theirs.astype(np.float64)
        error = np.abs(ours.astype(np.float64) - size)
        # Neighbours beyond 2**53 are one float64, but they differ by at least 1.
        np.maximum(error, ours != theirs, out=error)
        return _Errors(error, np.abs(size))
    with np.errstate(invalid="ignore", over="ignore"):
        error, size = np.abs(ours - theirs), np.abs(theirs)
    if math.isfinite(error.max()):
        return _Errors(error, size)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    return _Errors(np.where(finite, error, 0.0), np.where(np.isfinite(theirs), size, 0.0), finite)


def _greatest_ratio(error: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """The greatest error / size over the elements whose size is not 0; 0 where all are."""
    zero = size == 0
    if not zero.any():
        return float((error / size).max())
    # Arithmetic with the mask: assigning through it takes ten times as long.
    return float((error * ~zero / (size + zero)).max())


def _nonfinite_mismatch(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    """Where one is NaN or Inf and the other is not the same; of complex numbers, part by part."""
    same = _same(ours.real, theirs.real) & _same(ours.imag, theirs.imag)
    wrong: NDArray[np.bool_] = ~(np.isfinite(ours) & np.isfinite(theirs)) & ~same
    return wrong


def _same(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return equal


def _count_inf(block: NDArray[Any]) -> int:
    # A complex number may be both: it is counted once, as NaN.
    return int(np.count_nonzero(np.isinf(block) & ~np.isnan(block)))
