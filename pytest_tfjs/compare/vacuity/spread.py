"""Measures the spread of activations, and makes disturbed feeds that should change them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.numbers.element_loops import BLOCK, Kind, kind_of, text_elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

SAME = 1e-6
"""The relative difference up to which two numbers count as the same: a few float32 roundings."""

_ZERO, _ONE = 1e-12, 1.2e-7
"""The greatest distance of a saturated element from 0 and from 1: a sigmoid of -28 and of 16."""

_DISTURBANCES = 4


@dataclass(frozen=True)
class Spread:
    """How much the values of one layer's reference activation differ, over all feeds.

    - `elements`: how many there are. `value`: their common value, in words (`0`, `0.001`, `NaN`); None if
      they differ or there is only one. `zero`: whether the common value is 0 or NaN.

    The others are set for outputs and the layers that decide them:

    - `saturated`: every element is at an end of the range of sigmoid, softmax or tanh.
    - `repeated`: over what the activation is the same although the feed differs.
    - `moved`: whether it changed with a disturbed feed; None if that was not tried.
    - `decided_by`: the layers whose values show whether this one is vacuous.
    """

    elements: int
    value: str | None = None
    zero: bool = False
    saturated: bool = False
    repeated: Literal["feeds", "batch"] | None = None
    moved: bool | None = None
    decided_by: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The spread as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Spread:
        """The spread from a result of `to_json`."""
        return cls(**{**content, "decided_by": tuple(content["decided_by"])})


def same_value(array: NDArray[Any]) -> Any | None:
    """The first element if all elements are the same up to a few roundings; otherwise None."""
    if array.size == 0:
        return None
    flat = array.reshape(-1)
    first = flat[0]
    if kind_of(array) is Kind.TEXT:
        return first if len(set(text_elements(array))) == 1 else None
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        if not is_same(np.broadcast_to(first, block.shape), block):
            return None
    return first


def is_same(one: NDArray[Any], other: NDArray[Any], *, exactly: bool = False) -> bool:
    """Whether two arrays have the same elements: floats up to a few roundings of the largest, or `exactly`.

    NaN equals NaN. Arrays of different shape or kind are not the same.
    """
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or kind_of(one) is not kind_of(other):
        return False
    if kind_of(one) is Kind.TEXT:
        return text_elements(one) == text_elements(other)
    if exactly or one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    got, want = _wide(one).reshape(-1), _wide(other).reshape(-1)
    finite = np.isfinite(got) & np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return False
    got, want = got[finite], want[finite]
    largest = max(np.abs(got).max(initial=0.0), np.abs(want).max(initial=0.0))
    return bool(np.abs(got - want).max(initial=0.0) <= SAME * largest)


def constant_of(values: Sequence[Any | None], elements: int) -> Spread:
    """The spread of an activation from its number of elements and the `same_value` of each feed."""
    first = values[0] if values else None
    if first is None or elements <= 1 or any(one is None or not is_same(first, one) for one in values):
        return Spread(elements)
    zero = kind_of(np.asarray(first)) is Kind.NUMBER and (not first or bool(np.isnan(first)))
    return Spread(elements, worded(first), zero)


def worded(value: Any) -> str:
    """One element in words."""
    if isinstance(value, (str, bytes)):
        return repr(str(value) if isinstance(value, str) else bytes(value))
    if np.asarray(value).dtype.kind in "iub":
        return str(value)
    return "NaN" if np.isnan(value) else f"{value:.3g}"


def is_saturated(array: NDArray[Any]) -> bool:
    """Whether every element is 0, 1 or -1, as sigmoid, softmax and tanh give for very large numbers.

    Elements count as 1 within one rounding and as 0 within 1e-12, closer than a confident model comes.
    Negative numbers near 0 do not count: tanh gives them for numbers near 0, and the others never do.
    """
    if array.size == 0 or kind_of(array) is not Kind.NUMBER or array.dtype.kind != "f":
        return False
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block = _wide(flat[start : start + BLOCK])
        is_zero = (block >= 0) & (block <= _ZERO)
        if not np.all(is_zero | (np.abs(np.abs(block) - 1.0) <= _ONE)):
            return False
    return True


def is_repeated(array: NDArray[Any], feed: Sequence[NDArray[Any]]) -> bool:
    """Whether an activation is the same for each row of a batch (the first axis) while the inputs differ.

    `feed`: all inputs; those of another size on the first axis are ignored.
    """
    batch = array.shape[0] if array.ndim else 0
    batched = [value for value in feed if value.ndim and value.shape[0] == batch]
    if any(is_same(array[0], array[row]) is False for row in range(1, batch)):
        return False
    return any(
        not is_same(value[0], value[row], exactly=True) for value in batched for row in range(1, batch)
    )


def disturbed(feed: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Feeds with other values of the same shape, dtype and range, which the model should accept too.

    Elements are drawn with replacement from the same input, because a shuffle keeps sum and order statistics,
    which may be all that a model uses; the last feed is mirrored at the middle of its range. The generator is
    seeded. Inputs with a single value, such as masks and sizes, do not change if there are others; otherwise
    noise is added to float inputs.
    """
    rng = np.random.default_rng(0)
    varied = {name: value for name, value in feed.items() if value.size and same_value(value) is None}
    if not varied:
        floats = {name: value for name, value in feed.items() if value.dtype.kind == "f"}
        for _ in range(_DISTURBANCES if floats else 0):
            yield {**feed, **{name: _noisy(value, rng) for name, value in floats.items()}}
        return
    for _ in range(_DISTURBANCES - 1):
        yield {**feed, **{name: rng.choice(value.reshape(-1), value.shape) for name, value in varied.items()}}
    yield {**feed, **{name: _mirrored(value) for name, value in varied.items()}}


def _noisy(value: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    noise = rng.standard_normal(value.shape)
    return (value + noise * max(1.0, float(np.abs(value).max(initial=0.0)))).astype(value.dtype)


def _mirrored(value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype.kind not in "iuf":
        return value
    with np.errstate(invalid="ignore", over="ignore"):
        mirrored: NDArray[Any] = (value.min() + (value.max() - value)).astype(value.dtype)
    return mirrored


def _wide(array: NDArray[Any]) -> NDArray[Any]:
    wide: NDArray[Any] = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    return wide
