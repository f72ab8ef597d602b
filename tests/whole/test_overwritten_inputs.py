"""A kernel that writes into its input is found and blamed, and spoils no other layer."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.report.failure_message import failure_message

pytestmark = [pytest.mark.browser, pytest.mark.convert]

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)

# After these kernels have computed, the first element of their input is 5.
WRITING = """
for (const backend of ["cpu", "wasm"]) {
  const plain = tf.getKernel("Tanh", backend);
  if (plain === undefined) continue;
  tf.unregisterKernel("Tanh", backend);
  tf.registerKernel({
    ...plain,
    kernelFunc: (given) => {
      const made = plain.kernelFunc(given);
      const { dataId } = given.inputs.x;
      if (backend === "cpu") given.backend.data.get(dataId).values[0] = 5;
      else given.backend.wasm.HEAPF32[given.backend.dataIdMap.get(dataId).memoryOffset / 4] = 5;
      return made;
    },
  });
}
"""


def patched(tf, made, into_feed):
    """A model that scatters into `hidden`, or into its input, which another layer takes after that."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([4, 3], tf.float32, name="x")])
        def serve(self, x):
            taken = x if into_feed else tf.nn.tanh(x, name="hidden")
            patched = tf.tensor_scatter_nd_update(taken, [[1]], tf.fill([1, 3], 2.5), name="patched")
            return made(tf, taken, patched)

    return Model()


def _beside(tf, taken, patched):
    return {"a": patched, "b": tf.multiply(taken, 1.5, name="scaled")}


def _after(tf, taken, patched):
    """`scaled` takes the overwritten tensor and, through `joined`, must run after it was written into."""
    return {"y": tf.multiply(tf.add(patched, taken, name="joined"), 1.5, name="scaled")}


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize("into_feed", [False, True], ids=["layer", "feed"])
@pytest.mark.parametrize("made", [_beside, _after])
def test_a_scatter_that_writes_into_its_input_is_blamed(tfjs, made, into_feed):
    tf = pytest.importorskip("tensorflow")
    comparison = tfjs.compare(patched(tf, made, into_feed), X)
    message = failure_message(comparison)
    assert comparison.verdict == "diverged", message
    assert comparison.first_divergence == ("patched",), message
    taken = "x" if into_feed else "hidden"
    rows = {row.layer.name: row for row in comparison.layers}
    assert rows["patched"].overwrites == (taken,)
    assert all(row.local.passed for row in rows.values() if row.local is not None)
    assert (comparison.diagnosis.kind, comparison.diagnosis.layer) == ("overwritten input", "patched")
    assert comparison.diagnosis.said == (
        f"cpu's kernel of TensorScatterUpdate computes the right values, but writes into its input '{taken}'."
        " Other layers take the changed input"
    )
    first = message.splitlines()[0]
    assert first.startswith(
        f"cpu on chrome: 'patched' diverged first: its kernel writes into its input '{taken}' ("
    ), message
    assert first.endswith("its own values are right)"), message


@pytest.mark.tfjs(backends="cpu")
def test_a_scatter_into_what_nothing_else_takes_is_close_with_a_note(tfjs):
    tf = pytest.importorskip("tensorflow")
    model = patched(tf, lambda tf, taken, patched: {"y": tf.multiply(patched, 1.5, name="scaled")}, True)
    comparison = tfjs.assert_close(model, X)
    note = "the kernel of 'patched' (TensorScatterUpdate) writes into its input 'x'. In this run the other"
    assert comparison.notes == (f"{note} layers were right all the same",)


@pytest.mark.tfjs(backends="cpu")
def test_a_layer_that_is_read_after_a_scatter_wrote_into_it_is_close(tfjs):
    tf = pytest.importorskip("tensorflow")

    def twice(tf, taken, patched):
        again = tf.tensor_scatter_nd_update(patched, [[2]], tf.fill([1, 3], float("-inf")), name="again")
        return {"y": tf.nn.softmax(again * 1.5, name="scaled", axis=0)}

    comparison = tfjs.assert_close(patched(tf, twice, False), X)
    into = {row.layer.name: row.overwrites for row in comparison.layers if row.overwrites}
    assert into == {"patched": ("hidden",), "again": ("patched",)}
    assert [note.split("; ")[1] for note in comparison.notes] == [
        f"'{name}' was read after that, and so has an error" for name in ("hidden", "patched")
    ]


def into_constant(tf, made, rows=4):
    """A model that scatters into its constant at the place that it is fed."""
    table = tf.constant(np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32))

    class Model(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([1, 1], tf.int32, name="at"),
                tf.TensorSpec([1, 3], tf.float32, name="row"),
            ]
        )
        def serve(self, at, row):
            return made(tf, table, row, tf.tensor_scatter_nd_update(table, at, row, name="patched"))

    return Model()


FEEDS = [{"at": np.int32([[at]]), "row": X[at : at + 1]} for at in (1, 3, 0)]


@pytest.mark.tfjs(backends="cpu")
@pytest.mark.parametrize("last", [True, False])
def test_a_scatter_that_writes_into_a_constant_is_blamed_for_later_runs(tfjs, last):
    tf = pytest.importorskip("tensorflow")
    model = into_constant(tf, lambda tf, table, row, patched: {"y": patched if last else patched * 2.0})
    (note,) = tfjs.assert_close(model, FEEDS[0]).notes
    assert note.endswith("is a constant of the model, so a later run on other inputs may be wrong"), note
    comparison = tfjs.compare(model, FEEDS)
    assert comparison.first_divergence == ("patched",), comparison.reason
    assert comparison.diagnosis.kind == "overwritten input", comparison.diagnosis
    assert comparison.diagnosis.said.endswith("later runs, as it is a constant of the model")


@pytest.mark.tfjs(backends="cpu")
def test_a_scatter_into_a_large_constant_is_blamed_for_later_runs(tfjs):
    tf = pytest.importorskip("tensorflow")
    model = into_constant(tf, lambda tf, table, row, patched: {"y": patched * 2.0}, rows=120_000)
    comparison = tfjs.compare(model, FEEDS)
    assert comparison.first_divergence == ("patched",), comparison.reason
    assert comparison.diagnosis.kind == "overwritten input", comparison.diagnosis


@pytest.mark.tfjs(backends="cpu")
def test_a_scatter_into_a_constant_is_blamed_for_another_layer_that_takes_the_constant(tfjs):
    tf = pytest.importorskip("tensorflow")

    def made(tf, table, row, patched):
        return {"a": patched, "b": tf.add(table, row + tf.reduce_sum(patched), name="beside")}

    comparison = tfjs.compare(into_constant(tf, made), FEEDS[0])
    assert comparison.first_divergence == ("patched",), comparison.reason
    assert comparison.diagnosis.kind == "overwritten input", comparison.diagnosis


@pytest.mark.tfjs(backends="cpu", alone="none")
def test_an_input_of_the_model_that_was_written_into_is_noted(tfjs):
    tf = pytest.importorskip("tensorflow")
    model = patched(tf, lambda tf, taken, patched: {"y": tf.multiply(patched, 1.5, name="scaled")}, True)
    comparison = tfjs.assert_close(model, X)
    assert comparison.notes == (
        "running the model changed its input 'x': a kernel of TF.js writes into the input",
    )


class TestOwnKernel:
    @pytest.fixture(scope="class")
    def tfjs_harness(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("dist") / "node_modules"
        shutil.copytree(Dist.shipped().root, root)
        for name in ("tfjs/dist/tf.min.js", "tfjs-backend-wasm/dist/tf-backend-wasm.min.js"):
            with (root / "@tensorflow" / name).open("a") as file:
                file.write(WRITING)
        harness = Harness(dist=Dist.from_directory(root))
        yield harness
        harness.close()

    @pytest.mark.tfjs(backends="cpu,wasm")
    @pytest.mark.parametrize("format_", ["layers", "graph"])
    def test_a_kernel_that_writes_into_its_input_is_blamed(self, tfjs, format_):
        keras = pytest.importorskip("tf_keras")
        keras.utils.set_random_seed(2)
        x = keras.Input((3,), name="x")
        hidden = keras.layers.Dense(3, bias_initializer="ones", name="hidden")(x)
        tanh = keras.layers.Activation("tanh", name="writes")(hidden)
        joined = keras.layers.Add(name="joined")([tanh, hidden])
        model = keras.Model(x, keras.layers.Dense(2, name="out")(joined), name="m")
        comparison = tfjs.compare(model, X, format=format_)
        message = failure_message(comparison)
        assert comparison.verdict == "diverged", message
        (blamed,) = comparison.first_divergence
        assert "writes" in blamed, message
        assert comparison.diagnosis.kind == "overwritten input", message
