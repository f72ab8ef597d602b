"""The set of TF.js operations is the converter's list without file access and printing."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_tfjs.errors import SourceError
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.reference.running.tfjs_operations import TFJS_OPERATIONS
from tests.support.artifact_mutants import operations_listed
from tests.support.tiny_graphs import node, placeholder, write_graph

pytestmark = pytest.mark.convert


def test_operations_are_those_of_the_converter_without_file_access_and_printing():
    listed = {entry["tfOpName"] for entry in operations_listed()}
    assert {name for name in listed - TFJS_OPERATIONS if not name.startswith("SimpleML")} == {"Print"}
    assert listed >= TFJS_OPERATIONS


WITHOUT = "Build the model without it"
STRIPPED = "tensorflowjs_converter --strip_debug_ops=True"
UNUSABLE = {
    "ReadFile": WITHOUT, "WriteFile": WITHOUT, "PyFunc": WITHOUT, "MatchingFiles": WITHOUT,
    "Print": STRIPPED, "Assert": STRIPPED,
}  # fmt: skip


@pytest.mark.parametrize("op", UNUSABLE)
def test_a_graph_with_operations_that_tfjs_does_not_execute_is_rejected(op, tmp_path):
    pytest.importorskip("tensorflow")
    from pytest_tfjs.reference.running.converted_graph import ConvertedGraph

    nodes = [
        placeholder("x", 2),
        node("Const", "name", dtype={"type": "DT_STRING"}, value={"tensor": {"dtype": "DT_STRING"}}),
        node(op, "bad", "name", "name"),
        node("Identity", "y", "x", "^bad"),
    ]
    path = write_graph(tmp_path, nodes, {}, inputs={"x": "x:0"}, outputs={"y": "y:0"})
    with pytest.raises(SourceError, match=f"'{op}', which TensorFlow.js does not execute") as caught:
        ConvertedGraph(read_artifacts(path)).run({"x:0": np.zeros(2, np.float32)}, ["y:0"])
    assert UNUSABLE[op] in str(caught.value)
    assert "quantised" not in str(caught.value)
