"""The layers at fault are blamed, and no others; in a chaotic model none is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.artifact_faults.drawing import draw_faults, write_faulty
from benchmarks.artifact_faults.faulty_runs import Blaming
from benchmarks.blame import run_several, run_single, save
from pytest_tfjs.report.failure_message import failure_message

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="wasm")]

MODELS = (("cnn", "graph"), ("cnn", "layers"), ("unet", "graph"))


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def prepare(request, tmp_path_factory, tfjs_harness, tfjs_cache):
    """Prepares a model for faults on a target."""
    model, format_ = request.param
    made: list[Blaming] = []

    def on(target) -> Blaming:
        if not made:
            folder = tmp_path_factory.mktemp("blame") / model
            path, feed = save(model, folder)
            where: Any = {"harness": tfjs_harness, "target": target, "cache": tfjs_cache, "folder": folder}
            made.append(Blaming(path, feed, format_=format_, **where))
        return made[0]

    return on


def test_only_the_faulty_layer_is_blamed(tfjs_target, prepare):
    blaming = prepare(tfjs_target)
    cases = [case for case in run_single(blaming, 4, seed=7) if case.detectable]
    assert len(cases) == 4
    missed = "\n".join(str(case) for case in cases if not case.alone)
    assert not missed
    several = list(run_several(blaming, cases, np.random.default_rng(7), count=1))
    assert len(several[0].faults) > 1
    assert several[0].alone, several[0]


def test_fault_changes_only_its_row(tfjs_target, prepare, tmp_path):
    """Faults are the same each time, lie in a row of the model and change nothing else."""
    blaming = prepare(tfjs_target)
    faults = draw_faults(blaming.sites, 40, 1)
    assert list(map(str, faults)) == list(map(str, draw_faults(blaming.sites, 40, 1)))
    assert {str(fault) for fault in faults} != {str(fault) for fault in draw_faults(blaming.sites, 40, 2)}
    assert len({fault.kind for fault in faults}) >= 8
    sound = blaming.sound
    before = json.loads(sound.model_json.read_text())
    for fault in faults:
        faulty = write_faulty(sound, [fault], tmp_path / "faulty")
        after = json.loads(faulty.model_json.read_text())
        weights, others = sound.read_weights(), faulty.read_weights()
        changed = {name for name in weights if not np.array_equal(weights[name], others[name])}
        assert changed <= set(fault.weights)
        assert (before["modelTopology"] != after["modelTopology"]) == (fault.edit is not None)
        assert fault.rows


# ---- correct but chaotic models ----


def logistic(tf: Any) -> Any:
    """x to 4·x·(1 - x), thirty times; each step about doubles an error."""

    class Logistic(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def serve(self, x):
            x = tf.sigmoid(tf.matmul(x, tf.constant(_kernel(4)), name="mix"), name="start")
            for number in range(30):
                rest = tf.subtract(1.0, x, name=f"rest{number}")
                x = tf.multiply(tf.multiply(x, 4.0, name=f"four{number}"), rest, name=f"map{number}")
            return x

    return Logistic()


def steep(tf: Any) -> Any:
    """Layers that multiply by a thousand and keep the angle."""

    class Steep(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def serve(self, x):
            for number in range(3):
                x = tf.tanh(
                    tf.matmul(x, tf.constant(_kernel(4)), name=f"mix{number}"), name=f"squash{number}"
                )
                x = tf.cos(tf.multiply(x, 1000.0, name=f"steep{number}"), name=f"wave{number}")
            return x

    return Steep()


def _kernel(size: int) -> np.ndarray:
    return (np.random.default_rng(21).standard_normal((size, size)) / 2).astype(np.float32)


@pytest.mark.tfjs(backends="cpu,wasm,webgl")
@pytest.mark.parametrize("build", [logistic, steep], ids=lambda build: build.__name__)
def test_chaotic_model_is_reported_without_blaming_a_layer(tfjs, tmp_path, build: Callable[[Any], Any]):
    tf = pytest.importorskip("tensorflow")
    module = build(tf)
    tf.saved_model.save(module, str(tmp_path / "chaos"), signatures=module.serve)
    feed = np.random.default_rng(22).standard_normal((8, 4)).astype(np.float32)
    comparison = tfjs.compare(tmp_path / "chaos", feed, alone="all")
    assert not any(row.made_error for row in comparison.layers)
    assert comparison.verdict == "diverged"
    assert comparison.growth is not None
    assert comparison.growth.factor > 100
    first = failure_message(comparison).splitlines()[0]
    assert first.startswith(f"{comparison.target}: no layer is wrong alone; the error grows ")
    assert f" on and exceeds the allowance at {comparison.growth.end!r}" in first
