from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.compare.numbers.metrics import measure
from pytest_tfjs.compare.observer_effect import Observation
from pytest_tfjs.compare.weight_check import WeightCheck, WeightFinding
from pytest_tfjs.formats.escaping import printable
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.header import HeaderItem, header_line
from pytest_tfjs.report.labels import coverage_text
from pytest_tfjs.report.layer_table import layer_table
from pytest_tfjs.report.number_text import distinct_numbers, number_up
from pytest_tfjs.report.progress_line import progress_line
from pytest_tfjs.report.summary_table import summary_table
from pytest_tfjs.report.text_layout import Column, Line, shorten, table, width_of
from pytest_tfjs.report.worst_layer import worst_layer
from pytest_tfjs.timing import Timing
from tests.support.comparisons import TOLERANCE, close, comparison, layer, measured, target, wrong

TIMED = Timing(120.0, 812.3, (14.0, 12.0, 13.0))


def told(layers, metrics, **fields):
    """As the controller of pytest-xdist gets it: JSON and back."""
    return json.loads(json.dumps(comparison_to_json(comparison(layers, metrics, **fields))))


def texts(lines):
    return [line.text for line in lines]


CHAIN = (
    layer("conv", op="Conv2D+Relu", shape=(1, 28, 28, 8)),
    layer("pool", "conv", op="MaxPool", shape=(1, 14, 14, 8)),
    layer("bias", coverage="fused", into="conv", reason="part of it", shape=None, dtype=None, op="BiasAdd"),
    layer("drop", coverage="eliminated", reason="identity", shape=None, dtype=None, op="Identity"),
    layer("out", "pool", op="Softmax", shape=(1, 10), output=True),
)
GOOD = {"conv": close(), "pool": close(), "out": close()}
BAD = {"conv": close(), "pool": wrong(), "out": measured([math.nan, 1], [1, 1])}


def test_the_summary_table():
    runs = [
        told(CHAIN, GOOD, model="digits", timing=TIMED),
        told(CHAIN, BAD, model="digits", target=target(backend="webgl", variant="f16"), timing=TIMED),
        told((), {}, model="words", verdict="error", reason="Unknown op 'Foo'\n  at load (x.js:1)"),
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


def test_what_a_test_expects_is_no_verdict_like_another():
    expected, not_expected = told(CHAIN, BAD), told(CHAIN, BAD, target=target(backend="wasm"))
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


def test_the_summary_without_times():
    heading, *_ = summary_table([told(CHAIN, GOOD)], width=100)
    assert heading.text == "model   format  on chrome  verdict  worst layer  |error|  allowed"


def test_the_summary_names_browsers_where_they_differ():
    runs = [told(CHAIN, GOOD), told(CHAIN, GOOD, target=target(browser="firefox"))]
    heading, first, second = texts(summary_table(runs, width=100))
    assert "target" in heading
    assert "webgl on chrome" in first
    assert "webgl on firefox" in second


def test_nothing_run_is_no_table():
    assert summary_table([], width=80) == []


LAYERS = """\
layer  op           shape           coverage              max abs      rms  |error|  allowed  verdict
conv   Conv2D+Relu  [1, 28, 28, 8]  compared              1.9e-06  1.5e-06  1.9e-06  2.2e-03  close
pool   MaxPool      [1, 14, 14, 8]  compared              5.0e+00  2.5e+00  5.0e+00  4.4e-03  diverged first
bias   BiasAdd      -               fused into conv             -        -        -        -  -
drop   Identity     -               eliminated: identity        -        -        -        -  -
out    Softmax      [1, 10]         compared                  inf      inf      inf  1.1e-03  diverged"""


def test_the_table_of_layers():
    title, *lines = layer_table(told(CHAIN, BAD), width=140)
    assert title == Line(
        "digits, webgl on chrome: diverged; compared 3, fused 1, eliminated 1: identity 1", "diverged"
    )
    assert "\n".join(texts(lines)) == LAYERS
    assert [line.verdict for line in lines] == [None, "close", "diverged", None, None, "diverged"]


def grouped_layers():
    gone = {"shape": None, "dtype": None}
    return (
        layer("c_1/conv", op="Conv2D+Relu", group="c", group_op="Conv2D"),
        layer("c_1/bias", coverage="fused", into="c_1/conv", group="c", group_op="Conv2D", **gone),
        layer("k", coverage="eliminated", reason="constant: x", **gone),
        layer("r_1/Relu", coverage="fused", into="c_1/conv", group="r", group_op="ReLU", **gone),
        layer("d_1/in", coverage="eliminated", reason="identity", group="d", group_op="Dropout", **gone),
        layer("p_1/pool", "c_1/conv", op="MaxPool", group="p", group_op="MaxPooling2D"),
        layer("c_1/again", "p_1/pool", op="Neg", group="c", group_op="Conv2D", output=True),
    )


OF_GROUPS = {"c_1/conv": close(), "p_1/pool": wrong(), "c_1/again": measured([3, 1], [1, 1])}

GROUPS = """\
layer  op            coverage              |error|  allowed  verdict
c      Conv2D        2 compared, 1 fused   2.0e+00  1.1e-03  diverged
r      ReLU          fused into c                -        -  -
k      Dense         eliminated: constant        -        -  -
d      Dropout       eliminated: identity        -        -  -
p      MaxPooling2D  compared              5.0e+00  4.4e-03  diverged first"""

NODES = """\
layer        op            shape   coverage              max abs      rms  |error|  allowed  verdict
c            Conv2D                2 compared, 1 fused                     2.0e+00  1.1e-03  diverged
  c_1/conv   Conv2D+Relu   [1, 4]  compared              1.9e-06  1.5e-06  1.9e-06  2.2e-03  close
  c_1/bias   Dense         -       fused into c_1/conv         -        -        -        -  -
  c_1/again  Neg           [1, 4]  compared              2.0e+00  1.4e+00  2.0e+00  1.1e-03  diverged
r            ReLU                  fused into c                                  -        -  -
  r_1/Relu   Dense         -       fused into c_1/conv         -        -        -        -  -
k            Dense         -       eliminated: constant        -        -        -        -  -
d            Dropout               eliminated: identity                          -        -  -
  d_1/in     Dense         -       eliminated: identity        -        -        -        -  -
p            MaxPooling2D          compared                                5.0e+00  4.4e-03  diverged first
  p_1/pool   MaxPool       [1, 4]  compared              5.0e+00  2.5e+00  5.0e+00  4.4e-03  diverged first"""


def test_the_nodes_of_a_layer_are_one_line():
    _, *lines = layer_table(told(grouped_layers(), OF_GROUPS), width=140)
    assert "\n".join(texts(lines)) == GROUPS
    assert [line.verdict for line in lines] == [None, "diverged", None, None, None, "diverged"]


def test_the_nodes_of_a_layer_are_listed_below_it():
    lines = layer_table(told(grouped_layers(), OF_GROUPS), width=140, nodes=True)
    assert "\n".join(texts(lines)[1:]) == NODES


def test_what_is_fused_into_a_group_follows_it():
    """The row of a fused operation has the place of the last one that it took in."""
    gone = {"shape": None, "dtype": None, "coverage": "fused", "into": "c/conv"}
    made = told(
        [
            layer("k/c", group="late", shape=None, dtype=None, coverage="eliminated", reason="constant"),
            layer("n/norm", group="n", **gone),
            layer("c/conv", op="Conv2D+FusedBatchNormV3+Relu", group="c"),
            layer("r/relu", group="r", **gone),
            layer("k/d", "c/conv", group="late", output=True),
        ],
        {"c/conv": close(), "k/d": close()},
    )
    assert [line.split()[0] for line in texts(layer_table(made, width=140)[2:])] == ["c", "n", "r", "late"]


def test_a_group_with_an_unmapped_node_is_unmapped():
    lost = layer("c_1/odd", coverage="unmapped", reason="gone", group="c", group_op="Conv2D")
    made = told((*grouped_layers()[:2], lost), {"c_1/conv": close()})
    line = layer_table(made, width=140)[-1]
    assert line.verdict == "unmapped"
    assert "1 compared, 1 fused, 1 unmapped" in line.text


def test_narrow_terminals_lose_the_least_telling_columns_first():
    headings = {
        width: texts(layer_table(told(CHAIN, BAD), width=width))[-6].split() for width in (200, 90, 60)
    }
    assert headings[200][:4] == ["layer", "op", "shape", "coverage"]
    assert "rms" not in headings[90]
    assert "op" in headings[90] or "shape" in headings[90]
    assert headings[60] == ["layer", "coverage", "|error|", "allowed", "verdict"]


def test_the_coverage_counts_each_reason():
    away = [
        layer(f"e{n}", coverage="eliminated", reason=r)
        for n, r in enumerate(["identity"] * 2 + ["constant: x"])
    ]
    lost = [layer("u", coverage="unmapped", reason="gone")]
    found = coverage_text(told((*CHAIN[:3], *away, *lost), {})["layers"])
    assert found == "compared 2, fused 1, eliminated 3: identity 2, constant 1, unmapped 1"
    assert coverage_text([]) == "no layers"


@pytest.mark.parametrize(
    ("metrics", "worst"),
    [
        ({"conv": measured([1.0001], [1]), "pool": measured([100.001], [100])}, "conv"),
        ({"conv": wrong(), "pool": measured([math.inf], [1])}, "pool"),
        (
            {"conv": wrong(), "pool": measure(np.ones(2, np.float32), np.ones(3, np.float32), TOLERANCE)},
            "pool",
        ),
        ({"conv": close(), "pool": measured([1e-9], [0])}, "pool"),
        ({"conv": measured([0], [0]), "pool": measured([0], [0])}, "conv"),
    ],
)
def test_the_worst_layer_uses_most_of_its_tolerance(metrics, worst):
    assert worst_layer(told(CHAIN[:2], metrics))["name"] == worst


NASTY = st.text(
    st.one_of(st.characters(codec=None), st.sampled_from("\x1b\x00\n\r\t\u202e\u200b\ud800\x9b漢é")),
    max_size=30,
)


@given(NASTY, NASTY, st.integers(20, 160), st.sampled_from(["ascii", "latin-1", "utf-8", "cp437"]))
def test_no_name_breaks_a_line_or_moves_the_cursor(name, model, width, encoding):
    rows = (layer(name or "x", op=name), layer("u", coverage="unmapped", reason=name))
    made = told(rows, {name or "x": wrong()}, model=model, reason=model, target=target(browser=name))
    lines = [
        *texts(summary_table([made, made], width=width, encoding=encoding)),
        *texts(layer_table(made, width=width, encoding=encoding)),
        progress_line(name, model, "layers", 1, 2, width=width, encoding=encoding),
    ]
    for line in lines:
        assert line.isprintable()
        line.encode(encoding)
        assert width_of(line) <= width


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("plain/name:0", "ascii", "plain/name:0"),
        ("a\x1b[31mb\n\tc", "utf-8", r"a\x1b[31mb\n\tc"),
        ("re\u202everse", "utf-8", r"re\u202everse"),
        ("lone \ud800", "utf-8", r"lone \ud800"),
        ("größe 漢", "utf-8", "größe 漢"),
        ("größe 漢", "latin-1", r"größe \u6f22"),
        ("größe 漢", "ascii", r"gr\xf6\xdfe \u6f22"),
    ],
)
def test_what_a_terminal_may_not_see_is_escaped(text, encoding, shown):
    assert printable(text, encoding) == shown


@pytest.mark.parametrize(
    ("width", "encoding", "shown"),
    [
        (40, "utf-8", "block_12/expand/batch_norm"),
        (26, "utf-8", "block_12/expand/batch_norm"),
        (15, "utf-8", "block_1…ch_norm"),
        (15, "ascii", "block_...h_norm"),
        (4, "ascii", "bloc"),
        (0, "utf-8", ""),
    ],
)
def test_names_are_cut_in_the_middle(width, encoding, shown):
    assert shorten("block_12/expand/batch_norm", width, encoding) == shown


def test_wide_characters_take_two_cells():
    assert width_of("漢字ab") == 6
    assert width_of(shorten("漢字" * 20, 21, "utf-8")) <= 21
    assert table([Column("a"), Column("b")], [("漢", "x"), ("ab", "y")], 80) == ["a   b", "漢  x", "ab  y"]


def test_the_widest_column_gives_way_first():
    columns = [Column("name", flexible=True), Column("n", "right"), Column("op", flexible=True)]
    lines = table(columns, [("a" * 60, "1", "Conv2D"), ("b", "22", "Add")], 40)
    assert lines == [
        "name                           n  op",
        "aaaaaaaaaaaa...aaaaaaaaaaaaa   1  Conv2D",
        "b                             22  Add",
    ]


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_tolerance_to_copy_is_never_rounded_down(value):
    assert value <= float(number_up(value)) <= value * 1.12


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        ((3.1e-2, 1e-4), ("3.1e-02", "1.0e-04")),
        ((1.004e-4, 1e-4), ("1.004e-04", "1.000e-04")),
        ((1.0, 1.0), ("1.0e+00", "1.0e+00")),
        ((math.nextafter(1, 2), 1.0), ("1.0000000000000002", "1.0")),
        ((math.inf, 0.0), ("inf", "0")),
    ],
)
def test_an_error_is_told_apart_from_what_is_allowed(pair, shown):
    assert distinct_numbers(*pair) == shown


def test_the_progress_line():
    line = progress_line("test_cnn", "webgl on chrome", "layers", 41, 70, width=80)
    assert line == "tfjs: test_cnn, webgl on chrome: layers 41/70"


@pytest.mark.parametrize(
    ("done", "total", "end"), [(None, None, "loading"), (3, None, "loading 3"), (0, 70, "loading 0/70")]
)
def test_a_stage_without_a_count(done, total, end):
    assert progress_line("t", "cpu on chrome", "loading", done, total, width=80).endswith(end)


def test_the_stage_stays_when_the_test_has_a_long_name():
    line = progress_line("test_" + "x" * 200, "webgl on chrome", "compiling shaders", None, None, width=70)
    assert len(line) == 70
    assert line.startswith("tfjs: test_xxx")
    assert line.endswith("xx, webgl on chrome: compiling shaders")


def test_the_header_line():
    items = [HeaderItem("backends", "webgl,wasm", "command line"), HeaderItem("browsers", "chrome\x1b")]
    assert header_line("0.1.0", "4.22.0", items) == (
        r"tfjs: 0.1.0, TF.js 4.22.0, backends webgl,wasm (command line), browsers chrome\x1b"
    )
    assert header_line("0.1.0", None, []) == "tfjs: 0.1.0, TF.js not found"


def test_the_terminal_parts_import_nothing_heavy():
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


def test_an_error_counts_no_layers():
    failed = comparison([layer("a")], {}, verdict="error", reason="Unknown op 'Foo'")
    assert layer_table(comparison_to_json(failed), width=80)[0].text == "digits, webgl on chrome: error"


def test_what_passes_and_has_to_be_known_all_the_same_stands_above_the_layers():
    found = comparison(
        [layer("a", output=True)],
        {"a": close()},
        notes=("a note",),
        observation=Observation(checked=("a",), altered=("a",), cause="nondeterministic"),
        weight_check=WeightCheck.of(
            tuple(WeightFinding(f"w{i}", "a", "differs", "1 of 2 values differ") for i in range(10))
        ),
    )
    assert found.verdict == "close"
    _, *notes, last, heading, _ = [line.text for line in layer_table(comparison_to_json(found), width=400)]
    assert notes[0] == "note: a note"
    assert notes[1].startswith("note: two runs on the same feed gave different outputs ('a')")
    assert notes[2] == "note: the weight 'w0' of 'a' is not the source's: 1 of 2 values differ"
    assert len(notes) == 10
    assert last == "note: and 2 more weights are not the source's"
    assert heading.startswith("layer")


def test_notes_stand_above_the_layers():
    found = comparison([layer("a")], {"a": close()}, notes=("input 'x' was cast", "and\x1b this"))
    _, first, second, heading, *_ = (line.text for line in layer_table(comparison_to_json(found), width=80))
    assert first == "note: input 'x' was cast"
    assert second.startswith("note: and")
    assert "\x1b" not in second
    assert heading.startswith("layer")
