"""A kernel in the user's copy of TF.js that gives different values on each run."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.tfjs_dist import Dist

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="cpu")]

tf_keras = pytest.importorskip("tf_keras")

# Adds multiples of 0.618 modulo 1: unlike random numbers, no two runs are close to each other.
UNSTEADY = """
{
  const plain = tf.getKernel("Tanh", "cpu");
  let run = 0;
  const kernelFunc = (given) => {
    const made = plain.kernelFunc(given);
    given.backend.data.get(made.dataId).values[0] += run = (run + 0.618) % 1;
    return made;
  };
  tf.unregisterKernel("Tanh", "cpu");
  tf.registerKernel({ ...plain, kernelFunc });
}
"""


@pytest.fixture(scope="module")
def tfjs_harness(tmp_path_factory):
    root = tmp_path_factory.mktemp("dist") / "node_modules"
    shutil.copytree(Dist.shipped().root, root)
    with (root / "@tensorflow/tfjs/dist/tf.min.js").open("a") as script:
        script.write(UNSTEADY)
    harness = Harness(dist=Dist.from_directory(root))
    yield harness
    harness.close()


@pytest.mark.parametrize("alone", ["all", "none"])
def test_nondeterministic_kernel_is_named(tfjs, tmp_path, alone):
    x = tf_keras.Input((4,), name="x")
    path = tmp_path / "source.h5"
    dense = tf_keras.layers.Dense(3, name="dense")(x)
    tf_keras.Model(x, tf_keras.layers.Activation("tanh", name="tanh")(dense)).save(path)
    comparison = tfjs.compare(path, np.float32([[1, 2, 3, 4]]), alone=alone)
    assert (comparison.verdict, comparison.first_divergence) == ("diverged", ("tanh",))
    assert (comparison.diagnosis.kind, comparison.diagnosis.layer) == ("nondeterminism", "tanh")
    assert "two runs of the layer on the same inputs differ by" in comparison.diagnosis.said
