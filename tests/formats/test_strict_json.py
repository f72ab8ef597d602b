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
def test_what_json_is_is_read_as_it_is(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert strict_json.loads(text) == value
    assert strict_json.loads(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "'a' is there twice"),
        ('[{"x": {"\\u0061": 1, "a": 2}}]', "'a' is there twice"),
        ("NaN", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("1e999", "beyond every float64"),
        ("9" * 21, "more than 20 digits"),
        ("9" * 10_000, "more than 20 digits"),
        ('"\\ud800"', "no Unicode"),
        ('{"\\uDFFF": 1}', "no Unicode"),
        ("[" * 201 + "]" * 201, "nested deeper"),
        ('{"a":' * 201 + "1" + "}" * 201, "nested deeper"),
        ('[{"]]]]":' * 101 + "1" + "}]" * 101, "nested deeper"),
        ("[" * 200_000, "nested too deep"),
        ('"\n"', "control character"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_what_readers_take_differently_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        strict_json.loads(text)


def test_bytes_that_are_no_utf8_are_refused():
    with pytest.raises(ValueError, match="utf-8"):
        strict_json.loads(b'"\xff"')


def test_what_is_deep_enough_and_what_only_looks_deep_is_read():
    assert strict_json.loads("[" * 200 + "]" * 200)
    assert strict_json.loads(json.dumps(["[" * 1000, '\\"{{{{' * 1000, "\U0001f600"]))[2] == "\U0001f600"
    assert strict_json.loads("[" + "[]," * 10_000 + "1]")[-1] == 1
