"""The README of a reproducer: its figures, its diagnosis, and escaped names."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_tfjs.compare.diagnosis.diagnose import Diagnosis
from pytest_tfjs.compare.numbers.element_check import ElementCheck, check_elements
from pytest_tfjs.report.reproducer_readme import Case, readme
from tests.support.comparisons import comparison, layer, target, wrong

NASTY = "a`b``<script>alert(1)</script>|*x*\n# [y](z)\x1b[31m"


def case(**fields):
    compared = comparison([layer("conv", op="Conv2D")], {"conv": wrong()}, target=target())
    given = {
        "comparison": compared,
        "result": compared.layers[0],
        "held": check_elements(np.array([1.0, 9.0]), np.array([1.0, 4.0]), np.array([0.1, 0.25])),
        "target": "webgl",
        "environment": {"TF.js": "4.22.0", "renderer": "", "browser": "chrome 156"},
        "inputs": [
            {
                "name": "x",
                "standsFor": "the model's input 'x'",
                "dtype": "float32",
                "shape": [1, 2],
                "file": "input-0.bin",
            }
        ],
        "operations": [{"name": "conv", "op": "Conv2D", "attributes": {"strides": [1, 2, 2, 1]}}],
        "values": ("9.0", "4.0"),
    }
    return Case(**{**given, **fields})


def test_readme_has_the_figures_and_the_environment():
    text = readme(case())
    assert text.startswith("# `conv` on webgl\n")
    assert "is wrong on webgl in chrome 156" in text
    for line in (
        "| wrong elements | 1 of 2 |",
        "| worst at | `[1]` |",
        "| \\|error\\| there | 5.000e+00, 2.500e-01 allowed |",
        "| browser | `9.0` |",
        "| reference | `4.0` |",
        "| TF.js | `4.22.0` |",
        "| `x` | the model's input 'x' | float32 | `[1, 2]` | `input-0.bin` |",
    ):
        assert line in text.splitlines()
    assert "python -m http.server" in text
    assert "renderer" not in text  # its value is empty
    assert "cross-origin" not in text


def test_names_are_escaped_in_markdown():
    compared = comparison([layer(NASTY, op=NASTY)], {NASTY: wrong()}, model=NASTY)
    text = readme(case(comparison=compared, result=compared.layers[0], environment={"browser": NASTY}))
    lines = text.splitlines()
    assert lines[0] == r"# ```a`b``<script>alert(1)</script>\|*x*\n# [y](z)\x1b[31m``` on webgl"
    assert "\x1b" not in text
    assert len([line for line in lines if line.startswith("# ")]) == 1
    assert r"\<script\>" in text  # outside of code


def test_readme_says_if_the_layer_is_right_alone():
    text = readme(case(held=check_elements(np.ones(2), np.ones(2), np.zeros(2))))
    assert "When the layer runs alone on the reference's inputs, its error is within its allowance" in text


def test_readme_shows_only_the_diagnosis_of_its_layer():
    diagnosis = Diagnosis("kernel", "conv", "webgl computes it *otherwise*", ("cpu agrees", "wasm agrees"))
    text = readme(case(comparison=replace(case().comparison, diagnosis=diagnosis)))
    assert "## The likely cause\n\nwebgl computes it \\*otherwise\\*\n\n- cpu agrees\n- wasm agrees\n" in text
    of_another = replace(case().comparison, diagnosis=replace(diagnosis, layer="other"))
    assert "The likely cause" not in readme(case(comparison=of_another))


def test_unknown_cause_is_not_called_likely():
    compared = comparison(
        [layer("conv", op="Conv2D")],
        {"conv": wrong()},
        diagnosis=Diagnosis("unknown", "conv", "nothing explains it"),
    )
    text = readme(case(comparison=compared, result=compared.layers[0]))
    assert "## The cause\n\nnothing explains it\n" in text
    assert "likely" not in text


def test_nan_is_described_in_words():
    held = check_elements(np.array([math.nan]), np.array([1.0]), np.array([0.1]))
    assert "| \\|error\\| there | one value is NaN or Inf and the other differs |" in readme(case(held=held))


def test_shape_mismatch_is_described():
    held = check_elements(np.zeros((2, 3)), np.zeros((3, 2)), np.zeros((3, 2)))
    assert (
        r"is wrong on webgl in chrome 156.0.7204.49: shape \[2, 3\], shape \[3, 2\] in the reference."
        in readme(case(held=held, values=None))
    )


def test_the_root_mean_square_is_shown_if_it_was_checked():
    held = ElementCheck(2, 0, 0.5, (0,), 0.5, 1.0, rms=0.25, rms_allowed=0.125)
    assert "| root mean square | 2.500e-01, 1.250e-01 allowed |" in readme(case(held=held))


@pytest.mark.parametrize("threads", [True, False])
def test_headers_are_mentioned_only_for_threads(threads):
    compared = replace(
        case().comparison, target=target(backend="wasm", flags={"WASM_HAS_MULTITHREAD_SUPPORT": threads})
    )
    assert ("Cross-Origin-Opener-Policy" in readme(case(comparison=compared))) == threads
