"""What sound layers are off by alone is allowed of the layers behind them."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.compare.carried_errors import AcceptedError, CarriedErrors, note_on_accepted
from pytest_tfjs.compare.layers import Layer
from pytest_tfjs.compare.numbers.allowance import Allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import EXACT

VALUE = np.array([1.0, -4.0, 2.0], np.float32)
INPUTS = {"first": (), "second": ("first",), "beside": (), "last": ("second", "beside")}


def local(error, allowed):
    return measure_local(VALUE + np.float32(error), VALUE, Arithmetic(), Allowance(floor=allowed))


def whole(scale, error=0.25):
    """The metrics in the whole run of a layer whose largest value is `scale`."""
    reference = np.array([scale, 0.0], np.float32)
    return measure(reference + np.float32(error), reference, EXACT)


def carried(**errors):
    found = CarriedErrors(INPUTS)
    for name, error in errors.items():
        found.add(name, local(error, 10.0))
    return found


def test_the_error_is_relative_to_the_largest_values():
    errors = carried(first=0.5)
    # 0.5 of 4 alone, 20 times as much at most in a layer whose largest value is 8.
    assert errors.allowed("second", whole(8.0), None) == pytest.approx(20 * 0.5 / 4 * 8)
    assert errors.allowed("last", whole(8.0), None) == errors.allowed("second", whole(8.0), None)


def test_only_layers_before_count():
    errors = carried(second=0.5)
    assert errors.allowed("first", whole(1.0), None) == 0
    assert errors.allowed("beside", whole(1.0), None) == 0
    assert errors.allowed("second", whole(1.0), None) == 0
    assert errors.allowed("last", whole(1.0), None) > 0


def test_errors_of_several_layers_add_up_as_independent_ones():
    one, two = (
        carried(second=0.3).allowed("last", whole(1.0), None),
        carried(beside=0.4).allowed("last", whole(1.0), None),
    )
    assert carried(second=0.3, beside=0.4).allowed("last", whole(1.0), None) == pytest.approx(
        np.hypot(one, two)
    )


def test_a_wrong_layer_excuses_nothing():
    errors = CarriedErrors(INPUTS)
    errors.add("first", local(0.5, 0.4))
    assert errors.allowed("second", whole(1.0), None) == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_excuses_nothing(wrong):
    errors = CarriedErrors(INPUTS)
    errors.add("first", local(wrong, 10.0))
    assert errors.allowed("second", whole(1.0), None) == 0


def test_terms_that_cancel_enlarge_the_error():
    errors = carried(first=0.5)
    plain = errors.allowed("second", whole(4.0), Arithmetic(terms=4, magnitude=np.abs(VALUE)))
    assert plain == errors.allowed("second", whole(4.0), None)
    cancelling = Arithmetic(terms=4, magnitude=np.float32([1, 2000, 3]))
    assert errors.allowed("second", whole(4.0), cancelling) == pytest.approx(plain * 2000 / 2 / 4)


def test_a_function_that_enlarges_errors_excuses_nothing():
    errors = carried(first=0.5)
    steep = Arithmetic(functions=("Cos",), magnitude=np.float32([1, 2000, 3]))
    assert errors.allowed("second", whole(4.0), steep) == errors.allowed("second", whole(4.0), None)


def test_an_accepted_error_is_passed_on():
    errors = carried(first=1e-7)
    before = errors.allowed("last", whole(1.0), None)
    assert errors.accept("second", whole(1.0)) == AcceptedError(
        0.25, "first", pytest.approx(1e-7 / 4, rel=0.2)
    )
    assert errors.allowed("last", whole(1.0), None) == pytest.approx(20 * 0.25)
    assert before < 1e-5


def test_values_where_the_reference_has_none_are_passed_on():
    errors = CarriedErrors(INPUTS)
    nothing = np.zeros(3, np.float32)
    errors.add(
        "first", measure_local(nothing + np.float32(1e-9), nothing, Arithmetic(), Allowance(floor=1e-7))
    )
    assert errors.allowed("second", whole(0.0, 5e-10), None) == pytest.approx(20 * 5e-10)
    assert errors.allowed("second", whole(1e-12, 5e-10), None) == pytest.approx(20 * 1e-12)


def layers(*outputs):
    return {
        name: Layer(name, op, (), (3,), "float32", "compared", output=name in outputs)
        for name, op in (("curved", "Elu"), ("dense", "Dense"))
    }


def test_the_note_names_the_output_and_where_its_error_comes_from():
    own, passed_on = AcceptedError(0.04, "curved", 0.04), AcceptedError(0.03, "curved", 0.04)
    (note,) = note_on_accepted(layers("dense"), {"curved": own, "dense": passed_on})
    assert note == (
        "'dense' is off by 3.0e-02 of its largest value. The error comes from 'curved' (Elu), which alone is "
        "off by 4.0e-02 of its largest value. Rounding explains that, so no layer is wrong; but the browser "
        "computes the values no better than that"
    )
    (other,) = note_on_accepted(layers(), {"curved": own, "dense": passed_on})
    assert other.startswith("'curved' is off by 4.0e-02")


def test_the_note_names_a_layer_that_made_its_error_once():
    (note,) = note_on_accepted(layers(), {"curved": AcceptedError(0.02, "curved", 0.02)})
    assert note.startswith("'curved' is off by 2.0e-02 of its largest value. Rounding explains that")


def test_the_note_tells_of_values_that_are_lost():
    (note,) = note_on_accepted(layers(), {"curved": AcceptedError(1.1, "curved", 1.1)})
    assert note.endswith("but the browser loses values as small as these: feed inputs that give larger ones")


def test_nothing_accepted_is_not_noted():
    assert list(note_on_accepted(layers(), {})) == []
