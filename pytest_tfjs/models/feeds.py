"""Checks the user's inputs against the model's and casts them for Python and the browser."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.compare.dtypes import browser_dtype
from pytest_tfjs.compare.layer_patterns import exported_name, input_names
from pytest_tfjs.errors import FeedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfjs.models.artifacts import TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Feed:
    """One set of named input tensors, in signature order, cast for Python and for the browser.

    `reference` has the source's dtypes (int64, float64, ...); `browser` has those of TF.js (float32, int32,
    bool, complex64; strings are objects). `notes`: one sentence for each cast.
    """

    reference: dict[str, Array]
    browser: dict[str, Array]
    notes: tuple[str, ...] = ()


def normalise_feeds(inputs: Any, specs: Sequence[TensorSpec]) -> tuple[Feed, ...]:
    """Turns `inputs` into one or more feeds.

    `inputs` is an array (for a model with one input), a dict by input name, a tuple in signature order, or
    a list of these for several feeds. `specs` are the model's inputs; a size of None matches any size.
    Raises FeedError for a wrong name, number, shape or dtype, for NaN, for an empty tensor and an empty list.
    """
    if inputs is None:
        raise FeedError(f"no inputs were given; {_expected(specs)}")
    if not isinstance(inputs, list):
        return (_feed(inputs, specs, ""),)
    if not inputs:
        raise FeedError(f"the list of feeds is empty, so nothing would be compared; {_expected(specs)}")
    if all(isinstance(item, (int, float, complex, str, bytes, list)) for item in inputs):
        raise FeedError(
            "inputs is a list of plain values. A list stands for several feeds, each an array, a dict or a "
            "tuple; for one feed write np.asarray(inputs, dtype=...)"
        )
    return tuple(_feed(item, specs, f"feed {number}: ") for number, item in enumerate(inputs))


def _feed(inputs: Any, specs: Sequence[TensorSpec], where: str) -> Feed:
    reference: dict[str, Array] = {}
    browser: dict[str, Array] = {}
    notes: list[str] = []
    for spec, value in zip(specs, _by_spec(inputs, specs, where), strict=True):
        place = f"{where}input '{spec.name}'"
        array = _as_array(value, place)
        _check_shape(array, spec, place)
        _check_values(array, place)
        reference[spec.name] = cast = _cast(array, spec.dtype, place, notes)
        browser[spec.name] = _for_browser(cast, place, notes)
    return Feed(reference, browser, tuple(dict.fromkeys(notes)))


def _by_spec(inputs: Any, specs: Sequence[TensorSpec], where: str) -> list[Any]:
    """The values in signature order."""
    if isinstance(inputs, Mapping):
        return _by_name(inputs, specs, where)
    if isinstance(inputs, tuple):
        if len(inputs) != len(specs):
            raise FeedError(f"{where}a tuple of {len(inputs)} was given; {_expected(specs)}")
        return list(inputs)
    if len(specs) != 1:
        raise FeedError(
            f"{where}one {type(inputs).__name__} was given to a model with {len(specs)} inputs; "
            f"{_expected(specs)}. Pass a dict by name, or a tuple in this order"
        )
    return [inputs]


def _by_name(inputs: Mapping[Any, Any], specs: Sequence[TensorSpec], where: str) -> list[Any]:
    names = [spec.name for spec in specs]
    known = {also: name for name in names for also in input_names(name)}
    known.update((name, name) for name in names)
    given: dict[str, Any] = {}
    for name in inputs:
        # A Keras model's input may have a name that is none of an argument.
        exported = name if name in known else exported_name(str(name))
        if exported not in known:
            close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise FeedError(f"{where}the model has no input '{name}'; {_expected(specs)}.{hint}")
        first = given.setdefault(known[exported], name)
        if first != name:
            raise FeedError(f"{where}'{first}' and '{name}' are names of one input: pass only one of the two")
    if missing := [name for name in names if name not in given]:
        raise FeedError(f"{where}no value was given for {_quoted(missing)}; {_expected(specs)}")
    return [inputs[given[name]] for name in names]


def _as_array(value: Any, place: str) -> Array:
    try:
        array = np.asarray(value)
    except Exception as error:  # a foreign tensor's __array__ may raise anything
        raise FeedError(
            f"{place}: {type(value).__name__} cannot be converted to an array: {error}"
        ) from error
    if array.dtype.kind in "SU":
        array = array.astype(object)
    if array.dtype.kind == "O" and not all(isinstance(item, (str, bytes)) for item in array.flat):
        raise FeedError(
            f"{place}: {type(value).__name__} cannot be converted to an array of numbers, booleans or "
            "strings; pass a numpy array"
        )
    if array.dtype.kind not in "biufcO" and array.dtype.name != "bfloat16":
        raise FeedError(f"{place} has the dtype {array.dtype}, which no model accepts")
    return array


def _check_shape(array: Array, spec: TensorSpec, place: str) -> None:
    if spec.shape is not None and not _fits(array.shape, spec.shape):
        hint = ""
        if spec.shape[:1] in ((None,), (1,)) and _fits(array.shape, spec.shape[1:]):
            hint = ". The batch dimension is missing: pass inputs[np.newaxis]"
        elif len(array.shape) == len(spec.shape) and _fits(array.shape[1:], spec.shape[1:]):
            hint = (
                f". The model was made for a batch of exactly {spec.shape[0]}: pass several feeds as a list"
            )
        raise FeedError(
            f"{place} has the shape {_shape(array.shape)}, but {_shape(spec.shape)} is expected{hint}"
        )
    if array.size == 0:
        raise FeedError(f"{place} is empty (shape {_shape(array.shape)}), so nothing would be compared")


def _check_values(array: Array, place: str) -> None:
    if array.dtype.kind in "iubO":
        return
    nan = np.isnan(array)
    if nan.any():
        first = [int(index) for index in np.argwhere(nan)[0]]
        raise FeedError(
            f"{place} has {int(nan.sum())} NaN, the first at {first}: NaN spreads to later layers and "
            "hides their errors. Replace each NaN by a number"
        )


def _cast(array: Array, dtype: str, place: str, notes: list[str]) -> Array:
    """The array in the source's dtype. Casts within one kind only (float, integer)."""
    if dtype == "str":
        if array.dtype.kind != "O":
            raise FeedError(f"{place} takes strings, but {array.dtype} was given")
        return array
    wanted = array.dtype if array.dtype.name == dtype else _numpy_dtype(dtype)
    if array.dtype == wanted:
        return array
    if _kind(array.dtype) != _kind(wanted):
        actual = "strings" if array.dtype.kind == "O" else str(array.dtype)
        remedy = "" if actual == "strings" else f"; write inputs.astype('{dtype}') if that is intended"
        raise FeedError(f"{place} takes {dtype}, but {actual} was given{remedy}")
    return _narrow(array, wanted, place, notes, "the dtype of the model's input")


def _for_browser(array: Array, place: str, notes: list[str]) -> Array:
    """The array in a dtype of TF.js, which has no 64-bit and no small dtypes."""
    name = browser_dtype(array.dtype)
    if name is None:
        return array
    wanted = np.dtype(name)
    return (
        array if array.dtype == wanted else _narrow(array, wanted, place, notes, "its dtype in the browser")
    )


def _narrow(array: Array, wanted: np.dtype[Any], place: str, notes: list[str], why: str) -> Array:
    if wanted.kind in "iu":
        info = np.iinfo(wanted)
        low, high = int(array.min()), int(array.max())
        if low < info.min or high > info.max:
            raise FeedError(
                f"{place} has values from {low} to {high}, but {wanted}, {why}, holds only {info.min} "
                f"to {info.max}"
            )
        cast = array.astype(wanted)
    else:
        with np.errstate(over="ignore"):
            cast = array.astype(wanted)
        if not np.array_equal(np.isinf(cast), np.isinf(array)):
            raise FeedError(f"{place} has values beyond the range of {wanted}, {why}; scale them")
    notes.append(f"{place} was cast from {array.dtype} to {wanted}, {why}")
    return cast


def _numpy_dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes  # comes with TensorFlow

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _kind(dtype: np.dtype[Any]) -> str:
    if dtype.name == "bfloat16":
        return "f"
    return "i" if dtype.kind == "u" else dtype.kind


def _fits(actual: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(actual) == len(expected) and all(
        want is None or have == want for have, want in zip(actual, expected, strict=True)
    )


def _expected(specs: Sequence[TensorSpec]) -> str:
    parts = [f"'{spec.name}' {spec.dtype} {_shape(spec.shape)}" for spec in specs]
    return f"the model takes {', '.join(parts)}" if parts else "the model takes no inputs"


def _shape(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "of any shape"
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
