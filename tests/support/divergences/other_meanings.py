"""Operations of which TF.js ignores an attribute or a dtype; tables and spectra."""

from __future__ import annotations

import numpy as np

from tests.support.divergences.case import Known

_CONVERTER, _WASM = "tfjs-converter/src/", "tfjs-backend-wasm/src/"
_EVERYWHERE = ("semantics",)
_IDS = np.int32([[0, 1, 2], [2, 1, 0]])
_SIGNAL = np.random.default_rng(3).standard_normal((2, 16)).astype(np.float32)


def _table(tf):
    keys, values = tf.constant([1, 2, 3]), tf.constant([5, 6, 7])
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1)


def _found_in_table(tf, table, ids):
    return table.lookup(ids, name="faulty")


def _written_into(tf, x):
    hidden = tf.tanh(x, name="hidden")
    patched = tf.tensor_scatter_nd_update(hidden, [[1]], tf.fill([1, 5], 2.5, name="row"), name="faulty")
    return {"change": tf.subtract(patched, hidden, name="after")}


def _spectrum(tf, x):
    return tf.signal.rfft(x, fft_length=[12], name="faulty")


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
    "lookup of a matrix": Known(
        "`LookupTableFindV2` (`tf.lookup.StaticHashTable`)",
        "keys of rank 2 or more",
        "a vector: the rank is lost",
        "`tf.reshape(table.lookup(tf.reshape(ids, [-1])), tf.shape(ids))`",
        f"{_CONVERTER}executor/hash_table.ts#L126",
        _found_in_table,
        {"ids": np.int32([[1, 2, 3], [3, 2, 9]])},
        ("cpu", "wasm", "webgl"),
        kinds=_EVERYWHERE,
        resource=_table,
        blamed="faulty/LookupTableFindV2",
    ),
    "writes into its input": Known(
        "`TensorScatterUpdate` (`tf.tensor_scatter_nd_update`)",
        "another operation needs the tensor as it was before",
        "the kernel writes into its input, so the other operation gets the update too",
        "give it a copy: `tf.tensor_scatter_nd_update(x * 1.0, ...)`",
        "tfjs-backend-cpu/src/kernels/TensorScatterUpdate.ts#L39",
        _written_into,
        {"x": np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)},
        ("cpu",),
        ("wasm", "webgl"),
        ("overwritten input",),
    ),
    "spectrum of another length": Known(
        "`RFFT` (`tf.signal.rfft`, `tf.signal.stft`)",
        "an `fft_length` other than the length of the signal",
        "the length is ignored: another shape, other frequencies",
        "cut or pad the signal before it",
        f"{_CONVERTER}operations/executors/spectral_executor.ts#L41",
        _spectrum,
        {"x": _SIGNAL},
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
