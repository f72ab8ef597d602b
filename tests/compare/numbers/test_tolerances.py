from __future__ import annotations

import math

import pytest

from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import (
    EXACT,
    Tolerance,
    carried,
    default_tolerance,
    resolve_tolerances,
)
from pytest_tfjs.errors import ToleranceError
from tests.support.comparisons import f32, layer

CLOSE, LOOSE = Tolerance(rtol=1e-6, atol=0), Tolerance(rtol=0.1, atol=0.1)


def resolve(*layers, backend="webgl", half=False, rtol=None, atol=None, per_layer=None):
    return resolve_tolerances(
        layers, backend=backend, half=half, rtol=rtol, atol=atol, per_layer=per_layer
    ).by_layer


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf, True, "1e-3", None, 10**400, [1]])
@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_invalid_tolerances_are_refused(name, value):
    with pytest.raises(ToleranceError, match=f"^{name}=.*expected a finite number, 0 or greater"):
        Tolerance(**{"rtol": 0.0, "atol": 0.0, name: value})


def test_whole_numbers_become_floats():
    assert type(Tolerance(rtol=0, atol=1).atol) is float


def test_the_floor_is_in_the_unit_of_the_activation():
    assert Tolerance(rtol=0, atol=0.01).floor(50) == 0.5
    assert Tolerance(rtol=0, atol=0.01, absolute=True).floor(50) == 0.01


@pytest.mark.parametrize("dtype", ["int32", "bool", "str", "uint8", None])
@pytest.mark.parametrize("half", [False, True])
def test_integers_bools_and_strings_are_exact_by_default(dtype, half):
    assert default_tolerance(dtype, "webgl", half) == EXACT


def test_defaults_are_looser_on_a_gpu_and_loosest_in_half_precision():
    cpu, wasm, webgl, webgpu = (
        default_tolerance("float32", backend, False) for backend in ("cpu", "wasm", "webgl", "webgpu")
    )
    half = default_tolerance("complex64", "webgl", True)
    assert cpu == wasm
    assert webgl == webgpu
    assert 0 < cpu.rtol < webgl.rtol < half.rtol
    assert 0 < cpu.atol < webgl.atol < half.atol


def test_rtol_and_atol_override_the_default_independently():
    default = default_tolerance("float32", "webgl", False)
    assert resolve(layer("a"), rtol=0.5)["a"] == Tolerance(0.5, default.atol)
    assert resolve(layer("a"), atol=0)["a"] == Tolerance(default.rtol, 0)


def test_integers_stay_exact_unless_they_are_named():
    ids = layer("ids", dtype="int32")
    assert resolve(ids, rtol=0.5, atol=0.5)["ids"] == EXACT
    assert resolve(ids, per_layer={"ids": LOOSE})["ids"] == LOOSE


def test_only_compared_layers_have_a_tolerance():
    assert resolve(layer("a"), layer("b", coverage="fused", into="a")).keys() == {"a"}


def test_a_later_pattern_wins():
    found = resolve(layer("block_1/conv"), layer("block_2/conv"), per_layer={"*": LOOSE, "*_2/*": CLOSE})
    assert found == {"block_1/conv": LOOSE, "block_2/conv": CLOSE}


def test_a_pattern_finds_a_layer_by_its_members():
    fused = layer("block/Relu6", members=("block/conv", "block/bias"))
    assert resolve(fused, per_layer={"*/conv": LOOSE})["block/Relu6"] == LOOSE


def test_a_pattern_finds_the_nodes_of_a_group():
    nodes = [layer("c_1/conv", group="c"), layer("c_1/add", group="c"), layer("c_2/conv", group="c_1")]
    found = resolve(*nodes, per_layer={"c": LOOSE})
    assert [found[node.name] == LOOSE for node in nodes] == [True, True, False]


def test_patterns_are_case_sensitive():
    with pytest.raises(ToleranceError):
        resolve(layer("Conv"), per_layer={"conv": LOOSE})


def test_a_name_with_brackets_matches_itself():
    assert resolve(layer("out[0]"), per_layer={"out[0]": LOOSE})["out[0]"] == LOOSE


def test_the_message_for_a_pattern_that_matches_nothing_names_close_layers():
    with pytest.raises(ToleranceError) as caught:
        resolve(layer("dense_1"), layer("dense_2"), layer("pool"), per_layer={"dnse*": LOOSE})
    assert str(caught.value) == (
        "per_layer pattern 'dnse*' matches no compared layer; close names: 'dense_2', 'dense_1'"
    )


def test_the_message_for_an_unlike_pattern_names_the_first_layers():
    with pytest.raises(ToleranceError, match="the first names: 'dense_1', 'pool'"):
        resolve(layer("dense_1"), layer("pool"), per_layer={"Q": LOOSE})


def test_a_pattern_if_no_layer_is_compared():
    with pytest.raises(ToleranceError, match="matches no compared layer: there is none"):
        resolve(per_layer={"*": LOOSE})


def test_the_message_says_why_a_layer_is_not_compared():
    gone = layer("drop", coverage="eliminated", reason="identity")
    with pytest.raises(ToleranceError, match=r"'drop' is eliminated \(identity\)"):
        resolve(layer("a"), gone, per_layer={"drop": LOOSE})


@pytest.mark.parametrize("value", [1e-3, (1e-3, 1e-4), None, {"rtol": 1}])
def test_per_layer_values_must_be_tolerances(value):
    with pytest.raises(ToleranceError, match=r"per_layer\['a'\] is .*expected a Tolerance"):
        resolve(layer("a"), per_layer={"a": value})


def test_denormals_may_be_zero_in_the_whole_run_if_the_layer_also_ran_alone():
    wide = carried(default_tolerance("float32", "wasm", half=False))
    assert measure(f32(1e-40, 0), f32(0, 0), wide).passed
    assert not measure(f32(1e-37, 0), f32(0, 0), wide).passed
    assert not measure(f32(1e-40, 0), f32(0, 0), default_tolerance("float32", "wasm", half=False)).passed
    assert carried(EXACT).floor(1.0) == 0
