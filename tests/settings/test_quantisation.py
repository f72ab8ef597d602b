from __future__ import annotations

import pytest

from pytest_tfjs.errors import SettingsError
from pytest_tfjs.settings.quantisation import patterns_of, quantisation_map, spell_weights


@pytest.mark.parametrize(
    ("given", "spelled", "converters"),
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
def test_what_is_meant_is_spelled_and_given_to_the_converter(given, spelled, converters):
    assert spell_weights(given) == spelled
    assert spell_weights(spelled) == spelled
    assert quantisation_map(spelled) == converters
    assert patterns_of(spelled) == [p for ps in (converters or {}).values() if ps is not True for p in ps]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("int4", "expected one of float32, float16, uint16, uint8"),
        ("", "expected one of float32"),
        (8, "or a mapping from dtype to patterns"),
        ({}, "the mapping is empty"),
        ({"uint8": []}, "expected a pattern, a list of them, or True"),
        ({"uint8": [], "float16": True}, "expected a pattern, a list of them, or True"),
        ({"uint8": [None]}, "expected a pattern, a list of them, or True"),
        ({"uint8": b"*"}, "expected a pattern, a list of them, or True"),
        ({"uint8": False}, "expected a pattern, a list of them, or True"),
        ({5: "*"}, "5 is no dtype"),
        ({None: True}, "None is no dtype"),
        ({"uint8": 3}, "expected a pattern, a list of them, or True"),
        ({"uint8": "a,b"}, "'a,b' is no pattern"),
        ("uint8:", "'' is no pattern"),
        ("uint8,float16", "expected one dtype for all"),
        ("uint8,uint8:*/kernel", "uint8 is for all that no pattern matches, so it needs no pattern"),
        ("float32:*/bias,uint8", "float32 stands alone"),
    ],
)
def test_what_has_no_meaning_is_refused(given, said):
    with pytest.raises(SettingsError, match=said.replace("(", r"\(")):
        spell_weights(given)
