"""Estimates rounding in layers that have no rounding rule, by perturbing their inputs.

The method is Monte Carlo arithmetic (D. S. Parker, "Monte Carlo Arithmetic: exploiting randomness in
floating-point arithmetic", UCLA CSD-970002, 1997): inputs are perturbed at random by some units in the last
place, and the spread of the results shows the effect of rounding. The perturbations are 2**12 times those
of float32 rounding, so that the layer's own float32 arithmetic does not hide the effect; the spread is scaled
back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfjs.reference.running.layer_alone import GraphAlone

Array = np.ndarray[Any, np.dtype[Any]]

_STEP = 2.0**-12
_DRAWS = 4
_SEED = 4


def estimated_magnitude(
    alone: GraphAlone, name: str, inputs: Mapping[str, Array], reference: Array
) -> Array | None:
    """|reference| plus the effect of rounding the inputs and weights, for each element of a layer.

    float32 in the shape of `reference`, in the unit of the activation. Each element's effect is at least the
    root mean square of all, because a few draws may show little by chance. None where no result is finite.
    Raises SourceError where the layer cannot be run alone.
    """
    rng = np.random.default_rng(_SEED)
    weights = alone.weights_of(name)
    base = np.asarray(alone.run(name, inputs), np.complex128 if reference.dtype.kind == "c" else np.float64)
    spread = np.zeros(base.shape)
    for _ in range(_DRAWS):
        moved = alone.run(name, _moved(inputs, alone.inputs_of(name), rng), _moved(weights, weights, rng))
        with np.errstate(all="ignore"):
            spread += np.square(np.abs(moved - base) / _STEP)
    spread = np.sqrt(spread / _DRAWS)
    finite = np.isfinite(spread)
    if not finite.any():
        return None
    typical = float(np.sqrt(np.mean(np.square(spread[finite]))))
    spread[~finite] = typical
    found: Array = (np.abs(reference) + np.maximum(spread, typical)).astype(np.float32)
    return found


def _moved(values: Mapping[str, Array], names: Any, rng: np.random.Generator) -> dict[str, Array]:
    return {name: _perturbed(values[name], rng) for name in names}


def _perturbed(value: Array, rng: np.random.Generator) -> Array:
    """Each float times 1 ± `_STEP`; other dtypes unchanged."""
    if value.dtype.kind not in "fc":
        return value
    signs = rng.integers(0, 2, value.shape, np.int8) * np.float32(2 * _STEP) - np.float32(_STEP)
    found: Array = (value * (1 + signs)).astype(value.dtype)
    return found
