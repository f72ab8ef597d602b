"""Plans to run a Keras layer alone: which masks enter it."""

from __future__ import annotations

import json
import subprocess

import pytest

from pytest_tfjs.models.alone.keras_tensors import HANDS_ON_MASKS
from tests.support import paths
from tests.support.layers_plans import chain, masks_of, plan_of
from tests.support.tiny_layers_models import functional, input_layer, layer

MASKERS = [layer("Masking", "hides"), layer("Embedding", "hides", mask_zero=True)]


@pytest.mark.parametrize("maker", MASKERS)
def test_masks_are_computed_from_the_reference_and_passed_on(maker):
    model = chain(layer("ReLU", "pre"), maker, layer("Dense", "carries"), layer("LSTM", "end"))
    known = ["pre", "hides", "carries", "end"]
    plan = plan_of(model, known, "end")
    assert masks_of(model, known, "end") == ["carries"]
    assert (plan.takes, plan.fetched) == (("carries",), ("carries", "hides", "pre"))
    assert plan.to_json()["rows"] == ["carries", "hides", "pre"]


@pytest.mark.parametrize(
    "layers",
    [
        [layer("Embedding", "hides", mask_zero=False), layer("Dense", "carries")],
        [layer("Masking", "hides"), layer("Conv1D", "carries")],
        [layer("Dense", "hides"), layer("Dense", "carries")],
    ],
)
def test_layers_that_make_or_pass_on_no_mask_have_none(layers):
    assert masks_of(chain(*layers, layer("LSTM", "end")), ["carries"], "end") == [None]


def test_masks_pass_through_nested_models():
    inner = functional(
        "inner",
        [(input_layer("within", 3), []), (layer("Dense", "deep"), [[("within", 0, 0)]])],
        ["within"],
        [("deep", 0, 0)],
    )
    model = functional(
        "outer",
        [
            (input_layer("x", 3), []),
            (layer("Masking", "hides"), [[("x", 0, 0)]]),
            (inner, [[("hides", 0, 0)]]),
            (layer("LSTM", "end"), [[("inner", 1, 0)]]),
        ],
        ["x"],
        [("end", 0, 0)],
    )
    assert masks_of(model, ["inner/deep"], "end") == ["inner/deep"]
    assert masks_of(model, ["hides"], "inner/deep") == ["hides"]


def nested_masking(last):
    """A model whose nested model `inner` makes a mask, and the layer behind it."""
    inner = chain(layer("Embedding", "hides", mask_zero=True), layer("Dense", "deep"), name="inner")
    layers = [
        (input_layer("x", 3), []),
        (inner, [[("x", 0, 0)]]),
        (last, [[("inner", 1, 0)]]),
    ]
    return functional("outer", layers, ["x"], [(last["config"]["name"], 0, 0)])


@pytest.mark.parametrize(
    ("model", "loses"),
    [
        (chain(MASKERS[0], layer("LSTM", "end")), False),
        (chain(MASKERS[0], layer("Dense", "end")), False),
        (chain(MASKERS[0], layer("LeakyReLU", "a"), layer("LSTM", "end")), True),
        (chain(MASKERS[0], layer("LeakyReLU", "a"), layer("Dense", "b"), layer("LSTM", "end")), True),
        (chain(MASKERS[0], layer("Conv1D", "a"), layer("LSTM", "end")), False),
        (chain(MASKERS[0], layer("LSTM", "a", return_sequences=True), layer("GRU", "end")), False),
        (chain(MASKERS[0], layer("LSTM", "a"), layer("Softmax", "end")), False),
        (chain(MASKERS[0], layer("GlobalAveragePooling1D", "end")), True),
        (chain(layer("Dense", "a"), layer("GlobalAveragePooling1D", "end")), False),
        (nested_masking(layer("LSTM", "end")), False),  # the page sees it
    ],
)
def test_a_mask_that_only_keras_hands_on_is_known(model, loses):
    assert plan_of(model, [], "end").loses_mask is loses


def test_layers_that_pass_on_masks_are_the_same_as_in_tfjs():
    """Read from the classes of the TF.js version that the plugin ships."""
    if not (paths.ROOT / "node_modules/@tensorflow/tfjs-layers").is_dir():
        pytest.skip("the npm packages are not installed")
    command = ["node", "tests/support/masking_layers.mjs"]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert set(json.loads(done.stdout.splitlines()[-1])) == HANDS_ON_MASKS
