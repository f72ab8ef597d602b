from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tfjs.compare.diagnosis.evidence import Evidence
from pytest_tfjs.compare.harmful_layers import with_harm
from pytest_tfjs.compare.results import LayerResult
from tests.support.comparisons import comparison, layer

BASE = Evidence(layer=None, target="webgl")
ROWS = [layer("relu", op="Relu"), layer("end", "relu", op="Reciprocal")]


def evidence(**fields):
    """The evidence on `relu`, which is close and blamed for what the fields say."""
    row = replace(LayerResult(ROWS[0], "close", None, None, None), **fields)
    return with_harm(comparison(ROWS, {}), row, BASE)


@pytest.mark.parametrize(
    ("inputs", "said"), [(("x",), "its input 'x'. Other"), (("x", "y"), "its input 'x' and 'y'. Other")]
)
def test_a_layer_that_writes_into_its_inputs(inputs, said):
    found = evidence(spoils_inputs=True, overwrites=inputs)
    assert (found.layer, found.divided) == ("relu", None)
    assert found.overwrites.startswith("webgl's kernel of Relu computes the right values, but writes into ")
    assert said in found.overwrites


def test_a_layer_whose_zeros_another_divides_by():
    found = evidence(divided_by="end")
    assert (found.layer, found.overwrites) == ("relu", None)
    assert "'end' (Reciprocal)" in found.divided
