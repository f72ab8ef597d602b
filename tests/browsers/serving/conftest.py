"""A server over a small page, for the tests of what it serves."""

from __future__ import annotations

import httpx
import pytest

from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.tfjs_dist import Dist


@pytest.fixture(scope="module")
def page_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("site") / "page"
    root.mkdir()
    (root / "index.html").write_text("<p>page")
    (root / "main.js").write_text("export {}")
    (root / "secret.txt").write_text("not a page's file")
    (root.parent / "outside.js").write_text("outside")
    (root / "link.js").symlink_to(root.parent / "outside.js")
    (root / "inside.js").symlink_to(root / "main.js")
    (root / "folder.js").mkdir()
    return root


@pytest.fixture(scope="module")
def server(page_root):
    with Server(Dist.shipped(), page_root=page_root) as server:
        yield server


@pytest.fixture
def channel(server):
    channel = server.open_page({"backend": "cpu"})
    yield channel
    server.close_page(channel)


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
