"""Divergences of phones whose GPUs have no float32 textures (`webgl:f16`)."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_F16 = "tfjs-backend-webgl/src/tex_util.ts"
_KINDS = ("half range", "half resolution")
_ANGLES = np.linspace(-1, 1, 160).reshape(8, 20).astype(np.float32)
_LARGE = np.arange(160, dtype=np.int32).reshape(8, 20) * 500 + 4099

CASES = {
    "exp of 20": Known(
        "any operation",
        "numbers over 65504, such as exp(20)",
        "Inf or NaN",
        "scale the numbers, or subtract the largest before `tf.exp`",
        _F16,
        lambda tf, x: tf.exp(tf.multiply(x, 20.0, name="logits"), name="faulty"),
        {"x": _ANGLES},
        ("webgl:f16",),
        ("webgl",),
        _KINDS,
    ),
    "exp of -20": Known(
        "any operation",
        "numbers below 6.1e-5, such as an epsilon of 1e-7 or exp(-20)",
        "0, and so log(0) or 1 / 0 after it",
        "an epsilon of 1e-4",
        _F16,
        lambda tf, x: tf.exp(tf.subtract(x, 20.0, name="logits"), name="faulty"),
        {"x": _ANGLES},
        ("webgl:f16",),
        ("webgl",),
        _KINDS,
    ),
    "sum of integers": Known(
        "`Sum`, `FloorDiv`, `Select`, `Tile` of integers",
        "integers over 2048",
        "a number nearby, and 0 or Inf over 65504",
        "keep integers below 2048",
        _F16,
        lambda tf, ids: tf.reduce_sum(ids, 1, name="faulty"),
        {"ids": _LARGE},
        ("webgl:f16",),
        ("webgl",),
        _KINDS,
    ),
}
