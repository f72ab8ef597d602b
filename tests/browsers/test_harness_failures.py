from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from pytest_tfjs.browsers import harness as module
from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Job, Tap, TimingPlan
from pytest_tfjs.browsers.serving.page_channel import PageChannel
from pytest_tfjs.browsers.serving.server import PAGE_ROOT, Server
from pytest_tfjs.browsers.targets import Target
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import (
    ArtifactsError,
    PageError,
    TargetUnavailableError,
)
from tests.support.harness_pages import RELU_TAP, assert_runs, graph_job, open_page, script
from tests.support.tiny_graphs import dense_graph, node, placeholder, write_graph
from tests.support.tiny_layers_models import dense_model
from tests.support.tiny_models import X

pytestmark = pytest.mark.browser


@pytest.fixture
def page(harness):
    return open_page(harness)


def assert_fails(page, job, pattern, error=PageError):
    with pytest.raises(error, match=pattern) as caught:
        page.run(job, lambda _: None)
    return caught.value


@pytest.mark.parametrize("address", [{"node": "nothing:0"}, {"node": "toString:0"}])
def test_unknown_node_is_named(harness, page, tmp_path, address):
    job = graph_job(tmp_path, taps=(RELU_TAP, Tap("my tap", address)))
    name = address["node"].partition(":")[0]
    error = assert_fails(
        page, job, rf"cpu on chrome: there is no activation to read for 'my tap'.*no node '{name}'"
    )
    assert error.stage == "layers"
    assert "…/page/graph_model.js:" in error.stack
    assert harness.server.url.rpartition("/")[2] not in error.stack
    assert_runs(harness, tmp_path)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ({"path": ["nothing"]}, "'tiny' has no layer 'nothing'"),
        ({"path": ["dense", "inner"]}, "'dense' is a Dense, not a model"),
        ({"path": ["dense"], "node": 3}, "'dense' has no node 3 with an output 0"),
        ({"path": ["dense"], "tensor": 1}, "'dense' has no node 0 with an output 1"),
        ({"path": []}, "no layer"),
    ],
)
def test_unknown_layer_is_named(harness, page, tmp_path, address, why):
    job = Job(dense_model(tmp_path / "layers"), "layers", ({"x": X},), ((Tap("my tap", address),),))
    assert_fails(page, job, rf"'my tap'.*{why}")
    assert_runs(harness, tmp_path)


@pytest.mark.parametrize("form", ["graph", "layers"])
@pytest.mark.parametrize("feed", [{"y": X}, {"x": X, "y": X}, {}])
def test_feed_with_unknown_names_is_rejected(harness, page, tmp_path, form, feed):
    model = dense_graph(tmp_path) if form == "graph" else dense_model(tmp_path)
    address = {"node": "relu:0"} if form == "graph" else {"path": ["relu"]}
    job = Job(model, form, (feed,), ((Tap("relu", address),),))
    assert_fails(page, job, f"the model's inputs are x; the feed has {', '.join(feed)}")
    assert_runs(harness, tmp_path / "next")


@pytest.mark.parametrize(
    ("form", "value", "why"),
    [
        ("graph", X.astype(np.float64), "dtype F64, which TF.js does not have"),
        ("layers", X.astype(np.float16), "dtype F16, which TF.js does not have"),
        ("graph", X.astype(np.int32), "must be float32, but was int32"),
        ("layers", X.astype(np.int32), "'x' has the dtype float32; the feed has int32"),
        ("graph", X[:, :2], r"must be \[-1,3\], but was \[2,2\]"),
    ],
)
def test_feed_is_not_cast(page, tmp_path, form, value, why):
    model = dense_graph(tmp_path) if form == "graph" else dense_model(tmp_path)
    address = {"node": "relu:0"} if form == "graph" else {"path": ["relu"]}
    assert_fails(page, Job(model, form, ({"x": value},), ((Tap("relu", address),),)), why)


def test_chunk_over_the_limit_is_rejected_before_it_is_sent(harness, page, tmp_path):
    assert_fails(
        page,
        graph_job(tmp_path, chunk_limit=10),
        r"'relu' have \d+ bytes; this job can send at most 10 bytes at once",
    )
    assert_runs(harness, tmp_path)


def test_unsupported_operation_is_named(harness, page, tmp_path):
    nodes = [placeholder("x", -1, 3), node("Nonsense", "odd", "x")]
    model = write_graph(tmp_path / "odd", nodes, {}, inputs={"x": "x:0"}, outputs={"y": "odd:0"})
    job = Job(model, "graph", ({"x": X},), ((Tap("odd", {"node": "odd"}),),))
    assert assert_fails(page, job, "Nonsense").refused
    assert_runs(harness, tmp_path)


def test_webassembly_trap_does_not_fail_the_next_job(harness, page, tmp_path):
    trap = "tf.loadGraphModel = () => { throw new WebAssembly.RuntimeError('memory access out of bounds'); }"
    script(harness, trap)
    assert not assert_fails(page, graph_job(tmp_path / "first"), "memory access out of bounds").refused
    assert not page.healthy  # its memory may be corrupt
    assert_runs(harness, tmp_path)


def test_load_failure_names_its_stage(harness, page, tmp_path):
    model = dense_model(tmp_path / "layers")
    text = json.loads(model.read_text())
    text["modelTopology"]["model_config"]["config"]["layers"][1]["class_name"] = "Nonsense"
    model.write_text(json.dumps(text))
    job = Job(model, "layers", ({"x": X},), ((Tap("relu", {"path": ["relu"]}),),))
    error = assert_fails(page, job, "Unknown layer: Nonsense")
    assert (error.stage, error.refused) == ("loading model", True)
    assert_runs(harness, tmp_path)


THROW_ONCE = """
const engine = tf.engine(), run = engine.runKernel;
engine.runKernel = () => { engine.runKernel = run; throw new Error(arguments[0]); };
"""


@pytest.mark.parametrize(("message", "refused"), [("TF.js cannot", True), ("Out of memory", False)])
@pytest.mark.parametrize("form", ["graph", "layers"])
def test_tfjs_error_during_a_run_is_a_model_refusal(harness, tmp_path, form, message, refused):
    model = dense_graph(tmp_path) if form == "graph" else dense_model(tmp_path)
    tap = Tap("relu", {"node": "relu"} if form == "graph" else {"path": ["relu"]})
    for work in ({"timing": TimingPlan(0, 1, 1000.0), "chunks": ()}, {"chunks": ((tap,),)}):
        page = open_page(harness)
        script(harness, THROW_ONCE.replace("arguments[0]", repr(message)))
        assert assert_fails(page, Job(model, form, ({"x": X},), **work), message).refused is refused
    assert_runs(harness, tmp_path / "next")


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def out_of_memory(*_):
    raise MemoryError


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (("references", full_disk), "the server answered 500 to jobs/"),
        (("feed", full_disk), "the server answered 500 to jobs/"),
        (
            ("deliver", out_of_memory),
            "the server refused the activations: internal error of the server: MemoryError",
        ),
    ],
    ids=["references", "feed", "activations"],
)
def test_server_failure_is_not_a_model_refusal(harness, tmp_path, monkeypatch, broken, message):
    page = open_page(harness)
    monkeypatch.setattr(PageChannel, *broken)
    job = graph_job(tmp_path / "first")
    plan = {"rows": ["product"], "fed": [["product:0", {"row": "product"}]]}
    chunks = tuple(tuple(replace(tap, alone=plan) for tap in chunk) for chunk in job.chunks)
    alone = replace(job, chunks=chunks, references=lambda _feed, _names: {"product": X})
    assert not assert_fails(page, alone, message).refused
    monkeypatch.undo()
    assert_runs(harness, tmp_path)


def test_missing_shard_is_reported(harness, page, tmp_path):
    job = graph_job(tmp_path / "model")
    harness.server.publish(job.artifacts)
    (tmp_path / "model" / "group1-shard1of1.bin").unlink()
    assert_fails(page, job, r"names the shard 'group1-shard1of1\.bin', which is not a file", ArtifactsError)
    page = open_page(harness)
    assert_fails(page, Job(tmp_path / "no.json", "graph", ({"x": X},), ()), r"no\.json", ArtifactsError)
    assert_runs(harness, tmp_path)


def test_console_lines_have_level_arguments_and_stack(harness, page, tmp_path):
    page.console.clear()
    script(
        harness,
        """
        function caller() { console.warn("text", 1, {a: [true]}, null, undefined, 2n, new Float32Array(2)); }
        caller();
        console.error(new RangeError("wrong"));
        const circle = {}; circle.self = circle; console.log(circle);
        console.assert(true, "held"); console.assert(false, "did not hold");
        console.debug("x".repeat(10000));
        """,
    )
    page.run(graph_job(tmp_path), lambda _: None)
    warn, error, circle, failed, long = list(page.console)[:5]
    assert warn.level == "warn"
    assert warn.arguments[:5] == ("text", "1", '{"a":[true]}', "null", "undefined")
    assert warn.arguments[5] == "2"
    assert "caller" in warn.stack
    assert "events.js" not in warn.stack
    assert (error.level, error.text.splitlines()[0]) == ("error", "RangeError: wrong")
    assert "RangeError: wrong" in error.stack
    assert circle.text == "[object Object]"
    assert (failed.level, failed.text) == ("assert", "did not hold")
    assert len(long.text) < 5000
    assert long.text.endswith("(10000 characters)")


def test_uncaught_errors_and_rejections_are_reported(harness, page, tmp_path):
    page.errors.clear()
    code = """
        setTimeout(() => { throw new TypeError("nobody caught me"); });
        Promise.reject(new Error("nobody awaited me"));
        Promise.reject("a mere string");
    """
    # As a script element: errors of scripts run by the driver do not reach the page's handlers.
    script(
        harness,
        f"""
        const element = document.createElement("script");
        element.src = URL.createObjectURL(new Blob([{json.dumps(code)}]));
        document.head.append(element);
        """,
    )
    while len(page.errors) < 3:
        page.run(graph_job(tmp_path), lambda _: None)
    faults = {fault.message: fault for fault in page.errors}
    assert faults["nobody caught me"].kind == "error"
    assert "TypeError: nobody caught me" in faults["nobody caught me"].stack
    assert faults["nobody awaited me"].kind == "unhandledrejection"
    assert faults["a mere string"].stack is None


def test_endless_console_output_is_truncated(harness, tmp_path):
    page = harness.open(Target("chrome", "cpu", "noisy"))
    script(harness, "for (let i = 0; i < 3000; i++) console.log(i)")
    page.run(graph_job(tmp_path), lambda _: None)
    assert len(page.console) == 2000
    assert page.console[-1].text == "2000 lines; further lines are left out"


def test_callback_error_ends_the_job(harness, page, tmp_path):
    with pytest.raises(ZeroDivisionError):
        page.run(graph_job(tmp_path), lambda _: 1 / 0)
    assert not page.healthy
    assert_runs(harness, tmp_path)


def test_callback_time_does_not_count_towards_the_timeout(harness, tmp_path, monkeypatch):
    page = open_page(harness)
    clock = module.time.monotonic
    skipped = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock() + skipped[0])

    def receive(_):
        skipped[0] += 1000

    job = Job(dense_graph(tmp_path), "graph", ({"x": X}, {"x": X}), ((RELU_TAP,),))
    page.run(job, receive, timeout_s=5)


def test_unavailable_backend_is_an_error_without_fallback(tmp_path):
    options = LaunchOptions(arguments=("--disable-gpu", "--disable-software-rasterizer"))
    harness = Harness(dist=Dist.shipped(), options=options)
    try:
        for _ in range(2):
            with pytest.raises(
                TargetUnavailableError, match=r"webgl on chrome: .* provides no WebGL context"
            ):
                open_page(harness, "webgl")
        assert_runs(harness, tmp_path)
    finally:
        harness.close()


def test_flag_changed_by_tfjs_is_an_error(harness, tmp_path):
    with pytest.raises(PageError, match="Cannot set flag NO_SUCH_FLAG"):
        harness.open(Target("chrome", "cpu", None, (("NO_SUCH_FLAG", True),)))
    # TF.js itself turns this flag off while it creates the backend.
    with pytest.raises(PageError, match="WEBGL_VERSION"):
        harness.open(Target("chrome", "webgl", None, (("WEBGL_VERSION", 3),)))
    assert_runs(harness, tmp_path)


@pytest.fixture
def damaged(monkeypatch, tmp_path):
    """A harness whose page is broken."""
    root = tmp_path / "page"
    shutil.copytree(PAGE_ROOT, root, ignore=shutil.ignore_patterns("vendor"))
    monkeypatch.setattr(module, "Server", partial(Server, page_root=root))
    harness = Harness(dist=Dist.shipped())

    def make(damage):
        damage(root)
        return harness

    yield make
    harness.close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "backend.js").write_text("const 1;"), r"SyntaxError.*backend\.js:1"),
        (
            lambda root: (root / "safetensors.js").unlink(),
            r"could not load .*main\.js\nrefused: GET /page/safetensors\.js: 404",
        ),
        (lambda root: (root / "event_worker.js").unlink(), r"event_worker\.js"),
        (lambda root: (root / "main.js").write_text("throw new Error('at once')"), r"at once"),
    ],
)
def test_page_that_does_not_load_reports_the_reason(damaged, damage, message):
    with pytest.raises(PageError, match=message):
        open_page(damaged(damage))


def test_page_that_cannot_send_reports_the_reason(damaged, tmp_path):
    harness = damaged(lambda root: (root / "upload_worker.js").unlink())
    assert_fails(open_page(harness), graph_job(tmp_path), r"upload_worker\.js failed: it did not load")
