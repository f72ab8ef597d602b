"""Draws feeds of many kinds, from smooth pictures to numbers of 1e-16."""

from __future__ import annotations

import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fixtures import feeds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Shape = tuple[int, ...]


def draw(kind: str, shape: Shape, seed: int = 0, scale: float = 1.0) -> NDArray[np.float32]:
    """A feed of `shape`, batch first, whose largest values are about `scale`. Raises KeyError.

    `tiny8` and `tiny16` are normal numbers of 1e-8 and 1e-16, and `large` of 1e4, times the scale.
    """
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    return (scale * KINDS[kind](rng, shape)).astype(np.float32)


def _one_hot(_: Any, shape: Shape) -> NDArray[Any]:
    """One element of each sample is 1, the middle one."""
    values = np.zeros(shape)
    values.reshape(shape[0], -1)[:, values[0].size // 2] = 1.0
    return values


def _smooth(rng: np.random.Generator, shape: Shape) -> NDArray[Any]:
    """Pictures; of other shapes, one wave over each sample."""
    if len(shape) == 4 and shape[1] == shape[2]:
        return feeds.images(int(rng.integers(1 << 30)), shape[0], shape[1], shape[3])
    phases = 2 * np.pi * rng.uniform(size=(shape[0], 1))
    return np.sin(np.linspace(0, 6 * np.pi, int(np.prod(shape[1:]))) + phases).reshape(shape)


KINDS: Mapping[str, Callable[[np.random.Generator, Shape], NDArray[Any]]] = MappingProxyType(
    {
        "uniform": lambda rng, shape: rng.uniform(size=shape),
        "tiny8": lambda rng, shape: 1e-8 * rng.standard_normal(shape),
        "normal": lambda rng, shape: rng.standard_normal(shape),
        "one_hot": _one_hot,
        "smooth": _smooth,
        "tiny16": lambda rng, shape: 1e-16 * rng.standard_normal(shape),
        "constant": lambda _, shape: np.full(shape, 0.5),
        "large": lambda rng, shape: 1e4 * rng.standard_normal(shape),
    }
)
ORDINARY = ("uniform", "normal", "smooth", "one_hot", "constant")
"""The kinds whose values half precision holds."""
