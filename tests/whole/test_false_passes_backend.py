"""A page that computes on another backend, or with a broken TF.js, never passes."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

import pytest

from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.tfjs_dist import Dist
from tests.support.false_passes import X, reason_of, two_outputs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    # Disables the weight check, which would find the fault without a browser.
    pytest.mark.tfjs(backends="cpu", weight_check="tell"),
]


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def served(tf):
    """Saves a function of one input `x` that returns outputs by name."""

    def make(compute, shape=(None, 3), dtype="float32"):
        signature = [tf.TensorSpec(shape, dtype, name="x")]
        return tf.function(compute, input_signature=signature)

    return make


FALLEN_BACK = """
{
  const plain = window.tf;
  window.tf = Object.assign({}, plain, {setBackend: async () => %s});
}
"""


@pytest.fixture
def with_script(tfjs, tmp_path, monkeypatch):
    """Makes a checker use a copy of TF.js with a script appended."""
    with contextlib.ExitStack() as stack:

        def make(text):
            shutil.copytree(Dist.shipped().root, tmp_path / "node_modules")
            with (tmp_path / "node_modules/@tensorflow/tfjs/dist/tf.min.js").open("a") as script:
                script.write(text)
            harness = Harness(dist=Dist.from_directory(tmp_path))
            stack.callback(harness.close)
            monkeypatch.setattr(tfjs, "_context", replace(tfjs._context, harness=harness))

        yield make


@pytest.mark.parametrize("gives", ["await plain.setBackend('cpu')", "!(await plain.setBackend('cpu'))"])
@pytest.mark.tfjs(backends="wasm")
def test_backend_fallback_fails(tfjs, tf, served, with_script, gives):
    """The copy of TF.js sets another backend, and setBackend() returns true or false."""
    with_script(FALLEN_BACK % gives)
    message = reason_of(tfjs, served(two_outputs(tf)), X, "error")
    assert message.startswith("TF.js does not use the requested backend wasm")
    assert message.endswith("and the backend in use is cpu")
