"""Artifacts of old versions of the converter are read and compared with their sources."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

from fixtures.prebuilt import FOLDER, SOURCES, VERSIONS
from pytest_tfjs.errors import ArtifactsError
from pytest_tfjs.models.artifacts import TensorSpec, read_artifacts
from pytest_tfjs.models.conversion import convert
from pytest_tfjs.models.feeds import normalise_feeds
from pytest_tfjs.models.signature_candidates import candidates, conflicting, swapped
from pytest_tfjs.models.sources import Prebuilt, as_source

RNG = np.random.default_rng(5)
PAIR = {name: RNG.normal(size=(2, 6, 6, 2)).astype(np.float32) for name in ("right", "left")}
FEEDS = {"twins": PAIR, "net": PAIR, "loop": {"x": RNG.normal(size=(2, 3)).astype(np.float32)}}


def spec(name, tensor, shape=(2, 3), dtype="float32"):
    return TensorSpec(name, shape, dtype, tensor)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("model", ["twins", "loop"])
def test_input_names_are_read_from_every_version(version, model):
    artifacts = read_artifacts(FOLDER / version / model)
    assert {one.name for one in artifacts.inputs} == set(FEEDS[model])
    assert artifacts.has_signature == (version != "1.0.1")
    assert {one.tensor for one in artifacts.outputs} == {"Identity:0", "Identity_1:0"}
    assert artifacts.converted_by == f"TensorFlow.js Converter v{version}"


@pytest.mark.parametrize("version", VERSIONS)
def test_layers_models_are_read_from_every_version(version):
    artifacts = read_artifacts(FOLDER / version / "net")
    assert [one.name for one in artifacts.inputs] == ["right", "left"]
    assert [one.name for one in artifacts.outputs] == ["zebra", "ape"]
    weights = read_artifacts(FOLDER / "4.22.0" / "net").read_weights()
    assert artifacts.read_weights().keys() == weights.keys()


def test_common_signature_name_pairs_outputs():
    source = [spec("a", "Identity:0"), spec("b", "Identity_1:0"), spec("c", "Identity_2:0")]
    converted = [
        spec("Identity", "Identity:0"),
        spec("c", "Identity_1:0"),
        spec("Identity_2", "Identity_2:0"),
    ]
    assert candidates(converted, source, by_tensor_name=False) == [(0, 2), (0, 2), (1,)]


def test_dtype_and_shape_pair_outputs_without_names():
    source = [spec("a", "Identity:0"), spec("b", "Identity_1:0", dtype="int64"), spec("c", "x:0", (None, 4))]
    converted = [
        spec("Identity", "Identity:0", dtype="int32"),
        spec("Identity_1", "Identity_1:0", (8, 4)),
        spec("Identity_2", "Identity_2:0", (None, 3)),
    ]
    assert candidates(converted, source, by_tensor_name=False) == [(2,), (0,), (1,)]


def test_numbered_name_pairs_nothing():
    ends = [spec("Identity", "Identity:0"), spec("Identity_1", "Identity_1:0")]
    source = [spec("a", "Identity:0"), spec("b", "Identity_1:0")]
    assert candidates(ends, source, by_tensor_name=False) == [(0, 1), (0, 1)]


def test_placeholders_keep_input_names():
    converted = [spec("left", "left:0"), spec("right", "right:0")]
    source = [spec("a", "right:0"), spec("left", "left:0")]
    assert candidates(converted, source, by_tensor_name=True) == [(1,), (0,)]


def test_same_name_with_another_shape_or_dtype_is_not_paired():
    source = [spec("a", "Identity:0"), spec("b", "Identity_1:0", (None, 4)), spec("c", "Identity_2:0")]
    converted = [
        spec("a", "Identity_1:0", (None, 4)),
        spec("b", "Identity:0"),
        spec("c", "Identity_2:0", dtype="int32"),
    ]
    found = conflicting(converted, source, by_tensor_name=False)
    assert [(one.name, other.name) for one, other in found] == [("a", "a"), ("b", "b"), ("c", "c")]
    assert swapped(found) == ("a", "b")
    assert swapped(found[1:]) is None
    agreeing = [spec("b", "Identity:0", (8, 4)), spec("c", "Identity_2:0", None)]
    assert conflicting(agreeing, source, by_tensor_name=False) == []


def test_input_with_another_shape_is_not_paired_by_tensor_name():
    converted, source = spec("x", "x:0"), spec("x", "serving_default_x:0", (4,))
    assert conflicting([converted], [source], by_tensor_name=True) == [(converted, source)]
    # For outputs, such a name is only a position.
    assert conflicting([converted], [source], by_tensor_name=False) == []


@pytest.fixture
def reference(cache):
    from pytest_tfjs.reference.capture import capture_reference

    def make(folder, source="twins", feed=PAIR):
        model = as_source(Prebuilt(folder, SOURCES / source))
        artifacts = convert(model, cache=cache)
        feeds = normalise_feeds(feed, artifacts.inputs)
        return capture_reference(model, artifacts, feeds, "outputs", cache)

    return make


@pytest.fixture
def rewired(tmp_path):
    """A copy of a model whose outputs `Identity` and `Identity_1` take these nodes instead."""

    def make(version, nodes):
        folder = shutil.copytree(FOLDER / version / "twins", tmp_path / version)
        content = json.loads((folder / "model.json").read_text())
        for node in content["modelTopology"]["node"]:
            if node["name"] in nodes:
                node["input"] = [f"StatefulPartitionedCall/{nodes[node['name']]}"]
        (folder / "model.json").write_text(json.dumps(content))
        return folder

    return make


def outputs(reference):
    """The converted node of each source output."""
    return {layer.name: layer.tap["node"] for layer in reference.plan.layers if layer.output}


@pytest.mark.convert
@pytest.mark.parametrize("version", ["1.0.1", "1.7.4", "4.22.0"])
def test_reordered_outputs_are_matched_by_value(reference, rewired, version):
    swapped = rewired(version, {"Identity": "Relu", "Identity_1": "Softmax"})
    plans = [reference(folder).plan for folder in (FOLDER / version / "twins", swapped)]
    rows = [{layer.name: layer.coverage for layer in plan.layers} for plan in plans]
    assert rows[0] == rows[1]
    assert set(rows[0].values()) == {"compared"}
    assert outputs(reference(swapped)) == outputs(reference(FOLDER / version / "twins"))


@pytest.mark.convert
def test_outputs_with_equal_values_are_an_error(reference, rewired):
    folder = rewired("2.8.5", {"Identity": "Softmax", "Identity_1": "Softmax"})
    with pytest.raises(
        ArtifactsError,
        match=r"lost the names of its outputs, .* it is unclear .*'Identity' float32 .*'Identity_1' float32 ",
    ):
        reference(folder)


@pytest.fixture
def signed(tmp_path):
    """A copy of the loop whose outputs are renamed by `names`."""

    def make(names):
        folder = shutil.copytree(FOLDER / "4.22.0" / "loop", tmp_path / "signed")
        content = json.loads((folder / "model.json").read_text())
        outputs = content["signature"]["outputs"]
        content["signature"]["outputs"] = {names.get(name, name): outputs[name] for name in outputs}
        (folder / "model.json").write_text(json.dumps(content))
        return folder

    return make


@pytest.mark.convert
def test_swapped_output_names_are_an_error(reference, signed):
    with pytest.raises(
        ArtifactsError,
        match=r"outputs of the same name that cannot be the same tensor: .*'count' float32 "
        r"\[2, 3\].* in the artifacts, .*'count' int32 \[\].* in the source.*correct the signature",
    ):
        reference(signed({"count": "y", "y": "count"}), "loop", FEEDS["loop"])


@pytest.mark.convert
def test_pairs_not_matched_by_name_are_noted(reference, signed):
    assert reference(FOLDER / "4.22.0" / "loop", "loop", FEEDS["loop"]).plan.notes == ()
    assert reference(signed({"y": "z"}), "loop", FEEDS["loop"]).plan.notes == (
        "the artifacts' output 'z' was matched to the source's 'y' by dtype and shape",
    )
    notes = reference(FOLDER / "1.0.1" / "twins").plan.notes
    assert len(notes) == 2
    assert all("output 'Identity" in note and note.endswith("by the values") for note in notes)


@pytest.mark.convert
def test_artifacts_of_another_model_are_an_error(reference):
    with pytest.raises(
        ArtifactsError, match=r"was not converted from this source: its inputs are 'x' .*'left' float32"
    ):
        reference(FOLDER / "3.9.0" / "loop", "twins", FEEDS["loop"])


@pytest.mark.convert
def test_artifacts_of_another_signature_are_an_error(reference, tmp_path):
    folder = shutil.copytree(FOLDER / "3.9.0" / "loop", tmp_path / "fewer")
    content = json.loads((folder / "model.json").read_text())
    del content["signature"]["outputs"]["count"]
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(
        ArtifactsError, match=r"its outputs are 'y' float32 \[2, 3\], but the source's are 'count'"
    ):
        reference(folder, "loop", FEEDS["loop"])


TESTS = """
import numpy as np
import pytest
from pytest_tfjs import Prebuilt

@pytest.mark.parametrize("version", @VERSIONS@)
@pytest.mark.parametrize("model", ["twins", "loop", "net.h5"])
def test_prebuilt(tfjs, version, model, pytestconfig):
    source = @SOURCES@ + "/" + model
    name = model.partition(".")[0]
    with np.load(name + ".npz") as feed:
        comparison = tfjs.assert_close(Prebuilt(@FOLDER@ + f"/{version}/{name}", source), dict(feed))
    assert sum(row.layer.output for row in comparison.layers) == 2
"""


@pytest.mark.browser
@pytest.mark.convert
@pytest.mark.skipif(sys.platform == "win32", reason="its paths do not go into the test as they are")
def test_artifacts_of_every_version_are_close_in_the_browser(project):
    for name, feed in FEEDS.items():
        np.savez(project.folder / f"{name}.npz", **feed)
    text = TESTS.replace("@VERSIONS@", repr(VERSIONS)).replace("@SOURCES@", repr(str(SOURCES)))
    project.write(test_prebuilt=text.replace("@FOLDER@", repr(str(FOLDER))))
    run = project.run("--tfjs-backends=cpu", "--tfjs-timeout=60")
    assert {case.outcome for case in run.cases.values()} == {"passed"}, run.text
    assert len(run.cases) == 3 * len(VERSIONS)
