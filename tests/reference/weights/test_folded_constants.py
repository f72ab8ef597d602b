"""Folded constants are checked by their effect on the first layer that uses them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_tfjs.compare.weight_check import Storage
from pytest_tfjs.errors import SourceError
from pytest_tfjs.reference.weights.folded_constants import ConstantsByEffect
from tests.support.comparisons import layer

X = np.float32([1, -2, 3])
TRUE = np.float32([0.5, 0.25, -0.125])
STEP = 0.01
INPUTS = {
    "bias": (),
    "beside": (),
    "loop": (("bias", 0), ("beside", 0)),
    "list": (("loop", 1),),
}
LAYERS = [
    layer("count", tap={"node": "loop:0"}),
    layer("total", tap={"node": "loop:2"}),
    layer("list", tap={"node": "list:0"}),
]
ROWS = {"loop": LAYERS[:2], "list": LAYERS[2:]}


def checked(stored, computes, storage=None, next_to=TRUE, **known):
    """The finding for `bias`, where `computes` gives each layer's activation from the two constants."""
    values = {"bias": stored, "beside": next_to}

    def run(row, constants):
        merged = {**values, **constants}
        expected = computes(row.name, TRUE, TRUE)
        return computes(row.name, merged["bias"], merged["beside"]), expected

    by_effect = ConstantsByEffect(
        stored=values,
        storage=storage or {},
        converted=SimpleNamespace(
            nodes={name: SimpleNamespace(name=name, inputs=inputs) for name, inputs in INPUTS.items()}
        ),
        users={"bias": ["loop"], "beside": ["loop"], "loop": ["list"]},
        rows=ROWS,
        source_value=known.get,
        run=run,
    )
    return by_effect.finding("bias")


def by_list(name, bias, beside):
    """Only the row that reads from the list depends on the constants."""
    return X * bias + beside if name == "list" else np.int32(3)


def by_second(name, bias, beside):
    return X * bias + beside if name == "total" else np.int32(3)


def by_none(name, bias, beside):
    del name, bias, beside
    return X


@pytest.mark.parametrize(("computes", "held_by"), [(by_list, "list"), (by_second, "total")])
def test_a_constant_is_checked_by_the_first_layer_it_affects(computes, held_by):
    found = checked(TRUE, computes)
    assert (found.state, found.layer) == ("folded", held_by)
    wrong = checked(TRUE + np.float32(0.01), computes)
    assert (wrong.state, wrong.layer) == ("differs", held_by)


def test_a_constant_without_effect_on_a_compared_layer_is_unverified():
    for stored in (TRUE, TRUE * 100):
        found = checked(stored, by_none)
        assert (found.state, found.layer) == ("unverified", "count")
        assert "no compared layer depends on the constant for this feed" in found.what


def test_a_constant_is_perturbed_up_and_down():
    def bounded(name, bias, beside):
        del name, beside
        return np.minimum(X / 10, bias + 1)

    assert checked(TRUE, bounded).state == "folded"


def test_a_constant_is_checked_even_if_changing_it_raises_an_error():
    def strict(name, bias, beside):
        del name, beside
        if not np.array_equal(bias, TRUE):
            raise SourceError("it does not run")
        return X

    assert checked(TRUE, strict).state == "folded"


def rounded(value):
    return (np.round(value / STEP) * STEP).astype(np.float32)


UINT8 = Storage("uint8", STEP, 0.0)


def test_half_a_quantisation_step_of_a_constant_is_allowed():
    true = np.float32([0.503, 0.254, -0.121])
    assert checked(rounded(TRUE + 0.004), by_list, {"bias": UINT8}).state == "folded"
    assert checked(rounded(true), by_list, {"bias": UINT8}).state == "folded"
    off = rounded(TRUE) + np.float32(3 * STEP)
    assert checked(off, by_list, {"bias": UINT8}).state == "differs"


def test_rounding_of_other_quantised_constants_is_allowed():
    beside = TRUE + np.float32(STEP / 2)
    storage = {"beside": UINT8}
    assert checked(TRUE, by_list, storage, beside).state == "folded"
    assert checked(TRUE, by_list, storage, beside, beside=TRUE).state == "folded"
    # If the source's value of the other constant is known, nothing is allowed for its rounding.
    small = TRUE + np.float32(0.002)
    assert checked(small, by_list, storage, TRUE).state == "folded"
    assert checked(small, by_list, storage, beside, beside=TRUE).state == "differs"
