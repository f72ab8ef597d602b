"""A kernel that a backend lacks is reported with its layer, before the run if possible."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Job, Tap, TimingPlan
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import PageError
from tests.support.page_jobs import layer_tap, node_tap, open_page, run
from tests.support.tiny_graphs import (
    constant,
    dense_graph,
    dtype_attribute,
    node,
    placeholder,
    string_value,
    write_graph,
)
from tests.support.tiny_layers_models import dense_model
from tests.support.tiny_models import KERNEL, X

pytestmark = pytest.mark.browser
# A TF.js whose cpu backend lacks some kernels.
LACKING = "\nfor (const name of ['Relu', 'Tile', '_FusedMatMul']) tf.unregisterKernel(name, 'cpu');\n"


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist") / "node_modules"
    shutil.copytree(Dist.shipped().root, folder)
    with (folder / "@tensorflow/tfjs/dist/tf.min.js").open("a") as script:
        script.write(LACKING)
    harness = Harness(dist=Dist.from_directory(folder))
    yield harness
    harness.close()


def failure(page, model, form, *taps, timing=None):
    with pytest.raises(PageError) as caught:
        run(page, Job(model, form, ({"x": X},), (taps,), timing))
    return caught.value


def einsum(folder):
    equation = {"s": string_value("ij,jk->ik")}
    return write_graph(
        folder,
        [
            placeholder("serving_x", -1, 3),
            constant("kernel", KERNEL),
            node("Einsum", "product", "serving_x", "kernel", equation=equation),
            node("Identity", "Identity", "product"),
        ],
        {"kernel": KERNEL},
        inputs={"x": "serving_x:0"},
        outputs={"y": "Identity:0"},
    )


def test_missing_kernel_is_named_before_the_run(harness, tmp_path):
    page = open_page(harness, "wasm")
    error = failure(page, einsum(tmp_path), "graph", node_tap("product"), timing=TimingPlan(0, 1, 1.0))
    assert error.reason == (
        "wasm on chrome: 'product' needs the kernel Einsum, which wasm does not register; cpu, webgl have it"
    )
    assert (error.stage, error.stack) == (None, None)
    assert page.healthy


def test_operation_runs_on_backends_with_the_kernel(harness, tmp_path):
    _, ((_, tensors),) = run(
        open_page(harness, "cpu"),
        Job(einsum(tmp_path), "graph", ({"x": X},), ((node_tap("product"),),)),
    )
    np.testing.assert_allclose(tensors["product"], X @ KERNEL, rtol=1e-6)


def test_missing_kernel_error_names_the_row(lacking, tmp_path):
    error = failure(
        open_page(lacking, "cpu"), dense_graph(tmp_path), "graph", Tap("block/relu", {"node": "relu:0"})
    )
    assert error.reason == (
        "cpu on chrome: 'block/relu' needs the kernel Relu, which cpu does not register; webgl has it"
    )


def test_kernel_missing_during_the_run_is_named_with_its_layer(lacking, tmp_path):
    nodes = [
        placeholder("serving_x", -1, 3),
        constant("shape", np.array([4, 2, 3], np.int32)),
        node("Neg", "neg", "serving_x"),
        node("BroadcastTo", "broad", "neg", "shape"),
        node("Identity", "Identity", "broad"),
    ]
    model = write_graph(
        tmp_path,
        nodes,
        {"shape": np.array([4, 2, 3], np.int32)},
        inputs={"x": "serving_x:0"},
        outputs={"y": "Identity:0"},
    )
    error = failure(open_page(lacking, "cpu"), model, "graph", node_tap("broad"))
    assert error.reason == (
        "cpu on chrome: 'broad' needs the kernel Tile, which cpu does not register; webgl has it"
    )
    assert re.search(r"runKernel|tf\.min\.js", error.stack)


def test_weight_that_needs_a_kernel_is_named(harness, tmp_path):
    turn = np.array([1j], np.complex64)
    nodes = [
        placeholder("serving_x", -1, 3),
        constant("turn", turn),
        node("Cast", "cast", "serving_x", SrcT=dtype_attribute("float32"), DstT=dtype_attribute("complex64")),
        node("Mul", "turned", "cast", "turn"),
        node("Identity", "Identity", "turned"),
    ]
    model = write_graph(
        tmp_path, nodes, {"turn": turn}, inputs={"x": "serving_x:0"}, outputs={"y": "Identity:0"}
    )
    error = failure(open_page(harness, "wasm"), model, "graph", node_tap("turned"))
    assert error.reason == (
        "wasm on chrome: 'turn' needs the kernel Complex, which wasm does not register; cpu, webgl have it"
    )


EINSUM = """
import numpy as np
import tensorflow as tf

W = tf.constant(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))

@tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="x")])
def product(x):
    return {"y": tf.einsum("ij,jk->ik", tf.tanh(x), W)}

def test_product(tfjs):
    tfjs.assert_close(product, np.eye(2, 3, dtype=np.float32))
"""


@pytest.mark.convert
def test_first_line_names_layer_kernel_and_backends(project):
    pytest.importorskip("tensorflow")
    project.write(test_model=EINSUM)
    run = project.run("--tfjs-backends=cpu,wasm")
    assert [case.outcome for case in run.cases.values()] == ["passed", "failure"], run.text
    (comparison,) = [one for one in run.results["comparisons"] if one["verdict"] == "error"]
    (layer,) = comparison["outputs"]
    assert run.cases["test_product[chrome-wasm]"].message.splitlines()[0] == (
        f"pytest_tfjs.NotClose: wasm on chrome: error: '{layer}' needs the kernel Einsum, which wasm does not"
        " register; cpu, webgl have it. Use a backend that has the kernel, or build this layer from other"
        " operations"
    )


@pytest.mark.parametrize("timing", [None, TimingPlan(0, 1, 1.0)])
def test_layer_with_a_missing_kernel_is_named(lacking, tmp_path, timing):
    page = open_page(lacking, "cpu")
    error = failure(page, dense_model(tmp_path), "layers", layer_tap("relu"), timing=timing)
    assert error.reason == (
        "cpu on chrome: 'dense' needs the kernel _FusedMatMul, which cpu does not register; webgl has it"
    )
    assert page.healthy
