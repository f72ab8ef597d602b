"""Limits of a connection: sizes, times and counts."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time

import pytest

from pytest_tfjs.browsers.messages import ConsoleLine, Progress, ProtocolError
from pytest_tfjs.browsers.serving import connection_limits, page_channel
from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.tfjs_dist import Dist
from tests.support.paths import ROOT
from tests.support.raw_http import Raw, frame

SOON_S = 0.3
PONG = bytes([0x8A, 100]) + b"p" * 100


@pytest.fixture(scope="module")
def server():
    with Server(Dist.shipped()) as server:
        yield server


@pytest.fixture
def client(server):
    with Raw(server.url) as client:
        yield client


@pytest.fixture
def impatient(monkeypatch):
    """Sets the server's time limits to nearly 0."""
    for name in ("HEAD_S", "BODY_S", "STALL_S", "LINGER_S"):
        monkeypatch.setattr(connection_limits, name, SOON_S)


def ended(client) -> bool:
    """Whether the server closes the connection without a response."""
    return client.rest() == b""


def assert_serves(server):
    with Raw(server.url) as client:
        client.send(client.head("/page/index.html"))
        assert client.answer().status == 200


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding : chunked"],
        ["Content-Length: +5"],
        ["Content-Length: 5, 5"],
        ["Content-Length: 99999999999999999999"],
        ["Content-Length: 5\r\n folded: 1"],
        ["X: a\x00b"],
    ],
)
def test_ambiguous_request_is_rejected(client, channel, headers):
    client.send(client.head(f"/api/{channel.page}/beat", *headers, method="POST") + b"hello")
    answer = client.answer()
    assert answer.status == 400
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["connection"] == "close"
    assert client.rest() == b""


def test_request_is_not_smuggled_behind_a_body(client, channel):
    inner = client.head("/page/index.html")
    head = client.head(f"/api/{channel.page}/beat", f"Content-Length: {len(inner)}", method="POST")
    client.send(head + inner)
    assert client.answer("POST").status == 400
    client.send(client.head(f"/api/{channel.page}/setup", "Connection: close"))
    assert client.rest().count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/" + "a" * connection_limits.FIELD_LIMIT, []),
        ("/", [f"X: {'a' * connection_limits.FIELD_LIMIT}"]),
        ("/", [f"X{number}: {'a' * 7000}" for number in range(5)]),
        ("/", [f"X{number}: 1" for number in range(connection_limits.FIELDS)]),
    ],
)
def test_oversized_head_is_rejected(client, path, headers):
    client.send(client.head(path, *headers))
    assert client.answer().status == 400


@pytest.mark.parametrize("beginning", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX"])
def test_endless_head_uses_bounded_memory(client, beginning):
    client.send(beginning)
    for _ in range(64):
        client.send(b"a" * 4096)
    assert b" 400 " in client.rest()[:20]


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT", b"GET / HTTP/1.1\r\nHo"])
def test_slow_request_head_is_disconnected(impatient, server, sent):
    with Raw(server.url) as client:
        client.send(sent)
        assert ended(client)


def test_blank_lines_do_not_keep_a_connection_open(impatient, client):
    client.send(client.head("/page/index.html"))
    assert client.answer().status == 200
    started = time.monotonic()
    while not cut_off(client) and time.monotonic() - started < 15:
        client.send(b"\r\n")
    assert time.monotonic() - started < 15


def cut_off(client) -> bool:
    """Whether the connection ends within a moment."""
    client.socket.settimeout(0.05)
    try:
        return client.socket.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_slow_request_body_is_disconnected(impatient, client, channel):
    client.send(client.head(f"/api/{channel.page}/events", "Content-Length: 100", method="POST") + b"{")
    assert ended(client)


def test_rest_of_a_rejected_body_is_drained_briefly(monkeypatch, client, channel):
    monkeypatch.setattr(connection_limits, "LINGER_S", SOON_S)
    client.send(client.head(f"/api/{channel.page}/events", "Content-Length: 99999999", method="POST"))
    assert client.answer("POST").status == 413
    assert cut_off_soon(client)


def test_chunked_body_is_not_read_forever(monkeypatch, client, channel):
    monkeypatch.setattr(connection_limits, "LINGER_S", SOON_S)
    client.send(client.head(f"/api/{channel.page}/events", "Transfer-Encoding: chunked", method="POST"))
    assert client.answer("POST").status == 411
    assert cut_off_soon(client)


def cut_off_soon(client) -> bool:
    started = time.monotonic()
    while time.monotonic() - started < 15:
        client.send(b"1\r\na\r\n")
        if cut_off(client):
            return True
    return False


def test_client_that_does_not_read_is_disconnected(impatient, server, channel, tmp_path):
    (tmp_path / "shard.bin").write_bytes(bytes(32 << 20))
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": [{"paths": ["shard.bin"]}]}))
    path = server.publish(tmp_path / "model.json").removeprefix(server.url).replace("model.json", "shard.bin")
    with Raw(server.url) as client:
        client.send(client.head(path))
        assert client.socket.recv(1)
        wait_until(lambda: not open_connections(server))
        assert len(client.rest()) < 32 << 20


def test_socket_reading_pauses_while_pongs_are_unread(server, channel):
    with Raw(server.url, patience=2) as client:
        assert client.open_socket(channel.page).status == 101
        (connection,) = server._connections.open
        waiting = []
        with contextlib.suppress(TimeoutError):
            for _ in range(400):
                client.socket.sendall(frame(9, b"p" * 100) * 1000)
                waiting.append(connection.transport.get_write_buffer_size())
        waiting.append(connection.transport.get_write_buffer_size())
        assert 0 < max(waiting) < 2 << 20


def test_socket_reading_resumes_once_pongs_are_read(server, channel):
    with Raw(server.url) as client:
        assert client.open_socket(channel.page).status == 101
        (connection,) = server._connections.open
        client.socket.setblocking(False)
        ping, sent = frame(9, b"p" * 100), 0
        while not connection.transport.get_write_buffer_size():
            with contextlib.suppress(BlockingIOError):
                sent += client.socket.send((ping * 1000)[sent % len(ping) :])
        client.socket.settimeout(20)
        unread = sent // len(ping) * len(PONG)
        while unread:
            unread -= len(client.socket.recv(min(unread, 1 << 16)))


def test_socket_with_unread_pongs_is_disconnected(impatient, server, channel):
    with Raw(server.url) as client:
        assert client.open_socket(channel.page).status == 101
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        pings = frame(9, b"p" * 100) * 1000
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 100 << 20:
                sent += client.socket.send(pings)
        assert sent < 100 << 20


def open_connections(server) -> int:
    return len(server._connections.open)


def wait_until(true, limit=20):
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < limit
        time.sleep(0.01)


def test_number_of_connections_is_limited(server, monkeypatch):
    wait_until(lambda: not open_connections(server))
    monkeypatch.setattr(connection_limits, "CONNECTIONS", 3)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(Raw(server.url))
            client.send(client.head("/page/index.html"))
            assert client.answer().status == 200
        with Raw(server.url) as fourth:
            fourth.send(fourth.head("/page/index.html"))
            assert ended(fourth)
    wait_until(lambda: not open_connections(server))
    assert_serves(server)


def test_number_of_concurrent_requests_is_limited(client, channel):
    client.send(client.head(f"/api/{channel.page}/setup") * 1000)
    assert 0 < client.rest().count(b"HTTP/1.1 ") < 1000


def test_head_request_does_not_consume_a_job(client, channel):
    client.send(client.head(f"/api/{channel.page}/job", method="HEAD"))
    assert client.answer("HEAD").status == 405


def test_range_requests_are_ignored(client):
    ranges = ",".join(f"{place}-{place}" for place in range(0, 400, 2))
    client.send(client.head("/page/index.html", f"Range: bytes={ranges}"))
    assert client.answer().status == 200


@pytest.mark.parametrize(
    "headers", [["Sec-WebSocket-Version: 12"], ["Sec-WebSocket-Key: x"], ["Origin: null"]]
)
def test_rejected_socket_has_the_security_headers(client, channel, headers):
    answer = client.open_socket(channel.page, *headers)
    assert 400 <= answer.status < 500
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"


def closing(client) -> bytes:
    """The server's close reason of a WebSocket."""
    reason = client.socket.recv(4096)
    client.send(frame(8, reason[2:4]))
    assert ended(client)
    return reason


def test_socket_closes_with_its_page(server):
    channel = server.open_page({})
    with Raw(server.url) as client:
        assert client.open_socket(channel.page).status == 101
        server.close_page(channel)
        assert b"no longer in use" in closing(client)


def test_page_has_one_socket(server, channel):
    with Raw(server.url) as former, Raw(server.url) as client:
        assert former.open_socket(channel.page).status == 101
        assert client.open_socket(channel.page).status == 101
        assert b"another connection" in closing(former)
        client.send(frame(9, b"still here"))
        assert client.socket.recv(64).endswith(b"still here")


def test_endless_fragments_are_rejected(server, channel):
    with Raw(server.url) as client:
        assert client.open_socket(channel.page).status == 101
        client.send(frame(2, b"", first=0) + frame(0, b"", first=0) * (connection_limits.FRAGMENTS + 10))
        assert b"too many fragments" in closing(client)


def test_only_public_modules_of_uvicorn_and_websockets_are_imported():
    """Their protocol classes change from release to release; the package sets no upper bound for either."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "pytest_tfjs").rglob("*.py")]
    names = re.findall(
        r"^\s*(?:from|import) ((?:uvicorn|websockets)\b[\w.]*)", "\n".join(sources), re.MULTILINE
    )
    assert set(names) == {"uvicorn"}


def test_unread_messages_are_bounded(server, channel):
    for number in range(page_channel.PENDING + 10):
        channel.add_events(number, [{"type": "console", "level": "log", "arguments": [str(number)]}])
    messages = [channel.next_message(0) for _ in range(page_channel.PENDING)]
    assert channel.next_message(0) is None
    assert messages[0] == ConsoleLine("log", ("10",))
    assert messages[-1] == ConsoleLine("log", (str(page_channel.PENDING + 9),))


def test_bounded_mailbox_keeps_job_messages(server, channel):
    channel.add_events(0, [{"type": "failed", "reason": "lost"}] * page_channel.PENDING)
    with pytest.raises(ProtocolError, match=r"has not read .* messages that the page sent earlier"):
        channel.add_events(page_channel.PENDING, [{"type": "progress", "stage": "x"}])
    assert channel.next_message(0).reason == "lost"


def test_long_texts_are_truncated(server, channel):
    channel.add_events(0, [{"type": "progress", "stage": "x" * 100_000}])
    assert channel.next_message(0) == Progress("x" * 20_000)
    channel.add_events(1, [{"type": "console", "level": "log", "arguments": ["x" * 15_000] * 3}])
    assert [len(argument) for argument in channel.next_message(0).arguments] == [15_000, 5_000, 0]
