from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Job, Tap, TimingPlan
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import PageError
from tests.support.page_jobs import layer_tap, node_tap, open_page, run, tap
from tests.support.tiny_graphs import constant, dense_graph, dtype_attribute, node, placeholder, write_graph
from tests.support.tiny_layers_models import dense_model
from tests.support.tiny_models import DENSE, KERNEL, RELU, X

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("backend", ["cpu", "wasm", "webgl"])
class TestOnEachBackend:
    def test_the_backend_asked_for_is_the_one_that_runs(self, harness, backend):
        facts = open_page(harness, backend).facts
        assert (facts.browser, facts.backend, facts.variant) == ("chrome", backend, None)
        assert facts.browser_version[0].isdigit()
        assert facts.tfjs_version == Dist.shipped().version
        assert "Chrome" in facts.user_agent
        assert (facts.renderer is not None) == (facts.software is not None) == (backend == "webgl")
        assert (facts.float32_textures is not None) == (backend == "webgl")

    def test_a_layers_model_gives_all_its_layers_in_one_pass(self, harness, backend, tmp_path):
        tensors = tap(
            open_page(harness, backend),
            dense_model(tmp_path),
            "layers",
            {"x": X},
            *map(layer_tap, ("x", "dense", "relu")),
        )
        assert {name: value.dtype.name for name, value in tensors.items()} == dict.fromkeys(
            tensors, "float32"
        )
        np.testing.assert_allclose(tensors["x"], X)
        np.testing.assert_allclose(tensors["dense"], DENSE)
        np.testing.assert_allclose(tensors["relu"], RELU)

    def test_a_graph_model_gives_all_its_nodes_in_one_pass(self, harness, backend, tmp_path):
        names = ("serving_x", "product:0", "sum", "relu:0", "Identity:0")
        tensors = tap(
            open_page(harness, backend), dense_graph(tmp_path), "graph", {"x": X}, *map(node_tap, names)
        )
        assert set(tensors) == set(names)
        np.testing.assert_allclose(tensors["sum"], DENSE)
        np.testing.assert_allclose(tensors["Identity:0"], RELU)

    @pytest.mark.parametrize("form", ["layers", "graph"])
    def test_a_model_is_timed_and_nothing_of_it_is_left(self, harness, backend, form, tmp_path):
        model = dense_model(tmp_path) if form == "layers" else dense_graph(tmp_path)
        tap_of = layer_tap if form == "layers" else node_tap
        result, received = run(
            open_page(harness, backend),
            Job(
                model, form, ({"x": X},), ((tap_of("relu"),),), TimingPlan(warmup=1, runs=3, budget_ms=60_000)
            ),
        )
        assert result.load_ms > 0
        assert result.first_ms > 0
        assert len(result.warm_ms) == 3
        assert all(ms > 0 for ms in result.warm_ms)
        assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
        assert len(received) == 1


def test_page_is_reused_until_the_target_changes(harness):
    first = open_page(harness, "cpu")
    assert open_page(harness, "cpu") is first
    second = open_page(harness, "wasm")
    assert second.facts.backend == "wasm"
    with pytest.raises(PageError, match="open the target again"):
        first.run(None, print)
    assert open_page(harness, "cpu") is not first


@pytest.mark.parametrize(
    ("backend", "flag", "value"),
    [
        ("webgl:f16", "WEBGL_FORCE_F16_TEXTURES", True),
        ("webgl:unpacked", "WEBGL_PACK", False),
        ("wasm:plain", "WASM_HAS_SIMD_SUPPORT", False),
        ("wasm:simd", "WASM_HAS_SIMD_SUPPORT", True),
        ("wasm:threads", "WASM_HAS_MULTITHREAD_SUPPORT", True),
    ],
)
def test_variant_runs_with_its_flags(harness, tmp_path, backend, flag, value):
    page = open_page(harness, backend)
    assert page.facts.flags[flag] is value
    if backend == "webgl:f16":
        assert page.facts.float32_textures is False
    tensors = tap(page, dense_graph(tmp_path), "graph", {"x": X}, node_tap("relu"))
    np.testing.assert_allclose(tensors["relu"], RELU)


def test_several_feeds_arrive_chunk_by_chunk(harness, tmp_path):
    job = Job(
        dense_graph(tmp_path),
        "graph",
        ({"x": X}, {"x": 2 * X[:1]}),
        ((node_tap("product"), node_tap("sum")), (node_tap("relu"),)),
    )
    _, received = run(open_page(harness), job)
    assert [(feed, sorted(tensors)) for feed, tensors in received] == [
        (0, ["product", "sum"]),
        (1, ["product", "sum"]),
        (0, ["relu"]),
        (1, ["relu"]),
    ]
    np.testing.assert_allclose(received[1][1]["product"], 2 * X[:1] @ KERNEL)


def test_activations_are_released_after_each_chunk(harness, tmp_path):
    page = open_page(harness)
    held = []
    feeds = tuple({"x": X} for _ in range(40))
    taps = tuple(node_tap(name) for name in ("product", "sum", "relu"))

    def take(_):
        held.append(harness._browser._driver.execute_script("return tf.memory().numTensors"))

    page.run(Job(dense_graph(tmp_path), "graph", feeds, (taps,)), take)
    assert max(held) < 20


def test_job_reports_its_stages(harness, tmp_path):
    page = open_page(harness, "webgl")
    stages = []
    chunks = ((node_tap("sum"),), (node_tap("relu"), node_tap("product")))
    job = Job(dense_graph(tmp_path), "graph", ({"x": X},), chunks, TimingPlan(0, 2, 60_000))
    page.run(job, lambda _: None, on_progress=lambda progress: stages.append(str(progress)))
    assert stages == [
        "loading model",
        "compiling shaders",
        "warm runs 0/2",
        "warm runs 1/2",
        "layers 0/3",
        "layers 1/3",
        "layers 3/3",
    ]


def test_at_least_one_run_is_timed(harness, tmp_path):
    plan = TimingPlan(warmup=1000, runs=1000, budget_ms=0)
    result, received = run(open_page(harness), Job(dense_graph(tmp_path), "graph", ({"x": X},), (), plan))
    assert len(result.warm_ms) == 1
    assert received == []
    result, _ = run(
        open_page(harness), Job(dense_graph(tmp_path), "graph", ({"x": X},), (), TimingPlan(0, 0, 9))
    )
    assert (result.warm_ms, result.first_ms > 0) == ((), True)


def test_result_lists_the_layers_of_the_model(harness, tmp_path):
    result, _ = run(
        open_page(harness), Job(dense_model(tmp_path), "layers", ({"x": X},), ((layer_tap("x"),),))
    )
    assert [(entry["name"], entry["class"]) for entry in result.model["layers"]] == [
        ("x", "InputLayer"),
        ("dense", "Dense"),
        ("relu", "Activation"),
    ]
    result, _ = run(
        open_page(harness), Job(dense_graph(tmp_path), "graph", ({"x": X},), ((node_tap("sum"),),))
    )
    assert {"name": "sum", "class": "AddV2"} in result.model["layers"]


def test_all_dtypes_are_preserved(harness, tmp_path):
    nodes = [
        placeholder("f", -1),
        placeholder("i", -1, dtype="int32"),
        placeholder("b", -1, dtype="bool"),
        placeholder("s", -1, dtype="str"),
        *(node("Identity", f"{name}_out", name) for name in "fibs"),
        node("Complex", "c", "f", "f"),
        node("Cast", "cast", "i", SrcT=dtype_attribute("int32"), DstT=dtype_attribute("float32")),
    ]
    names = {name: f"{name}:0" for name in "fibs"}
    model = write_graph(tmp_path, nodes, {}, inputs=names, outputs={"cast": "cast:0", "c": "c:0"})
    feed = {
        "f": np.array([1.5, np.nan, -np.inf], np.float32),
        "i": np.array([2**31 - 1, -(2**31)], np.int32),
        "b": np.array([True, False, True]),
        "s": np.array(["", "ä\n😀"]),
    }
    tensors = tap(
        open_page(harness), model, "graph", feed, *map(node_tap, ["f_out", "i_out", "b_out", "s_out", "c"])
    )
    for name, value in feed.items():
        assert tensors[f"{name}_out"].dtype.kind == value.dtype.kind
        np.testing.assert_array_equal(tensors[f"{name}_out"], value)
    assert tensors["c"].dtype == np.complex64
    np.testing.assert_array_equal(tensors["c"].real, feed["f"])


def test_scalars_and_empty_tensors_are_read(harness, tmp_path):
    nodes = [
        placeholder("x", -1, 3),
        constant("axes", np.array([0, 1], np.int32)),
        node("Sum", "sum", "x", "axes", keep_dims={"b": False}),
        node("Relu", "relu", "x"),
    ]
    model = write_graph(
        tmp_path, nodes, {"axes": np.array([0, 1], np.int32)}, inputs={"x": "x:0"}, outputs={"y": "sum:0"}
    )
    tensors = tap(open_page(harness), model, "graph", {"x": X}, node_tap("sum"))
    assert tensors["sum"].shape == ()
    assert tensors["sum"] == X.sum()
    empty = tap(open_page(harness), model, "graph", {"x": X[:0]}, node_tap("relu"))
    assert empty["relu"].shape == (0, 3)


def test_graph_with_value_dependent_shapes_runs(harness, tmp_path):
    nodes = [
        placeholder("x", -1),
        constant("zero", np.array(0, np.float32)),
        node("Greater", "greater", "x", "zero"),
        node("Where", "where", "greater"),
        node("Identity", "Identity", "where"),
    ]
    model = write_graph(
        tmp_path, nodes, {"zero": np.array(0, np.float32)}, inputs={"x": "x:0"}, outputs={"y": "Identity:0"}
    )
    page, feed = open_page(harness), {"x": np.array([1, -1, 2], np.float32)}
    taps = (tuple(map(node_tap, ["greater", "where", "Identity"])),)
    result, ((_, tensors),) = run(page, Job(model, "graph", (feed,), taps, TimingPlan(0, 1, 1000)))
    assert tensors["where"].tolist() == [[0], [2]]
    assert tensors["greater"].tolist() == [True, False, True]
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
    assert [line.text for line in page.console if "You can use model.execute() instead" in line.text] == []


def test_tap_with_the_name_of_an_output_reads_the_node(harness, tmp_path):
    nodes = [placeholder("x", -1, 3), node("Relu", "relu", "x"), node("Neg", "neg", "relu")]
    model = write_graph(tmp_path, nodes, {}, inputs={"x": "x:0"}, outputs={"relu": "neg:0"})
    tensors = tap(open_page(harness), model, "graph", {"x": X}, node_tap("relu"))
    np.testing.assert_allclose(tensors["relu"], np.maximum(X, 0))


def test_model_with_more_shards_than_connections_loads(harness, tmp_path):
    kernel = np.zeros((1024, 1024), np.float32)
    weights = {f"w{number}": kernel for number in range(9)}
    path = dense_graph(tmp_path)
    model = json.loads(path.read_text())
    model["modelTopology"]["node"] += [constant(name, kernel) for name in weights]
    for name, value in weights.items():
        (tmp_path / f"{name}.bin").write_bytes(value.tobytes())
        entry = {"name": name, "shape": list(value.shape), "dtype": "float32"}
        model["weightsManifest"].append({"paths": [f"{name}.bin"], "weights": [entry]})
    path.write_text(json.dumps(model))
    taps = (Tap("relu", {"node": "relu:0"}),)
    received = []
    open_page(harness, "cpu").run(Job(path, "graph", ({"x": X},), (taps,)), received.append)
    assert received[0].tensors["relu"].tolist() == RELU.tolist()
