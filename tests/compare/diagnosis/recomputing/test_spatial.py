"""Convolution, pooling and resizing in numpy give what TensorFlow gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.diagnosis.recomputing.steps import Step
from tests.support.recomputed_steps import FEW, assert_steps_give, values

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.convert
BOOL = st.booleans()
SIZE = st.integers(1, 7)


@FEW
@given(
    rows=SIZE,
    columns=SIZE,
    new=st.tuples(SIZE, SIZE),
    mode=st.sampled_from([(0, 0), (1, 0), (0, 1)]),
    op=BOOL,
)
def test_resizing_matches_tensorflow(rows, columns, new, mode, op):
    x, (corners, centres) = values(2, rows, columns, 3), map(bool, mode)
    name = "ResizeBilinear" if op else "ResizeNearestNeighbor"
    attributes = {"align_corners": corners, "half_pixel_centers": centres}
    own = getattr(tf.raw_ops, name)(images=x, size=list(new), **attributes)
    assert_steps_give([Step(name, (x, np.array(new)), attributes)], own)


@FEW
@given(
    sizes=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID"]),
    depthwise=BOOL,
)
def test_convolution_matches_tensorflow(sizes, window, strides, padding, depthwise):
    if depthwise:
        strides = (strides[0], strides[0])  # TensorFlow's own kernel takes no others
    x, kernel = values(2, *sizes, 3), values(*window, 3, 2, seed=1)
    attributes = {"strides": [1, *strides, 1], "padding": padding}
    op = tf.raw_ops.DepthwiseConv2dNative if depthwise else tf.raw_ops.Conv2D
    name = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    assert_steps_give([Step(name, (x, kernel), attributes)], op(input=x, filter=kernel, **attributes))


@FEW
@given(dilation=st.integers(1, 2), before=st.integers(0, 2), after=st.integers(0, 2))
def test_explicit_padding_and_dilation_match_tensorflow(dilation, before, after):
    x, kernel = values(1, 8, 7, 2), values(3, 3, 2, 4, seed=1)
    attributes = {
        "strides": [1, 1, 1, 1],
        "padding": "EXPLICIT",
        "explicit_paddings": [0, 0, before, after, after, before, 0, 0],
        "dilations": [1, dilation, dilation, 1],
    }
    assert_steps_give(
        [Step("Conv2D", (x, kernel), attributes)], tf.raw_ops.Conv2D(input=x, filter=kernel, **attributes)
    )


@FEW
@given(size=st.integers(3, 8), window=st.integers(1, 4), stride=st.integers(1, 3), same=BOOL)
def test_transposed_convolution_matches_tensorflow(size, window, stride, same):
    padding = "SAME" if same else "VALID"
    big = size * stride if same else (size - 1) * stride + window
    x, kernel, shape = (
        values(2, size, size, 3),
        values(window, window, 4, 3, seed=1),
        np.array([2, big, big, 4]),
    )
    attributes = {"strides": [1, stride, stride, 1], "padding": padding}
    own = tf.raw_ops.Conv2DBackpropInput(input_sizes=shape, filter=kernel, out_backprop=x, **attributes)
    assert_steps_give([Step("Conv2DBackpropInput", (shape, kernel, x), attributes)], own)


@FEW
@given(
    sizes=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    window=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.sampled_from(["SAME", "VALID"]),
    largest=BOOL,
)
def test_pooling_matches_tensorflow(sizes, window, stride, padding, largest):
    x = values(2, *sizes, 3)
    attributes = {"ksize": [1, window, window, 1], "strides": [1, stride, stride, 1], "padding": padding}
    if largest:
        assert_steps_give([Step("MaxPool", (x,), attributes)], tf.raw_ops.MaxPool(input=x, **attributes))
    else:
        assert_steps_give([Step("AvgPool", (x,), attributes)], tf.raw_ops.AvgPool(value=x, **attributes))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            Step("DepthToSpace", (values(2, 2, 3, 8),), {"block_size": 2}),
            tf.nn.depth_to_space(values(2, 2, 3, 8), 2),
        ),
        (
            Step("SpaceToDepth", (values(2, 4, 6, 3),), {"block_size": 2}),
            tf.nn.space_to_depth(values(2, 4, 6, 3), 2),
        ),
    ],
    ids=lambda value: value.op if isinstance(value, Step) else "",
)
def test_moving_channels_to_space_and_back_matches_tensorflow(step, expected):
    assert_steps_give([step], expected)
