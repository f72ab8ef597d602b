"""Checks the artifacts' weights against the source's: bit for bit, or within quantisation."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from pytest_tfjs.compare.layers import Layer

BY_EFFECT = "the operations that use the weight give other results"
"""How a finding begins if a weight's own values could not be compared with the source's."""

State = Literal["equal", "quantised", "folded", "unverified", "differs"]

FOLDED_ULPS = 8
"""How far from the recomputed value a folded weight may be, in float32 roundings of what it is made of."""

_EPSILON = float(np.finfo(np.float32).eps)
_LEVELS = {"uint8": 255, "uint16": 65535}


@dataclass(frozen=True)
class Storage:
    """How a weight is stored. Of `uint8` and `uint16` the value is `stored * scale + minimum`."""

    dtype: str
    scale: float | None = None
    minimum: float | None = None


@dataclass(frozen=True)
class WeightFinding:
    """The result for one weight of the artifacts, or for one that they lack.

    `layer`: the layer that it belongs to, None if unknown. `what`: how a weight `differs`, why it is
    `unverified`, or which values a `quantised` or `folded` one cannot hold, in words.
    """

    name: str
    layer: str | None
    state: State
    what: str | None = None

    @property
    def by_effect(self) -> bool:
        """Whether only the weight's effect was compared: then the operation itself may be wrong instead."""
        return self.what is not None and self.what.startswith(BY_EFFECT)


@dataclass(frozen=True)
class WeightCheck:
    """How many weights are `equal`, `quantised`, ..., and the findings with a description."""

    counts: Mapping[str, int]
    findings: tuple[WeightFinding, ...] = ()

    @property
    def differences(self) -> tuple[WeightFinding, ...]:
        """The weights that are not those of the source."""
        return self._of_state("differs")

    @property
    def unverified(self) -> tuple[WeightFinding, ...]:
        """The weights that could not be compared with the source."""
        return self._of_state("unverified")

    @property
    def lost(self) -> tuple[WeightFinding, ...]:
        """The sound weights with values that their storage turns into NaN, Inf or 0."""
        return (*self._of_state("quantised"), *self._of_state("folded"))

    def _of_state(self, state: State) -> tuple[WeightFinding, ...]:
        return tuple(finding for finding in self.findings if finding.state == state)

    @classmethod
    def of(cls, findings: Iterable[WeightFinding]) -> WeightCheck:
        """Counts the findings, and keeps those with a description."""
        found = list(findings)
        return cls(dict(Counter(one.state for one in found)), tuple(one for one in found if one.what))

    def to_json(self) -> dict[str, Any]:
        """The check as JSON values."""
        return {"counts": dict(self.counts), "findings": [asdict(finding) for finding in self.findings]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> WeightCheck:
        """The check that `to_json` gave."""
        return cls(content["counts"], tuple(WeightFinding(**finding) for finding in content["findings"]))


def wrong_weight(check: WeightCheck | None, layer: Layer) -> WeightFinding | None:
    """A weight of a layer, or of one fused into it, that differs from the source's.

    A weight whose values differ, or otherwise the first with a different effect.
    """
    names = (layer.name, *layer.members)
    found = [
        finding
        for finding in (() if check is None else check.differences)
        if finding.layer is not None
        and any(name == finding.layer or name.startswith(f"{finding.layer}/") for name in names)
    ]
    return min(found, key=lambda finding: finding.by_effect, default=None)


def difference(
    found: NDArray[Any],
    source: NDArray[Any],
    storage: Storage | None,
    rounding: NDArray[np.float64] | float = 0.0,
) -> str | None:
    """How a weight differs from that of the source, in words; None if it is the same.

    `found` is dequantised, as in the browser; `storage` is None if it is not quantised. The same means: equal
    bit for bit after TF.js's cast of int64 and float64, or within half a step of the quantisation's grid.
    `rounding` is a further allowed difference, per element or for all.
    """
    if found.shape != source.shape:
        return f"shape {_shape(found)} in the artifacts, {_shape(source)} in the source"
    if found.dtype.kind in "OSU" or source.dtype.kind in "OSU":
        return _difference_of_text(found, source)
    if found.dtype.kind != source.dtype.kind and not {found.dtype.kind, source.dtype.kind} <= set("iu"):
        return f"dtype {found.dtype} in the artifacts, {source.dtype} in the source"
    with np.errstate(over="ignore", invalid="ignore"):
        expected = source.astype(found.dtype)
        wrong = ~_within(found, expected, source, storage, rounding)
        if source.dtype.kind in "iu":
            wrong |= expected.astype(source.dtype) != source  # the cast changed the value
    return _counted(found, expected, wrong) if wrong.any() else None


def _within(
    found: NDArray[Any],
    expected: NDArray[Any],
    source: NDArray[Any],
    storage: Storage | None,
    rounding: NDArray[np.float64] | float,
) -> NDArray[np.bool_]:
    """Which values are as expected, within the quantisation and `rounding`; NaN equals NaN here."""
    same: NDArray[np.bool_] = (found == expected) | (np.isnan(found) & np.isnan(expected))
    if storage is not None and storage.dtype == "float16":
        # If rounding may have moved a value past the middle between two numbers, both are correct.
        low, high = (_halved(_wide(expected) + sign * rounding) for sign in (-1, 1))
        rounded: NDArray[np.bool_] = (low <= found) & (found <= high)
        rounded |= np.isnan(found) & np.isnan(expected)
        return rounded
    if storage is not None and not np.isfinite(source).all():
        # Infinite numbers have no grid, and dequantising gives none; `lost_values` says what became of them.
        lost: NDArray[np.bool_] = same | ~np.isfinite(found)
        return lost
    allowed = rounding + _half_step(source, storage)
    within: NDArray[np.bool_] = same | (np.abs(_wide(found) - _wide(expected)) <= allowed)
    return within


def _halved(values: NDArray[Any]) -> NDArray[np.float32]:
    """Rounded to float32, then to float16, as the converter does it."""
    return values.astype(np.float32).astype(np.float16).astype(np.float32)


def _half_step(source: NDArray[Any], storage: Storage | None) -> float:
    """Half a step of the quantisation's grid, from the source's own range, not the declared scale."""
    if storage is None or storage.dtype not in _LEVELS or not source.size:
        return 0.0
    low, high = float(source.min()), float(source.max())
    step = (high - low) / _LEVELS[storage.dtype]
    # The grid is computed in double precision, the value rounded to float32.
    return step / 2 * (1 + 1e-6) + _EPSILON * max(abs(low), abs(high))


def _wide(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _difference_of_text(found: NDArray[Any], source: NDArray[Any]) -> str | None:
    got, want = ([_bytes(item) for item in array.reshape(-1).tolist()] for array in (found, source))
    wrong = [place for place, pair in enumerate(zip(got, want, strict=True)) if pair[0] != pair[1]]
    if not wrong:
        return None
    first = f"{got[wrong[0]]!r} in the artifacts, {want[wrong[0]]!r} in the source"
    return f"{len(wrong)} of {len(got)} strings differ, first {first}"


def _bytes(item: Any) -> bytes:
    return item.encode() if isinstance(item, str) else bytes(item)


def _counted(found: NDArray[Any], expected: NDArray[Any], wrong: NDArray[np.bool_]) -> str:
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(wrong, np.abs(_wide(found) - _wide(expected)), -1.0)
    error[np.isnan(error)] = np.inf
    at = np.unravel_index(int(error.argmax()), error.shape)
    place = ", ".join(str(int(index)) for index in at)
    values = f"{found[at]:.9g} in the artifacts, {expected[at]:.9g} in the source"
    count = int(np.count_nonzero(wrong))
    return f"{count} of {found.size} values differ, the largest difference at [{place}]: {values}"


def _shape(array: NDArray[Any]) -> str:
    return f"[{', '.join(str(size) for size in array.shape)}]"


# The converter folds a batch-norm into the convolution before it.


@dataclass(frozen=True)
class BatchNorm:
    """The weights of a batch-norm and of the convolution before it; vectors have a value for each channel."""

    kernel: NDArray[Any]
    bias: NDArray[Any] | None
    gamma: NDArray[Any]
    beta: NDArray[Any]
    mean: NDArray[Any]
    variance: NDArray[Any]
    epsilon: float

    @property
    def _scale(self) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):  # a batch-norm may have any numbers
            scale: NDArray[np.float64] = self.gamma.astype(np.float64) / np.sqrt(
                self.variance.astype(np.float64) + self.epsilon
            )
        return scale

    def kernel_folded(self, *, depthwise: bool) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The kernel times gamma / sqrt(variance + epsilon), and how much rounding may have moved it.

        The channels of a `depthwise` kernel are its last two axes, else the last one.
        """
        scale = self._scale.reshape(self.kernel.shape[2:]) if depthwise else self._scale
        with np.errstate(all="ignore"):
            exact = self.kernel.astype(np.float64) * scale
            return exact.astype(np.float32), FOLDED_ULPS * _EPSILON * np.abs(exact)

    def offset_folded(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Beta - (mean - bias) * gamma / sqrt(variance + epsilon), and what rounding may have changed."""
        bias = 0.0 if self.bias is None else self.bias.astype(np.float64)
        mean, beta, scale = self.mean.astype(np.float64), self.beta.astype(np.float64), self._scale
        with np.errstate(all="ignore"):
            offset = (beta - (mean - bias) * scale).astype(np.float32)
            return offset, FOLDED_ULPS * _EPSILON * self.offset_size()

    def offset_size(self) -> NDArray[np.float64]:
        """The sum of the magnitudes that enter the folded offset, which may cancel in it."""
        bias = 0.0 if self.bias is None else self.bias.astype(np.float64)
        mean, beta, scale = self.mean.astype(np.float64), self.beta.astype(np.float64), self._scale
        with np.errstate(all="ignore"):
            size: NDArray[np.float64] = np.abs(mean * scale) + np.abs(bias * scale) + np.abs(beta)
        return size
