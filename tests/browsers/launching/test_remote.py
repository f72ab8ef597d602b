"""Browsers of a Grid: session requests, messages of failures, secrecy of credentials."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import logging
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfjs.browsers.engines.engine import LaunchOptions
from pytest_tfjs.browsers.launching import remote as module
from pytest_tfjs.browsers.launching.grid_status import GridStatus, grid_status, parse_status
from pytest_tfjs.browsers.launching.launch import launch
from pytest_tfjs.browsers.launching.remote import merged
from pytest_tfjs.errors import BrowserError
from pytest_tfjs.settings.addresses import parse_remote

if TYPE_CHECKING:
    from collections.abc import Iterator


def slot(browser="chrome", *, busy=False, **offers):
    session = {"sessionId": "other"} if busy else None
    return {"stereotype": {"browserName": browser, "platformName": "linux", **offers}, "session": session}


def node(uri, *slots, availability="UP"):
    return {"uri": uri, "availability": availability, "slots": list(slots)}


def status(*nodes):
    return {"value": {"ready": True, "nodes": list(nodes)}}


class Hub:
    """A minimal Grid; session requests get `answers` in turn, then the last one again."""

    def __init__(self) -> None:
        self.status: Any = status(node("http://node:5555", slot()))
        self.answers: list[tuple[int, Any]] = [(200, session())]
        self.requested: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.sessions = 0
        self.deleted = threading.Event()
        self.handles: tuple[int, Any] = (200, ["tab"])
        self.wait = lambda: None

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/status":
            return 200, self.status
        if (method, path) == ("POST", "/session"):
            self.requested.append(json.loads(body)["capabilities"]["alwaysMatch"])
            self.wait()
            self.sessions += 1
            return self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if method == "DELETE":
            self.deleted.set()
        if path.endswith("/window/handles"):
            return self.handles[0], {"value": self.handles[1]}
        if path.endswith("/cdp/execute"):
            return 404, failure("unknown command", "this service has no such command")
        return 200, {"value": None}


def session(version="120.0"):
    value = {"browserName": "chrome", "browserVersion": version, "setWindowRect": True}
    return {"value": {"sessionId": "ours", "capabilities": value}}


def failure(kind, message):
    return {"value": {"error": kind, "message": message, "stacktrace": "java.util.concurrent.Thread"}}


class Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.authorizations.append(self.headers.get("Authorization"))
        code, value = self.hub.answer(self.command, self.path, body)
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Bound", (Handler,), {"hub": made})
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield made
        server.shutdown()


def start(hub, *, user="", webgpu=False, **options):
    url = hub.url.replace("http://", f"http://{user}")
    return launch("chrome", LaunchOptions(remote=parse_remote(url), **options), webgpu=webgpu)


def test_session_request_merges_engine_and_user_capabilities(hub):
    requested = {
        "goog:chromeOptions": {"args": ["--no-sandbox"], "prefs": {"a": 1}},
        "cloud:options": {"accessKey": "secret"},
        "browserVersion": "120",
    }
    with contextlib.closing(start(hub, capabilities=requested, trusted="http://10.0.0.7:80")) as browser:
        assert (browser.name, browser.version, browser.webgpu) == ("chrome", "120.0", False)
        assert browser.alive()
    (got,) = hub.requested
    assert got["browserName"] == "chrome"
    assert got["browserVersion"] == "120"
    assert got["pageLoadStrategy"] == "none"
    assert got["cloud:options"] == {"accessKey": "secret"}
    arguments = got["goog:chromeOptions"]["args"]
    assert "--headless=new" in arguments
    assert "--enable-unsafe-swiftshader" in arguments  # a remote machine may have a GPU
    assert not any("swiftshader" in one and "unsafe" not in one for one in arguments)
    assert "--unsafely-treat-insecure-origin-as-secure=http://10.0.0.7:80" in arguments
    assert not any("user-data-dir" in one for one in arguments)
    assert arguments[-1] == "--no-sandbox"
    assert got["goog:chromeOptions"]["prefs"] == {"a": 1}
    assert "binary" not in got["goog:chromeOptions"]
    assert hub.deleted.is_set()


@pytest.mark.parametrize(
    ("own", "further", "result"),
    [
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"x": 1, "y": [1]}}, {"a": {"y": [2], "z": 3}}, {"a": {"x": 1, "y": [1, 2], "z": 3}}),
        ({"a": [1]}, {"a": {}}, {"a": {}}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
    ],
)
def test_merged_merges_objects_and_joins_lists(own, further, result):
    before = json.dumps(own)
    assert merged(own, further) == result
    assert json.dumps(own) == before


def test_credentials_are_sent_but_never_shown(hub, caplog):
    caplog.set_level(logging.DEBUG)
    start(hub, user="me:se%3Acret@", capabilities={"cloud:options": {"key": "hidden"}}).close()
    expected = "Basic " + base64.b64encode(b"me:se:cret").decode()
    assert set(hub.authorizations) == {expected}
    hub.answers = [(500, failure("session not created", "no plan for me:se:cret"))]
    with pytest.raises(BrowserError, match=r"no plan for me:\*\*\*") as other:
        start(hub, user="me:se%3Acret@")
    hub.answers = [(401, failure("unknown error", "who is me:se:cret?"))]
    with pytest.raises(BrowserError) as caught:
        start(hub, user="me:se%3Acret@", capabilities={"cloud:options": {"key": "hidden"}})
    assert "cret" not in str(other.value)
    for text in (str(caught.value), caplog.text):
        assert "cret" not in text
        assert "hidden" not in text
        assert expected.partition(" ")[2] not in text
    assert "the user name or key in --tfjs-remote was rejected" in str(caught.value)


def test_credentials_are_not_sent_to_a_redirected_host(hub):
    hub.status = status(node("http://node:5555", slot()))

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            given.append(self.headers.get("Authorization"))
            self.send_response(302)
            self.send_header("Location", f"{hub.url}/status")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    given: list[str | None] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        remote = parse_remote(f"http://me:secret@localhost:{server.server_address[1]}")
        assert grid_status(remote).has("chrome")
        server.shutdown()
    assert given == ["Basic " + base64.b64encode(b"me:secret").decode()]
    assert hub.authorizations == [None]


def test_error_lists_requested_capabilities_and_nodes(hub):
    hub.status = status(
        node("http://one:5555", slot(busy=True), slot(), slot("firefox", browserVersion="153")),
        node("http://two:5555", slot("safari", platformName="mac"), availability="DOWN"),
    )
    hub.answers = [(500, failure("session not created", "Could not start a new session. It timed out\nmore"))]
    with pytest.raises(BrowserError) as caught:
        start(hub, capabilities={"platformName": "windows", "cloud:options": {}})
    first, requested, *rest = str(caught.value).splitlines()
    stated = "Could not start a new session. It timed out"
    assert first == f"{hub.url} did not start a session with Chrome or Chromium: {stated}"
    names = "cloud:options, goog:chromeOptions, pageLoadStrategy"
    assert requested == f"Requested: browserName chrome, platformName windows; also set: {names}."
    assert rest[:3] == [
        f"Browsers that {hub.url} offers:",
        "  http://one:5555: 2 × chrome linux (1 in use), 1 × firefox 153 linux",
        "  http://two:5555: 1 × safari mac (down)",
    ]
    assert "choose other browsers with --tfjs-browsers" in rest[3]


def test_missing_browser_fails_after_waiting_for_a_node(hub, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    hub.status = status(node("http://one:5555", slot("firefox")))
    later = threading.Timer(
        0.2, lambda: setattr(hub, "status", status(node("http://one:5555", slot("Chrome"))))
    )
    later.start()
    start(hub).close()
    assert hub.sessions == 1
    hub.status = status(
        node("http://one:5555", slot(), availability="DOWN"), node("http://two:5555", slot("firefox"))
    )
    monkeypatch.setattr(module, "NODE_S", 0.2)
    with pytest.raises(BrowserError, match="no running node offers 'chrome'"):
        start(hub)
    assert hub.sessions == 1


@pytest.mark.parametrize(
    "nodes",
    [(), (node("http://one:5555"),), (node("http://one:5555", slot("firefox"), availability="DOWN"),)],
)
def test_session_is_requested_where_nodes_start_on_demand(hub, monkeypatch, nodes):
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    monkeypatch.setattr(module, "NODE_S", 0.1)
    hub.status = status(*nodes)
    start(hub).close()
    assert hub.sessions == 1


@pytest.mark.parametrize("value", [[], {"value": {"ready": True}}, {"value": {"nodes": [1]}}, None, "busy"])
def test_session_is_requested_without_a_readable_status(hub, value):
    hub.status = value
    assert parse_status(value) is None
    start(hub).close()
    hub.answers = [(500, failure("session not created", "no"))]
    with pytest.raises(BrowserError, match=r"offers:\n  unknown \(the Grid does not report its status\)"):
        start(hub)


def test_request_is_repeated_after_a_lost_node(hub, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    gone = failure(
        "session not created", "Could not start a new session. java.net.ConnectException \nHost info"
    )
    hub.answers = [(500, gone), (500, gone), (200, session())]
    start(hub).close()
    assert hub.sessions == 3
    monkeypatch.setattr(module, "CREATE_S", 0.5)
    hub.answers = [(500, gone)]
    with pytest.raises(BrowserError, match="ConnectException"):
        start(hub)
    assert hub.sessions > 4


def test_other_failures_are_not_retried(hub):
    hub.answers = [(500, failure("session not created", "unrecognized chrome option: nonsense"))]
    with pytest.raises(BrowserError, match="unrecognized chrome option"):
        start(hub)
    assert hub.sessions == 1


def test_unreachable_grid_is_reported(hub):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        BrowserError, match=rf"http://127\.0\.0\.1:{port} did not start .* there was no response \("
    ):
        launch("chrome", LaunchOptions(remote=parse_remote(f"http://me:key@127.0.0.1:{port}")))


def test_session_ended_by_the_grid_is_reported_with_its_reason(hub, monkeypatch):
    browser = start(hub)
    hub.handles = (404, {"error": "invalid session id", "message": "Unable to find session with ID: ours"})
    assert browser.alive()  # the last check is too recent for another
    assert "Unable to find session" in browser.trouble()
    assert not browser.alive()
    assert browser.ended.startswith("its session ended: Unable to find session with ID: ours")
    browser.close()


def test_session_is_checked_periodically(hub, monkeypatch):
    monkeypatch.setattr(module, "ALIVE_S", 0.0)
    browser = start(hub)
    assert browser.alive()
    hub.handles = (404, {"error": "invalid session id", "message": "gone"})
    assert not browser.alive()
    browser.close()


def test_unsupported_command_is_not_a_lost_session(hub):
    browser = start(hub)
    assert browser.trouble() is None
    browser.close()
    assert not browser.alive()


def test_session_of_a_silent_page_is_checked_at_most_once_an_interval(hub, monkeypatch):
    browser = start(hub)
    assert browser.trouble() is None
    hub.handles = (404, {"error": "invalid session id", "message": "gone"})
    assert browser.trouble() is None
    monkeypatch.setattr(module, "TROUBLE_S", 0.0)
    assert "gone" in browser.trouble()
    browser.close()


def test_closing_does_not_wait_for_a_hanging_service(hub, monkeypatch):
    monkeypatch.setattr(module, "QUIT_S", 0.2)
    browser = start(hub)
    going = threading.Event()
    hub.answer = lambda *_: (going.wait(30), {})
    began = time.monotonic()
    browser.close()
    assert time.monotonic() - began < 10
    going.set()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_session_created_after_ctrl_c_is_ended(hub):
    hub.wait = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        start(hub)
    assert hub.deleted.wait(30)


def test_empty_grid_has_a_valid_status(hub):
    assert parse_status(status()) == GridStatus(())
    assert str(GridStatus(())) == "  no node"
    assert not GridStatus(()).has("chrome")
    assert grid_status(parse_remote(hub.url)).has("CHROME")
