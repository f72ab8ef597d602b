"""Variants of a feed for other preprocessing: another range, channel order or layout."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Array = np.ndarray[Any, np.dtype[Any]]

_IMAGE_RANK = 4
_COLOURS = 3
# The ImageNet statistics of torchvision (of 0..1, RGB) and of Caffe (of 0..255, BGR).
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_CAFFE_MEAN = np.array([103.939, 116.779, 123.68])

_RANGES: Mapping[str, Callable[[Array], Array]] = {
    "times 255": lambda x: x * 255,
    "divided by 255": lambda x: x / 255,
    "divided by 127.5, minus 1": lambda x: x / 127.5 - 1,
    "plus 1, times 127.5": lambda x: (x + 1) * 127.5,
    "times 2, minus 1": lambda x: x * 2 - 1,
    "plus 1, divided by 2": lambda x: (x + 1) / 2,
    "times -1": lambda x: -x,
    "rounded to whole numbers": np.rint,
}
_COLOURED: Mapping[str, Callable[[Array], Array]] = {
    "minus ImageNet's mean, divided by ImageNet's deviation": lambda x: (x - _MEAN) / _DEVIATION,
    "divided by 255, minus ImageNet's mean, divided by ImageNet's deviation": lambda x: (
        (x / 255 - _MEAN) / _DEVIATION
    ),
    "times ImageNet's deviation, plus ImageNet's mean": lambda x: x * _DEVIATION + _MEAN,
    "times ImageNet's deviation, plus ImageNet's mean, times 255": lambda x: (x * _DEVIATION + _MEAN) * 255,
    "in BGR, minus Caffe's mean": lambda x: x[..., ::-1] - _CAFFE_MEAN,
    "plus Caffe's mean, from BGR to RGB": lambda x: (x + _CAFFE_MEAN)[..., ::-1],
}
_LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "with rows and columns swapped": lambda x: x.swapaxes(1, 2),
    "upside down": lambda x: x[:, ::-1],
    "mirrored": lambda x: x[:, :, ::-1],
    "read as if its channels came first": lambda x: np.moveaxis(
        x.reshape(x.shape[0], x.shape[3], *x.shape[1:3]), 1, 3
    ),
    "written as if its channels came first": lambda x: np.moveaxis(x, 3, 1).reshape(x.shape),
}
_REVERSED = "with channels in reverse (BGR for RGB)"


def feed_changes(feed: Mapping[str, Array]) -> Iterator[tuple[str, dict[str, Array]]]:
    """The feed with one input changed or two inputs swapped; all shapes and dtypes stay.

    Each comes with a description that follows "the feed", with the input's name if there are several.
    """
    for name, value in feed.items():
        of = f"('{name}') " if len(feed) > 1 else ""
        for description, changed in _changes(value):
            if changed.shape == value.shape and not np.array_equal(changed, value):
                with np.errstate(over="ignore", invalid="ignore"):
                    cast = changed.astype(value.dtype)
                yield f"{of}{description}", {**feed, name: cast}
    for (one, a), (other, b) in itertools.combinations(feed.items(), 2):
        if a.shape == b.shape and a.dtype == b.dtype:
            yield f"with '{one}' and '{other}' swapped", {**feed, one: b, other: a}


def _changes(value: Array) -> Iterator[tuple[str, Array]]:
    is_image = value.ndim == _IMAGE_RANK
    coloured = is_image and value.shape[-1] == _COLOURS
    if value.dtype.kind == "f":
        wide = value.astype(np.float64)
        for description, change in _RANGES.items():
            yield description, change(wide)
        for description, change in _COLOURED.items() if coloured else ():
            yield description, change(wide)
        for description, change in _RANGES.items() if coloured else ():
            yield f"{_REVERSED}, {description}", change(wide[..., ::-1])
    if value.dtype.kind in "iu":
        yield "plus 1", value + 1
        yield "minus 1", value - 1
    if coloured:
        yield _REVERSED, value[..., ::-1]
    if is_image:
        for description, change in _LAYOUTS.items():
            yield description, change(value)
    elif value.ndim == 3 and value.shape[1] == value.shape[2]:  # noqa: PLR2004
        yield "with its last two axes swapped", value.swapaxes(1, 2)
