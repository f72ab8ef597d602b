"""A doubled weight is blamed on its layer alone, for each layer of the CNN."""

from __future__ import annotations

import pytest

import fixtures
from demo.fault import double_largest_weight
from pytest_tfjs import NotClose, Prebuilt
from tests.support.sizes import slow_except

pytestmark = [
    pytest.mark.browser,
    pytest.mark.convert,
    pytest.mark.tfjs(backends="wasm"),
]

# In a graph model a layer's row bears the name of the operation that takes its weights.
ROWS = {
    "stem_conv": {"layers": "stem_conv", "graph": "stem_conv/Conv2D"},
    "down_depthwise": {"layers": "down_depthwise", "graph": "down_depthwise/depthwise"},
    "mix_conv": {"layers": "mix_conv", "graph": "mix_conv/Conv2D"},
    "head_conv": {"layers": "head_conv", "graph": "head_conv/Conv2D"},
    "classes": {"layers": "classes", "graph": "classes/MatMul"},
}


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "cnn.keras"
    fixtures.build("cnn", 2).save(path)
    return path


@pytest.mark.parametrize("layer", slow_except(["mix_conv", "classes"], ROWS))
@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_only_the_layer_with_the_doubled_weight_is_blamed(tfjs, tmp_path, cnn, format_, layer):
    sound = tfjs.convert(cnn, format=format_)
    damaged = double_largest_weight(sound, layer, tmp_path / "damaged")
    row = ROWS[layer][format_]
    with pytest.raises(NotClose) as failure:
        tfjs.assert_close(Prebuilt(damaged.model_json, cnn), fixtures.inputs("cnn"))
    assert failure.value.comparison.verdict == "diverged"
    assert failure.value.comparison.first_divergence == (row,)
    assert str(failure.value).splitlines()[0].startswith(f"wasm on chrome: '{row}' diverged first: ")


@pytest.mark.parametrize("format_", ["graph", "layers"])
def test_sound_artifacts_are_close(tfjs, cnn, format_):
    sound = tfjs.convert(cnn, format=format_)
    tfjs.assert_close(Prebuilt(sound.model_json, cnn), fixtures.inputs("cnn"))
