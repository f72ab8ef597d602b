"""Products, reductions, normalisations, slices and padding give what TensorFlow gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.diagnosis.recomputing.steps import Step
from tests.support.recomputed_steps import FEW, assert_steps_give, values

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.convert


@FEW
@given(epsilon=st.floats(0, 1), seed=st.integers(0, 9))
def test_batch_norm_matches_tensorflow(epsilon, seed):
    x, parts = values(2, 3, 3, 4, seed=seed), [values(4, seed=n, low=0.1) for n in range(4)]
    own = tf.nn.batch_normalization(x, parts[2], parts[3], parts[1], parts[0], epsilon)
    assert_steps_give([Step("FusedBatchNormV3", (x, *parts), {"epsilon": epsilon})], own)


def strided_slice_arguments(take):
    """The inputs and attributes of the StridedSlice that TensorFlow makes of an index."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (2, 3, 4))
        take(x)
        (node,) = [one for one in graph.get_operations() if one.type == "StridedSlice"]
        bounds = [tf.make_ndarray(one.op.get_attr("value")) for one in node.inputs[1:]]
        masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
        return (values(2, 3, 4), *bounds), {name: node.get_attr(name) for name in masks}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step("Softmax", (values(3, 4, 5),), {"axis": 1}), tf.nn.softmax(values(3, 4, 5), axis=1)),
        (Step("LogSoftmax", (values(3, 4),)), tf.nn.log_softmax(values(3, 4))),
        (
            Step("MirrorPad", (values(3, 4), np.array([[1, 1], [2, 0]])), {"mode": "REFLECT"}),
            tf.pad(values(3, 4), [[1, 1], [2, 0]], "REFLECT"),
        ),
        (
            Step("MirrorPad", (values(3, 4), np.array([[1, 1], [2, 0]])), {"mode": "SYMMETRIC"}),
            tf.pad(values(3, 4), [[1, 1], [2, 0]], "SYMMETRIC"),
        ),
        (
            Step("Cumsum", (values(3, 4), np.array(1)), {"exclusive": True, "reverse": True}),
            tf.cumsum(values(3, 4), 1, exclusive=True, reverse=True),
        ),
        (
            Step("MatMul", (values(4, 3), values(5, 4)), {"transpose_a": True, "transpose_b": True}),
            tf.matmul(values(4, 3), values(5, 4), transpose_a=True, transpose_b=True),
        ),
        (Step("StridedSlice", *strided_slice_arguments(lambda x: x[..., ::-1])), values(2, 3, 4)[..., ::-1]),
        (
            Step("StridedSlice", *strided_slice_arguments(lambda x: x[1:, None, 0])),
            values(2, 3, 4)[1:, None, 0],
        ),
        (Step("StridedSlice", *strided_slice_arguments(lambda x: x[-1, :-1:2])), values(2, 3, 4)[-1, :-1:2]),
        (Step("Mean", (values(2, 3, 4), np.array([1, 2]))), tf.reduce_mean(values(2, 3, 4), [1, 2])),
    ],
    ids=lambda value: value.op if isinstance(value, Step) else "",
)
def test_operation_over_axes_matches_tensorflow(step, expected):
    assert_steps_give([step], expected)
