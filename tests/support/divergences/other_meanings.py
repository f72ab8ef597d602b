"""Operations of which TF.js ignores an attribute or a dtype."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_CONVERTER, _WASM = "tfjs-converter/src/", "tfjs-backend-wasm/src/"
_EVERYWHERE = ("semantics",)
_IDS = np.int32([[0, 1, 2], [2, 1, 0]])
_SIGNAL = np.random.default_rng(3).standard_normal((2, 16)).astype(np.float32)


def _from_spectrum(tf, x):
    return tf.signal.irfft(tf.complex(x, x * 0.5), fft_length=[12], name="faulty")


CASES = {
    "one-hot of floats": Known(
        "`OneHot` (`tf.one_hot`)",
        "float32, the default",
        "1.4e-45 instead of 1: the kernel writes integers into floats",
        "`tf.cast(tf.one_hot(ids, depth, dtype=tf.int32), tf.float32)`",
        f"{_WASM}cc/kernels/OneHot.cc",
        lambda tf, ids: tf.one_hot(ids, 4, name="faulty"),
        {"ids": _IDS},
        ("wasm",),
        ("cpu", "webgl"),
    ),
    "one-hot of far values": Known(
        "`OneHot` (`tf.one_hot`)",
        "`on_value` and `off_value` of very different size: 1.5 and -1e9",
        "0 instead of 1.5 on GPUs that mix as off + (on - off), such as SwiftShader and Direct3D's",
        "`tf.where(tf.one_hot(ids, depth, True, False), 1.5, -1e9)`",
        "tfjs-backend-webgl/src/onehot_gpu.ts#L36",
        lambda tf, ids: tf.one_hot(ids, 4, 1.5, -1e9, name="faulty"),
        {"ids": _IDS},
        ("webgl",),
        ("cpu",),
    ),
    "one-hot along another axis": Known(
        "`OneHot` (`tf.one_hot`)",
        "an `axis` other than -1",
        "the axis is ignored: another shape",
        "`tf.transpose` after it",
        f"{_CONVERTER}operations/executors/creation_executor.ts#L69",
        lambda tf, ids: tf.one_hot(ids, 4, axis=0, name="faulty"),
        {"ids": _IDS},
        ("cpu", "webgl"),
        kinds=_EVERYWHERE,
    ),
    "signal of another length": Known(
        "`IRFFT` (`tf.signal.irfft`, `tf.signal.inverse_stft`)",
        "an `fft_length` other than 2 * (n - 1)",
        "the length is ignored: another shape",
        "cut or pad the signal after it",
        f"{_CONVERTER}operations/executors/spectral_executor.ts#L45",
        _from_spectrum,
        {"x": _SIGNAL[:, :9]},
        ("cpu", "webgl"),
        kinds=_EVERYWHERE,
    ),
}
