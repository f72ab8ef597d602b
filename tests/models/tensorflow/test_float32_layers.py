"""Layers models of half precision declare float32 at any depth, with weights in float32."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.models.tensorflow.float32_layers import declare_float32, weights_in_float32


def policy(name):
    return {"class_name": "Policy", "config": {"name": name}}


@pytest.mark.parametrize(
    ("dtype", "found"),
    [
        ("float16", ["float16"]),
        (policy("mixed_float16"), ["float16"]),
        (policy("mixed_bfloat16"), ["bfloat16"]),
        ("float32", []),
        ("int32", []),
        (None, []),
    ],
)
def test_half_precision_is_replaced_at_any_depth(dtype, found):
    wrapper = {"name": "outer", "dtype": "float32", "layer": {"config": {"dtype": dtype, "units": 3}}}
    topology = {"config": {"layers": [{"config": wrapper}]}}
    assert declare_float32(topology) == found
    inner = wrapper["layer"]["config"]
    assert inner == {"dtype": "float32" if found else dtype, "units": 3}


def test_weights_in_bfloat16_are_cast():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.array([1.5, -3.140625, 1e30], ml_dtypes.bfloat16)
    kept = np.float32([1, 2])
    group = [{"name": "a", "data": values.view("V2")}, {"name": "b", "data": kept}]
    weights_in_float32([group])
    np.testing.assert_array_equal(group[0]["data"], values.astype(np.float32))
    assert group[0]["data"].dtype == np.float32
    assert group[1]["data"] is kept
