"""Dtype names match TensorFlow, and limits match IEEE 754."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.dtypes import (
    DTYPES_BY_NUMBER,
    FLUSHED,
    HALF_ROUNDOFF,
    HALF_ULP,
    LARGEST_HALF,
    NUMPY_NAMES,
    ROUNDOFF,
    SMALLEST_NORMAL,
    SMALLEST_NORMAL_HALF,
    ULP,
    WHOLE_IN_FLOAT,
    WHOLE_IN_HALF,
    browser_dtype,
)


@pytest.mark.convert
def test_names_and_numbers_match_tensorflow():
    tf = pytest.importorskip("tensorflow")
    from tensorflow.core.framework import types_pb2

    for name, numpy_name in NUMPY_NAMES.items():
        own = tf.dtypes.as_dtype(types_pb2.DataType.Value(name)).name
        assert own == {"str": "string"}.get(numpy_name, numpy_name)
    for number, name in DTYPES_BY_NUMBER.items():
        assert types_pb2.DataType.Name(number) == name


def test_limits_match_float16_and_float32():
    half, single = np.finfo(np.float16), np.finfo(np.float32)
    assert float(half.max) == LARGEST_HALF
    assert float(half.smallest_normal) == SMALLEST_NORMAL_HALF
    assert float(half.eps) == HALF_ULP == 2 * HALF_ROUNDOFF
    assert float(single.eps) == ULP == 2 * ROUNDOFF
    assert float(single.smallest_normal) == SMALLEST_NORMAL == FLUSHED / 2
    for whole, dtype in ((WHOLE_IN_HALF, np.float16), (WHOLE_IN_FLOAT, np.float32)):
        assert int(dtype(whole)) == whole
        assert int(dtype(whole + 1)) != whole + 1


@pytest.mark.parametrize(
    ("dtype", "browser"),
    [
        ("float64", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("int64", "int32"),
        ("uint8", "int32"),
        ("complex128", "complex64"),
        ("bool", None),
        ("O", None),
        ("U3", None),
    ],
)
def test_browser_dtype_is_float32_int32_or_complex64(dtype, browser):
    assert browser_dtype(np.dtype(dtype)) == browser


def test_bfloat16_becomes_float32():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert browser_dtype(np.dtype(ml_dtypes.bfloat16)) == "float32"
