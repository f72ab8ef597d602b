"""A page that computes on another backend, or with a broken TF.js, never passes."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace

import pytest

from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.tfjs_dist import Dist
from tests.support.false_passes import MARKS, X, reason_of, serving, two_outputs

pytestmark = MARKS


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


@pytest.fixture
def served(tf):
    return serving(tf)


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
