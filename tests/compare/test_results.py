"""The printed form of a comparison's results."""

from __future__ import annotations

import pytest

from tests.support.comparisons import close, comparison, layer, target, wrong


@pytest.mark.parametrize(("count", "shown"), [(1, "1 layer"), (40, "40 layers")])
def test_the_repr_of_a_comparison_is_one_short_line(count, shown):
    layers = [layer(f"layer{number}") for number in range(count)]
    compared = comparison(layers, {one.name: close() for one in layers})
    assert repr(compared) == str(compared) == f"<Comparison of 'digits' on {target()}: close, {shown}>"


def test_the_repr_of_a_comparison_that_diverged_has_the_reason():
    compared = comparison([layer("dense")], {"dense": wrong()})
    assert repr(compared) == (
        f"<Comparison of 'digits' on {target()}: diverged ({compared.reason}), 1 layer>"
    )
    assert "dense" in repr(compared)
