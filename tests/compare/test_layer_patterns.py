"""Matching layer names against patterns, and the message when nothing matches."""

from __future__ import annotations

import ast

import pytest

from pytest_tfjs.compare.layer_patterns import input_names, matches, matches_nothing, names_of
from tests.support.comparisons import layer
from tests.support.paths import ROOT


def test_layer_names_are_its_name_members_and_group():
    assert names_of(layer("relu", members=("conv", "bias"), group="block")) == (
        "relu",
        "conv",
        "bias",
        "block",
    )
    assert names_of(layer("relu")) == ("relu",)
    assert names_of(layer("relu", output=True, output_names=("a", "b"))) == ("relu", "a", "b")


def test_an_input_is_known_with_and_without_the_number_of_its_tensor():
    assert set(input_names("x")) == set(input_names("x:0")) == {"x", "x:0"}
    assert "x:10" not in input_names("x:1")


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("block_*/conv", "block_1/conv", True),
        ("block_?", "block_12", False),
        ("conv[12]", "conv2", True),
        ("out[0]", "out[0]", True),
        ("conv", "Conv", False),
        ("conv", "conv_1", False),
        ("*", "", True),
    ],
)
def test_patterns_are_globs_and_a_name_matches_itself(pattern, name, expected):
    assert matches(pattern, [name]) is expected


def test_one_matching_name_is_enough():
    assert matches("b", ["a", "b"])
    assert not matches("b", [])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["dense_1", "dense_2", "pool", "dense_1"], "; close names: 'dense_2', 'dense_1'"),
        (["a", "b", "a", "c", "d", "e", "f"], "; the first names: 'a', 'b', 'c', 'd', 'e'"),
        ([], ": there is none"),
    ],
)
def test_message_lists_close_names_or_the_first_names(names, message):
    beginning = "per_layer pattern 'dnse*' matches no compared layer"
    assert matches_nothing("per_layer", "dnse*", "compared layer", names) == beginning + message


def test_no_other_module_of_compare_or_workflows_matches_patterns():
    users = {
        path.name
        for folder in ("compare", "workflows", "report")
        for path in (ROOT / "pytest_tfjs" / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom | ast.Import)
        and "fnmatch" in {getattr(node, "module", None), *(alias.name for alias in node.names)}
    }
    assert users == {"layer_patterns.py"}
