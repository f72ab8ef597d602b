"""The reproducer of a wrong layer shows the error that the run measured, on any server."""

from __future__ import annotations

import http.server
import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from demo.fault import double_largest_weight
from pytest_tfjs import NotClose, Prebuilt
from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.compare.numbers.element_check import check_elements
from pytest_tfjs.models.artifacts import read_artifacts, with_weights
from pytest_tfjs.report.comparison_json import comparison_to_json
from pytest_tfjs.report.run_results import EarlierComparisons

pytestmark = [pytest.mark.browser, pytest.mark.convert]

LIMIT_S = 60
ROWS = """
const rows = document.querySelectorAll(`#${arguments[0]} tbody tr`);
return [...rows].map((row) => [...row.cells].map((cell) => cell.textContent));
"""
DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "?", "float64": "<f8"}


@pytest.fixture
def tfjs_repro(tfjs, tmp_path):
    """The `tfjs` of a run with --tfjs-repro."""
    tfjs._context = tfjs._context.updated({"repro": str(tmp_path / "repro")})
    return tfjs


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    headers_sent: ClassVar = {}

    def log_message(self, *_):
        pass

    def end_headers(self):
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        super().end_headers()


@pytest.fixture
def served_url(tmp_path):
    """Serves `repro/` with the server that README.md names, and gives its address."""
    (tmp_path / "repro").mkdir()
    handler = partial(QuietHandler, directory=str(tmp_path / "repro"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    started = launch("chrome", LaunchOptions())
    yield started
    started.close()


class ReproducerPage:
    """What a reproducer's page shows once it has computed."""

    def __init__(self, browser, url):
        from selenium.webdriver.support.ui import WebDriverWait

        browser.open(url)
        driver = browser._driver
        query = "return document.getElementById('verdict')?.dataset.state ?? 'running'"
        WebDriverWait(driver, LIMIT_S).until(lambda _: driver.execute_script(query) != "running")
        self.state = driver.execute_script(query)
        self.headline, self.detail, self.layer = (
            driver.execute_script(f"return document.getElementById('{name}').textContent")
            for name in ("headline", "detail", "layer")
        )
        self.diagnosis = driver.execute_script(
            "return [...document.querySelectorAll('#diagnosis :is(p, li)')].map((line) => line.textContent)"
        )
        self.elements = driver.execute_script(ROWS, "elements")
        self.figures = {name: cells for name, *cells in driver.execute_script(ROWS, "figures")}


def diverged(tfjs, *args, **kwargs):
    with pytest.raises(NotClose) as failure:
        tfjs.assert_close(*args, **kwargs)
    return failure.value


def reproducer_of(failure):
    """The reproducer's folder of the one blamed layer."""
    (reproducer,) = failure.comparison.reproducers
    assert reproducer.note is None
    (blamed,) = (one for one in failure.comparison.layers if one.layer.name == reproducer.layer)
    check, local = check_of(Path(reproducer.path)), blamed.local.metrics
    # The files give the error that the run measured with the layer alone.
    assert (check.max_abs, check.worst) == (local.max_abs, local.worst)
    if np.isfinite(local.max_abs):
        assert check.allowed == pytest.approx(local.allowed)
    (entry,) = comparison_to_json(failure.comparison)["reproducer"]
    assert entry == {"layer": blamed.layer.name, "path": reproducer.path, "note": None}
    assert f"  reproducer   {reproducer.path}" in str(failure).splitlines()
    return Path(reproducer.path)


def array(folder, header):
    data = np.frombuffer((folder / header["file"]).read_bytes(), DTYPES[header["dtype"]])
    return data.reshape(header["shape"])


def check_of(folder):
    """The check of the browser's elements, computed from the folder's files alone."""
    described = json.loads((folder / "reproducer.json").read_text())
    actual, reference, allowed = (
        array(folder, described[name]) for name in ("browser", "reference", "allowed")
    )
    return check_elements(actual, reference, allowed, described["rmsAllowed"])


def url_of(served_url, folder, tmp_path, query=""):
    return f"{served_url}/{folder.relative_to(tmp_path / 'repro').as_posix()}/{query}"


def check_page(page, check):
    """The page computes what pytest measured, and shows the figures that Python gets from the files."""
    assert page.state == "wrong", page.detail
    here, before = page.figures["largest |error|"]
    assert here == before
    assert float(here) == check.max_abs
    assert page.figures["wrong elements"] == [f"{check.wrong} of {check.elements}"] * 2
    assert page.figures["worst element"] == [str(list(check.worst))] * 2
    assert page.elements[0][0] == str(list(check.worst))
    assert page.elements[0][2] == page.elements[0][5]


X = np.array([[0, 1, 2, 3], [4, 5, 0, 7]], np.float32)


def ratio():
    tf = pytest.importorskip("tensorflow")

    class Ratio(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def __call__(self, x):
            return {"ratio": (x + 1.0) / (x * 1.0 + 1.0) / (x / tf.maximum(x, x)), "more": tf.exp(x)}

    return Ratio()


@pytest.mark.tfjs(backends="webgl")
def test_page_shows_zero_over_zero_wrong_on_webgl_and_right_on_other_targets(
    tfjs_repro, served_url, browser, tmp_path
):
    failure = diverged(tfjs_repro, ratio(), X)
    folder = reproducer_of(failure)
    check = check_of(folder)
    assert (check.wrong, check.elements) == (2, 8)
    page = ReproducerPage(browser, url_of(served_url, folder, tmp_path))
    check_page(page, check)
    (blamed,) = failure.comparison.first_divergence
    assert page.layer == blamed
    assert page.detail.startswith(
        "2 of 8 elements are wrong. The worst: at [0, 0] the browser has 1, the refer"
    )
    assert page.figures["TF.js"] == ["4.22.0", "4.22.0"]
    assert page.figures["flags"] == ["WEBGL_CPU_FORWARD=false", ""]
    for target in ("cpu", "wasm"):
        page = ReproducerPage(browser, url_of(served_url, folder, tmp_path, f"?target={target}"))
        assert (page.state, page.headline) == ("right", f"{blamed} is right on {target}."), page.detail
    described = json.loads((folder / "reproducer.json").read_text())
    assert page.diagnosis == [described["diagnosis"]["said"], *described["diagnosis"]["evidence"]]
    page = ReproducerPage(browser, url_of(served_url, folder, tmp_path, "?target=wasm:threads"))
    assert page.state == "failed"
    assert "cross-origin isolated" in page.detail
    with pytest.MonkeyPatch.context() as patch:
        isolation = {"Opener": "same-origin", "Embedder": "require-corp"}
        sent = {f"Cross-Origin-{what}-Policy": value for what, value in isolation.items()}
        patch.setattr(QuietHandler, "headers_sent", sent)
        page = ReproducerPage(browser, url_of(served_url, folder, tmp_path, "?target=wasm:threads"))
    assert page.state == "right", page.detail
    assert browser._driver.execute_script("return tf.wasm.getThreadsCount()") >= 2
    nasty = "<img src=x onerror=alert(1)>"
    (folder / "reproducer.json").write_text(json.dumps({**described, "layer": nasty, "model": nasty}))
    assert ReproducerPage(browser, url_of(served_url, folder, tmp_path)).layer == nasty
    assert browser._driver.execute_script("return document.images.length") == 0


@pytest.mark.tfjs(backends="webgl:f16")
def test_page_shows_half_precision_overflow_of_a_keras_layer(tfjs_repro, served_url, browser, tmp_path):
    keras = pytest.importorskip("tf_keras")
    x = keras.Input((4,), name="x")
    before = keras.layers.Dense(4, kernel_initializer="identity", bias_initializer="ones", name="before")
    huge = keras.initializers.Constant(20000)
    model = keras.Model(x, keras.layers.Dense(2, kernel_initializer=huge, name="grow")(before(x)))
    failure = diverged(tfjs_repro, model, 2 * X, format="layers")
    assert failure.comparison.first_divergence == ("grow",)
    folder = reproducer_of(failure)
    assert folder.parts[-2:] != ("webgl:f16", "grow")  # Windows allows no colon in a file name
    assert read_artifacts(folder / "model").weight_names() == ["grow/kernel", "grow/bias"]
    page = ReproducerPage(browser, url_of(served_url, folder, tmp_path))
    check_page(page, check_of(folder))
    half = "WEBGL_FORCE_F16_TEXTURES=true"
    assert page.figures["flags"] == [f"{half}, WEBGL_CPU_FORWARD=false", half]
    page = ReproducerPage(browser, url_of(served_url, folder, tmp_path, "?target=cpu"))
    assert page.state == "right", page.detail


@pytest.mark.tfjs(backends="wasm")
@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_page_shows_changed_attribute_for_the_worst_feed(tfjs_repro, served_url, browser, tmp_path, format_):
    """The feed is the worst of several, and the layer before is right."""
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    x = keras.Input((6, 6, 2), name="x")
    hidden = layers.Conv2D(3, 3, activation="tanh", name="before")(x)
    hidden = layers.MaxPooling2D(3, strides=1, padding="same", name="pool")(hidden)
    hidden = layers.Conv2D(2, 2, name="after")(hidden)
    model = keras.Model(x, layers.Flatten(name="flat")(hidden))
    model.save(tmp_path / "model.h5")
    sound = tfjs_repro.convert(tmp_path / "model.h5", format=format_)
    damaged = with_weights(sound, {}, tmp_path / "damaged").model_json
    content = json.loads(damaged.read_text())
    if format_ == "layers":
        for layer in content["modelTopology"]["model_config"]["config"]["layers"]:
            layer["config"].update({"pool_size": [1, 1]} if layer["config"]["name"] == "pool" else {})
    else:
        for node in content["modelTopology"]["node"]:
            if node["op"] == "MaxPool":
                node["attr"]["ksize"]["list"]["i"] = ["1", "1", "1", "1"]
    damaged.write_text(json.dumps(content))
    feed = np.random.default_rng(1).normal(size=(2, 6, 6, 2)).astype(np.float32)
    failure = diverged(tfjs_repro, Prebuilt(damaged, tmp_path / "model.h5"), [feed, 3 * feed])
    folder = reproducer_of(failure)
    check = check_of(folder)
    assert 0 < check.max_abs < np.inf
    (fed,) = json.loads((folder / "reproducer.json").read_text())["inputs"]
    assert "before" in fed["standsFor"]
    page = ReproducerPage(browser, url_of(served_url, folder, tmp_path))
    check_page(page, check)
    for name in ("README.md", "tfjs/NOTICE.txt", "tfjs/tf.min.js", "tfjs/tfjs-backend-wasm-simd.wasm"):
        assert (folder / name).stat().st_size > 0
    text = (folder / "README.md").read_text()
    for fact in ("4.22.0", "wasm", "pool", f"{check.wrong} of {check.elements}", str(list(check.worst))):
        assert fact in text


@pytest.mark.tfjs(backends="wasm", weight_check="tell")
def test_wrong_weight_is_stored_unchanged(tfjs_repro, served_url, browser, tmp_path):
    keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    model.save(tmp_path / "model.h5")
    sound = tfjs_repro.convert(tmp_path / "model.h5", format="graph")
    damaged = double_largest_weight(sound, "dense", tmp_path / "damaged")
    failure = diverged(tfjs_repro, Prebuilt(damaged.model_json, tmp_path / "model.h5"), X)
    folder = reproducer_of(failure)
    stored = read_artifacts(folder / "model").read_weights()
    assert any(value.shape == (4, 3) for value in stored.values())
    for name, value in stored.items():
        np.testing.assert_array_equal(value, damaged.read_weights()[name])
    check_page(ReproducerPage(browser, url_of(served_url, folder, tmp_path)), check_of(folder))


def clear_earlier(tfjs):
    """Makes the next comparison the first of a run."""
    tfjs._context = replace(tfjs._context, earlier=EarlierComparisons())


@pytest.mark.tfjs(backends="webgl")
def test_second_run_replaces_its_own_folder_and_no_other(tfjs_repro, tmp_path):
    folder = reproducer_of(diverged(tfjs_repro, ratio(), X))
    (folder / "old").write_text("of the run before")
    clear_earlier(tfjs_repro)
    assert reproducer_of(diverged(tfjs_repro, ratio(), X)) == folder
    assert not (folder / "old").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    # A second comparison of the same test has a folder of its own.
    tfjs_repro._context.earlier.add(diverged(tfjs_repro, ratio(), X).comparison)
    assert reproducer_of(diverged(tfjs_repro, ratio(), X)).parent.name == "webgl-2"
    clear_earlier(tfjs_repro)
    (folder / "reproducer.json").unlink()
    failure = diverged(tfjs_repro, ratio(), X)
    (reproducer,) = failure.comparison.reproducers
    assert reproducer.path is None
    assert reproducer.note.startswith("not written: ")
    assert "pytest-tfjs did not write it" in reproducer.note
    assert "diverged first" in str(failure).splitlines()[0]
    assert any(line.startswith("  reproducer ") for line in str(failure).splitlines())
    assert (folder / "README.md").exists()
