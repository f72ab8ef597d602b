"""Damaged models: none makes a test hang or crash, and none is close.

Left out, and counted, is what two rules show to have no effect: nothing changed but fields that nobody reads
(`normal`), or TF.js computes bit for bit the same of other feeds too (`computed`).

`TFJS_MUTANTS=10000` draws more of them, `TFJS_MUTANTS_SEED=7` others.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections import Counter
from random import Random

import numpy as np
import pytest

from pytest_tfjs import Prebuilt, TfjsError
from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.workflows import comparison as comparison_workflow
from tests.support.artifact_mutants import attributes_read, mutant, normal

MUTANTS = int(os.environ.get("TFJS_MUTANTS", "1050"))
SEED = int(os.environ.get("TFJS_MUTANTS_SEED", "1"))
LIMIT_S = 60.0
SHARES = {("layers", "float32"): 0.4, ("graph", "float32"): 0.4, ("graph", "uint8"): 0.2}
MOST_WITHOUT_EFFECT = 0.4

pytestmark = [pytest.mark.browser, pytest.mark.convert, pytest.mark.tfjs(backends="cpu", timeout=5)]


@pytest.fixture(scope="module")
def sample():
    """A model, a feed, and the parts of the artifacts that TF.js reads."""
    x = np.random.default_rng(1).normal(size=(2, 5, 5, 2)).astype(np.float32)
    return small_model(), x, attributes_read()


def small_model():
    """Operations of many kinds in few numbers; each attribute has an effect on the feed."""
    keras = pytest.importorskip("tf_keras")
    x = keras.Input((5, 5, 2), name="x")
    y = keras.layers.Conv2D(3, 3, strides=2, padding="same", activation="relu", name="conv")(x)
    y = keras.layers.BatchNormalization(epsilon=0.01, name="norm")(y)
    pooled = keras.layers.MaxPooling2D(2, strides=1, name="pool")(y)
    left = keras.layers.Dense(3, activation="tanh", name="left")(keras.layers.Flatten(name="flat")(pooled))
    right = keras.layers.GlobalAveragePooling2D(name="mean")(y)
    joined = keras.layers.Concatenate(name="joined")([left, right])
    steep = keras.layers.LeakyReLU(0.25, name="steep")(joined)
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(steep), name="small")
    numbers = np.random.default_rng(0)
    model.set_weights(
        [numbers.uniform(0.2, 1, w.shape) * numbers.choice([1, 1, -1]) for w in model.get_weights()]
    )
    return model


@pytest.mark.parametrize(
    ("kind", "mutants"),
    [
        pytest.param(kind, int(share * size), marks=marks)
        for size, marks in ((40, ()), (MUTANTS, pytest.mark.slow))
        for kind, share in SHARES.items()
    ],
)
def test_a_damaged_model_is_never_close(tfjs, sample, kind, mutants, tmp_path):
    (source, x, read), (form, weights) = sample, kind
    artifacts = tfjs.convert(source, format=form, weights=weights)
    folder = artifacts.model_json.parent
    content = json.loads(artifacts.model_json.read_text())
    shards = {file.name: file.read_bytes() for file in folder.glob("*.bin")}
    assert tfjs.compare(Prebuilt(folder, source), x).verdict == "close"
    before = computed(tfjs, artifacts, artifacts.model_json)
    chance, found, close, slowest = Random(SEED), Counter(), [], 0.0
    for number in itertools.count():
        if sum(found.values()) - found["without effect"] - found["the same"] >= mutants:
            break
        changed = mutant(chance, content, shards, read)
        if without_effect(changed, content, shards, read):
            found["without effect"] += 1
            continue
        started = time.monotonic()
        model = Prebuilt(changed.write(tmp_path / str(number)), source)
        with pytest.MonkeyPatch.context() as patch:
            if number % 5:  # the cause is known; diagnosing it takes most of the time
                patch.setattr(comparison_workflow, "diagnosed", as_it_is)
            verdict = verdict_of(tfjs, model, x, changed)
        slowest = max(slowest, time.monotonic() - started)
        if verdict == "close" and computed(tfjs, artifacts, tmp_path / str(number) / "model.json") == before:
            verdict = "the same"
        found[verdict] += 1
        if verdict == "close":
            close.append(f"{number}: {changed.what}")
    print(f"{form} {weights}: {dict(found.most_common())}, the slowest {slowest:.1f} s")
    assert not close, "\n".join(close)
    assert slowest < LIMIT_S
    assert found["without effect"] + found["the same"] <= MOST_WITHOUT_EFFECT * sum(found.values())


def without_effect(changed, content, shards, read) -> bool:
    """Whether everything that TF.js reads is unchanged."""
    try:
        now = json.loads(changed.content)
    except (ValueError, RecursionError):
        return False
    return changed.shards == shards and normal(now, read) == normal(content, read)


def as_it_is(comparison, *_):
    return comparison


def computed(tfjs, artifacts, model_json) -> list[bytes] | str:
    """The exact outputs of TF.js for new feeds, or its error.

    A default that is left out, the name of a model, an attribute that means nothing to this operation: for
    feeds of the shape compared the model is the same function, and close is the truth. Nothing of Python's
    side takes part in it.
    """
    (output,) = artifacts.outputs
    address = {"node": output.tensor} if artifacts.format == "graph" else {"path": [output.name]}
    numbers = np.random.default_rng(2)
    feeds = tuple(
        {"x": (scale * numbers.normal(size=(2, 5, 5, 2))).astype(np.float32)}
        for scale in (0.3, 1, 1, 3, 3, 10, 10, 100)
    )
    job = Job(model_json, artifacts.format, feeds, ((Tap("output", address),),))
    given: list[bytes] = []
    try:
        page = tfjs._context.harness.open(tfjs._context.target)
        page.run(job, lambda found: given.append(found.tensors["output"].tobytes()))
    except TfjsError as error:
        return str(error)
    return given


def verdict_of(tfjs, model, x, changed) -> str:
    try:
        return tfjs.compare(model, x).verdict
    except TfjsError as error:
        return type(error).__name__
    except Exception as error:
        raise AssertionError(f"{changed.what}: {error!r}") from error
