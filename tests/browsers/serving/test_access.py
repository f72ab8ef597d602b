"""The server at other addresses and behind a proxy: which hosts and origins are accepted."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pytest

from pytest_tfjs.browsers import watchdog
from pytest_tfjs.browsers.harness import Harness
from pytest_tfjs.browsers.jobs import Tap
from pytest_tfjs.browsers.launching.local import LocalBrowser
from pytest_tfjs.browsers.serving import access as module
from pytest_tfjs.browsers.serving.access import Address
from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.errors import BrowserError, BrowserLostError, TargetUnavailableError
from pytest_tfjs.settings.addresses import (
    Bind,
    RemoteUrl,
    local_address_towards,
    parse_bind,
    parse_public_url,
)
from tests.support.page_jobs import open_page, tap
from tests.support.tiny_graphs import dense_graph
from tests.support.tiny_models import RELU, X


def serving(bind, public=None, remote=None):
    address = Address(parse_bind(bind), public and parse_public_url(public), remote)
    return Server(Dist.shipped(), address=address)


def answer(server, *, host=None, path="/page/index.html", method="GET", to=None, **headers):
    """The status of a request to the bound port with any Host header."""
    listening = server._socket.getsockname()
    own = urlsplit(server.url)
    connection = http.client.HTTPConnection(to or listening[0], listening[1], timeout=30)
    try:
        sent = {"Host": own.netloc if host is None else host, **headers}
        body = b'{"first": 0, "events": []}' if method == "POST" else None
        connection.request(method, own.path + path if path.startswith("/page") else path, body, sent)
        return connection.getresponse().status
    finally:
        connection.close()


def posted(server, origin):
    channel = server.open_page({})
    token = server.url.rpartition("/")[2]
    try:
        return answer(server, method="POST", path=f"/{token}/api/{channel.page}/events", Origin=origin)
    finally:
        server.close_page(channel)


def policy(server):
    listening = server._socket.getsockname()
    connection = http.client.HTTPConnection(listening[0], listening[1], timeout=30)
    connection.request("GET", "/", headers={"Host": "none"})
    policy = connection.getresponse().headers["Content-Security-Policy"]
    connection.close()
    return next(part.split()[1:] for part in policy.split("; ") if part.startswith("connect-src"))


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "localhost"])
def test_server_binds_the_given_address(host):
    with serving(f"[{host}]:0" if ":" in host else host) as server:
        bound, port = server._socket.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        assert server.access.origin == f"http://{name}:{port}"
        assert urlsplit(server.url).hostname == host
        assert answer(server) == 200
        assert answer(server, host=f"[{bound}]:{port}" if ":" in bound else f"{bound}:{port}") == 200
        for wrong in ("evil.example", f"evil.example:{port}", name, f"{name}:1", f"127.0.0.3:{port}"):
            assert answer(server, host=wrong) == 421
        assert posted(server, f"http://{name}:{port}") == 204
        for wrong in (f"https://{name}:{port}", f"http://{name}", f"http://evil.example:{port}", "null"):
            assert posted(server, wrong) == 403
        if bound != "127.0.0.1":
            with pytest.raises(OSError, match=r"."):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_named_port_is_bound_and_can_be_reused():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        with pytest.raises(BrowserError, match=rf"the server cannot listen on 127\.0\.0\.1:{port}: .*in use"):
            serving(f"127.0.0.1:{port}").start()
    for _ in range(2):
        with serving(f"127.0.0.1:{port}") as server:
            assert server.access.origin == f"http://127.0.0.1:{port}"
            assert answer(server) == 200


@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
def test_server_on_all_addresses_accepts_only_its_own_host(bind):
    with serving(bind) as server:
        port = server._socket.getsockname()[1]
        assert server.access.origin == f"http://127.0.0.1:{port}"
        for own in ("127.0.0.1", "127.0.0.2"):
            assert answer(server, to=own, host=f"{own}:{port}") == 200
        assert answer(server, to="127.0.0.2", host="localhost:1") == 421
        # Names are rejected: another site's DNS may point here.
        for wrong in (f"evil.example:{port}", f"127.0.0.3:{port}", f"0.0.0.0:{port}", "127.0.0.2"):
            assert answer(server, to="127.0.0.2", host=wrong) == 421


@pytest.mark.parametrize(
    ("bind", "probed"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1")]
)
def test_wildcard_address_is_replaced_by_loopback_in_the_url(monkeypatch, bind, probed):
    def connect(address, timeout):
        if address[0] in ("0.0.0.0", "::"):
            raise OSError(10049, "the address is not valid in its context")  # as Windows does
        tried.append(address[0])
        return original(address, timeout)

    tried, original = [], socket.create_connection
    with serving(f"[{bind}]:0" if ":" in bind else bind) as server:
        monkeypatch.setattr(socket, "create_connection", connect)
        assert server.trouble() is None
        assert tried == [probed]


def test_grid_gets_the_address_that_routes_to_it(monkeypatch):
    ways = {"grid": "10.0.0.7", "here": "127.0.0.1", module._ELSEWHERE[0]: "10.0.0.8"}
    monkeypatch.setattr(module, "local_address_towards", lambda host, _port, _family: ways.get(host))

    def reached(host):
        return Address(Bind("0.0.0.0"), None, RemoteUrl(f"http://{host}:4444")).reached_host()

    assert reached("grid") == "10.0.0.7"
    assert reached("here") == "10.0.0.8"  # the Grid may be in a container
    with pytest.raises(BrowserError, match=r"cannot determine the address .*--tfjs-public-url, for example"):
        reached("nowhere")
    del ways[module._ELSEWHERE[0]]
    assert reached("here") == "127.0.0.1"


def test_unknown_local_address_leaves_no_socket_open(monkeypatch):
    server = serving("0.0.0.0", remote=RemoteUrl("http://no.such.host.invalid:4444"))
    with pytest.raises(BrowserError, match="cannot determine the address"):
        server.start()
    assert server._socket is None


@pytest.mark.parametrize(
    ("public", "hosts", "origin", "others"),
    [
        (
            "https://ci.example/tfjs",
            ["ci.example", "CI.example", "ci.example:443"],
            "https://ci.example",
            [
                "http://ci.example",
                "https://ci.example.evil",
                "https://evil.ci.example",
                "https://ci.example:444",
            ],
        ),
        (
            "http://ci.example:8080",
            ["ci.example:8080", "ci.example"],
            "http://ci.example:8080",
            ["http://ci.example"],
        ),
        ("https://[::1]:8443", ["[::1]", "[::1]:8443"], "https://[::1]:8443", ["https://[::1]"]),
        ("http://[::1]:80", ["[::1]", "[::1]:80"], "http://[::1]", ["https://[::1]"]),
    ],
)
def test_public_and_bound_addresses_are_both_accepted(public, hosts, origin, others):
    with serving("127.0.0.2", public) as server:
        port = server._socket.getsockname()[1]
        assert server.url.startswith(f"{public}/")
        assert server.access.origin == origin
        for host in [*hosts, f"127.0.0.2:{port}"]:
            assert answer(server, host=host) == 200
        for host in ("evil.example", "ci.example:1", "127.0.0.2", "xci.example", ""):
            assert answer(server, host=host) == 421
        for own in (origin, f"http://127.0.0.2:{port}"):
            assert posted(server, own) == 204
        for other in [*others, f"https://127.0.0.2:{port}", "null"]:
            assert posted(server, other) == 403


def test_proxy_may_keep_or_strip_the_prefix():
    with serving("127.0.0.1", "https://ci.example/a/tfjs") as server:
        token = server.url.rpartition("/")[2]
        assert server.url == f"https://ci.example/a/tfjs/{token}"
        assert answer(server, path=f"/a/tfjs/{token}/page/index.html") == 200
        assert answer(server, path=f"/{token}/page/index.html") == 200
        for wrong in (
            "/a/tfjs",
            "/a/tfjs/",
            f"/a/tfjs{token}/page/index.html",
            "/a/tfjs/wrong/page/index.html",
        ):
            assert answer(server, path=wrong) == 404
        assert answer(server, path=f"/a/tfjs/a/tfjs/{token}/page/index.html") == 404


def test_csp_allows_sockets_only_to_the_serving_address():
    with serving("127.0.0.1") as server:
        port = server._socket.getsockname()[1]
        assert policy(server) == ["'self'", f"ws://127.0.0.1:{port}"]
    with serving("127.0.0.1", "https://ci.example/tfjs") as server:
        port = server._socket.getsockname()[1]
        assert policy(server) == ["'self'", f"ws://127.0.0.1:{port}", "wss://ci.example:443"]
    with serving("::1") as server:
        assert policy(server) == ["'self'"]


def test_bound_port_is_put_into_the_public_address():
    with serving("127.0.0.1", "http://ci.example:{port}/x") as server:
        port = server._socket.getsockname()[1]
        assert server.access.base == f"http://ci.example:{port}/x"
        assert answer(server, host=f"ci.example:{port}") == 200


@pytest.mark.parametrize(
    ("bind", "public", "secure"),
    [
        ("127.0.0.2", None, True),
        ("::1", None, True),
        ("localhost", None, True),
        ("127.0.0.1", "http://ci.example", False),
        ("127.0.0.1", "https://ci.example", True),
        ("127.0.0.1", "http://127.0.0.1:8000", True),
    ],
)
def test_secure_context_is_recognised(bind, public, secure):
    with serving(bind, public) as server:
        assert server.access.is_secure is secure


@pytest.mark.browser
@pytest.mark.parametrize("bind", ["[::1]", "127.0.0.2", "0.0.0.0"])
def test_page_runs_jobs_at_every_server_address(bind, tmp_path):
    address = Address(parse_bind(bind))
    with contextlib.closing(Harness(dist=Dist.shipped(), address=address)) as harness:
        page = open_page(harness)
        activations = tap(page, dense_graph(tmp_path), "graph", {"x": X}, Tap("relu", {"node": "relu:0"}))
    np.testing.assert_allclose(activations["relu"], RELU)


@pytest.mark.browser
def test_missing_page_error_names_the_url(monkeypatch):
    """The driver responds slowly, as a remote one may."""
    monkeypatch.setattr(watchdog, "FIRST_SIGN_S", 4.0)
    monkeypatch.setattr(LocalBrowser, "trouble", lambda _: threading.Event().wait(1.5) or None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        public = parse_public_url(f"http://127.0.0.1:{silent.getsockname()[1]}/there")
        address = Address(Bind(), public)
        harness = Harness(dist=Dist.shipped(), address=address)
        with contextlib.closing(harness), pytest.raises(BrowserLostError) as caught:
            open_page(harness)
    assert f"; the browser may not be able to reach {public} (set --tfjs-bind and --tfjs-public-url)" in str(
        caught.value
    )


class OtherHost(BaseHTTPRequestHandler):
    """A proxy that forwards another host than the browser's."""

    def do_GET(self):
        behind = http.client.HTTPConnection(*self.server.behind(), timeout=30)
        behind.request("GET", self.path, headers={"Host": "inner.example"})
        answer = behind.getresponse()
        self.send_response(answer.status)
        self.end_headers()
        self.wfile.write(answer.read())
        behind.close()

    def log_message(self, *_):
        pass


@pytest.mark.browser
def test_wrong_proxy_host_error_lists_rejected_requests(monkeypatch):
    monkeypatch.setattr(watchdog, "FIRST_SIGN_S", 4.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherHost) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        public = parse_public_url(f"http://127.0.0.1:{proxy.server_port}/there")
        harness = Harness(dist=Dist.shipped(), address=Address(Bind(), public))
        proxy.behind = harness.server._socket.getsockname
        with contextlib.closing(harness), pytest.raises(BrowserLostError) as caught:
            open_page(harness)
        proxy.shutdown()
    refused = "; the server refused the requests GET /page/index.html: 421 (Host: inner.example)"
    assert refused in str(caught.value)


@pytest.mark.browser
@pytest.mark.parametrize(("backend", "what"), [("wasm:threads", "shared memory"), ("webgpu", "WebGPU")])
def test_insecure_origin_is_reported(monkeypatch, backend, what):
    """Simulates a browser that cannot be configured to trust the server's origin."""
    host = local_address_towards(*module._ELSEWHERE)
    if host is None:
        pytest.skip("this machine has no address besides loopback")
    address = Address(Bind(host))
    with contextlib.closing(Harness(dist=Dist.shipped(), address=address)) as harness:
        assert open_page(harness, backend).healthy
    monkeypatch.setattr(module.Access, "is_secure", True)
    with contextlib.closing(Harness(dist=Dist.shipped(), address=address)) as harness:
        message = rf"{what} needs a secure context, .* Serve the page by https \(--tfjs-public-url"
        with pytest.raises(TargetUnavailableError, match=message):
            open_page(harness, backend)
