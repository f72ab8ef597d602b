from __future__ import annotations

import contextlib
import inspect
import json

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as open_socket

from pytest_tfjs.browsers.jobs import Activations, Job, Tap
from pytest_tfjs.browsers.messages import ProtocolError
from pytest_tfjs.browsers.serving.page_channel import PageChannel
from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.serving.uploads import MESSAGE_LIMIT
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.formats.safetensors import encode
from tests.support.raw_http import Raw, frame

FEED = {"x": np.zeros(1, np.float32)}
LIMIT = 4 << 20
# The client of websockets 15 and later uses the proxy of the environment.
NO_PROXY = {"proxy": None} if "proxy" in inspect.signature(open_socket).parameters else {}


@pytest.fixture(scope="module")
def server():
    with Server(Dist.shipped()) as server:
        yield server


@pytest.fixture
def channel(server, tmp_path):
    """A page with a job of two chunks, `a` and `b`."""
    channel = server.open_page({})
    taps = ((Tap("a", {"node": "a"}),), (Tap("b", {"node": "b"}),))
    channel.assign(Job(tmp_path / "model.json", "graph", (FEED,), taps, chunk_limit=LIMIT), "http://model")
    yield channel
    server.close_page(channel)


class Client:
    """The page's end of the socket."""

    def __init__(self, socket):
        self.socket = socket

    def announce(self, size, *, job=1, chunk=0, feed=0):
        self.socket.send(json.dumps({"job": job, "chunk": chunk, "feed": feed, "bytes": size}))

    def send(self, body, *, chunk=0, piece=1 << 20):
        self.announce(len(body), chunk=chunk)
        for at in range(0, len(body), piece):
            self.socket.send(body[at : at + piece])

    def answer(self):
        return self.socket.recv(timeout=30)

    def refused(self):
        """The server's close code and reason."""
        with pytest.raises(ConnectionClosed) as closed:
            self.answer()
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.fixture
def connect(server, channel):
    with contextlib.ExitStack() as stack:

        def connect(page=None, *, path=None, origin="ours", host=None):
            base = server.url.replace("http://", "ws://")
            authority = base.split("/")[2]
            url = f"{base}{f'/uploads/{channel.page if page is None else page}' if path is None else path}"
            headers = {} if host is None else {"Host": host}
            given = f"http://{authority}" if origin == "ours" else origin
            socket = open_socket(
                url,
                origin=given,
                additional_headers=headers,
                compression=None,
                max_size=None,
                **NO_PROXY,
            )
            return Client(stack.enter_context(socket))

        yield connect


def tensors(name="a", size=3):
    return encode({name: np.arange(size, dtype=np.float32)})


def received(channel):
    message = channel.next_message(30)
    assert isinstance(message, Activations)
    return {name: value.tolist() for name, value in message.tensors.items()}


@pytest.mark.parametrize(
    "how",
    [
        {"origin": None},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"path": "/uploads/none"},
        {"path": "/api/none/events"},
        {"path": "x/uploads/none"},
    ],
)
def test_only_the_harness_page_can_open_a_socket(connect, how):
    with pytest.raises(InvalidStatus) as refused:
        connect(**how)
    assert refused.value.response.status_code == 403


def test_stale_page_cannot_open_a_socket(server, connect):
    channel = server.open_page({})
    server.close_page(channel)
    with pytest.raises(InvalidStatus):
        connect(channel.page)


def test_activations_arrive_in_one_message(connect, channel):
    client = connect()
    client.send(tensors())
    assert client.answer() == "ok"
    assert received(channel) == {"a": [0, 1, 2]}


@pytest.mark.parametrize("piece", [7, 9_973, 1 << 20])
def test_activations_arrive_in_any_number_of_messages(connect, channel, piece):
    client = connect()
    client.send(tensors(size=10_001), piece=piece)
    assert client.answer() == "ok"
    assert received(channel) == {"a": list(range(10_001))}


def test_received_arrays_are_writable(connect, channel):
    client = connect()
    client.send(tensors())
    message = channel.next_message(30)
    message.tensors["a"][0] = 5
    assert message.tensors["a"].tolist() == [5, 1, 2]


def test_next_chunk_waits_until_the_previous_is_consumed(connect, channel):
    client = connect()
    client.send(tensors("a"), chunk=0)
    client.send(tensors("b"), chunk=1)
    assert client.answer() == "ok"
    with pytest.raises(TimeoutError):
        client.socket.recv(timeout=0.3)
    assert received(channel) == {"a": [0, 1, 2]}
    assert client.answer() == "ok"
    assert received(channel) == {"b": [0, 1, 2]}


def test_chunk_over_the_job_limit_is_rejected_before_it_is_sent(connect):
    client = connect()
    client.announce(LIMIT + 1)
    assert client.refused() == (1009, f"the page announced {LIMIT + 1} bytes; the limit is {LIMIT}")


def test_more_bytes_than_announced_are_rejected(connect):
    client = connect()
    client.announce(8)
    client.socket.send(bytes(9))
    assert client.refused() == (1009, "the page sent more bytes than it announced")


def test_oversized_message_is_rejected_by_its_header(server, channel):
    with Raw(server.url) as client:
        assert client.open_socket(channel.page).status == 101
        client.send(frame(2, length=MESSAGE_LIMIT + 1))
        assert client.rest(wait=5)[2:4] == (1009).to_bytes(2, "big")


@pytest.mark.parametrize(
    "announcement",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"job": 1, "chunk": 0, "feed": 0, "bytes": -1}',
        '{"job": 1, "chunk": 0, "feed": 0, "bytes": 1.5}',
        b"not announced",
    ],
)
def test_malformed_announcement_is_rejected(connect, announcement):
    client = connect()
    client.socket.send(announcement)
    assert client.refused()[0] == 1002


def test_text_instead_of_announced_bytes_is_rejected(connect):
    client = connect()
    client.announce(8)
    client.announce(8)
    assert client.refused()[0] == 1002


@pytest.mark.parametrize("wrong", [{"chunk": 1}, {"feed": 1}])
def test_chunk_out_of_order_is_rejected(connect, wrong):
    client = connect()
    client.announce(len(tensors()), **wrong)
    client.socket.send(tensors())
    code, reason = client.refused()
    assert code == 1002
    assert reason.startswith("the page sent (chunk, feed)")


def test_activations_of_another_job_are_rejected(connect):
    client = connect()
    client.announce(len(tensors()), job=2)
    assert client.refused() == (1008, "job 2 is not the current one")


def test_activations_of_an_abandoned_job_are_rejected(server, connect, channel):
    client = connect()
    client.announce(len(tensors()))
    client.socket.send(tensors()[:8])
    assert client.socket.ping().wait(30)
    server.close_page(channel)
    with contextlib.suppress(ConnectionClosed):  # the server may have closed it by now
        client.socket.send(tensors()[8:])
    code, reason = client.refused()
    assert code == 1008
    assert reason.startswith("this page is no longer in use")


@pytest.mark.parametrize("body", [tensors("b"), b"no tensors", tensors()[:-1]])
def test_chunk_with_wrong_contents_is_rejected(connect, channel, body):
    client = connect()
    client.send(body)
    assert client.refused()[0] == 1002
    assert channel.next_message(0) is None


def renamed(body, name):
    """The tensors with `NAME` replaced in the header."""
    start = 8 + int.from_bytes(body[:8], "little")
    header = body[8:start].replace(b'"NAME"', b'"%s"' % name)
    return len(header).to_bytes(8, "little") + header + body[start:]


def test_undecodable_name_is_rejected_with_a_reason(connect, channel):
    client = connect()
    client.send(renamed(tensors("NAME"), rb"\ud800"))
    code, reason = client.refused()
    assert code == 1002
    assert "is not valid Unicode" in reason
    assert channel.next_message(0) is None


def test_undecodable_close_reason_is_escaped(connect, monkeypatch):
    def refuse(*_):
        raise ProtocolError("the layer '\ud800' came")

    monkeypatch.setattr(PageChannel, "deliver", refuse)
    client = connect()
    client.send(tensors())
    assert client.refused() == (1002, "the layer '\\ud800' came")


def test_server_error_is_sent_to_the_page(connect, monkeypatch):
    def fail(*_):
        raise MemoryError("Unable to allocate 745. GiB")

    monkeypatch.setattr(PageChannel, "deliver", fail)
    client = connect()
    client.send(tensors())
    reason = "internal error of the server: MemoryError('Unable to allocate 745. GiB')"
    assert client.refused() == (1011, reason)


def test_connection_lost_within_a_chunk_delivers_nothing(connect, channel):
    client = connect()
    client.announce(len(tensors()))
    client.socket.send(tensors()[:-4])
    client.socket.close()
    again = connect()
    again.send(tensors())
    assert again.answer() == "ok"
    assert received(channel) == {"a": [0, 1, 2]}


def test_server_stops_with_an_open_socket(tmp_path):
    with Server(Dist.shipped()) as server:
        channel = server.open_page({})
        base = server.url.replace("http://", "ws://")
        origin = "http://" + base.split("/")[2]
        socket = open_socket(f"{base}/uploads/{channel.page}", origin=origin, compression=None, **NO_PROXY)
    with socket, pytest.raises(ConnectionClosed):
        socket.recv(timeout=30)
