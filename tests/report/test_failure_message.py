"""The message of a failed comparison: in full, its first line, and its facts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.numbers.allowance import Allowance
from pytest_tfjs.compare.numbers.layer_arithmetic import Arithmetic
from pytest_tfjs.compare.numbers.local_error import measure_local
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import EXACT, Tolerance
from pytest_tfjs.compare.results import Alone
from pytest_tfjs.compare.verdict import judge
from pytest_tfjs.report.failure_message import failure_message
from tests.support.comparisons import TOLERANCE, close, comparison, layer, measured, merge, target, wrong
from tests.support.diverged_networks import REFERENCE, doubled_channel, facts_under, first_line, network

SWIFTSHADER = target(
    renderer="ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device), SwiftShader driver)",
    software=True,
    flags={"WEBGL_VERSION": 1, "WEBGL_PACK": True},
)


DIVERGED = """\
webgl on chrome: 'block_2/conv' diverged first: max |error| 2.9e+00 at [0, 3, 3, 5] of feed 0, 3.2e-03 \
allowed (made there, not passed on)

mobilenet_v2 (graph, float32 weights) against its Python reference, 2 feeds
  browser      chrome 156.0.7204.49, TF.js 4.22.0
  renderer     ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device), SwiftShader driver) (software, no GPU)
  flags        WEBGL_VERSION=1, WEBGL_PACK=true
  layers       2 close, 3 diverged, 1 fused

   layer         op                    shape         |error|  allowed  verdict
   input         Placeholder           [1, 4]        1.9e-06  2.2e-03  close
   block_1/conv  Conv2D                [1, 4]        1.9e-06  2.2e-03  close
>  block_2/conv  Conv2D+BiasAdd+Relu6  [1, 4, 4, 8]  2.9e+00  3.2e-03  diverged first
   pool          MaxPool               [1, 4]        5.0e+00  4.4e-03  diverged
   softmax       Softmax               [1, 4]        5.0e+00  4.4e-03  diverged

  mismatched   16 / 128 elements (12.5%), those of feed 0 within [0, 0..3, 0..3, 5] of shape [1, 4, 4, 8]
  worst        5.87401581 in the browser, 2.9370079 in the reference at [0, 3, 3, 5] of feed 0
  tolerance    rtol=0.001, atol=0.0001 of the layer's largest |reference| 3; atol=0.98 would let the layer
               pass; atol=1.3 would let all layers pass
  NaN, Inf     none in either
  compared     after Conv2D+BiasAdd+Relu6, one fused operation in the browser, including 'block_2/add'
  elsewhere    wasm on chrome: close there: max |error| 0 at [0, 0, 0, 0], 1.3e-03 allowed
  likely       browser = 2 * reference at the mismatched elements
  likely       only channel 5 of 8 is wrong

  repeat       pytest 'tests/test_digits.py::test_classifier[chrome-webgl]' --tfjs-backends=webgl"""


PAGE_ERROR = """\
webgl on chrome: error while loading the model: Unknown op 'Foo'

digits (graph, float32 weights) against its Python reference, 1 feed
  browser      chrome 156.0.7204.49

  see the \\x1b[31mregistry

  JavaScript stack:
    Error: Unknown op 'Foo'
    at execute (graph.js:12:5)
    at run (job.js:3:1)

  repeat       pytest -k a"""


UNMAPPED = """\
webgl on chrome: unmapped: 2 of 3 layers could not be compared: 'lstm_1', 'lstm_2' (no node computes it)

digits (graph, float32 weights) against its Python reference, 1 feed
  browser      chrome 156.0.7204.49
  layers       1 close, 2 unmapped

  unmapped     'lstm_1' (Lstm): no node computes it
  unmapped     'lstm_2' (Lstm): no node computes it
  what to do   compare only the model's outputs with layers='outputs'"""


def test_full_message_of_a_divergence():
    about = {"target": SWIFTSHADER, "model": "mobilenet_v2", "tfjs_version": "4.22.0", "feeds": 2}
    there = network(doubled_channel(), **about)
    wasm = network(REFERENCE, target=target(backend="wasm"))
    command = "pytest 'tests/test_digits.py::test_classifier[chrome-webgl]' --tfjs-backends=webgl"
    assert failure_message(there, others=[wasm], repeat=command) == DIVERGED


def test_full_message_of_a_page_error():
    failed = comparison(
        [layer("a")],
        {},
        verdict="error",
        reason="Unknown op 'Foo'\nsee the \x1b[31mregistry",
        stage="loading the model",
        stack="Error: Unknown op 'Foo'\n    at execute (graph.js:12:5)\n    at run (job.js:3:1)\n",
    )
    assert failure_message(failed, repeat="pytest -k a") == PAGE_ERROR


def test_full_message_of_unmapped_layers():
    about = {"op": "Lstm", "coverage": "unmapped", "reason": "no node computes it"}
    lost = [layer("lstm_1", **about), layer("lstm_2", **about)]
    found = comparison([layer("a"), *lost], {"a": close()})
    assert failure_message(found) == UNMAPPED


def test_first_line_of_an_all_zero_comparison():
    zeros = measured([0, 0], [0, 0])
    assert first_line([layer("a")], {"a": zeros}) == (
        "webgl on chrome: vacuous: every element of the one compared layer is 0, so a broken model would "
        "pass too: feed other inputs"
    )


CHAIN = (layer("in"), layer("conv", "in"), layer("out", "conv", output=True))


@pytest.mark.parametrize(
    ("metrics", "what"),
    [
        (wrong(), "max |error| 5.0e+00 at [3], 4.4e-03 allowed"),
        (measured([1.00111], [1]), "max |error| 1.11e-03 at [0], 1.10e-03 allowed"),
        # The greatest error is within its allowance, so the message gives the one that is not.
        (measured([1001, 1.2], [1000, 1]), "|error| 2.0e-01 at [1], 1.0e-01 allowed"),
        (measured([1, math.nan], [1, 2.5]), "NaN in the browser, 2.5 in the reference at [1]"),
        (
            measured([-math.inf, math.inf], [-math.inf, math.nan]),
            "Inf in the browser, NaN in the reference at [1]",
        ),
        (measured([[1, 2]], [1, 2]), "shape [1, 2] in the browser, [2] in the reference"),
        (measured([], [1]), "shape [0] in the browser, [1] in the reference"),
    ],
)
def test_first_line_describes_the_error(metrics, what):
    line = first_line(CHAIN, {"in": close(), "conv": metrics, "out": wrong()})
    assert line == f"webgl on chrome: 'conv' diverged first: {what} (made there, not passed on)"


@pytest.mark.parametrize(
    ("dtype", "actual", "reference", "what"),
    [
        ("int32", np.array([7], np.int32), np.array([2147483647], np.int32), "7 in the browser, 2147483647"),
        ("bool", np.array([True]), np.array([False]), "True in the browser, False"),
        ("str", np.array(["é\n"], object), np.array([b"e"], object), r"'é\n' in the browser, 'e'"),
        (
            "complex64",
            np.array([3 + 4j], np.complex64),
            np.array([np.nan], np.complex64),
            "3+4j in the browser, NaN+0j in the reference",
        ),
    ],
)
def test_values_are_formatted_by_dtype(dtype, actual, reference, what):
    assert what in first_line([layer("a", dtype=dtype)], {"a": measure(actual, reference, EXACT)})


def test_several_first_divergences_are_counted_and_listed():
    rows = [
        layer("in"),
        layer("left", "in"),
        layer("right", "in"),
        layer("add", "left", "right", output=True),
    ]
    metrics = {"in": close(), "left": wrong(), "right": measured([1, 2], [1, 3]), "add": wrong()}
    head, *rest = failure_message(comparison(rows, metrics)).splitlines()
    assert head.startswith("webgl on chrome: 'left' diverged first (and 1 more): max |error| 5.0e+00 at [3]")
    assert "  also first   'right': max |error| 1.0e+00 at [1], 3.3e-03 allowed" in rest
    assert sum(line.startswith(">") for line in rest) == 2


def test_first_line_mentions_an_input_near_its_tolerance():
    near = measured([1 + 0.9e-3], [1])
    line = first_line(CHAIN, {"in": near, "conv": wrong(), "out": wrong()})
    assert line.endswith("(the error of its input 'in' is 82% of the tolerance)")


def test_advice_for_an_unmapped_output_is_not_to_leave_it_out():
    about = {"coverage": "unmapped", "reason": "its reference is int64, with values up to 5000000000"}
    for output, expected in (
        (False, "compare only the model's"),
        (True, "every output must be compared. If"),
    ):
        text = failure_message(comparison([layer("a"), layer("b", output=output, **about)], {"a": close()}))
        (advice,) = [line for line in text.splitlines() if line.startswith("  what to do")]
        assert expected in advice


def test_first_line_mentions_an_unmapped_layer_as_possible_origin():
    rows = (*CHAIN, layer("lost", coverage="unmapped", reason="gone"))
    line = first_line(rows, {"in": close(), "conv": wrong(), "out": wrong()})
    assert line.endswith("(made there or in the unmapped layer)")


def test_first_line_says_if_no_earlier_layer_was_compared():
    rows = [layer("a", output=True), layer("b", output=True)]
    assert first_line(rows, {"a": wrong(), "b": close()}).endswith("(no layer before it was compared)")


def test_long_name_is_shortened_in_the_middle():
    name = "mobilenetv2_1.00_224/" + "very/" * 40 + "block_16_depthwise/relu"
    line = first_line([layer(name)], {name: wrong()})
    assert "'mobilenetv2_1.00_224/very/v...very/block_16_depthwise/relu'" in line
    assert len(line) < 200


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_no_name_breaks_the_message(name, reason):
    rows = [layer(name, op=name, members=(name,)), layer(name + "u", coverage="unmapped", reason=reason)]
    for verdict in (None, "error", "unmapped"):
        fields = {} if verdict is None else {"verdict": verdict, "first_divergence": (), "reason": reason}
        found = comparison(rows, {name: wrong()}, model=name, stack=reason, stage=name, **fields)
        message = failure_message(found, repeat=name)
        assert all(line.isprintable() for line in message.split("\n"))


def test_suggested_tolerance_passes():
    (fact,) = facts_under("tolerance", REFERENCE + np.float32(0.01))
    needed = float(fact.split("; atol=")[1].split()[0])
    assert measure(REFERENCE + np.float32(0.01), REFERENCE, Tolerance(1e-3, needed)).passed


def test_tolerance_for_all_layers_is_suggested_unless_layers_have_their_own():
    (fact,) = facts_under("tolerance", REFERENCE + np.float32(0.01))
    assert fact.endswith("would let the layer pass; atol=1.3 would let all layers pass")
    loose = {"block_2/conv": Tolerance(1e-6, 1e-6)}
    (fact,) = facts_under("tolerance", REFERENCE + np.float32(0.01), tolerances=loose)
    assert fact.endswith("would let the layer pass")


@pytest.mark.parametrize(
    ("actual", "reference", "expected"),
    [
        ([math.nan], [1], "no tolerance would let the layer pass"),
        ([0.125], [0], "only Tolerance(rtol=0, atol=0.13, absolute=True) would let the layer pass"),
    ],
)
def test_tolerance_line_if_no_relative_tolerance_would_pass(actual, reference, expected):
    (fact,) = facts_under("tolerance", np.float32(actual), reference=np.float32(reference))
    assert fact.endswith(expected)


def test_tolerance_line_of_exact_dtypes():
    integers = {"reference": np.array([5, 7], np.int32), "tolerances": {"block_2/conv": EXACT}}
    (fact,) = facts_under("tolerance", np.array([5, 9], np.int32), **integers)
    assert fact.startswith("exact, the default for int32; atol=0.29 would let the layer pass")
    assert facts_under("tolerance", np.array([True]), reference=np.array([False])) == [
        "exact: bool values must be equal"
    ]
    texts = np.array(["a"], object), np.array(["b"], object)
    assert facts_under("tolerance", texts[0], reference=texts[1]) == ["exact: str values must be equal"]


@pytest.mark.parametrize(
    ("wrong_ones", "expected"),
    [
        (slice(0, 1), "1 / 10000 elements (under 0.1%)"),
        (slice(0, 9999), "9999 / 10000 elements (99.9%), all within [0..9998] of shape [10000]"),
        (slice(None), "10000 / 10000 elements (100.0%)"),
    ],
)
def test_mismatched_elements_are_counted(wrong_ones, expected):
    reference = np.linspace(1, 2, 10000, dtype=np.float32)
    actual = reference.copy()
    actual[wrong_ones] += 1
    assert facts_under("mismatched", actual, reference=reference) == [expected]


def test_nan_and_inf_are_counted_on_both_sides():
    actual, reference = np.float32([math.nan, math.inf, 1, 1]), np.float32([1, math.inf, -math.inf, 1])
    assert facts_under("NaN, Inf", actual, reference=reference) == [
        "1 NaN and 1 Inf in the browser, 0 NaN and 2 Inf in the reference; 2 differ, first at [0]"
    ]
    actual = np.float32([math.nan, 9, 1])
    assert facts_under("NaN, Inf", actual, reference=np.float32([math.nan, 1, 1])) == [
        "1 NaN and 0 Inf in the browser, 1 NaN and 0 Inf in the reference, at the same places"
    ]


def test_first_line_names_the_feed_of_the_worst_element():
    metrics = merge([close(), wrong(), close()])
    assert "at [3] of feed 1, " in first_line([layer("a")], {"a": metrics}, feeds=3)


HEADS = [
    layer("head_c/Softmax", output=True, group="head_c", output_names=("classes",)),
    layer("head_b/BiasAdd", output=True, group="head_b", output_names=("boxes",)),
    layer("head_s", output=True, output_names=("head_s", "scores")),
]


def test_one_of_several_outputs_is_named_as_in_the_signature():
    found = {"head_c/Softmax": close(), "head_b/BiasAdd": wrong(), "head_s": wrong()}
    text = " ".join(failure_message(comparison(HEADS, found)).split())
    assert "'head_b/BiasAdd' diverged first (and 1 more): max |error|" in text
    assert "(output 'boxes'; " in text
    assert "'head_s': max" in text  # the layer's own name says it


def test_the_only_output_needs_no_other_name():
    assert "output" not in first_line(HEADS[:1], {"head_c/Softmax": wrong()})


def test_the_details_name_the_element_of_the_first_line():
    reference = np.linspace(1, 2, 32, dtype=np.float32)
    alone, whole = reference.copy(), reference.copy()
    alone[7], whole[3] = 5, 9
    local = measure_local(alone, reference, Arithmetic(), Allowance(1e-5, 0.0, 1e-6))
    one = replace(layer("a"), shape=(32,))
    judged = judge(
        [one],
        {"a": measured(whole, reference)},
        {"a": TOLERANCE},
        alone=Alone(local={"a": local}, propagated={"a": 1.0}),
    )
    found = replace(
        comparison([one], {"a": measured(whole, reference)}),
        layers=judged.results,
        first_divergence=judged.first_divergence,
    )
    first, *details = failure_message(found).splitlines()
    assert "at [7]" in first
    (worst,) = [line for line in details if line.startswith("  worst")]
    assert "at [7]; run alone" in worst


def test_a_text_is_shown_where_the_layer_is_wrong_alone():
    reference, actual = np.array(["a", "b"], object), np.array(["a", "x"], object)
    local = measure_local(actual, reference, Arithmetic(exact=True), Allowance())
    one = layer("a", dtype="str", shape=(2,))
    metrics = {"a": measure(actual, reference, EXACT)}
    judged = judge([one], metrics, {"a": EXACT}, alone=Alone(local={"a": local}, propagated={"a": 0.0}))
    found = replace(comparison([one], metrics), layers=judged.results, first_divergence=("a",))
    assert "'x' in the browser, 'b' in the reference at [1]" in failure_message(found).splitlines()[0]
