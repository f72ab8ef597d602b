"""Faults that other tools miss are never `close`, end to end in a real page.

Three ways lead to a page that answers wrongly. `altered` and `edited`: the artifacts are the source's but
for one weight, or a line of model.json, so that the browser itself computes what is wrong. `answering`: the
page's answers are changed on their way. And a copy of TF.js that lies. Else the model itself, or its feed, is
such that nothing could be wrong. Where something is altered, the same unaltered is `close`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from pytest_tfjs import NotClose, Prebuilt, TfjsError
from pytest_tfjs.browsers.harness import Page
from pytest_tfjs.errors import ArtifactsError, FeedError
from pytest_tfjs.models.artifacts import with_weights
from tests.support.false_passes import MARKS, X, reason_of, serving, two_outputs

pytestmark = MARKS


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def served(tf):
    return serving(tf)


@pytest.fixture
def altered(tfjs, tmp_path):
    """Changes the one weight of a shape in the artifacts."""

    def alter(source, shape, change):
        artifacts = tfjs.convert(source)
        ((name, value),) = [
            (name, value) for name, value in artifacts.read_weights().items() if value.shape == shape
        ]
        changed = change(value.copy()).astype(value.dtype)
        made = with_weights(artifacts, {name: changed}, tmp_path / "altered")
        return Prebuilt(made.model_json, source)

    return alter


@pytest.fixture
def edited(tfjs, tmp_path):
    """Edits model.json of the artifacts."""

    def edit(source, change):
        made = with_weights(tfjs.convert(source), {}, tmp_path / "edited")
        content = json.loads(made.model_json.read_text())
        change(content)
        made.model_json.write_text(json.dumps(content))
        return Prebuilt(made.model_json, source)

    return edit


@pytest.fixture
def answering(monkeypatch):
    """Replaces the page's activations by a function of them and the feed's number."""

    def answer(change):
        run = Page.run

        def run_changed(page, job, on_activations, **limits):
            def changed(activations):
                tensors = change({**activations.tensors}, activations.feed)
                if tensors:
                    on_activations(replace(activations, tensors=tensors))

            return run(page, job, changed, **limits)

        monkeypatch.setattr(Page, "run", run_changed)

    return answer


def test_output_missing_in_the_browser_fails(tfjs, tf, served, answering):
    model = served(two_outputs(tf))
    lost = tfjs.assert_close(model, X).outputs[1]
    answering(lambda tensors, feed: {name: value for name, value in tensors.items() if name != lost})
    assert f"'{lost}' (the browser returned no activation)" in reason_of(tfjs, model, X, "unmapped")


def test_output_missing_in_the_artifacts_fails(tfjs, tf, served, edited):
    def without(content):
        del content["signature"]["outputs"]["b"]

    with pytest.raises(ArtifactsError, match="its outputs are"):
        tfjs.assert_close(edited(served(two_outputs(tf)), without), X)


def test_extra_nan_output_fails(tfjs, tf, served, answering):
    model = served(two_outputs(tf))
    answering(lambda tensors, feed: {**tensors, "extra": np.full((2, 3), np.nan, np.float32)})
    message = reason_of(tfjs, model, X, "error")
    assert message == "the page returned an activation of 'extra', which was not requested"


def test_extra_nan_output_in_the_artifacts_fails(tfjs, tf, served, edited):
    def with_root(content):
        (x,) = [entry["name"] for entry in content["signature"]["inputs"].values()]
        negative = {"name": "negative", "op": "Neg", "input": ["square"]}
        square = {"name": "square", "op": "Square", "input": [x.partition(":")[0]]}
        root = {"name": "root", "op": "Sqrt", "input": ["negative"]}
        content["modelTopology"]["node"] += [square, negative, root]
        content["signature"]["outputs"]["extra"] = {"name": "root:0", "dtype": "DT_FLOAT"}

    with pytest.raises(TfjsError):
        tfjs.assert_close(edited(served(two_outputs(tf)), with_root), X)


def test_swapped_output_names_fail(tfjs, tf, served, edited):
    def swapped(content):
        outputs = content["signature"]["outputs"]
        outputs["a"]["name"], outputs["b"]["name"] = outputs["b"]["name"], outputs["a"]["name"]

    model = served(two_outputs(tf))
    tfjs.assert_close(model, X)
    assert "diverged" in reason_of(tfjs, edited(model, swapped), X, "diverged")


def test_empty_tensors_fail(tfjs, tf, served):
    model = served(lambda x: {"y": tf.tanh(x), "none": tf.boolean_mask(x, x[:, 0] > 9.0)})
    tfjs.assert_close(model, X)
    model = served(lambda x: {"none": tf.boolean_mask(tf.tanh(x), x[:, 0] > 9.0)})
    assert "the output 'none' is empty" in reason_of(tfjs, model, X, "vacuous")
    assert "the output 'none' is empty" in reason_of(tfjs, model, X, "vacuous", layers="outputs")
    with pytest.raises(FeedError, match="is empty"):
        tfjs.assert_close(model, X[:0])


def test_no_feeds(tfjs, tf, served):
    model = served(two_outputs(tf))
    for none in ([], None, {}, ()):
        with pytest.raises(FeedError):
            tfjs.assert_close(model, none)


@pytest.mark.parametrize("answered", [0, 1])
def test_two_feeds_against_one_fail(tfjs, tf, served, answering, answered):
    model = served(two_outputs(tf))
    answering(lambda tensors, feed: tensors if feed == answered else {})
    assert reason_of(tfjs, model, [X, 2 * X], "diverged")


def test_one_wrong_feed_of_a_thousand_fails(tfjs, tf, served, altered):
    """Each feed takes another row of a table, and one of the rows is wrong in the artifacts."""
    table = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
    model = served(lambda x: {"y": tf.tanh(tf.gather(tf.constant(table), x))}, (1,), "int32")
    feeds = [np.array([number], np.int32) for number in range(1000)]

    def wrong(value):
        value[567] += 0.1
        return value

    with pytest.raises(NotClose) as caught:
        tfjs.assert_close(altered(model, table.shape, wrong), feeds, layers="outputs")
    (row,) = [row for row in caught.value.comparison.layers if row.verdict == "diverged"]
    assert (row.metrics.worst_feed, row.metrics.elements) == (567, 4000)


def test_identical_or_constant_feeds_fail(tfjs, tf, served):
    model = served(two_outputs(tf))
    for feeds in ([X, X], np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)):
        assert reason_of(tfjs, model, feeds, "vacuous").startswith("the input 'x' is ")
    tfjs.assert_close(model, [X, X], allow_vacuous="x")


def test_float32_against_equal_int32_fails(tfjs, tf, served, edited):
    """The browser's last Cast is to int32."""

    def to_int(content):
        (cast,) = [entry for entry in content["modelTopology"]["node"] if entry["op"] == "Cast"]
        cast["attr"]["DstT"] = {"type": "DT_INT32"}

    model = served(lambda x: {"y": tf.cast(x * 3, tf.float32)}, (None,), "int32")
    feed = np.array([1, 2, -5], np.int32)
    tfjs.assert_close(model, feed)
    with pytest.raises(
        NotClose, match="dtype int32 in the browser, float32 in the reference, of equal values"
    ):
        tfjs.assert_close(edited(model, to_int), feed)


def test_tiny_activations_replaced_by_zeros_fail(tfjs, tf, served, altered):
    tiny = np.array([[1, 2], [3, -4], [5, 6]], np.float32) * 1e-6
    model = served(lambda x: {"y": tf.matmul(x, tf.constant(tiny)), "z": tf.tanh(x)})
    assert tfjs.assert_close(model, X).layers
    assert reason_of(tfjs, altered(model, tiny.shape, np.zeros_like), X, "diverged")


def test_one_wrong_element_of_a_million_fails(tfjs, tf, served, altered):
    size = 1_000_000
    bias = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    model = served(lambda x: {"y": tf.tanh(x) + tf.constant(bias)}, (1, size))
    feed = np.random.default_rng(1).standard_normal((1, size)).astype(np.float32)

    def wrong(value):
        value[765_432] += 5
        return value

    tfjs.assert_close(model, feed)
    with pytest.raises(NotClose) as caught:
        tfjs.assert_close(altered(model, bias.shape, wrong), feed)
    (row,) = [row for row in caught.value.comparison.layers if row.verdict == "diverged"]
    assert (row.metrics.mismatched, row.metrics.worst) == (1, (0, 765_432))
    assert math.isclose(row.metrics.max_abs, 5, rel_tol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(([1, np.nan, 2, 3, 4], [1, np.inf, 2, 3, 4]), id="NaN against Inf"),
        pytest.param(([1, np.inf, 2, 3, 4], [1, -np.inf, 2, 3, 4]), id="Inf against -Inf"),
        pytest.param(([1, np.nan, 2, 3, 4], [np.nan, 1, 2, 3, 4]), id="NaN at different places"),
        pytest.param(([1, np.nan, 2, 3, 4], [1, 0, 2, 3, 4]), id="a number for NaN"),
    ],
)
def test_nan_against_inf_fails(tfjs, tf, served, altered, wrong):
    ours, theirs = (np.array(values, np.float32) for values in wrong)
    model = served(lambda x: {"y": tf.tanh(x) + tf.constant(ours)}, (2, 5))
    feed = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    tfjs.assert_close(model, feed)
    assert reason_of(tfjs, altered(model, ours.shape, lambda _: theirs), feed, "diverged")


def test_transposed_square_map_fails(tfjs, tf, served, altered):
    """The artifacts do not swap height and width as the source does."""
    kernel = np.random.default_rng(0).standard_normal((3, 3, 2, 4)).astype(np.float32)

    def compute(x):
        turned = tf.transpose(tf.tanh(x), tf.constant([0, 2, 1, 3]))
        return {"y": tf.nn.conv2d(turned, tf.constant(kernel), 1, "SAME")}

    model = served(compute, (1, 8, 8, 2))
    feed = np.random.default_rng(1).standard_normal((1, 8, 8, 2)).astype(np.float32)
    tfjs.assert_close(model, feed)
    as_it_is = altered(model, (4,), lambda _: np.arange(4))
    assert reason_of(tfjs, as_it_is, feed, "diverged")
    assert reason_of(tfjs, as_it_is, feed, "diverged", layers="outputs")


def test_swapped_channels_fail(tfjs, tf, served, altered):
    kernel = np.random.default_rng(0).standard_normal((3, 3, 2, 4)).astype(np.float32)
    model = served(lambda x: {"y": tf.nn.conv2d(x, tf.constant(kernel), 1, "SAME")}, (1, 8, 8, 2))
    feed = np.random.default_rng(1).standard_normal((1, 8, 8, 2)).astype(np.float32)
    tfjs.assert_close(model, feed)
    assert reason_of(tfjs, altered(model, kernel.shape, lambda k: k[..., [1, 0, 2, 3]]), feed, "diverged")


def untrained(tf, depth=12):
    """A classifier with weights so small that the feed does not affect the output."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(-0.05, 0.05, (16, 16)).astype(np.float32) for _ in range(depth)]

    def compute(x):
        for weight in weights:
            x = tf.nn.relu(tf.matmul(x, tf.constant(weight)))
        return {"probabilities": tf.nn.softmax(x)}

    return compute


def test_constant_outputs_of_an_untrained_model_fail(tfjs, tf, served):
    model = served(untrained(tf), (None, 16))
    feed = np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)
    message = reason_of(tfjs, model, feed, "vacuous")
    assert "is 0.0625 everywhere: a broken model could pass too. Feed real inputs, load trained" in message
    (output,) = tfjs.compare(model, feed).outputs
    assert tfjs.assert_close(model, feed, allow_vacuous=output).verdict == "close"


def test_classes_of_an_untrained_model_fail(tfjs, tf, served):
    def compute(x):
        return {"class": tf.argmax(untrained(tf)(x)["probabilities"], -1, output_type=tf.int32)}

    model = served(compute, (None, 16))
    feed = np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32)
    for layers in ("all", "outputs"):
        message = reason_of(tfjs, model, feed, "vacuous", layers=layers)
        assert re.match(r"the output '.*' is computed from '.*', which is 0\.0625 everywhere: ", message)


@pytest.mark.parametrize("layers", ["all", "outputs"])
def test_saturated_dead_and_constant_outputs_fail(tfjs, tf, served, layers):
    """One constant output of several is enough, and the message names it."""
    anchors = np.arange(12, dtype=np.float32).reshape(4, 3)
    outputs = {
        "is saturated": lambda x: tf.sigmoid(1000.0 * (x + 0.01)),
        "is 0 everywhere": lambda x: tf.nn.relu(tf.tanh(x) - 2.0),
        "does not change when other values are fed": lambda x: tf.constant(anchors),
    }
    for message, compute in outputs.items():
        model = served(lambda x, compute=compute: {"y": tf.tanh(x), "z": compute(x)})
        assert f" {message}" in reason_of(tfjs, model, X, "vacuous", layers=layers)


def test_equal_outputs_for_different_feeds_fail(tfjs, tf, served):
    model = served(lambda x: {"y": tf.tanh(x[:1] * 0.0 + tf.constant([[1.0, 2.0, 3.0]]))})
    assert "is the same for all feeds" in reason_of(tfjs, model, [X, 2 * X], "vacuous")


def test_intentionally_constant_outputs_are_close(tfjs, tf, served):
    """Classes that happen to be one, a single element, a mask, a count, and the mean of an image as a map."""
    weights = np.array([[5, 0], [0, 0], [0, 0]], np.float32)

    def compute(x):
        logits = tf.matmul(tf.abs(x), tf.constant(weights))
        sure = tf.nn.softmax(logits)
        return {
            "class": tf.argmax(logits, -1, output_type=tf.int32),
            "mask": tf.cast(sure > 0.5, tf.float32),
            "count": tf.reduce_sum(tf.cast(sure > 0.5, tf.int32)),
            "mean": tf.broadcast_to(tf.reduce_mean(x, keepdims=True), (1, 4)),
            "one": tf.reduce_max(x)[None],
        }

    for layers in ("all", "outputs"):
        comparison = tfjs.assert_close(served(compute), X, layers=layers)
        assert len(comparison.outputs) == 5


def test_dead_layers_are_counted_and_close(tfjs, tf, served):
    model = served(lambda x: {"y": tf.tanh(x) + tf.nn.relu(tf.tanh(x) - 2.0)})
    comparison = tfjs.assert_close(model, X)
    assert list(comparison.vacuity.dead.values()) == ["is 0 everywhere"]
