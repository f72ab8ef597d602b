from __future__ import annotations

import numpy as np
import pytest
from tiny_models import (
    BIAS,
    DENSE,
    KERNEL,
    RELU,
    X,
    constant,
    dense_graph,
    dense_model,
    dtype_attribute,
    functional,
    input_layer,
    layer,
    node,
    placeholder,
    sequential,
    write_graph_model,
    write_layers_model,
)

from pytest_tfjs.browsers.dist import Dist
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Job, Tap, TimingPlan
from pytest_tfjs.browsers.targets import parse_targets
from pytest_tfjs.errors import PageError

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def harness():
    harness = Harness(dist=Dist.shipped(), timeout_s=120)
    yield harness
    harness.close()


def open_page(harness, backend="cpu"):
    return harness.open(parse_targets(["chrome"], [backend])[0])


def layer_tap(name, *path, **address):
    return Tap(name, {"path": list(path or [name]), **address})


def node_tap(name):
    return Tap(name, {"node": name})


def run(page, job):
    """The result, and the activations as a list of (feed, tensors)."""
    received = []
    result = page.run(job, lambda activations: received.append((activations.feed, activations.tensors)))
    return result, received


def tap(page, model, form, feed, *taps):
    """The activations of one feed, read in one chunk."""
    result, ((_, tensors),) = run(page, Job(model, form, (feed,), (taps,)))
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
    return tensors


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


def test_one_page_serves_a_target_until_another_is_asked_for(harness):
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
        ("webgpu", "WEBGPU_CPU_FORWARD", False),
    ],
)
def test_a_variant_runs_under_its_flags(harness, tmp_path, backend, flag, value):
    page = open_page(harness, backend)
    assert page.facts.flags[flag] is value
    if backend == "webgl:f16":
        assert page.facts.float32_textures is False
    tensors = tap(page, dense_graph(tmp_path), "graph", {"x": X}, node_tap("relu"))
    np.testing.assert_allclose(tensors["relu"], RELU)


def test_several_feeds_come_chunk_by_chunk(harness, tmp_path):
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


def test_stages_and_progress_are_told(harness, tmp_path, monkeypatch):
    page = open_page(harness, "webgl")
    told = []
    monkeypatch.setattr(harness, "on_progress", lambda progress: told.append(str(progress)))
    chunks = ((node_tap("sum"),), (node_tap("relu"), node_tap("product")))
    run(page, Job(dense_graph(tmp_path), "graph", ({"x": X},), chunks, TimingPlan(0, 2, 60_000)))
    assert told == [
        "loading model",
        "compiling shaders",
        "warm runs 0/2",
        "warm runs 1/2",
        "layers 0/3",
        "layers 1/3",
        "layers 3/3",
    ]


def test_at_least_one_run_is_timed_however_small_the_budget(harness, tmp_path):
    plan = TimingPlan(warmup=1000, runs=1000, budget_ms=0)
    result, received = run(open_page(harness), Job(dense_graph(tmp_path), "graph", ({"x": X},), (), plan))
    assert len(result.warm_ms) == 1
    assert received == []
    result, _ = run(
        open_page(harness), Job(dense_graph(tmp_path), "graph", ({"x": X},), (), TimingPlan(0, 0, 9))
    )
    assert (result.warm_ms, result.first_ms > 0) == ((), True)


def test_the_result_tells_the_models_layers(harness, tmp_path):
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


DENSE_LAYER = layer("Dense", "dense", units=2)
WEIGHTS = {"dense/kernel": KERNEL, "dense/bias": BIAS}
INNER = functional(
    "inner",
    [
        (input_layer("inner_in", 3), []),
        (DENSE_LAYER, [[("inner_in", 0, 0)]]),
        (layer("ReLU", "act"), [[("dense", 0, 0)]]),
    ],
    ["inner_in"],
    [("act", 0, 0)],
)


def test_layers_of_a_nested_model_are_read(harness, tmp_path):
    outer = functional(
        "outer",
        [
            (input_layer("x", 3), []),
            (layer("ReLU", "before"), [[("x", 0, 0)]]),
            (INNER, [[("before", 0, 0)]]),
            (layer("ReLU", "after"), [[("inner", 1, 0)]]),
        ],
        ["x"],
        [("after", 0, 0)],
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    taps = [layer_tap("before"), layer_tap("after"), layer_tap("inner"), layer_tap("d", "inner", "dense")]
    tensors = tap(open_page(harness), model, "layers", {"x": X}, *taps, layer_tap("i", "inner", "inner_in"))
    before = np.maximum(X, 0)
    np.testing.assert_allclose(tensors["before"], before)
    np.testing.assert_allclose(tensors["i"], before)
    np.testing.assert_allclose(tensors["d"], before @ KERNEL + BIAS)
    np.testing.assert_allclose(tensors["after"], np.maximum(before @ KERNEL + BIAS, 0))
    np.testing.assert_allclose(tensors["inner"], tensors["after"])


def test_models_nested_in_nested_models_are_read(harness, tmp_path):
    middle = functional(
        "middle",
        [(input_layer("middle_in", 3), []), (INNER, [[("middle_in", 0, 0)]])],
        ["middle_in"],
        [("inner", 1, 0)],
    )
    outer = functional(
        "outer", [(input_layer("x", 3), []), (middle, [[("x", 0, 0)]])], ["x"], [("middle", 1, 0)]
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    result, ((_, tensors),) = run(
        open_page(harness),
        Job(model, "layers", ({"x": X},), ((layer_tap("d", "middle", "inner", "dense"),),)),
    )
    np.testing.assert_allclose(tensors["d"], DENSE)
    assert ["middle", "inner", "dense"] in [entry["path"] for entry in result.model["layers"]]


def test_a_sequential_model_may_begin_with_a_model(harness, tmp_path):
    outer = sequential("outer", [INNER, layer("ReLU", "last")])
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    taps = [layer_tap("last"), layer_tap("d", "inner", "dense"), layer_tap("inner")]
    tensors = tap(open_page(harness), model, "layers", {"inner_in": X}, *taps)
    np.testing.assert_allclose(tensors["d"], DENSE)
    np.testing.assert_allclose(tensors["inner"], RELU)
    np.testing.assert_allclose(tensors["last"], RELU)


def test_a_nested_model_called_twice_is_read_at_the_call_named(harness, tmp_path):
    outer = functional(
        "outer",
        [
            (input_layer("x", 3), []),
            (input_layer("y", 3), []),
            (INNER, [[("x", 0, 0)], [("y", 0, 0)]]),
            (layer("Add", "add"), [[("inner", 1, 0), ("inner", 2, 0)]]),
        ],
        ["x", "y"],
        [("add", 0, 0)],
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    page, feed = open_page(harness), {"x": X, "y": -X}
    taps = [
        layer_tap("first", ["inner", 1], "dense"),
        layer_tap("second", ["inner", 2], "dense"),
        layer_tap("add"),
    ]
    tensors = tap(page, model, "layers", feed, *taps, layer_tap("call", "inner", node=2))
    np.testing.assert_allclose(tensors["first"], DENSE)
    np.testing.assert_allclose(tensors["second"], -X @ KERNEL + BIAS)
    np.testing.assert_allclose(tensors["call"], np.maximum(-X @ KERNEL + BIAS, 0))
    with pytest.raises(
        PageError, match=r"'which'.*'outer' calls 'inner' at its nodes 1, 2: name one of them"
    ):
        tap(page, model, "layers", feed, layer_tap("which", "inner", "dense"))


def test_a_shared_layer_is_read_at_each_of_its_nodes(harness, tmp_path):
    outer = functional(
        "outer",
        [
            (input_layer("x", 3), []),
            (input_layer("y", 3), []),
            (DENSE_LAYER, [[("x", 0, 0)], [("y", 0, 0)]]),
            (layer("Add", "add"), [[("dense", 0, 0), ("dense", 1, 0)]]),
        ],
        ["x", "y"],
        [("add", 0, 0)],
    )
    model = write_layers_model(tmp_path, outer, WEIGHTS)
    taps = [
        layer_tap("first", "dense", node=0),
        layer_tap("second", "dense", node=1),
        layer_tap("again", "dense"),
    ]
    tensors = tap(open_page(harness), model, "layers", {"x": X, "y": -X}, *taps)
    np.testing.assert_allclose(tensors["first"], DENSE)
    np.testing.assert_allclose(tensors["second"], -X @ KERNEL + BIAS)
    np.testing.assert_allclose(tensors["again"], DENSE)


def test_all_dtypes_come_and_go_as_they_are(harness, tmp_path):
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
    model = write_graph_model(tmp_path, nodes, {}, inputs=names, outputs={"cast": "cast:0", "c": "c:0"})
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
    model = write_graph_model(
        tmp_path, nodes, {"axes": np.array([0, 1], np.int32)}, inputs={"x": "x:0"}, outputs={"y": "sum:0"}
    )
    tensors = tap(open_page(harness), model, "graph", {"x": X}, node_tap("sum"))
    assert tensors["sum"].shape == ()
    assert tensors["sum"] == X.sum()
    empty = tap(open_page(harness), model, "graph", {"x": X[:0]}, node_tap("relu"))
    assert empty["relu"].shape == (0, 3)


def test_a_graph_whose_shapes_depend_on_values_is_run(harness, tmp_path):
    nodes = [
        placeholder("x", -1),
        constant("zero", np.array(0, np.float32)),
        node("Greater", "greater", "x", "zero"),
        node("Where", "where", "greater"),
        node("Identity", "Identity", "where"),
    ]
    model = write_graph_model(
        tmp_path, nodes, {"zero": np.array(0, np.float32)}, inputs={"x": "x:0"}, outputs={"y": "Identity:0"}
    )
    page, feed = open_page(harness), {"x": np.array([1, -1, 2], np.float32)}
    taps = (tuple(map(node_tap, ["greater", "where", "Identity"])),)
    result, ((_, tensors),) = run(page, Job(model, "graph", (feed,), taps, TimingPlan(0, 1, 1000)))
    assert tensors["where"].tolist() == [[0], [2]]
    assert tensors["greater"].tolist() == [True, False, True]
    assert result.memory["numTensors"] == result.memory["numTensorsBefore"]
    assert [line.text for line in page.console if "You can use model.execute() instead" in line.text] == []


def test_a_tap_named_like_an_output_of_the_signature_is_the_node(harness, tmp_path):
    nodes = [placeholder("x", -1, 3), node("Relu", "relu", "x"), node("Neg", "neg", "relu")]
    model = write_graph_model(tmp_path, nodes, {}, inputs={"x": "x:0"}, outputs={"relu": "neg:0"})
    tensors = tap(open_page(harness), model, "graph", {"x": X}, node_tap("relu"))
    np.testing.assert_allclose(tensors["relu"], np.maximum(X, 0))
