"""The nodes of a Keras 3 graph model are reported by the layers that made them."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.convert]

TEST = """
from pytest_tfjs import Tolerance

def test_close(tfjs, x, models):
    tfjs.assert_close(models / "tiny.keras", x, per_layer={"hidden": Tolerance(rtol=1e-3, atol=1e-3)})
"""


@pytest.fixture(scope="module")
def project(tiny_project):
    made = tiny_project("grouped")
    made.write(test_model=TEST)
    return made


@pytest.mark.parametrize("verbosity", ["-v", "-vv"])
def test_one_line_per_layer_and_nodes_on_request(project, verbosity):
    run = project.run(verbosity, "--tfjs-backends=wasm")
    assert run.code == pytest.ExitCode.OK, run.text
    layers = run.results["comparisons"][0]["layers"]
    compared = {layer["name"]: layer for layer in layers if layer["coverage"] == "compared"}
    assert {(layer["group"], layer["group_op"]) for layer in compared.values()} == {
        ("hidden", "Dense"),
        ("scores", "Dense"),
    }
    hidden = {name for name, layer in compared.items() if layer["group"] == "hidden"}
    assert {name for name, layer in compared.items() if layer["given"]} == hidden
    lines = run.section("tfjs layers")
    for group in ("hidden", "scores"):
        assert sum(line.startswith(f"{group} ") for line in lines) == 1
    nodes = {line.split()[0] for line in lines if line.startswith("  ")}
    assert (hidden <= nodes) == (verbosity == "-vv")
    assert not nodes or verbosity == "-vv"
