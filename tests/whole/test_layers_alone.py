"""Layers run alone in a real page compute what they compute in the whole model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fixtures
from demo.fault import double_largest_weight
from fixtures.families import FAMILIES
from fixtures.family import Case
from pytest_tfjs.browsers.jobs import Job
from pytest_tfjs.errors import PageError
from pytest_tfjs.models.alone.planner import plan_alone
from pytest_tfjs.models.artifacts import read_artifacts
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.sources import as_source
from pytest_tfjs.reference.capture import capture_reference
from pytest_tfjs.workflows.layer_measurement import chunks, with_plans
from tests.support.page_jobs import layer_tap, node_tap, open_page, run_alone
from tests.support.sizes import slow_except
from tests.support.tiny_graphs import constant, dense_graph, dtype_attribute, node, placeholder, write_graph
from tests.support.tiny_layers_models import dense_model, functional, input_layer, layer, write_layers_model
from tests.support.tiny_models import BIAS, KERNEL, X

pytestmark = pytest.mark.browser
BACKENDS = ["cpu", "wasm", "webgl"]
R = np.array([[3, -4], [0.5, 100]], np.float32)
"""A reference unlike anything that the model computes from X."""


@pytest.fixture
def page(harness):
    return open_page(harness)


def taps_of(*names):
    return tuple(node_tap(f"{name}:0") if ":" not in name else node_tap(name) for name in names)


def graph_job(model, feed, *names, **fields):
    """A job over nodes; rows are named after their tensors: `relu:0`."""
    return Job(model, "graph", (feed,), (taps_of(*names),), **fields)


@pytest.mark.parametrize("backend", BACKENDS)
def test_node_alone_computes_from_the_reference(harness, tmp_path, backend):
    job = graph_job(dense_graph(tmp_path), {"x": X}, "product", "sum", "relu")
    reference = {"product:0": R, "sum:0": R - 7, "relu:0": R}
    result, (tapped,), (alone,) = run_alone(open_page(harness, backend), job, [reference])
    assert result.alone == {"product:0": (), "sum:0": ("product:0",), "relu:0": ("sum:0",)}
    assert result.not_alone == {}
    np.testing.assert_array_equal(tapped["product:0"], X @ KERNEL)
    np.testing.assert_array_equal(alone["product:0"], X @ KERNEL)
    np.testing.assert_array_equal(alone["sum:0"], R + BIAS)
    np.testing.assert_array_equal(alone["relu:0"], np.maximum(R - 7, 0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_layer_alone_computes_from_the_reference(harness, tmp_path, backend):
    job = Job(dense_model(tmp_path), "layers", ({"x": X},), ((layer_tap("dense"), layer_tap("relu")),))
    result, (tapped,), (alone,) = run_alone(open_page(harness, backend), job, [{"dense": R, "relu": R}])
    assert result.alone == {"dense": (), "relu": ("dense",)}
    np.testing.assert_array_equal(alone["dense"], tapped["dense"])
    np.testing.assert_array_equal(alone["relu"], np.maximum(R, 0))


@pytest.mark.parametrize("form", ["graph", "layers"])
def test_each_chunk_of_each_feed_has_its_layers_alone(page, tmp_path, form):
    if form == "graph":
        model, names = dense_graph(tmp_path), ("product:0", "sum:0", "relu:0")
        taps = taps_of(*names)
    else:
        model, names = dense_model(tmp_path), ("dense", "relu")
        taps = tuple(layer_tap(name) for name in names)
    job = Job(model, form, ({"x": X}, {"x": 2 * X}), tuple((tap,) for tap in taps), plain_runs=1)
    reference = [dict.fromkeys(names, R), dict.fromkeys(names, -R)]
    result, _, (first, second) = run_alone(page, job, reference)
    assert list(result.alone) == list(names)
    last = names[-1]
    np.testing.assert_array_equal(first[last], np.maximum(R, 0))
    np.testing.assert_array_equal(second[last], np.maximum(-R, 0))
    np.testing.assert_array_equal(second[names[0]], 2 * first[names[0]] - (BIAS if form == "layers" else 0))


def test_untapped_tensor_can_be_an_input(page, tmp_path):
    job = graph_job(dense_graph(tmp_path), {"x": X}, "relu")
    result, _, (alone,) = run_alone(page, job, [{"product:0": R}], known=taps_of("product", "relu"))
    assert result.alone == {"relu:0": ("product:0",)}
    np.testing.assert_array_equal(alone["relu:0"], np.maximum(R + BIAS, 0))


def split_graph(folder):
    """`x` (2, 4) split into halves, their sum, the negative second, and a comparison of that."""
    nodes = [
        placeholder("x", -1, 4),
        constant("axis", np.array(1, np.int32)),
        constant("zero", np.array(0, np.float32)),
        node("Split", "split", "axis", "x", num_split={"i": "2"}, T=dtype_attribute("float32")),
        node("AddV2", "sum", "split", "split:1", T=dtype_attribute("float32")),
        node("Neg", "second", "split:1", T=dtype_attribute("float32")),
        node("Greater", "positive", "second", "zero", T=dtype_attribute("float32")),
        node("LogicalNot", "negative", "positive"),
        node("Identity", "same", "second", T=dtype_attribute("float32")),
        node("Abs", "size", "second", T=dtype_attribute("float32")),
        node("Abs", "other_size", "same", T=dtype_attribute("float32")),
    ]
    ends = ("sum", "negative", "size", "other_size")
    return write_graph(
        folder,
        nodes,
        {"axis": np.array(1, np.int32), "zero": np.array(0, np.float32)},
        inputs={"x": "x:0"},
        outputs={name: f"{name}:0" for name in ends},
    )


X4 = np.array([[1, 2, 3, -4], [-5, 6, 7, 8]], np.float32)


def test_outputs_of_one_node_are_computed_from_its_inputs(page, tmp_path):
    job = graph_job(split_graph(tmp_path), {"x": X4}, "split:0", "split:1", "sum", "second")
    result, _, (alone,) = run_alone(page, job, [{"split:0": R, "split:1": R}])
    # TF.js uses one fed tensor for all outputs of a node.
    assert result.alone == {"split:0": (), "split:1": (), "sum:0": (), "second:0": ("split:1",)}
    np.testing.assert_array_equal(alone["split:1"], X4[:, 2:])
    np.testing.assert_array_equal(alone["sum:0"], X4[:, :2] + X4[:, 2:])
    np.testing.assert_array_equal(alone["second:0"], -R)


def test_comparison_of_floats_feeds_bools(page, tmp_path):
    job = graph_job(split_graph(tmp_path), {"x": X4}, "positive", "negative")
    given = np.array([[True, False], [False, False]])
    result, _, (alone,) = run_alone(page, job, [{"positive:0": given}])
    assert result.alone["negative:0"] == ("positive:0",)
    np.testing.assert_array_equal(alone["negative:0"], ~given)


def test_unchanged_tensor_is_fed_under_either_name(page, tmp_path):
    job = graph_job(split_graph(tmp_path), {"x": X4}, "same", "size", "other_size")
    result, (tapped,), (alone,) = run_alone(page, job, [{"same:0": R}])
    # It is not computed from itself.
    assert result.alone == {"same:0": (), "size:0": ("same:0",), "other_size:0": ("same:0",)}
    np.testing.assert_array_equal(alone["same:0"], tapped["same:0"])
    np.testing.assert_array_equal(alone["size:0"], np.abs(R))


def test_random_operation_is_not_run_alone_but_its_consumer_is(page, tmp_path):
    nodes = [
        placeholder("x", 2, 2),
        constant("shape", np.array([2, 2], np.int32)),
        node("RandomUniform", "drawn", "shape", dtype=dtype_attribute("float32"), seed={"i": "1"}),
        node("AddV2", "noisy", "x", "drawn"),
        node("Neg", "end", "noisy"),
    ]
    weights = {"shape": np.array([2, 2], np.int32)}
    model = write_graph(tmp_path, nodes, weights, inputs={"x": "x:0"}, outputs={"end": "end:0"})
    result, _, (alone,) = run_alone(
        page, graph_job(model, {"x": R}, "drawn", "noisy", "end"), [{"drawn:0": R, "noisy:0": R}]
    )
    assert result.alone == {"noisy:0": ("drawn:0",), "end:0": ("noisy:0",)}
    assert result.not_alone == {
        "drawn:0": "the node 'drawn' (RandomUniform) draws random numbers, which are not the same in TF.js"
        " and in TensorFlow, even if both use the same seed"
    }
    np.testing.assert_array_equal(alone["noisy:0"], 2 * R)


def test_failing_layer_alone_is_reported_and_others_run(page, tmp_path):
    job = graph_job(dense_graph(tmp_path), {"x": X}, "product", "sum", "relu")
    job = Job(job.artifacts, "graph", ({"x": X}, {"x": X}), job.chunks)
    fits = {"product:0": R, "sum:0": R}
    unfit = {"product:0": np.zeros((2, 3), np.float32), "sum:0": R}
    for reference in ([fits, unfit], [unfit, fits]):
        result, _, alone = run_alone(page, job, reference)
        assert list(result.alone) == ["product:0", "relu:0"]
        assert result.not_alone["sum:0"].startswith("the layer failed: ")
        assert all("relu:0" in given for given in alone)


def test_failing_layer_alone_is_reported_in_a_layers_model(page, tmp_path):
    model = write_layers_model(
        tmp_path,
        functional(
            "two",
            [
                (input_layer("x", 3), []),
                (layer("Dense", "dense", units=2, use_bias=False), [[("x", 0, 0)]]),
                (layer("Dense", "last", units=2, use_bias=False), [[("dense", 0, 0)]]),
            ],
            ["x"],
            [("last", 0, 0)],
        ),
        {"dense/kernel": KERNEL, "last/kernel": KERNEL[:2]},
    )
    job = Job(model, "layers", ({"x": X},), ((layer_tap("dense"), layer_tap("last")),))
    result, _, _ = run_alone(page, job, [{"dense": np.zeros((2, 3), np.float32)}])
    assert list(result.alone) == ["dense"]
    assert result.not_alone["last"].startswith("the layer failed: ")


def test_mask_of_another_layer_is_reported(page, tmp_path):
    """TF.js passes the mask of one recurrent layer to the next layer called."""
    one = np.ones((1, 1), np.float32)
    rnns = {
        f"{name}/simple_rnn_cell/{weight}": one for name in "ab" for weight in ("kernel", "recurrent_kernel")
    }
    model = write_layers_model(
        tmp_path,
        functional(
            "two",
            [
                (input_layer("x", 3, 1), []),
                (input_layer("y", 3, 1), []),
                (layer("Masking", "hide"), [[("x", 0, 0)]]),
                (layer("SimpleRNN", "a", units=1, use_bias=False), [[("hide", 0, 0)]]),
                (layer("SimpleRNN", "b", units=1, use_bias=False), [[("y", 0, 0)]]),
                (layer("Concatenate", "both"), [[("b", 0, 0), ("a", 0, 0)]]),
            ],
            ["x", "y"],
            [("both", 0, 0)],
        ),
        rnns,
    )
    feed = {"x": np.float32([[[1], [0], [0]]]), "y": np.float32([[[1], [1], [1]]])}
    rows = ("hide", "a", "b", "both")
    job = Job(model, "layers", (feed,), (tuple(layer_tap(name) for name in rows),))
    reference = {name: np.ones((1, 1), np.float32) for name in rows} | {"hide": feed["x"]}
    result, (tapped,), (alone,) = run_alone(page, job, [reference])
    assert result.alone == {"hide": (), "a": ("hide",), "both": ("b", "a")}
    assert_the_same(alone["a"], tapped["a"])
    assert result.not_alone == {
        "b": "TF.js gives 'b' a mask in the whole model, although no input of the layer has one"
    }


def test_each_call_of_a_shared_layer_runs_alone_with_its_own_mask(page, tmp_path):
    one = np.ones((1, 1), np.float32)
    weights = {f"rnn/simple_rnn_cell/{weight}": one for weight in ("kernel", "recurrent_kernel")}
    rnn = layer("SimpleRNN", "rnn", units=1, use_bias=False)
    layers = [
        (input_layer("x", 3, 1), []),
        (input_layer("y", 3, 1), []),
        (layer("Masking", "hide"), [[("x", 0, 0)]]),
        (rnn, [[("y", 0, 0)], [("hide", 0, 0)]]),
        (layer("Concatenate", "both"), [[("rnn", 0, 0), ("rnn", 1, 0)]]),
    ]
    model = write_layers_model(tmp_path, functional("m", layers, ["x", "y"], [("both", 0, 0)]), weights)
    feed = {"x": np.float32([[[1], [0], [0]]]), "y": np.float32([[[1], [0], [0]]])}
    taps = (layer_tap("plain", "rnn", node=0), layer_tap("hide"), layer_tap("masked", "rnn", node=1))
    job = Job(model, "layers", (feed,), (taps,))
    result, (tapped,), (alone,) = run_alone(page, job, [{"hide": feed["x"]}])
    assert result.not_alone == {}
    assert_the_same(alone["plain"], tapped["plain"])
    assert_the_same(alone["masked"], tapped["masked"])
    assert not np.allclose(alone["plain"], alone["masked"])  # a masked step leaves the state as it is


def test_missing_reference_fails_the_job(page, tmp_path):
    job = graph_job(dense_graph(tmp_path), {"x": X}, "product", "sum")

    def unreadable(feed, names):
        raise OSError("the disk is gone")

    taps = {tap.name: tap.address for tap in job.chunks[0]}
    chunks_alone = with_plans(job.chunks, plan_alone(read_artifacts(job.artifacts), taps, taps))
    failing = replace(job, chunks=chunks_alone, references=unreadable)
    with pytest.raises(PageError, match="the disk is gone"):
        page.run(failing, lambda activations: None)
    lacking = replace(failing, references=lambda feed, names: {})
    with pytest.raises(PageError, match="no reference of 'product:0'"):
        page.run(lacking, lambda activations: None)


def job_of(artifacts, source, feed, cache, budget=1 << 28):
    """A job with all rows of a model, as the checker makes it, and the reference of its one feed."""
    feeds = normalise_feeds(feed, artifacts.inputs)
    reference = capture_reference(source, artifacts, feeds, "all", cache)
    browser = tuple(one.browser for one in feeds)
    job = Job(artifacts.model_json, artifacts.format, browser, chunks(reference, budget))
    return job, [reference.activations(0)]


def assert_the_same(one, other):
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    np.testing.assert_array_equal(one, other)


QUICK = ("two_in_two_out-keras3-graph", "nested-keras2-layers", "states-keras3-graph")
CASES = [
    Case(FAMILIES[name], keras, form)
    for name, keras, form in [
        ("two_in_two_out", 3, "graph"),
        ("two_in_two_out", 2, "layers"),
        ("unet", 2, "graph"),
        ("unet", 2, "layers"),
        ("nested", 2, "layers"),
        ("siamese", 2, "layers"),
        ("merge", 2, "layers"),
        ("wrappers", 2, "layers"),
        ("states", 2, "layers"),
        ("states", 3, "graph"),
        ("masking", 2, "layers"),
        ("masked", 2, "layers"),
        ("text", 2, "layers"),
        ("convolutions", 3, "graph"),
        ("stacked", 3, "graph"),
        ("control_flow", None, "graph"),
        ("hash_table", None, "graph"),
        ("strings", None, "graph"),
        ("spectrum", None, "graph"),
    ]
]


@pytest.fixture
def assert_exact(harness, saved_family, cache):
    """Check that each layer alone repeats its output bit for bit when fed the browser's own inputs."""

    def check(backend, case, budget):
        page = open_page(harness, backend)
        source = as_source(saved_family(case))
        artifacts = convert(source, format=case.format, cache=cache)
        job, stored = job_of(artifacts, source, case.family.inputs(), cache, budget)
        result, tapped, _ = run_alone(page, job, stored)
        assert result.not_alone == {}
        result, again, alone = run_alone(page, job, tapped)
        assert result.not_alone == {}
        for own, seen, given in zip(tapped, again, alone, strict=True):
            assert own.keys() == given.keys()
            for name, value in given.items():
                assert_the_same(value, seen[name])
                assert_the_same(value, own[name])

    return check


@pytest.mark.convert
@pytest.mark.parametrize("case", slow_except(QUICK, CASES))
@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_alone_are_bit_identical(assert_exact, backend, case):
    if case.gap(backend) is not None:
        pytest.skip("it does not run there")
    assert_exact(backend, case, 1 << 14)


@pytest.mark.convert
@pytest.mark.slow
@pytest.mark.parametrize("form", ["graph", "layers"])
def test_mobilenet_layers_alone_are_bit_identical(assert_exact, form):
    assert_exact("wasm", Case(FAMILIES["mobilenetv2"], 2, form), 1 << 28)


@pytest.mark.convert
@pytest.mark.parametrize("form", ["graph", "layers"])
def test_fault_changes_only_its_layer_alone(harness, tmp_path, cache, form):
    source = as_source(fixtures.build("cnn", 2))
    sound = convert(source, format=form, cache=cache)
    job, stored = job_of(sound, source, fixtures.inputs("cnn"), cache)
    page = open_page(harness, "wasm")
    _, (before,), (right,) = run_alone(page, job, stored)
    for name in ("stem_conv", "down_depthwise", "head_conv", "classes"):
        broken = double_largest_weight(sound, name, tmp_path / name)
        damaged = Job(broken.model_json, form, job.feeds, job.chunks)
        result, (after,), (wrong,) = run_alone(page, damaged, stored)
        assert result.not_alone == {}
        changed = [row for row, value in right.items() if not np.array_equal(value, wrong[row])]
        assert [row.split("/")[0] for row in changed] == [name]
        assert (
            sum(not np.array_equal(value, after[row]) for row, value in before.items()) > 1
            or name == "classes"
        )
