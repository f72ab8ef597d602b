"""The summary at the end of a run: a row for each comparison."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.report.layer_table import layer_table
from pytest_tfjs.report.progress_line import progress_line
from pytest_tfjs.report.summary_table import summary_table
from pytest_tfjs.report.text_layout import Line, width_of
from tests.support.comparisons import layer, target, wrong
from tests.support.reported_comparisons import BAD, CHAIN, GOOD, TIMED, reported, texts


def test_summary_table_in_full():
    runs = [
        reported(CHAIN, GOOD, model="digits", timing=TIMED),
        reported(CHAIN, BAD, model="digits", target=target(backend="webgl", variant="f16"), timing=TIMED),
        reported((), {}, model="words", verdict="error", reason="Unknown op 'Foo'\n  at load (x.js:1)"),
    ]
    assert summary_table(runs, width=100) == [
        Line("model   format  on chrome  verdict   worst layer  |error|  allowed  first ms  warm ms"),
        Line(
            "digits  graph   webgl      close     conv         1.9e-06  2.2e-03     812.3     13.0", "close"
        ),
        Line(
            "digits  graph   webgl:f16  diverged  out              inf  1.1e-03     812.3     13.0",
            "diverged",
        ),
        Line(
            "words   graph   webgl      error     -                  -        -         -        -", "error"
        ),
        Line(
            "digits, webgl:f16 on chrome: diverged: 2 of 3 compared layers diverged, first 'pool'", "diverged"
        ),
        Line("words, webgl on chrome: error: Unknown op 'Foo'", "error"),
    ]


def test_expected_divergence_is_marked_in_both_tables():
    expected, not_expected = reported(CHAIN, BAD), reported(CHAIN, BAD, target=target(backend="wasm"))
    expected["expected"] = "a known fault"
    _, first, second, *reasons = summary_table([expected, not_expected], width=110)
    assert "diverged (expected)" in first.text
    assert "expected" not in second.text
    assert (first.verdict, second.verdict) == ("expected", "diverged")
    assert [line.text.partition(":")[0] for line in reasons] == ["digits, wasm on chrome"]
    title, _, *rows = layer_table(expected, width=120)
    assert title == Line(
        "digits, webgl on chrome: diverged (expected); compared 3, fused 1, eliminated 1: identity 1",
        "expected",
    )
    assert [row.verdict for row in rows] == ["close", "expected", None, None, "expected"]


def test_time_columns_are_left_out_without_times():
    heading, *_ = summary_table([reported(CHAIN, GOOD)], width=100)
    assert heading.text == "model   format  on chrome  verdict  worst layer  |error|  allowed"


def test_target_column_names_browsers_if_they_differ():
    runs = [reported(CHAIN, GOOD), reported(CHAIN, GOOD, target=target(browser="firefox"))]
    heading, first, second = texts(summary_table(runs, width=100))
    assert "target" in heading
    assert "webgl on chrome" in first
    assert "webgl on firefox" in second


def test_no_comparisons_give_no_table():
    assert summary_table([], width=80) == []


NASTY = st.text(
    st.one_of(st.characters(codec=None), st.sampled_from("\x1b\x00\n\r\t\u202e\u200b\ud800\x9b漢é")),
    max_size=30,
)


@given(NASTY, NASTY, st.integers(20, 160), st.sampled_from(["ascii", "latin-1", "utf-8", "cp437"]))
def test_no_name_breaks_a_line_or_exceeds_the_width(name, model, width, encoding):
    rows = (layer(name or "x", op=name), layer("u", coverage="unmapped", reason=name))
    made = reported(rows, {name or "x": wrong()}, model=model, reason=model, target=target(browser=name))
    lines = [
        *texts(summary_table([made, made], width=width, encoding=encoding)),
        *texts(layer_table(made, width=width, encoding=encoding)),
        progress_line(name, model, "layers", 1, 2, width=width, encoding=encoding),
    ]
    for line in lines:
        assert line.isprintable()
        line.encode(encoding)
        assert width_of(line) <= width


def test_report_does_not_import_numpy_selenium_starlette_or_pytest():
    code = (
        "import sys\n"
        "from pytest_tfjs.report import json_report, junit_properties, layer_table, summary_table\n"
        "print({'numpy', 'selenium', 'starlette', 'pytest'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.strip() == "set()"
