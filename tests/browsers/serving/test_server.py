"""The server: tokens, hosts, headers, files, and messages of the page."""

from __future__ import annotations

import http.client
import json
import mimetypes
import socket
import threading
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import starlette.responses

from pytest_tfjs.browsers.jobs import Job, Tap
from pytest_tfjs.browsers.messages import ConsoleLine, Failure, PageFault, Progress
from pytest_tfjs.browsers.serving import routes
from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import BrowserError
from pytest_tfjs.formats.safetensors import decode
from tests.support.raw_http import exchange, status, token

TFJS = "@tensorflow/tfjs/dist/tf.min.js"


def test_server_listens_on_loopback_only(server):
    assert urlsplit(server.url).hostname == "127.0.0.1"
    other = [
        info[4][0]
        for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not info[4][0].startswith("127.")
    ]
    for address in other:
        with pytest.raises(OSError, match=r"."):
            socket.create_connection((address, urlsplit(server.url).port), timeout=1).close()


def test_each_server_has_its_own_token_and_port(server, page_root):
    with Server(Dist.shipped(), page_root=page_root) as other:
        assert token(other) != token(server)
        assert len(token(other)) > 30
        assert status(other, f"{token(server)}/page/index.html") == 404


@pytest.mark.parametrize(
    "change", [lambda t: "", lambda t: t[:-1], lambda t: t + "x", lambda t: t.upper(), lambda t: "/ä"]
)
def test_wrong_token_is_not_found(server, change):
    assert status(server, f"{token(server)}/page/index.html") == 200
    assert status(server, f"{change(token(server))}/page/index.html".encode().decode("latin-1")) in {400, 404}


@pytest.mark.parametrize("host", ["localhost", "evil.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_wrong_host_is_rejected(server, host):
    assert status(server, f"{token(server)}/page/index.html", host=host) == 421


def test_duplicate_host_is_rejected(server):
    netloc = urlsplit(server.url).netloc
    assert status(server, f"{token(server)}/page/index.html", headers=[f"Host: {netloc}"]) in {400, 421}


def test_cross_origin_post_is_rejected(client, server, channel):
    body = {"first": 0, "events": []}
    for origin in ("http://evil.example", "null", "http://127.0.0.1", server.url.replace("http", "https")):
        answer = client.post(f"/api/{channel.page}/events", json=body, headers={"Origin": origin})
        assert answer.status_code == 403
    own = f"http://{urlsplit(server.url).netloc}"
    assert client.post(f"/api/{channel.page}/events", json=body, headers={"Origin": own}).status_code == 204


@pytest.mark.parametrize(
    "path", ["/page/index.html", "/page/none.js", "/nothing", "/api/none/setup", f"/dist/{TFJS}"]
)
def test_responses_have_the_security_headers(client, path):
    assert_secure(client.get(path).headers)


def test_error_responses_have_the_security_headers(server, client):
    assert_secure(httpx.get(server.url.rpartition("/")[0] + "/wrong/page/index.html").headers)
    assert_secure(client.get("/page/index.html", headers={"Host": "evil.example"}).headers)
    assert_secure(client.post("/page/index.html").headers)
    answer = exchange(server, b"GET nonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"x-content-type-options: nosniff" in answer.lower()


def assert_secure(headers):
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-eval" not in headers["Content-Security-Policy"].replace("wasm-unsafe-eval", "")
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/page/index.html", "text/html; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        (f"/dist/{TFJS}", "text/javascript; charset=utf-8"),
        ("/dist/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm", "application/wasm"),
    ],
)
def test_media_types_ignore_the_system_settings(client, monkeypatch, path, media_type):
    for owner in (mimetypes, starlette.responses):
        monkeypatch.setattr(owner, "guess_type", lambda *_args, **_kwargs: ("text/plain", None))
    assert client.get(path).headers["Content-Type"] == media_type


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page",
        "/page/folder.js",
        "/page/secret.txt",
        "/page/link.js",
        "/page/../outside.js",
        "/page/%2e%2e/outside.js",
        "/page/..%2foutside.js",
        "/page/%2e%2e%2foutside.js",
        "/page/..\\outside.js",
        "/page//etc/hosts.js",
        "/page/main.js%00",
        "/page/main.js/",
        "/page/.",
        "/dist/",
        "/dist/@tensorflow/tfjs/package.json",
        f"/dist/{TFJS}/..",
        f"/dist/@tensorflow/../{TFJS}",
        "/artifacts/",
        "/artifacts/0/",
    ],
)
def test_path_outside_the_roots_is_not_found(server, path):
    assert status(server, token(server) + path) in {400, 404}


def test_symlink_inside_the_root_is_followed(client):
    assert client.get("/page/inside.js").text == "export {}"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_files_are_read_only(server, method):
    assert status(server, f"{token(server)}/page/index.html", method=method) == 405


def test_page_reads_its_setup_job_and_feeds(client, server, channel, tmp_path):
    assert client.get(f"/api/{channel.page}/setup").json() == {"backend": "cpu"}
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    job = Job(tmp_path / "model.json", "layers", ({"x": x},), ((Tap("a", {"path": ["a"]}),),))
    channel.assign(job, "http://model")
    message = client.get(f"/api/{channel.page}/job").json()
    assert (message["job"], message["artifacts"], message["feeds"]) == (1, "http://model", 1)
    np.testing.assert_array_equal(decode(client.get(f"/api/{channel.page}/jobs/1/feeds/0").content)["x"], x)
    assert client.get(f"/api/{channel.page}/jobs/1/feeds/1").status_code == 404
    assert client.get(f"/api/{channel.page}/jobs/2/feeds/0").status_code == 410


def test_page_waits_for_its_next_job(client, channel, tmp_path):
    job = Job(tmp_path / "model.json", "layers", ({"x": np.zeros(1)},), ())
    later = threading.Timer(0.1, lambda: channel.assign(job, "http://model"))
    later.start()
    assert client.get(f"/api/{channel.page}/job").json()["job"] == 1
    later.join()


def test_wait_without_a_job_ends(client, channel, monkeypatch):
    monkeypatch.setattr(routes, "POLL_S", 0.05)
    assert client.get(f"/api/{channel.page}/job").status_code == 204


def test_events_and_heartbeats_reach_the_mailbox(client, channel):
    events = [{"type": "progress", "stage": "loading model"}]
    answer = client.post(f"/api/{channel.page}/events", json={"first": 0, "events": events})
    assert answer.status_code == 204
    assert channel.next_message(0) == Progress("loading model")
    assert client.post(f"/api/{channel.page}/beat", json={"busyMs": 2500}).status_code == 204
    assert channel.main_thread_busy() == 2.5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("events", b""),
        ("events", b"{"),
        ("events", b"\xff"),
        ("events", b"[]"),
        ("events", b"[" * 100_000),
        ("events", b'{"first": 0}'),
        ("events", b'{"first": "0", "events": []}'),
        ("events", b'{"first": 1, "events": []}'),
        ("events", b'{"first": 0, "events": [1]}'),
        ("events", b'{"first": 0, "events": [{"type": "nonsense"}]}'),
        ("beat", b"{}"),
        ("beat", b'{"busyMs": "1"}'),
        ("beat", b'{"busyMs": true}'),
    ],
)
def test_malformed_messages_are_rejected_and_change_nothing(client, channel, path, body):
    assert client.post(f"/api/{channel.page}/{path}", content=body).status_code == 400
    assert client.post(f"/api/{channel.page}/events", json={"first": 0, "events": []}).status_code == 204
    assert channel.next_message(0) is None


def test_token_is_removed_from_page_messages(client, server, channel):
    secret = token(server).strip("/")
    stack = f"f@{server.url}/dist/{TFJS}:17:10059\ng ({server.url}/page/main.js:1:2)\n at {server.url[:-5]}"
    console = {"type": "console", "level": "error", "arguments": [f"at {server.url}/page", f"token {secret}"]}
    events = [
        {"type": "fault", "kind": "error", "message": f"no {server.url}/x", "stack": stack},
        {"type": "failed", "reason": f"could not load {server.url}/dist/{TFJS}", "stack": stack},
        console,
    ]
    assert client.post(f"/api/{channel.page}/events", json={"first": 0, "events": events}).status_code == 204
    cleaned = f"f@…/dist/{TFJS}:17:10059\ng (…/page/main.js:1:2)\n at …"
    assert channel.next_message(0) == PageFault("error", "no …/x", cleaned)
    assert channel.next_message(0) == Failure(f"could not load …/dist/{TFJS}", cleaned)
    assert channel.next_message(0) == ConsoleLine("error", ("at …/page", "token …"))


def test_token_is_removed_from_rejected_requests(server, channel):
    assert status(server, f"/another{token(server)}/page/index.html") == 404
    assert server.refused() == ["GET /…/page/index.html: 404"]


@pytest.mark.parametrize(("path", "limit"), [("events", routes.EVENTS_LIMIT), ("beat", routes.BEAT_LIMIT)])
def test_message_size_is_limited(server, channel, path, limit):
    target = f"{token(server)}/api/{channel.page}/{path}"
    assert status(server, target, method="POST", headers=[f"Content-Length: {limit + 1}"]) == 413
    assert status(server, target, method="POST", headers=["Transfer-Encoding: chunked"]) == 411


def test_truncated_message_is_not_delivered(server, client, channel):
    body = json.dumps({"first": 0, "events": [{"type": "progress", "stage": "x"}]}).encode()
    target = f"{token(server)}/api/{channel.page}/events"
    host = urlsplit(server.url).netloc
    request = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body) + 1}\r\n\r\n"
    exchange(server, request.encode() + body, cut=True)
    assert client.post(f"/api/{channel.page}/events", json={"first": 0, "events": []}).status_code == 204
    assert channel.next_message(0) is None


def test_messages_of_a_stale_page_are_rejected(client, server):
    channel = server.open_page({})
    server.close_page(channel)
    assert client.get(f"/api/{channel.page}/setup").status_code == 410
    assert client.get(f"/api/{channel.page}/job").status_code == 410
    answer = client.post(f"/api/{channel.page}/events", json={"first": 0, "events": []})
    assert answer.status_code == 410


def test_waiting_page_is_notified_when_closed(client, server):
    channel = server.open_page({})
    later = threading.Timer(0.1, lambda: server.close_page(channel))
    later.start()
    assert client.get(f"/api/{channel.page}/job").status_code == 410
    later.join()


def test_server_lists_rejected_requests_since_the_page_was_opened(client, server):
    for name in ("missing", "other"):
        server.close_page(server.open_page({}))
        assert server.refused() == []
        client.get(f"/page/{name}.js")
        assert server.refused() == [f"GET /page/{name}.js: 404"]


def test_stopped_server_leaves_no_thread_or_port(page_root):
    before = set(threading.enumerate())
    server = Server(Dist.shipped(), page_root=page_root)
    with pytest.raises(BrowserError, match="not running"):
        _ = server.url
    server.start()
    port = urlsplit(server.url).port
    channel = server.open_page({})
    waiting = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    waiting.request("GET", f"{token(server)}/api/{channel.page}/job")
    server.stop()
    server.stop()
    assert set(threading.enumerate()) == before
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    waiting.close()
