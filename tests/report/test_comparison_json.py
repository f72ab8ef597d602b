"""The JSON of a comparison: its schema, its numbers, and that it is strict JSON."""

from __future__ import annotations

import json
import math
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.junit_properties import junit_properties
from pytest_tfjs.timing import Timing
from tests.support.comparisons import close, comparison, everything, layer, measured, target, wrong

NUMBER = (int, float)


OPTIONAL_NUMBER = (int, float, types.NoneType)


OPTIONAL_STR = (str, types.NoneType)


# The documented schema: each key with the types it may have.
COMPARISON = {
    "test": str,
    "model": str,
    "format": str,
    "weights": str,
    "target": dict,
    "verdict": str,
    "reason": OPTIONAL_STR,
    "first_divergence": list,
    "outputs": list,
    "output_names": dict,
    "layers": list,
    "timing": (dict, types.NoneType),
    "bytes": dict,
}


TARGET = {
    "browser": str,
    "browser_version": str,
    "backend": str,
    "variant": OPTIONAL_STR,
    "flags": dict,
    "renderer": OPTIONAL_STR,
    "software": (bool, types.NoneType),
    "float32_textures": (bool, types.NoneType),
}


LAYER = {
    "name": str,
    "op": str,
    "inputs": list,
    "shape": (list, types.NoneType),
    "dtype": OPTIONAL_STR,
    "coverage": str,
    "into": OPTIONAL_STR,
    "verdict": OPTIONAL_STR,
    "max_abs": OPTIONAL_NUMBER,
    "max_rel": OPTIONAL_NUMBER,
    "rms": OPTIONAL_NUMBER,
    "allowed": OPTIONAL_NUMBER,
    "local_error": OPTIONAL_NUMBER,
    "propagated_error": OPTIONAL_NUMBER,
}


TIMING = {
    "load_ms": NUMBER,
    "first_ms": NUMBER,
    "warm_ms": list,
    "median_ms": OPTIONAL_NUMBER,
    "p95_ms": OPTIONAL_NUMBER,
}


def assert_schema(found: dict, schema: dict) -> None:
    for key, kind in schema.items():
        assert key in found
        assert isinstance(found[key], kind), key
    for key, value in found.items():
        if value is None and isinstance(schema.get(key), tuple) and float in schema[key]:
            assert found["null_reasons"][key].strip(), key


def assert_conforms(found: dict) -> None:
    assert_schema(found, COMPARISON)
    assert_schema(found["target"], TARGET)
    for each in found["layers"]:
        assert_schema(each, LAYER)
    if found["timing"] is not None:
        assert_schema(found["timing"], TIMING)
    assert found["bytes"].keys() == {"artifacts", "activations"}
    assert_builtins(found)


def assert_builtins(value: object) -> None:
    assert type(value) in {dict, list, str, int, float, bool, types.NoneType}
    if isinstance(value, float):
        assert math.isfinite(value)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_builtins(part)


TIMED = Timing(np.float64(120.5), 80, (np.float32(3), 4.5))


NAMES = st.text(st.characters(codec=None), min_size=1, max_size=12)


# ---- JUnit ----


def assert_scalars(properties: list) -> None:
    for name, value in properties:
        assert type(name) is str
        assert type(value) in {str, int, float, bool}
        assert not isinstance(value, str) or value.isprintable()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"timing": TIMED},
        {"timing": Timing(1.0, 2.0, ())},
        {"verdict": "error", "reason": "boom", "stage": "loading the model", "stack": "at f (x.js:1)"},
        {"target": target(flags={"A": np.bool_(True), "B": np.float32(0.5), "C": math.inf}, software=True)},
        {"bytes": {"artifacts": np.int64(7), "activations": 0}},
    ],
)
def test_every_documented_key_has_its_type(fields):
    entry = comparison_to_json(everything(**fields))
    assert_conforms(entry)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


def test_missing_and_infinite_numbers_have_null_reasons():
    layers = {each["name"]: each["null_reasons"] for each in comparison_to_json(everything())["layers"]}
    assert layers["close"].keys() == {"local_error", "propagated_error"}
    assert layers["nan"]["max_abs"] == "NaN or Inf are at different elements"
    assert layers["nan"]["needed"] == "no tolerance would let the layer pass"
    assert layers["shape"]["rms"] == "shape [2, 2] in the browser, [4] in the reference"
    assert layers["gone"]["max_abs"] == "the browser returned no activation"
    assert layers["fused"]["max_abs"] == "not compared: fused"
    assert layers["all nan"]["allowed"] == "no element is finite"


def test_outputs_have_their_names_in_the_signature():
    layers = [
        layer("a"),
        layer("b", "a", output=True, output_names=("boxes", "same")),
        layer("c", output=True),
    ]
    found = comparison_to_json(comparison(layers, {"a": close(), "b": close(), "c": close()}))
    assert found["output_names"] == {"b": ["boxes", "same"], "c": []}


def test_flags_keep_their_type():
    flags = {"A": np.bool_(True), "B": np.int64(2), "C": 0.5}
    entry = comparison_to_json(everything(target=target(flags=flags)))["target"]["flags"]
    assert [type(value) for value in entry.values()] == [bool, int, float]


def test_numbers_match_the_metrics():
    layers = {each["name"]: each for each in comparison_to_json(everything())["layers"]}
    found, metrics = layers["wrong"], wrong()
    assert found["max_abs"] == found["worst_error"] == 5
    assert (found["allowed"], found["needed"], found["rms"]) == (metrics.allowed, metrics.needed, 2.5)
    assert (found["worst"], found["worst_feed"], found["mismatched"], found["elements"]) == ([3], 0, 1, 4)
    assert found["tolerance"] == {"rtol": 1e-3, "atol": 1e-4, "absolute": False}
    assert layers["fused"]["into"] == "close"


def test_page_error_has_reason_stage_and_stack():
    entry = comparison_to_json(everything(verdict="error", reason="boom", stage="loading", stack="at f"))
    assert (entry["verdict"], entry["reason"], entry["stage"], entry["stack"]) == (
        "error",
        "boom",
        "loading",
        "at f",
    )


@given(
    NAMES,
    st.lists(st.floats(width=32), min_size=1, max_size=4),
    st.lists(st.floats(width=32), min_size=1, max_size=4),
)
@settings(max_examples=200)
def test_json_is_strict_for_any_names_and_numbers(name, actual, reference):
    made = comparison([layer(name)], {name: measured(actual, reference)}, model=name, test=name)
    entry = comparison_to_json(made)
    assert_conforms(entry)
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert_scalars(junit_properties(entry))
