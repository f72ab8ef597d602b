"""The server serves the files of published artifacts and no others."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from pytest_tfjs.errors import ArtifactsError
from tests.support.raw_http import status
from tests.support.tiny_layers_models import dense_model


def test_only_the_model_and_its_shards_are_served(client, server, tmp_path):
    model = dense_model(tmp_path)
    (tmp_path / "other.bin").write_bytes(b"not named")
    url = server.publish(model)
    assert client.get(url).json() == json.loads(model.read_text())
    assert client.get(url).headers["Content-Type"] == "application/json"
    shard = client.get(url.replace("model.json", "group1-shard1of1.bin"))
    assert shard.content == (tmp_path / "group1-shard1of1.bin").read_bytes()
    for name in ("other.bin", "../model.json", "", "sub/../model.json"):
        assert status(server, urlsplit(url).path.replace("model.json", name)) == 404


def test_changed_artifacts_get_a_new_url(server, tmp_path):
    model = dense_model(tmp_path)
    url = server.publish(model)
    assert server.publish(model) == url
    model.write_text(model.read_text() + " ")
    assert server.publish(model) != url


def manifest(*paths):
    return {"weightsManifest": [{"paths": list(paths), "weights": []}]}


@pytest.mark.parametrize(
    "shard", ["../outside.bin", "/etc/hosts", "missing.bin", "link.bin", "sub/../shard.bin", ""]
)
def test_shard_outside_the_model_folder_is_rejected(server, tmp_path, shard):
    (tmp_path / "outside.bin").write_bytes(b"")
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "shard.bin").write_bytes(b"")
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    (folder / "model.json").write_text(json.dumps(manifest("shard.bin", shard)))
    with pytest.raises(ArtifactsError, match="names the shard"):
        server.publish(folder / "model.json")


def test_shards_in_folders_and_with_odd_names_are_served(client, server, tmp_path):
    names = ["./sub/a b.bin", "100%.bin", "ä#1.bin"]
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "model.json").write_text(json.dumps(manifest(*names)))
    url = server.publish(tmp_path / "model.json")
    for name, path in zip(names, ["sub/a%20b.bin", "100%25.bin", "%C3%A4%231.bin"], strict=True):
        assert client.get(url.replace("model.json", path)).content == name.encode()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weightsManifest": 1}', '{"weightsManifest": [{}]}'])
def test_unreadable_model_is_rejected(server, tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ArtifactsError, match=r"model\.json"):
        server.publish(tmp_path / "model.json")


def test_missing_model_is_rejected(server, tmp_path):
    with pytest.raises(ArtifactsError, match=r"model\.json"):
        server.publish(tmp_path / "model.json")
