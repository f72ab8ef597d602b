"""Other interpretations of an operation: padding side, epsilon, formula, axis and so on.

Each changes one thing about one step. Its description follows the operation's name, as in
`ResizeBilinear with align_corners=true and half_pixel_centers=false`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_tfjs.compare.diagnosis.recomputing.elementwise import ACTIVATIONS
from pytest_tfjs.compare.diagnosis.recomputing.steps import Step
from pytest_tfjs.compare.operations import (
    BATCH_NORMS,
    IMAGE_CONVOLUTIONS,
    IMAGE_POOLS,
    MATRIX_PRODUCTS,
    PADS,
    REDUCTIONS,
    RESIZES,
)

Rule = Callable[[Step], Iterator[tuple[str, Step]]]

_EPSILONS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-12, 0.0)
_SLOPES = (0.01, 0.1, 0.2, 0.3, 1.0)
_MOST_ORDERS = 4


def other_interpretations(step: Step) -> Iterator[tuple[str, Step]]:
    """The same operation with other semantics, each with a description."""
    for ops, rule in _RULES:
        if step.op in ops:
            yield from rule(step)


def same_value(one: Any, other: Any) -> bool:
    """Whether two attributes are equal after rounding to float32."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other) if not isinstance(one, (list, tuple)) else list(one) == list(other)


def attribute_text(value: Any) -> str:
    """An attribute's value for messages: `true`, `0.001`, `SAME`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _changed(step: Step, **attributes: Any) -> Step:
    return replace(step, attributes={**step.attributes, **attributes})


def _resizing(step: Step) -> Iterator[tuple[str, Step]]:
    own = [bool(step.attributes.get(key, False)) for key in ("align_corners", "half_pixel_centers")]
    for corners, centres in ((False, False), (True, False), (False, True)):
        if [corners, centres] != own:
            changed = _changed(step, align_corners=corners, half_pixel_centers=centres)
            values = attribute_text(corners), attribute_text(centres)
            yield "with align_corners={} and half_pixel_centers={}".format(*values), changed


def _padding(step: Step) -> Iterator[tuple[str, Step]]:
    own = step.attributes.get("padding", "VALID")
    for padding in ("SAME", "VALID"):
        if padding != own:
            yield f"with padding {padding}", _changed(step, padding=padding)
    if own == "SAME":
        text = "with the odd row of its padding before the image instead of after it"
        yield text, _changed(step, odd="before")
    if own == "EXPLICIT":
        pads = np.asarray(step.attributes["explicit_paddings"]).reshape(-1, 2)[:, ::-1]
        text = "with its padding before and after the image swapped"
        yield text, _changed(step, explicit_paddings=pads.reshape(-1).tolist())


def _moved_padding(step: Step) -> Iterator[tuple[str, Step]]:
    """Padding shifted by one row or column; the shape stays."""
    if step.op in ("Pad", "PadV2", "MirrorPad"):
        yield "with the padding before and after swapped", _changed(step, side="other")
        pads = np.asarray(step.inputs[1])
        for axis, by in itertools.product(range(len(pads)), (-1, 1)):
            moved = pads.copy()
            moved[axis] += (by, -by)
            if pads[axis].any() and (moved[axis] >= 0).all():
                inputs = (step.inputs[0], moved, *step.inputs[2:])
                yield (
                    f"with 1 more padding element {_SIDES[by][0]} axis {axis} and 1 less {_SIDES[by][1]} it",
                    replace(step, inputs=inputs),
                )
    if step.op == "MirrorPad":
        mode = {"REFLECT": "SYMMETRIC", "SYMMETRIC": "REFLECT"}[step.attributes["mode"]]
        yield f"with mode {mode}", _changed(step, mode=mode)


_SIDES = {1: ("before", "after"), -1: ("after", "before")}


def _strides(step: Step) -> Iterator[tuple[str, Step]]:
    for key in ("strides", "dilations", "ksize"):
        current = list(step.attributes.get(key) or [])
        if current and current != current[::-1]:
            middle = (
                slice(2, 4) if str(step.attributes.get("data_format", "")).startswith("NC") else slice(1, 3)
            )
            turned = list(current)
            turned[middle] = current[middle][::-1]
            if turned != current:
                yield f"with {key} of rows and columns swapped", _changed(step, **{key: turned})
    if any(size != 1 for size in step.attributes.get("dilations") or []):
        yield "without dilation", _changed(step, dilations=[1, 1, 1, 1])


def _outside(step: Step) -> Iterator[tuple[str, Step]]:
    if step.op == "AvgPool":
        yield "with the padding counted in the mean", _changed(step, outside="counted")
        yield "as a maximum instead of a mean", replace(step, op="MaxPool")
    else:
        yield "padded with 0, which is the maximum of negative values", _changed(step, outside="zero")
        yield "as a mean instead of a maximum", replace(step, op="AvgPool")


def _epsilon(step: Step) -> Iterator[tuple[str, Step]]:
    own = step.attributes.get("epsilon")
    for epsilon in _EPSILONS:
        if own is None or not same_value(epsilon, float(own)):
            yield f"with epsilon={epsilon:g}", _changed(step, epsilon=epsilon)


def _parameter(step: Step) -> Iterator[tuple[str, Step]]:
    """The same activation with another parameter or formula."""
    if step.op in ("LeakyRelu", "Elu"):
        own = float(step.attributes.get("alpha", {"LeakyRelu": 0.2, "Elu": 1.0}[step.op]))
        others = (alpha for alpha in _SLOPES if not same_value(alpha, own))
        yield from ((f"with alpha={alpha:g}", _changed(step, alpha=alpha)) for alpha in others)
    elif step.op == "HardSigmoid":
        own = float(step.attributes.get("slope", 0.2))
        for slope, name in ((0.2, "0.2"), (1 / 6, "1/6")):
            if not math.isclose(slope, own, rel_tol=1e-3):
                yield f"with the slope {name}", _changed(step, slope=slope)
    elif step.op == "Gelu":
        tanh = bool(step.attributes.get("approximate", False))
        text = "computed with the error function instead of tanh" if tanh else "approximated with tanh"
        yield text, _changed(step, approximate=not tanh)
        yield "replaced by x * sigmoid(1.702 x)", Step("Swish", step.inputs, {"beta": 1.702})


def _products(step: Step) -> Iterator[tuple[str, Step]]:
    """Without a branch, as GPUs compute it: NaN where 0 meets Inf."""
    which = "Inf and -Inf give" if step.op == "LeakyRelu" else "-Inf gives"
    yield f"computed as a product with 0 or 1, so that {which} NaN", _changed(step, products=True)


def _threshold(step: Step) -> Iterator[tuple[str, Step]]:
    """TF.js's ReLU layer knows neither the threshold nor the slope."""
    most, alpha = step.attributes.get("most"), step.attributes.get("alpha", 0.0)
    yield "without its threshold", _changed(step, threshold=0.0)
    if alpha:
        yield "without its threshold and its slope", _changed(step, threshold=0.0, alpha=0.0)
        yield "without its slope", _changed(step, alpha=0.0)
    if most is not None:
        yield "without its largest value", _changed(step, most=None)


def _activation(step: Step) -> Iterator[tuple[str, Step]]:
    """Another activation, or none."""
    for op in ACTIVATIONS:
        if op not in (step.op, "Exp"):
            text = "left out" if op == "Identity" else f"replaced by {op}"
            yield text, Step(op, step.inputs[:1])


def _axis(step: Step) -> Iterator[tuple[str, Step]]:
    value = step.inputs[0]
    own = step.attributes.get("axis", -1)
    rank = value.ndim if isinstance(value, np.ndarray) else 4
    for axis in range(rank):
        if axis != (own % rank if isinstance(own, int) else None):
            yield f"over axis {axis}", _changed(step, axis=axis)


def _reduced(step: Step) -> Iterator[tuple[str, Step]]:
    value = step.inputs[0]
    axes = [int(axis) for axis in np.asarray(step.inputs[1]).reshape(-1)]
    if isinstance(value, np.ndarray) and value.ndim <= 5:  # noqa: PLR2004
        own = {axis % value.ndim for axis in axes}
        for others in itertools.combinations(range(value.ndim), len(axes)):
            if set(others) != own:
                named = ", ".join(map(str, others))
                yield f"over axis {named}", replace(step, inputs=(value, np.array(others)))
    for op in ("Mean", "Sum", "Max", "Min"):
        if op != step.op:
            yield f"replaced by {op}", replace(step, op=op)
    keeps = not step.attributes.get("keep_dims", False)
    yield f"with keep_dims={attribute_text(keeps)}", _changed(step, keep_dims=keeps)


def _division(step: Step) -> Iterator[tuple[str, Step]]:
    if step.op in ("FloorDiv", "FloorMod"):
        yield "rounded towards 0 instead of down, for negative numbers", _changed(step, division="truncated")
    else:
        for value in (1.0, 0.0):
            yield f"with 0/0 = {value:g}", _changed(step, zero_over_zero=value)


def _rounding(step: Step) -> Iterator[tuple[str, Step]]:
    if step.op == "Round":
        yield (
            "with halves rounded up, as JavaScript does, instead of to even",
            _changed(step, rounding="half up"),
        )
        yield "with halves rounded away from 0 instead of to even", _changed(step, rounding="half away")
    else:
        yield "rounded down instead of towards 0", _changed(step, rounding="down")
        yield "rounded to the nearest instead of towards 0", _changed(step, rounding="to nearest")


def _nan(step: Step) -> Iterator[tuple[str, Step]]:
    yield "that ignores NaN if the other value is a number", _changed(step, nan="dropped")


def _product(step: Step) -> Iterator[tuple[str, Step]]:
    if all(isinstance(each, np.ndarray) and each.dtype.kind in "iu" for each in step.inputs):
        # TF.js's cpu keeps products of integers in float32 for a while; webgl has no integers at all.
        yield "rounded to float32, keeping the last 32 bits", _changed(step, held="rounded")
        yield "in float32, keeping the last 32 bits", _changed(step, held="float32")
        yield "in float32, clamped to the largest integer", _changed(step, held="float32", stops=True)


def _transposing(step: Step) -> Iterator[tuple[str, Step]]:
    for key in ("transpose_a", "transpose_b", "adj_x", "adj_y"):
        if key in step.attributes or (step.op == "MatMul" and key.startswith("transpose")):
            flipped = not step.attributes.get(key, False)
            yield f"with {key}={attribute_text(flipped)}", _changed(step, **{key: flipped})


def _inverse(step: Step) -> Iterator[tuple[str, Step]]:
    order = np.asarray(step.inputs[1]).reshape(-1)
    if not np.array_equal(np.argsort(order), order):
        yield (
            "with the inverse permutation of axes",
            replace(step, inputs=(step.inputs[0], np.argsort(order))),
        )


def _channels(step: Step) -> Iterator[tuple[str, Step]]:
    if step.op == "Reshape":
        value = step.inputs[0]
        if not isinstance(value, np.ndarray) or value.ndim > 2:  # noqa: PLR2004
            yield "with the channels before rows and columns", _changed(step, channels="first")
    elif step.op == "DepthwiseConv2dNative":
        yield (
            "with the outputs ordered by depth multiplier instead of by channel",
            _changed(step, multiplier="first"),
        )
    else:
        order = "channels last" if step.attributes.get("order") else "channels first"
        yield f"with {order} in each block", _changed(step, order=order)


def _cumulative(step: Step) -> Iterator[tuple[str, Step]]:
    for key in ("exclusive", "reverse"):
        flipped = not step.attributes.get(key, False)
        yield f"with {key}={attribute_text(flipped)}", _changed(step, **{key: flipped})


def _recurrent(step: Step) -> Iterator[tuple[str, Step]]:
    if step.op == "GRU":
        after = not step.attributes.get("reset_after", True)
        yield f"with reset_after={attribute_text(after)}", _changed(step, reset_after=after)
        yield "with the gates in the order r, z, h", _changed(step, gates="rzh")
    else:
        for gates in ("ifoc", "icfo", "iofc"):
            yield f"with the gates in the order {', '.join(gates)}", _changed(step, gates=gates)
    for key, usual in (("recurrent_activation", "Sigmoid"), ("activation", "Tanh")):
        own = step.attributes.get(key, usual)
        for op in ("Sigmoid", "HardSigmoid", "Tanh", "Relu", "Identity"):
            if op != own:
                yield f"with {key} {op}", _changed(step, **{key: op})
    backwards = not step.attributes.get("go_backwards", False)
    yield f"with go_backwards={attribute_text(backwards)}", _changed(step, go_backwards=backwards)


def other_orders(step: Step) -> Iterator[tuple[str, Step]]:
    """The same inputs in another order."""
    if step.op in _ORDERED_PAIRS and len(step.inputs) > 1:
        a, b, *rest = step.inputs
        yield "with its two inputs swapped", replace(step, inputs=(b, a, *rest))
    if step.op in ("ConcatV2", "Pack"):
        end = len(step.inputs) - (step.op == "ConcatV2")
        joined, axis = step.inputs[:end], step.inputs[end:]
        if 1 < len(joined) <= _MOST_ORDERS:
            for order in itertools.permutations(range(len(joined))):
                if order != tuple(range(len(joined))):
                    named = ", ".join(str(place + 1) for place in order)
                    changed = replace(step, inputs=(*(joined[place] for place in order), *axis))
                    yield f"with its inputs in the order {named}", changed


def other_weights(step: Step) -> Iterator[tuple[str, Step]]:
    """The weights transposed, rotated, in another order, or left out."""
    if step.op in _CONVOLUTIONS:
        yield "with the rows and columns of its kernel swapped", _changed(step, kernel="transposed")
        yield "with its kernel rotated by 180 degrees", _changed(step, kernel="rotated")
        yield (
            "with its kernel's input channels reversed (BGR for RGB)",
            _changed(step, kernel="channels reversed"),
        )
    elif step.op in BATCH_NORMS:
        x, gamma, beta, mean, variance = step.inputs
        yield "with gamma and beta swapped", replace(step, inputs=(x, beta, gamma, mean, variance))
        yield "with mean and variance swapped", replace(step, inputs=(x, gamma, beta, variance, mean))
        if isinstance(gamma, np.ndarray) and isinstance(beta, np.ndarray):
            yield "without gamma", replace(step, inputs=(x, np.ones_like(gamma), beta, mean, variance))
            yield "without beta", replace(step, inputs=(x, gamma, np.zeros_like(beta), mean, variance))
    elif step.op == "BiasAdd":
        yield "left out", Step("Identity", step.inputs[:1])


_CONVOLUTIONS = IMAGE_CONVOLUTIONS | {"Conv2DBackpropInput"}
_NORMS = BATCH_NORMS | {"LayerNorm"}
_ORDERED_PAIRS = MATRIX_PRODUCTS | {
    "Sub", "RealDiv", "Div", "FloorDiv", "FloorMod", "Pow", "Atan2", "Greater", "GreaterEqual", "Less",
    "LessEqual", "DivNoNan",
}  # fmt: skip

_RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (RESIZES, _resizing),
    (_CONVOLUTIONS | IMAGE_POOLS, _padding),
    (_CONVOLUTIONS | IMAGE_POOLS, _strides),
    (PADS, _moved_padding),
    (IMAGE_POOLS, _outside),
    (_NORMS, _epsilon),
    (frozenset({"LeakyRelu", "Elu", "HardSigmoid", "Gelu"}), _parameter),
    (frozenset({"Relu", "Relu6", "LeakyRelu"}), _products),
    (frozenset({"ReLU"}), _threshold),
    (frozenset(ACTIVATIONS) - {"Identity", "Exp"}, _activation),
    (frozenset({"Softmax", "LogSoftmax"}), _axis),
    (REDUCTIONS, _reduced),
    (frozenset({"RealDiv", "Div", "FloorDiv", "FloorMod"}), _division),
    (frozenset({"Round", "Cast"}), _rounding),
    (frozenset({"Maximum", "Minimum"}), _nan),
    (frozenset({"Mul"}), _product),
    (MATRIX_PRODUCTS, _transposing),
    (frozenset({"Transpose"}), _inverse),
    (frozenset({"Reshape", "DepthToSpace", "SpaceToDepth", "DepthwiseConv2dNative"}), _channels),
    (frozenset({"Cumsum"}), _cumulative),
    (frozenset({"GRU", "LSTM"}), _recurrent),
)
