from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.formats import strict_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_valid_json_is_parsed_as_by_json_loads(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert strict_json.loads(text) == value
    assert strict_json.loads(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "'a' appears twice"),
        ('[{"x": {"\\u0061": 1, "a": 2}}]', "'a' appears twice"),
        ("NaN", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("1e999", "too large for float64"),
        ("9" * 21, "more than 20 digits"),
        ("9" * 10_000, "more than 20 digits"),
        ('"\\ud800"', "not valid Unicode"),
        ('{"\\uDFFF": 1}', "not valid Unicode"),
        ("[" * 201 + "]" * 201, "nested deeper"),
        ('{"a":' * 201 + "1" + "}" * 201, "nested deeper"),
        ('[{"]]]]":' * 101 + "1" + "}]" * 101, "nested deeper"),
        ("[" * 200_000, "nested too deeply"),
        ('"\n"', "control character"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_ambiguous_json_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        strict_json.loads(text)


def test_bytes_that_are_not_utf8_are_refused():
    with pytest.raises(ValueError, match="utf-8"):
        strict_json.loads(b'"\xff"')


def test_deep_json_and_brackets_in_strings_are_parsed():
    assert strict_json.loads("[" * 200 + "]" * 200)
    assert strict_json.loads(json.dumps(["[" * 1000, '\\"{{{{' * 1000, "\U0001f600"]))[2] == "\U0001f600"
    assert strict_json.loads("[" + "[]," * 10_000 + "1]")[-1] == 1
