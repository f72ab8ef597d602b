"""The cost of quantised weights is measured, and judged only at outputs."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_tfjs.compare.numbers.compression import Compression, Cost, cost, default_allowance, merge_costs
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.compare.weight_check import BY_EFFECT, WeightCheck, WeightFinding
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.failure_message import failure_message
from pytest_tfjs.report.junit_properties import junit_properties
from pytest_tfjs.report.layer_table import layer_table
from pytest_tfjs.report.summary_table import summary_table
from pytest_tfjs.report.weight_text import weight_facts
from tests.support.comparisons import TOLERANCE, close, comparison, layer, measured, wrong

LAYERS = (layer("conv"), layer("classes", "conv", output=True))
GOOD = {"conv": close(), "classes": close()}


def compression(share=0.07, allowed=0.05, inner=0.9):
    costs = {"conv": Cost(3.0, 1.0, inner, 4), "classes": Cost(0.5, 0.25, share, 4)}
    return Compression("uint8", allowed, costs, ("classes",))


DIFFERENT = WeightCheck.of(
    [
        WeightFinding("conv/kernel", "conv", "differs", "1 of 4 values differ"),
        WeightFinding("conv/bias", "conv", "equal"),
    ]
)


def judged(metrics=GOOD, **arguments):
    judgement = judge(LAYERS, metrics, {"conv": close_tolerance(), "classes": close_tolerance()}, **arguments)
    made = comparison(
        LAYERS,
        metrics,
        verdict=judgement.verdict,
        reason=judgement.reason,
        first_divergence=judgement.first_divergence,
    )
    return replace(made, **arguments)


def close_tolerance():
    from tests.support.comparisons import TOLERANCE

    return TOLERANCE


def test_a_cost_is_relative_to_the_largest_value_of_the_original():
    found = cost(np.float32([1.0, -4.5, 2.0]), np.float32([1.0, -5.0, 2.0]))
    assert (found.max_abs, found.share, found.elements) == (0.5, 0.1, 3)
    assert found.rms == pytest.approx(0.5 / math.sqrt(3))


@pytest.mark.parametrize(
    ("stored", "original", "share"),
    [
        (np.int32([1, 2, 3, 4]), np.int32([1, 2, 9, 4]), 0.25),
        (np.array([True, False]), np.array([True, True]), 0.5),
        (np.array(["a", "b"]), np.array(["a", "b"]), 0.0),
        (np.array(["a", "x"]), np.array(["a", "b"]), 0.5),
        (np.float32([0, 0]), np.float32([0, 0]), 0.0),
        (np.float32([0, 1e-9]), np.float32([0, 0]), math.inf),
        (np.float32([np.nan, 1]), np.float32([np.nan, 1]), 0.0),
        (np.float32([np.inf, 1]), np.float32([2, 1]), math.inf),
        (np.float32([1, 2, 3]), np.float32([1, 2]), math.inf),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 0.0),
    ],
)
def test_the_share_of_changed_integers_bools_and_strings(stored, original, share):
    assert cost(stored, original).share == share


def test_merged_costs_are_those_of_all_elements():
    first, second = np.float32([[1, 2], [3, 4]]), np.float32([[5, -6]])
    moved = [cost(value + np.float32(0.25), value) for value in (first, second)]
    merged, whole = (
        merge_costs(moved),
        cost(np.vstack([first, second]) + np.float32(0.25), np.vstack([first, second])),
    )
    assert merged.share == max(one.share for one in moved)
    assert (merged.elements, merged.max_abs) == (whole.elements, whole.max_abs)
    assert merged.rms == pytest.approx(whole.rms)


def test_the_default_allowance_is_that_of_the_coarsest_dtype():
    assert default_allowance("float32+uint16") < default_allowance("float16") < default_allowance("uint8")
    assert default_allowance("float16+uint8") == default_allowance("uint8")


def test_an_output_that_moved_too_far_diverged_although_the_browser_is_right():
    found = judged(compression=compression())
    assert (found.verdict, found.first_divergence) == ("diverged", ())
    line, *rest = failure_message(found).splitlines()
    assert line == (
        "webgl on chrome: diverged: quantising the weights to uint8 changes 'classes' by 7.0e-02 of its "
        "largest value, 5.0e-02 allowed; the browser computes the quantised model correctly"
    )
    (line,) = [text for text in rest if text.startswith("  compression")]
    assert "changes 'classes' by 7.0e-02 of its largest value, 5.0e-02 allowed" in line


@pytest.mark.parametrize("seen", ["unmapped", "vacuous"])
def test_the_message_says_that_the_browser_is_right_only_if_it_was_compared(seen):
    rows = [layer("classes", output=True)]
    if seen == "unmapped":
        rows.append(layer("lost", coverage="unmapped", reason="no node computes it"))
    metrics = {"classes": close() if seen == "unmapped" else measured([0, 0], [0, 0])}
    found = judge(rows, metrics, {"classes": TOLERANCE}, compression=compression())
    assert found.verdict == "diverged"
    assert found.reason.endswith("5.0e-02 allowed")


def test_inner_layers_are_reported_but_not_judged():
    found = judged(compression=compression(share=0.01))
    assert found.verdict == "close"
    wrong_elsewhere = judged({**GOOD, "classes": wrong()}, compression=compression(share=0.01))
    assert "largest change of any layer: 'conv' by 9.0e-01" in " ".join(
        failure_message(wrong_elsewhere).split()
    )


def test_an_error_of_the_browser_is_reported_first():
    found = judged({**GOOD, "conv": wrong()}, compression=compression())
    assert failure_message(found).splitlines()[0].startswith("webgl on chrome: 'conv' diverged first: ")


def test_a_wrong_weight_diverges_even_if_all_layers_are_close():
    found = judged(weight_check=DIFFERENT, compression=compression())
    assert found.verdict == "diverged"
    assert failure_message(found).splitlines()[0] == (
        "webgl on chrome: diverged: the artifacts' weight 'conv/kernel' differs from the source's: "
        "1 of 4 values differ"
    )


def test_weights_with_one_common_effect_are_reported_together():
    """One of them may be right, or all, where something else about the operation is wrong."""
    what = f"{BY_EFFECT}: they differ by 1.0e+00 of the largest value"
    names = ("v1/kernel", "v1/bias", "v1/scale")
    for count, weights in ((2, "'v1/kernel' or 'v1/bias' of"), (3, "'v1/kernel' or 2 more of")):
        check = WeightCheck.of(WeightFinding(name, "conv", "differs", what) for name in names[:count])
        text = " ".join(failure_message(judged({**GOOD, "conv": wrong()}, weight_check=check)).split())
        assert f"weights {weights} 'conv' may differ from the source's: {what}" in text
        assert "(its weight 'v1/kernel' may differ from the source's)" in text
        assert text.count("may differ from") == 1 + 1


def test_a_wrong_weight_is_named_beside_the_layer_that_it_made_diverge():
    found = judged({**GOOD, "conv": wrong()}, weight_check=DIFFERENT)
    line, *rest = failure_message(found).splitlines()
    assert "'conv' diverged first: " in line
    assert line.endswith("(its weight 'conv/kernel' differs from the source's)")
    assert "  weights      'conv/kernel' of 'conv' differs from the source's: 1 of 4 values differ" in rest
    assert "; the artifacts' weight 'conv/kernel' differs from the source's" in found.reason


def test_an_unverified_weight_is_not_a_difference():
    check = WeightCheck.of(
        [WeightFinding("folded", None, "unverified", "no layer takes it"), WeightFinding("a", None, "equal")]
    )
    found = judged(weight_check=check, compression=compression(share=0.01))
    assert found.verdict == "close"
    assert WeightCheck.from_json(json.loads(json.dumps(check.to_json()))) == check
    assert check.unverified == check.findings
    lines = weight_facts(found)
    assert "  weights      same as the source's: 1 equal" in lines
    assert "  unverified   'folded': no layer takes it" in lines


def test_unverified_weights_are_not_reported_as_equal():
    check = WeightCheck.of([WeightFinding("folded", "conv", "unverified", "no layer takes it")])
    lines = weight_facts(judged(weight_check=check, compression=compression(share=0.01)))
    assert not any("same as the source's" in line for line in lines)
    assert "  unverified   'folded' of 'conv': no layer takes it" in lines


def test_an_output_without_a_cost_is_reported():
    found = compression(share=0.01)
    assert found.unmeasured == ()
    more = replace(found, outputs=("classes", "count"))
    assert (more.worst, more.unmeasured) == ("classes", ("count",))
    text = " ".join(" ".join(weight_facts(judged(compression=more))).split())
    assert text.endswith("; not measured for 'count', because TF.js does not hold the values")


def test_tables_and_properties_have_error_and_cost():
    content = comparison_to_json(judged(compression=compression(share=0.01)))
    heading, row, *_ = (line.text.split() for line in summary_table([content], width=120))
    assert heading[-5:] == ["|error|", "allowed", "cost", "cost", "allowed"]
    assert row[-2:] == ["1.0e-02", "5.0e-02"]
    heading, *rows = (line.text.split() for line in layer_table(content, width=140)[1:])
    assert heading[-2:] == ["cost", "verdict"]
    assert [row[-2:] for row in rows] == [["9.0e-01", "close"], ["1.0e-02", "close"]]
    properties = dict(junit_properties(content))
    assert (properties["tfjs_compression"], properties["tfjs_compression_allowed"]) == (0.01, 0.05)


def test_tables_of_float32_have_no_cost_column():
    content = comparison_to_json(judged())
    assert not any(
        "cost" in line.text
        for line in (*summary_table([content], width=120), *layer_table(content, width=140))
    )


def test_the_json_has_error_and_cost():
    content = comparison_to_json(judged(weight_check=DIFFERENT, compression=compression(share=math.inf)))
    json.dumps(content, allow_nan=False)
    assert content["weights_checked"] == {"differs": 1, "equal": 1}
    assert content["weight_differences"] == [
        {"name": "conv/kernel", "layer": "conv", "what": "1 of 4 values differ"}
    ]
    assert content["compression"]["share"] is None
    assert content["compression"]["null_reasons"]["share"]
    assert (content["compression"]["stored"], content["compression"]["output"]) == ("uint8", "classes")
    assert (content["compression"]["allowed"], content["compression"]["passed"]) == (0.05, False)
    conv, classes = (row["compression"] for row in content["layers"])
    assert conv == {"max_abs": 3.0, "rms": 1.0, "share": 0.9, "null_reasons": {}}
    assert classes["null_reasons"]
