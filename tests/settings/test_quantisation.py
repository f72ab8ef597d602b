from __future__ import annotations

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.quantisation import patterns_of, quantisation_map, spell_weights


@pytest.mark.parametrize(
    ("value", "text", "dtype_map"),
    [
        ("float32", "float32", None),
        ({"float32": True}, "float32", None),
        ("uint8", "uint8", {"uint8": True}),
        ({"uint8": True}, "uint8", {"uint8": True}),
        ("uint8:*/kernel", "uint8:*/kernel", {"uint8": ["*/kernel"]}),
        ({"uint8": "*/kernel"}, "uint8:*/kernel", {"uint8": ["*/kernel"]}),
        (
            "uint8:a/*, float16 ,uint8:b/*",
            "uint8:a/*,float16,uint8:b/*",
            {"uint8": ["a/*", "b/*"], "float16": True},
        ),
        (
            {"uint8": ["a/*", "b/*"], "float16": True},
            "uint8:a/*,uint8:b/*,float16",
            {"uint8": ["a/*", "b/*"], "float16": True},
        ),
    ],
)
def test_weights_are_normalised_for_messages_and_the_converter(value, text, dtype_map):
    assert spell_weights(value) == text
    assert spell_weights(text) == text
    assert quantisation_map(text) == dtype_map
    assert patterns_of(text) == [p for ps in (dtype_map or {}).values() if ps is not True for p in ps]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("int4", "expected one of float32, float16, uint16, uint8"),
        ("", "expected one of float32"),
        (8, "or a mapping from dtype to patterns"),
        ({}, "the mapping is empty"),
        ({"uint8": []}, "expected a pattern, a list of patterns, or True"),
        ({"uint8": [], "float16": True}, "expected a pattern, a list of patterns, or True"),
        ({"uint8": [None]}, "expected a pattern, a list of patterns, or True"),
        ({"uint8": b"*"}, "expected a pattern, a list of patterns, or True"),
        ({"uint8": False}, "expected a pattern, a list of patterns, or True"),
        ({5: "*"}, "5 is not a dtype"),
        ({None: True}, "None is not a dtype"),
        ({"uint8": 3}, "expected a pattern, a list of patterns, or True"),
        ({"uint8": "a,b"}, "'a,b' is not a pattern"),
        ("uint8:", "'' is not a pattern"),
        ("uint8,float16", "expected one dtype for all"),
        (
            "uint8,uint8:*/kernel",
            "uint8 already applies to every weight that no pattern matches. Remove its pattern",
        ),
        ("float32:*/bias,uint8", "float32 cannot be combined"),
    ],
)
def test_invalid_weights_are_refused(value, message):
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")):
        spell_weights(value)
