from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.numbers.tolerances import EXACT, Tolerance
from pytest_tfjs.report.failure_message import failure_message
from tests.support.comparisons import TOLERANCE, close, comparison, f32, layer, measured, merge, target, wrong

SWIFTSHADER = target(
    renderer="ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device), SwiftShader driver)",
    software=True,
    flags={"WEBGL_CPU_FORWARD": False, "WEBGL_PACK": True},
)
REFERENCE = np.linspace(-1, 3, 128, dtype=np.float32).reshape(1, 4, 4, 8)


def first_line(*arguments, **fields) -> str:
    return failure_message(comparison(*arguments, **fields)).splitlines()[0]


def network(actual, *, reference=REFERENCE, op="Conv2D+BiasAdd+Relu6", tolerances=None, **fields):
    """Five layers in a row of which `block_2/conv` gives `actual`, and all after it are wrong as well."""
    actual, reference = np.asarray(actual), np.asarray(reference)
    shape, dtype = reference.shape, "str" if reference.dtype == object else reference.dtype.name
    wrong_one = measure(actual, reference, (tolerances or {}).get("block_2/conv", TOLERANCE))
    layers = [
        layer("input", op="Placeholder"),
        layer("block_1/conv", "input", op="Conv2D"),
        layer("block_1/bias", op="BiasAdd", coverage="fused", into="block_1/conv", shape=None, dtype=None),
        layer("block_2/conv", "block_1/conv", op=op, shape=shape, dtype=dtype, members=("block_2/add",)),
        layer("pool", "block_2/conv", op="MaxPool"),
        layer("softmax", "pool", op="Softmax", output=True),
    ]
    metrics = {"input": close(), "block_1/conv": close(), "block_2/conv": wrong_one, "pool": wrong()}
    return comparison(layers, {**metrics, "softmax": wrong()}, tolerances, **fields)


def doubled_channel() -> np.ndarray:
    actual = REFERENCE.copy()
    actual[..., 5] *= 2
    return actual


# ---- the whole text ----

DIVERGED = """\
webgl on chrome: 'block_2/conv' diverged first: max |error| 2.9e+00 at [0, 3, 3, 5] of feed 0, 3.2e-03 \
allowed (made there, not passed on)

mobilenet_v2 (graph, float32 weights) against its Python reference, 2 feeds
  browser      chrome 156.0.7204.49, TF.js 4.22.0
  renderer     ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device), SwiftShader driver) (software, no GPU)
  flags        WEBGL_CPU_FORWARD=false, WEBGL_PACK=true
  layers       2 close, 3 diverged, 1 fused

   layer         op                    shape         |error|  allowed  verdict
   input         Placeholder           [1, 4]        1.9e-06  2.2e-03  close
   block_1/conv  Conv2D                [1, 4]        1.9e-06  2.2e-03  close
>  block_2/conv  Conv2D+BiasAdd+Relu6  [1, 4, 4, 8]  2.9e+00  3.2e-03  diverged first
   pool          MaxPool               [1, 4]        5.0e+00  4.4e-03  diverged
   softmax       Softmax               [1, 4]        5.0e+00  4.4e-03  diverged

  mismatched   16 / 128 elements (12.5%), all of feed 0 within [0, 0..3, 0..3, 5] of [1, 4, 4, 8]
  worst        5.87401581 in the browser, 2.9370079 in the reference at [0, 3, 3, 5] of feed 0
  tolerance    rtol=0.001, atol=0.0001 of the layer's largest |reference| 3; atol=0.98 would have passed here,
               atol=1.3 at all layers
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


def test_a_message_in_full():
    about = {"target": SWIFTSHADER, "model": "mobilenet_v2", "tfjs_version": "4.22.0", "feeds": 2}
    there = network(doubled_channel(), **about)
    wasm = network(REFERENCE, target=target(backend="wasm"))
    command = "pytest 'tests/test_digits.py::test_classifier[chrome-webgl]' --tfjs-backends=webgl"
    assert failure_message(there, others=[wasm], repeat=command) == DIVERGED


def test_the_message_of_a_page_error_in_full():
    failed = comparison(
        [layer("a")],
        {},
        verdict="error",
        reason="Unknown op 'Foo'\nsee the \x1b[31mregistry",
        stage="loading the model",
        stack="Error: Unknown op 'Foo'\n    at execute (graph.js:12:5)\n    at run (job.js:3:1)\n",
    )
    assert failure_message(failed, repeat="pytest -k a") == PAGE_ERROR


def test_the_message_of_unmapped_layers_in_full():
    about = {"op": "Lstm", "coverage": "unmapped", "reason": "no node computes it"}
    lost = [layer("lstm_1", **about), layer("lstm_2", **about)]
    found = comparison([layer("a"), *lost], {"a": close()})
    assert failure_message(found) == UNMAPPED


# ---- the first line ----


def test_nothing_but_zeros_on_the_first_line():
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
        # The greatest error is within what is allowed there: the one that is not is told.
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
def test_what_went_wrong_on_the_first_line(metrics, what):
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
            "modulus 5 in the browser",
        ),
    ],
)
def test_values_are_told_in_the_manner_of_their_dtype(dtype, actual, reference, what):
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


def test_an_input_near_its_tolerance_is_told():
    near = measured([1 + 0.9e-3], [1])
    line = first_line(CHAIN, {"in": near, "conv": wrong(), "out": wrong()})
    assert line.endswith("(its input 'in' is at 82% of its tolerance)")


def test_an_output_that_could_not_be_compared_is_not_said_to_be_left_out():
    about = {"coverage": "unmapped", "reason": "its reference is int64, with values up to 5000000000"}
    for output, said in ((False, "compare only the model's"), (True, "an output cannot be left out: if")):
        text = failure_message(comparison([layer("a"), layer("b", output=output, **about)], {"a": close()}))
        (advice,) = [line for line in text.splitlines() if line.startswith("  what to do")]
        assert said in advice


def test_an_unmapped_layer_leaves_the_origin_open():
    rows = (*CHAIN, layer("lost", coverage="unmapped", reason="gone"))
    line = first_line(rows, {"in": close(), "conv": wrong(), "out": wrong()})
    assert line.endswith("(made there or in the unmapped layer)")


def test_outputs_alone_tell_nothing_of_the_origin():
    rows = [layer("a", output=True), layer("b", output=True)]
    assert first_line(rows, {"a": wrong(), "b": close()}).endswith("(no layer before it was compared)")


def test_a_long_name_is_cut_in_its_middle():
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


# ---- what to allow ----


def findings(label, *arguments, others=(), **fields) -> list[str]:
    """The facts under a label, each in one line."""
    facts = []
    for line in failure_message(network(*arguments, **fields), others=others).splitlines():
        if line.startswith(" " * 14):
            facts[-1][1] += " " + line.strip()
        elif line.startswith("  "):
            facts.append([line[2:15].strip(), line[15:]])
    return [text for found, text in facts if found == label]


def test_the_tolerance_to_copy_passes():
    (told,) = findings("tolerance", REFERENCE + np.float32(0.01))
    needed = float(told.split("; atol=")[1].split()[0])
    assert measure(REFERENCE + np.float32(0.01), REFERENCE, Tolerance(1e-3, needed)).passed


def test_the_tolerance_for_all_layers_is_told_where_it_is_one_number():
    (told,) = findings("tolerance", REFERENCE + np.float32(0.01))
    assert told.endswith("would have passed here, atol=1.3 at all layers")
    loose = {"block_2/conv": Tolerance(1e-6, 1e-6)}
    (told,) = findings("tolerance", REFERENCE + np.float32(0.01), tolerances=loose)
    assert told.endswith("would have passed here")


@pytest.mark.parametrize(
    ("actual", "reference", "said"),
    [
        ([math.nan], [1], "no tolerance would have passed"),
        ([0.125], [0], "only Tolerance(rtol=0, atol=0.13, absolute=True) would have passed"),
    ],
)
def test_where_no_relative_tolerance_helps(actual, reference, said):
    (told,) = findings("tolerance", np.float32(actual), reference=np.float32(reference))
    assert told.endswith(said)


def test_exact_dtypes_say_so():
    integers = {"reference": np.array([5, 7], np.int32), "tolerances": {"block_2/conv": EXACT}}
    (told,) = findings("tolerance", np.array([5, 9], np.int32), **integers)
    assert told.startswith("exact, the default for int32; atol=0.29 would have passed here")
    assert findings("tolerance", np.array([True]), reference=np.array([False])) == [
        "exact, as always for bool"
    ]
    texts = np.array(["a"], object), np.array(["b"], object)
    assert findings("tolerance", texts[0], reference=texts[1]) == ["exact, as always for str"]


# ---- counts ----


@pytest.mark.parametrize(
    ("wrong_ones", "said"),
    [
        (slice(0, 1), "1 / 10000 elements (under 0.1%)"),
        (slice(0, 9999), "9999 / 10000 elements (99.9%), all within [0..9998] of [10000]"),
        (slice(None), "10000 / 10000 elements (100.0%)"),
    ],
)
def test_mismatched_elements_are_counted(wrong_ones, said):
    reference = np.linspace(1, 2, 10000, dtype=np.float32)
    actual = reference.copy()
    actual[wrong_ones] += 1
    assert findings("mismatched", actual, reference=reference) == [said]


def test_nan_and_inf_are_counted_on_both_sides():
    actual, reference = np.float32([math.nan, math.inf, 1, 1]), np.float32([1, math.inf, -math.inf, 1])
    assert findings("NaN, Inf", actual, reference=reference) == [
        "1 NaN and 1 Inf in the browser, 0 NaN and 2 Inf in the reference; 2 differ, first at [0]"
    ]
    actual = np.float32([math.nan, 9, 1])
    assert findings("NaN, Inf", actual, reference=np.float32([math.nan, 1, 1])) == [
        "1 NaN and 0 Inf in the browser, 1 NaN and 0 Inf in the reference, at the same places"
    ]


def test_the_feed_of_the_worst_element_is_told():
    metrics = merge([close(), wrong(), close()])
    assert "at [3] of feed 1, " in first_line([layer("a")], {"a": metrics}, feeds=3)


# ---- likely causes ----


def causes(actual, **fields):
    return findings("likely", np.asarray(actual), **fields)


HALF = {"target": target(variant="f16", float32_textures=False)}
CAUSES = {
    "axes permuted": (REFERENCE.transpose(0, 3, 1, 2), {}, "numpy.transpose(reference, (0, 3, 1, 2))"),
    "NaN made": (f32(1, math.nan), {"reference": f32(1, 2)}, "only the browser has NaN"),
    "NaN lost": (f32(1, 1), {"reference": f32(1, math.nan)}, "webgl computes 0/0 as 1"),
    "overflow": (f32(1, math.inf), {"reference": f32(1, 2)}, "only the browser overflows to Inf"),
    "half overflow": (f32(1, math.nan), {"reference": f32(1, 7e4), **HALF}, "values over 65504 become Inf"),
    "denormals": (f32(0, 0), {"reference": f32(1e-39, 2e-39)}, "GPUs flush denormals to 0"),
    "all zero": (0 * REFERENCE, {}, "the browser gives 0 everywhere"),
    "integers on webgl": (
        np.array([3, 2**24], np.int32),
        {"reference": np.array([3, 2**24 + 1], np.int32), "tolerances": {"block_2/conv": EXACT}},
        "webgl holds integers as float32",
    ),
    "integer overflow": (
        np.array([2**31 - 1], np.int32),
        {"reference": np.array([-(2**31)], np.int32), "target": target(backend="cpu")},
        "int32 overflow wraps around in Python",
    ),
    "a factor": (3 * REFERENCE, {}, "browser = 3 * reference at the mismatched elements: a weight or"),
    "an offset": (REFERENCE - 1, {}, "browser = reference -1 at the mismatched elements: a bias or"),
    "a channel": (doubled_channel(), {}, "only channel 5 of 8 is wrong: check its weights and bias"),
    "rounding": (
        REFERENCE + np.float32(1e-3) * np.sign(REFERENCE[..., ::-1]),
        {},
        "more likely rounding on webgl on chrome than a fault",
    ),
}


@pytest.mark.parametrize(("actual", "fields", "said"), CAUSES.values(), ids=CAUSES.keys())
def test_the_likely_cause(actual, fields, said):
    assert any(said in cause for cause in causes(actual, **fields))


def test_noise_has_no_likely_cause():
    noise = np.random.default_rng(9).standard_normal(REFERENCE.shape).astype(np.float32)
    assert causes(REFERENCE + noise) == []


@pytest.mark.parametrize(("largest", "told"), [(1e6, True), (1, False)])
def test_the_sine_of_a_large_angle(largest, told):
    angle = measured([largest, 0], [largest, 0])
    rows = [layer("in"), layer("sin", "in", op="Sin")]
    message = failure_message(comparison(rows, {"in": angle, "sin": measured([0.5, 0], [0.6, 0])}))
    assert ("GPU sines of large angles are inexact: this input reaches 1.0e+06" in message) == told


def test_no_advice_on_weights_where_another_target_computes_them_rightly():
    right, alike = network(REFERENCE, target=target(backend="wasm")), network(doubled_channel())
    advice = "check its weights and bias"
    assert not any(advice in cause for cause in causes(doubled_channel(), others=[right]))
    assert any(advice in cause for cause in causes(doubled_channel(), others=[alike]))


DIAGNOSIS = Diagnosis(
    "kernel", "block_2/conv", "the kernel of webgl", ("cpu agrees", "not tried: wasm: lost")
)


def test_a_diagnosis_takes_the_place_of_likely_causes_and_these_are_evidence():
    assert causes(doubled_channel(), diagnosis=DIAGNOSIS) == ["kernel: the kernel of webgl"]
    told = findings("evidence", doubled_channel(), diagnosis=DIAGNOSIS)
    assert told[0].startswith("browser = 2 * reference at the mismatched elements")
    assert told[0].endswith("cpu agrees not tried: wasm: lost")


def test_a_diagnosis_without_a_layer_is_told():
    one = comparison(
        [layer("a", output=True)], {"a": close()}, verdict="diverged", reason="it differs from the source's"
    )
    diagnosis = Diagnosis("weight", None, "the weight 'w'")
    assert "\n  likely       weight: the weight 'w'" in failure_message(replace(one, diagnosis=diagnosis))


def test_what_other_targets_say_of_the_layer():
    others = [
        network(REFERENCE, target=target(backend="wasm")),
        network(doubled_channel(), target=target(backend="cpu")),
    ]
    close_there, wrong_there = findings("elsewhere", doubled_channel(), others=others)
    assert close_there.startswith("wasm on chrome: close there: max |error| 0 at [0, 0, 0, 0]")
    assert wrong_there.startswith("cpu on chrome: diverged first there too: max |error| ")


def test_what_a_fused_layer_was_compared_after():
    assert findings("compared", doubled_channel()) == [
        "after Conv2D+BiasAdd+Relu6, one fused operation in the browser, including 'block_2/add'"
    ]
    assert findings("compared", doubled_channel(), op="Conv2D") == []


# ---- the layers around ----


def test_the_nearest_layers_are_shown_and_the_others_counted():
    names = [f"l{number}" for number in range(12)]
    rows = [layer(name, *names[max(number - 1, 0) : number]) for number, name in enumerate(names)]
    metrics = {name: close() if number < 4 else wrong() for number, name in enumerate(names)}
    lines = failure_message(comparison(rows, metrics)).splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("   l")]
    assert shown == ["layer", "l2", "l3", "l5", "l6", "l7"]
    assert "   and 4 more diverged" in lines


# ---- names ----


@pytest.mark.parametrize(
    ("name", "group", "said"),
    [
        ("conv/Conv2D", "conv", "'conv/Conv2D'"),
        ("conv", "conv", "'conv'"),
        ("conv_1/convolution", "conv", "'conv_1/convolution' of layer 'conv'"),
        ("conv_1/convolution", "conv_1", "'conv_1/convolution'"),
        ("convolution", None, "'convolution'"),
    ],
)
def test_the_first_line_names_the_keras_layer(name, group, said):
    rows = [layer(name, op="Conv2D", group=group, output=True)]
    assert first_line(rows, {name: wrong()}).startswith(f"webgl on chrome: {said} diverged first: ")


def test_what_was_cast_is_noted_and_many_notes_are_counted():
    notes = tuple(f"input 'x{number}' was cast" for number in range(10))
    message = " ".join(failure_message(comparison([layer("a")], {"a": wrong()}, notes=notes)).split())
    assert "note input 'x0' was cast" in message
    assert "'x7' was cast" in message
    assert "'x8'" not in message
    assert "and 2 more" in message
