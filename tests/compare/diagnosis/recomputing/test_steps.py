"""Steps that cannot be recomputed raise an error which says why."""

from __future__ import annotations

import pytest

from pytest_tfjs.compare.diagnosis.recomputing.steps import CannotRecompute, Step, evaluate
from tests.support.recomputed_steps import values


def test_unknown_operation_cannot_be_recomputed():
    with pytest.raises(CannotRecompute, match="TensorListStack cannot be recomputed in numpy"):
        evaluate([Step("TensorListStack", ())])


def test_step_with_unsuitable_inputs_cannot_be_recomputed():
    with pytest.raises(
        CannotRecompute,
        match="Conv2D cannot be recomputed on these inputs: "
        "the input has 3 channels, not a multiple of the kernel's 4",
    ):
        evaluate([Step("Conv2D", (values(1, 4, 4, 3), values(1, 1, 4, 2)))])
