"""The summary of the mutants that a comparison would have caught."""

from __future__ import annotations

import json

import pytest

from pytest_tfjs.compare.mutants import KINDS
from pytest_tfjs.compare.sensitivity import LayerSensitivity, Outcome
from pytest_tfjs.report.sensitivity_summary import PrintableSensitivity, headline, summary_lines

WHY = "the fault changes an element by at most 1.0e-07, 2.0e-07 allowed"


def layer(name, *fates, smallest=1e-6):
    outcomes = tuple(
        Outcome(kind, fate, f"change of {kind}", None if fate == "caught" else WHY)
        for kind, fate in zip(KINDS, fates, strict=False)
    )
    return LayerSensitivity(name, "Conv2D", outcomes, smallest)


def sensitivity(*layers, **fields):
    given = {"model": "digits", "target": "webgl on chrome", "feeds": 2, "seed": 0, **fields}
    return PrintableSensitivity(layers=layers, **given)


MIXED = sensitivity(
    layer("stem", "caught", "caught", "survived", "equivalent"),
    layer("head", "caught", "not applicable", "caught", "caught", smallest=None),
)


def test_share_counts_caught_and_survived_mutants_only():
    assert dict(MIXED.counts) == {"caught": 5, "survived": 1, "equivalent": 1, "not applicable": 1}
    assert MIXED.share == pytest.approx(5 / 6)
    assert sensitivity(layer("a", "equivalent", "not applicable")).share is None
    assert sensitivity().share is None


def test_survivors_are_listed_with_their_change_and_reason():
    ((name, outcome),) = MIXED.survivors
    assert (name, outcome.kind) == ("stem", KINDS[2])
    table = str(MIXED)
    assert f"survived: {KINDS[2]} at 'stem' (change of {KINDS[2]})\n  {WHY}" in table
    assert "digits, webgl on chrome: 5 of 6 mutants caught (83.3 %); 1 more changes no activation" in table
    assert "seed 0" in table
    assert "2 feeds" in table


def test_table_has_a_row_for_each_kind_and_each_layer():
    lines = str(MIXED).splitlines()
    for kind in KINDS:
        assert sum(line.startswith(kind) for line in lines) == 1
    (stem,) = (line for line in lines if line.startswith("stem"))
    assert stem.split()[-4:] == ["2", "1", "1", "1e-06"]
    (head,) = (line for line in lines if line.startswith("head"))
    assert head.split()[-1] == "-"


def test_percentage_is_rounded_down():
    almost = sensitivity(*(layer(f"l{n}", "caught") for n in range(2000)), layer("last", "survived"))
    assert "(99.9 %)" in headline(almost.to_json())
    assert "(100 %)" in headline(sensitivity(layer("a", "caught")).to_json())
    assert "cannot be measured" in headline(sensitivity(layer("a", "equivalent")).to_json())


def test_headline_names_some_survivors_and_counts_the_rest():
    many = sensitivity(*(layer(f"l{n}", "survived") for n in range(5)))
    assert headline(many.to_json()).endswith("at 'l2' and 2 more")


def test_json_is_strict_and_complete():
    entry = MIXED.to_json()
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert entry["share"] == MIXED.share
    assert entry["layers"][1]["smallest"] is None
    assert entry["layers"][0]["mutants"][2] == {
        "kind": KINDS[2],
        "fate": "survived",
        "what": f"change of {KINDS[2]}",
        "why": WHY,
    }


def test_summary_has_a_line_for_each_measured_comparison():
    target = {"backend": "webgl", "variant": "f16", "browser": "chrome"}
    one = {"model": "digits", "target": target, "sensitivity": MIXED.to_json()}
    other = {**one, "sensitivity": None}
    assert summary_lines([other]) == []
    (line,) = summary_lines([one, other], width=500)
    assert line.startswith("sensitivity of digits, webgl:f16 on chrome: 5 of 6 mutants caught (83.3 %)")


def test_control_characters_in_names_are_escaped():
    assert "\x1b" not in str(sensitivity(layer("a\x1b[2J", "survived"), model="b\x1b[2J"))
