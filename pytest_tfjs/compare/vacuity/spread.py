"""Which values an activation takes, and which others its feed could have had: for what judges vacuity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pytest_tfjs.compare.numbers.elements import BLOCK, Kind, kind_of, text_elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

SAME = 1e-6
"""How far two numbers that count as the same may be apart, relative to the larger: some float32 roundings."""

_ZERO, _ONE = 1e-12, 1.2e-7
"""How near to 0 and to 1 a saturated element is: a sigmoid of -28 and of 16."""

_DISTURBANCES = 4


@dataclass(frozen=True)
class Spread:
    """Which values the reference's activation of one layer takes, over all feeds.

    - `elements`: how many there are. `value`: that of all of them, in words (`0`, `0.001`, `NaN`); None where
      they differ, and where there is one only. `zero`: whether it is 0 or NaN, which no layer is meant to be.
    - Of outputs and what decides them: `saturated`: every element is where a sigmoid, a softmax or a tanh
      ends. `repeated`: over what the activation is the same though the feed is not. `moved`: whether it
      changed when the first feed's values were others, None where nobody knows. `decided_by`: the layers
      whose values tell whether this one could be wrong.
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
        """The spread that `to_json` gave."""
        return cls(**{**content, "decided_by": tuple(content["decided_by"])})


def same_value(array: NDArray[Any]) -> Any | None:
    """The first element where all are the same as it, up to some roundings; None else, and of no elements."""
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
    """Whether two arrays hold the same: of floats up to some roundings of the largest, unless `exactly`.

    NaN is the same as NaN. Arrays of another shape or kind are not the same.
    """
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or kind_of(one) is not kind_of(other):
        return False
    if kind_of(one) is Kind.TEXT:
        return text_elements(one) == text_elements(other)
    if exactly or one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    ours, theirs = _wide(one).reshape(-1), _wide(other).reshape(-1)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return False
    ours, theirs = ours[finite], theirs[finite]
    largest = max(np.abs(ours).max(initial=0.0), np.abs(theirs).max(initial=0.0))
    return bool(np.abs(ours - theirs).max(initial=0.0) <= SAME * largest)


def constant_of(values: Sequence[Any | None], elements: int) -> Spread:
    """The spread of an activation of which `same_value` told this for each feed, and of so many elements."""
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
    """Whether every element is 0, 1 or -1, as sigmoid, softmax and tanh give of numbers beyond their reach.

    Nearer than a confident model comes: to 1 within a rounding, to 0 within 1e-12.
    """
    if array.size == 0 or kind_of(array) is not Kind.NUMBER or array.dtype.kind != "f":
        return False
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        size = np.abs(_wide(flat[start : start + BLOCK]))
        if not np.all((size <= _ZERO) | (np.abs(size - 1.0) <= _ONE)):
            return False
    return True


def is_repeated(array: NDArray[Any], feed: Sequence[NDArray[Any]]) -> bool:
    """Whether an activation is the same for each of a batch (the first axis) whose inputs are not.

    `feed`: all inputs; those that are of another size on their first axis say nothing.
    """
    batch = array.shape[0] if array.ndim else 0
    batched = [value for value in feed if value.ndim and value.shape[0] == batch]
    if any(is_same(array[0], array[row]) is False for row in range(1, batch)):
        return False
    return any(
        not is_same(value[0], value[row], exactly=True) for value in batched for row in range(1, batch)
    )


def disturbed(feed: Mapping[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Feeds of other values that the model should take as well: shapes and dtypes stay, as does the range.

    Elements are drawn anew from those of the same input, with replacement, as the sum and the order of a mere
    shuffle may be all that a model looks at; the last feed is mirrored in the middle of its range. Seeded.
    Inputs of one value, such as masks and sizes, stay as they are, if there are others; else those of floats
    are given some noise.
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
