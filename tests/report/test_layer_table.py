"""The table of one comparison: a row for each layer."""

from __future__ import annotations

from pytest_tfjs.compare.observer_effect import Observation
from pytest_tfjs.compare.weight_check import WeightCheck, WeightFinding
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.layer_table import layer_table
from pytest_tfjs.report.text_layout import Line
from tests.support.comparisons import close, comparison, layer, measured, wrong
from tests.support.reported_comparisons import BAD, CHAIN, reported, texts

LAYERS = """\
layer  op           shape           coverage              max abs      rms  |error|  allowed  verdict
conv   Conv2D+Relu  [1, 28, 28, 8]  compared              1.9e-06  1.5e-06  1.9e-06  2.2e-03  close
pool   MaxPool      [1, 14, 14, 8]  compared              5.0e+00  2.5e+00  5.0e+00  4.4e-03  diverged first
bias   BiasAdd      -               fused into conv             -        -        -        -  -
drop   Identity     -               eliminated: identity        -        -        -        -  -
out    Softmax      [1, 10]         compared                  inf      inf      inf  1.1e-03  diverged"""


def test_layer_table_in_full():
    title, *lines = layer_table(reported(CHAIN, BAD), width=140)
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


GROUP_METRICS = {"c_1/conv": close(), "p_1/pool": wrong(), "c_1/again": measured([3, 1], [1, 1])}


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


def test_nodes_of_a_layer_are_one_row():
    _, *lines = layer_table(reported(grouped_layers(), GROUP_METRICS), width=140)
    assert "\n".join(texts(lines)) == GROUPS
    assert [line.verdict for line in lines] == [None, "diverged", None, None, None, "diverged"]


def test_nodes_of_a_layer_are_listed_below_it_with_nodes():
    lines = layer_table(reported(grouped_layers(), GROUP_METRICS), width=140, nodes=True)
    assert "\n".join(texts(lines)[1:]) == NODES


def test_row_fused_into_a_group_follows_it():
    """A fused operation has the place of the last node that it includes."""
    gone = {"shape": None, "dtype": None, "coverage": "fused", "into": "c/conv"}
    made = reported(
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


def test_group_with_an_unmapped_node_is_unmapped():
    lost = layer("c_1/odd", coverage="unmapped", reason="gone", group="c", group_op="Conv2D")
    made = reported((*grouped_layers()[:2], lost), {"c_1/conv": close()})
    line = layer_table(made, width=140)[-1]
    assert line.verdict == "unmapped"
    assert "1 compared, 1 fused, 1 unmapped" in line.text


def test_narrow_terminals_drop_the_least_useful_columns_first():
    headings = {
        width: texts(layer_table(reported(CHAIN, BAD), width=width))[-6].split() for width in (200, 90, 60)
    }
    assert headings[200][:4] == ["layer", "op", "shape", "coverage"]
    assert "rms" not in headings[90]
    assert "op" in headings[90] or "shape" in headings[90]
    assert headings[60] == ["layer", "coverage", "|error|", "allowed", "verdict"]


def test_title_of_an_error_counts_no_layers():
    failed = comparison([layer("a")], {}, verdict="error", reason="Unknown op 'Foo'")
    assert layer_table(comparison_to_json(failed), width=80)[0].text == "digits, webgl on chrome: error"


def test_notes_of_a_close_comparison_are_above_the_layers():
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
    assert notes[2] == "note: the weight 'w0' of 'a' differs from the source's: 1 of 2 values differ"
    assert len(notes) == 10
    assert last == "note: and 2 more weights differ from the source's"
    assert heading.startswith("layer")


def test_notes_are_escaped_and_above_the_layers():
    found = comparison([layer("a")], {"a": close()}, notes=("input 'x' was cast", "and\x1b this"))
    _, first, second, heading, *_ = (line.text for line in layer_table(comparison_to_json(found), width=80))
    assert first == "note: input 'x' was cast"
    assert second.startswith("note: and")
    assert "\x1b" not in second
    assert heading.startswith("layer")
