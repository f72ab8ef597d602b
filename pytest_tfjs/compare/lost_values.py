"""Finds the weight whose quantisation turns activations into NaN or Inf."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfjs.compare.layers import Layer
    from pytest_tfjs.compare.numbers.compression import Compression
    from pytest_tfjs.compare.weight_check import Storage, WeightCheck, WeightFinding

_TO_ZERO = re.compile(r"\bbecomes? 0 ")


def lost_values(stored: NDArray[Any], source: NDArray[Any], storage: Storage | None) -> str | None:
    """Which values of a weight its storage cannot hold, in words; None if there are none.

    These are finite values that become NaN or Inf, and values that become 0 in a weight of one sign, such as
    an epsilon or a variance, which others are divided by. `stored` is dequantised, as in the browser.
    """
    if storage is None or source.dtype.kind != "f" or stored.shape != source.shape:
        return None
    found = np.asarray(stored, np.float64)
    broken = np.isfinite(source) & ~np.isfinite(found)
    if broken.any():
        return _counted(found, source, broken, storage)
    zero, has_one_sign = found == 0, (source > 0).all() or (source < 0).all()
    return _counted(found, source, zero, storage) if zero.any() and has_one_sign else None


def broken_by_compression(
    layers: Iterable[Layer], compression: Compression | None, check: WeightCheck | None
) -> str | None:
    """The first layer in which the quantised weights make NaN or Inf, and the weight that does; or None."""
    costs = {} if compression is None else compression.costs
    by_name = {layer.name: layer for layer in layers}
    first = next((one for one in by_name.values() if one.name in costs and costs[one.name].broken), None)
    if compression is None or first is None:
        return None
    text = f"quantising the weights to {compression.stored} makes NaN or Inf in {first.name!r}"
    weight = _weight_of(first, by_name, () if check is None else check.lost)
    return text if weight is None else f"{text}: of the weight {weight.name!r} {weight.what}"


def _weight_of(
    broken: Layer, layers: Mapping[str, Layer], lost: Sequence[WeightFinding]
) -> WeightFinding | None:
    """The weight of the layer or of the nearest one before it, or else the only one that is NaN or Inf."""
    names = [broken.name]
    for name in names:  # grows: nearer layers come first
        layer = layers.get(name)
        if layer is None:
            continue
        own = [one for one in lost if one.layer in (layer.name, *layer.members)]
        if own:
            return own[0]
        names += [before for before in layer.inputs if before not in names]
    others = [one for one in lost if not _TO_ZERO.search(one.what or "")]
    return others[0] if len(others) == 1 else None


def _counted(stored: NDArray[Any], source: NDArray[Any], where: NDArray[np.bool_], storage: Storage) -> str:
    at = np.unravel_index(int(where.argmax()), where.shape)
    count = int(np.count_nonzero(where))
    became = _named(float(stored[at]))
    if where.size == 1:
        return f"the value {source[at]:.9g} becomes {became} as {storage.dtype}"
    verb = "becomes" if count == 1 else "become"
    place = ", ".join(str(int(index)) for index in at)
    first = f"the first at [{place}]: {source[at]:.9g}"
    return f"{count} of {where.size} values {verb} {became} as {storage.dtype}, {first}"


def _named(value: float) -> str:
    if value == 0:
        return "0"
    return "NaN" if np.isnan(value) else "Inf" if value > 0 else "-Inf"
