"""Zeros of the wrong sign count where a later layer is wrong because it divides by them."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.allowance import Allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.zero_signs import wrong_zeros
from pytest_tfjs.compare.results import Alone
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.compare.zero_division import divided_layers
from tests.support.comparisons import TOLERANCE, f32, layer

INF = np.inf


def rows(*ops):
    """A chain of layers of these operations."""
    return [layer(f"l{at}", *([f"l{at - 1}"] if at else []), op=op) for at, op in enumerate(ops)]


@pytest.mark.parametrize(
    ("ops", "found"),
    [
        (("Relu", "Reciprocal"), {"l0"}),
        (("Relu", "Mul+RealDiv"), {"l0"}),
        (("Conv2D", "Relu", "Reshape", "Atan2", "Tanh"), {"l0", "l1", "l2"}),
        (("Relu", "AddV2", "RealDiv"), {"l1"}),
        (("Relu", "Mul", "Softmax"), set()),
    ],
)
def test_layers_in_front_of_a_division_are_those_whose_zeros_reach_it(ops, found):
    assert divided_layers(rows(*ops)) == found


def test_a_layer_whose_zeros_do_not_arrive_is_not_blamed():
    """The sum is right alone, and its zeros have the right sign there."""
    for between, first in (("Mul", ("l0",)), ("AddV2", ("l2",))):
        values = {"l0": f32(0, 2), "l1": f32(0, 2), "l2": f32(INF, 0.5)}
        actual = {"l0": f32(-0.0, 2), "l1": f32(-0.0, 2), "l2": f32(-INF, 0.5)}
        layers = [*rows("Relu", between), layer("l2", "l1", op="Reciprocal", output=True)]
        local = {
            name: measure_local(value, value, Arithmetic(exact=True), Allowance())
            for name, value in values.items()
        }
        zeros = wrong_zeros(actual["l0"], values["l0"])
        found = judge(
            layers,
            {name: measure(actual[name], values[name], TOLERANCE) for name in values},
            dict.fromkeys(values, TOLERANCE),
            alone=Alone(local=local, wrong_zeros={"l0": zeros}),
        )
        assert found.first_divergence == first


def judged(second, *, op="Reciprocal", given=0.0, local=None, right=INF, maker=None):
    """A ReLU that gives `given` for 0, and a layer that gives `second` for it, where `right` is right."""
    relu, divided = f32(given, 2), f32(second, 0.5)
    expected = {"l0": f32(0, 2), "l1": f32(right, 0.5)}
    alone = {"l0": relu if maker is None else maker, "l1": expected["l1"] if local is None else local}
    return judge(
        rows("Relu", op),
        {"l0": measure(relu, expected["l0"], TOLERANCE), "l1": measure(divided, expected["l1"], TOLERANCE)},
        {"l0": TOLERANCE, "l1": TOLERANCE},
        alone=Alone(
            local={
                name: measure_local(alone[name], expected[name], Arithmetic(exact=True), Allowance())
                for name in alone
            },
            wrong_zeros={} if (found := wrong_zeros(relu, expected["l0"])) is None else {"l0": found},
        ),
    )


def test_the_layer_that_gave_the_zero_is_blamed():
    found = judged(-INF, given=-0.0)
    assert (found.verdict, found.first_divergence) == ("diverged", ("l0",))
    assert found.results[0].divided_by == "l1"
    assert found.results[0].reason == (
        "1 element is -0 in the browser and 0 in the reference, and 'l1' divides by it"
    )


@pytest.mark.parametrize("angle", [-np.pi, 0.0])
def test_an_angle_is_off_by_a_half_turn_or_a_whole_one(angle):
    """`atan2(-0, -1)` is -π, and `atan2(0, -0)` is π."""
    assert judged(angle, given=-0.0, op="Atan2", right=np.pi).first_divergence == ("l0",)


def test_an_angle_that_is_wrong_by_something_else_is_not_blamed_on_zeros():
    for angle in (3.0, 0.1, -3.0, np.nan):
        assert "l0" not in judged(angle, given=-0.0, op="Atan2", right=np.pi).first_divergence


def test_zeros_are_equal_where_nothing_is_wrong_for_them():
    assert judged(INF, given=-0.0).verdict == "close"


def test_a_layer_that_is_wrong_alone_is_not_blamed_for_its_zeros():
    found = judged(-INF, given=-0.0, maker=f32(-0.0, 7))
    assert found.first_divergence == ("l0",)
    assert found.results[0].divided_by is None


def test_a_layer_that_is_wrong_for_another_reason_is_blamed_itself():
    assert judged(3.0, given=-0.0).first_divergence == ("l1",)
    assert judged(-INF, given=-0.0, op="Softmax").first_divergence == ("l1",)
    assert judged(-INF, given=-0.0, local=f32(-INF, 0.5)).first_divergence == ("l1",)
    assert judged(-INF, given=0.0).first_divergence == ("l1",)
