from __future__ import annotations

import json
import math
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.report import json_report
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.json_report import environment_to_json, write_json
from pytest_tfjs.report.junit_properties import junit_properties
from pytest_tfjs.timing import Timing
from tests.support.comparisons import TOLERANCE, close, comparison, layer, measured, target, wrong

NUMBER = (int, float)
OPTIONAL_NUMBER = (int, float, types.NoneType)
OPTIONAL_STR = (str, types.NoneType)

# The schema of the design, by hand: of each key the types it may have.
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


def conforms(found: dict, schema: dict) -> None:
    for key, kind in schema.items():
        assert key in found
        assert isinstance(found[key], kind), key
    for key, value in found.items():
        if value is None and isinstance(schema.get(key), tuple) and float in schema[key]:
            assert found["null_reasons"][key].strip(), key


def conforms_throughout(found: dict) -> None:
    conforms(found, COMPARISON)
    conforms(found["target"], TARGET)
    for each in found["layers"]:
        conforms(each, LAYER)
    if found["timing"] is not None:
        conforms(found["timing"], TIMING)
    assert found["bytes"].keys() == {"artifacts", "activations"}
    assert_builtins(found)


def assert_builtins(value: object) -> None:
    assert type(value) in {dict, list, str, int, float, bool, types.NoneType}
    if isinstance(value, float):
        assert math.isfinite(value)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_builtins(part)


def everything(**fields):
    """A comparison with a layer of each kind that a report may meet."""
    nan = measured([math.nan, 1], [1, 1])
    metrics = {
        "close": close(),
        "wrong": wrong(),
        "nan": nan,
        "all nan": measured([math.nan], [math.nan]),
        "shape": measure(np.ones((2, 2), np.float32), np.ones(4, np.float32), TOLERANCE),
        "empty": measured([], []),
        "gone": measure(None, np.ones(4, np.float32), TOLERANCE),
        "zero": measured([1e-9], [0]),
        "text": measure(np.array(["a"], object), np.array(["b"], object), TOLERANCE),
    }
    away = [
        layer("fused", coverage="fused", into="close", reason="part of it", shape=None, dtype=None),
        layer("eliminated", coverage="eliminated", reason="identity", shape=None, dtype=None),
        layer("unmapped", coverage="unmapped", reason="nothing found", shape=None, dtype=None),
    ]
    return comparison([*(layer(name, "close") for name in metrics), *away], metrics, **fields)


TIMED = Timing(np.float64(120.5), 80, (np.float32(3), 4.5))


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
def test_every_key_of_the_design_is_there_with_its_type(fields):
    told = comparison_to_json(everything(**fields))
    conforms_throughout(told)
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_missing_and_infinite_numbers_have_their_reason_beside_them():
    layers = {each["name"]: each["null_reasons"] for each in comparison_to_json(everything())["layers"]}
    assert layers["close"].keys() == {"local_error", "propagated_error"}
    assert layers["nan"]["max_abs"] == "NaN or Inf stand where the other has another value"
    assert layers["nan"]["needed"] == "no tolerance would have passed"
    assert layers["shape"]["rms"] == "shape [2, 2] in the browser, [4] in the reference"
    assert layers["gone"]["max_abs"] == "the browser gave no activation"
    assert layers["fused"]["max_abs"] == "not compared: fused"
    assert layers["all nan"]["allowed"] == "no element is finite"


def test_flags_keep_their_type():
    flags = {"A": np.bool_(True), "B": np.int64(2), "C": 0.5}
    told = comparison_to_json(everything(target=target(flags=flags)))["target"]["flags"]
    assert [type(value) for value in told.values()] == [bool, int, float]


def test_the_numbers_are_those_of_the_metrics():
    layers = {each["name"]: each for each in comparison_to_json(everything())["layers"]}
    found, metrics = layers["wrong"], wrong()
    assert found["max_abs"] == found["worst_error"] == 5
    assert (found["allowed"], found["needed"], found["rms"]) == (metrics.allowed, metrics.needed, 2.5)
    assert (found["worst"], found["worst_feed"], found["mismatched"], found["elements"]) == ([3], 0, 1, 4)
    assert found["tolerance"] == {"rtol": 1e-3, "atol": 1e-4, "absolute": False}
    assert layers["fused"]["into"] == "close"


def test_the_page_error_is_told():
    told = comparison_to_json(everything(verdict="error", reason="boom", stage="loading", stack="at f"))
    assert (told["verdict"], told["reason"], told["stage"], told["stack"]) == (
        "error",
        "boom",
        "loading",
        "at f",
    )


NAMES = st.text(st.characters(codec=None), min_size=1, max_size=12)


@given(
    NAMES,
    st.lists(st.floats(width=32), min_size=1, max_size=4),
    st.lists(st.floats(width=32), min_size=1, max_size=4),
)
@settings(max_examples=200)
def test_whatever_the_names_and_numbers_the_json_is_strict(name, actual, reference):
    made = comparison([layer(name)], {name: measured(actual, reference)}, model=name, test=name)
    told = comparison_to_json(made)
    conforms_throughout(told)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert_scalars(junit_properties(told))


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_the_file_holds_environment_and_comparisons(tmp_path):
    path = tmp_path / "new" / "folders" / "results.json"
    told = comparison_to_json(everything())
    write_json(path, environment_to_json(tfjs="4.22.0", tensorflow="2.19.0", pytest_tfjs="1.0"), [told])
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert found["schema"] == 1
    assert found["comparisons"] == [told]
    assert found["environment"].keys() == {"pytest_tfjs", "tfjs", "tensorflow", "python", "platform"}
    assert found["environment"]["tfjs"] == "4.22.0"
    assert [each.name for each in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize("bad", [{"x": math.nan}, {"x": math.inf}, {"x": object()}])
def test_what_is_no_json_leaves_the_old_file(tmp_path, bad):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {}, [bad])
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"results.json": "old"}


def test_a_write_that_fails_leaves_nothing(tmp_path):
    path = tmp_path / "results.json"
    path.mkdir()
    with pytest.raises(OSError, match=r"results\.json"):
        write_json(path, {}, [])
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_the_new_file_takes_the_place_of_the_old_one_at_once(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("old")
    seen = []
    replace = json_report.Path.replace

    def watched(self, new):
        seen.append((path.read_text(), json.loads(self.read_text())["schema"], self.parent == path.parent))
        return replace(self, new)

    monkeypatch.setattr(json_report.Path, "replace", watched)
    write_json(path, {}, [])
    assert seen == [("old", 1, True)]
    assert json.loads(path.read_text())["comparisons"] == []


def test_the_environment_has_the_given_versions():
    found = environment_to_json(tfjs=None, tensorflow="3.0.dev1", pytest_tfjs="1.0")
    assert (found["pytest_tfjs"], found["tfjs"], found["tensorflow"]) == ("1.0", None, "3.0.dev1")


# ---- JUnit ----


def assert_scalars(properties: list) -> None:
    for name, value in properties:
        assert type(name) is str
        assert type(value) in {str, int, float, bool}
        assert not isinstance(value, str) or value.isprintable()


def test_junit_properties_are_scalars_under_stable_names():
    found = junit_properties(comparison_to_json(everything(timing=TIMED)))
    assert_scalars(found)
    assert dict(found) == {
        "tfjs_model": "digits",
        "tfjs_target": "webgl on chrome",
        "tfjs_verdict": "diverged",
        "tfjs_reason": "5 of 8 compared layers diverged, first 'wrong', 'nan', 'shape' and 2 more",
        "tfjs_first_divergence": "wrong, nan, shape, zero, text",
        "tfjs_worst_layer": "nan",
        "tfjs_allowed": pytest.approx(1e-3 + 1e-4),
        "tfjs_first_ms": 80.0,
        "tfjs_median_ms": 3.75,
    }


def test_what_a_test_expects_is_told_with_its_reason():
    found = comparison_to_json(everything(), expected="0/0 is 1 there")
    assert (found["verdict"], found["expected"]) == ("diverged", "0/0 is 1 there")
    assert dict(junit_properties(found))["tfjs_expected"] == "0/0 is 1 there"
    assert comparison_to_json(everything())["expected"] is None


def test_a_comparison_without_layers_has_few_properties():
    found = junit_properties(comparison_to_json(comparison([], {}, verdict="error", reason="lost")))
    assert [name for name, _ in found] == ["tfjs_model", "tfjs_target", "tfjs_verdict", "tfjs_reason"]
