from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
from urllib.parse import urlsplit

import numpy as np
import pytest

from pytest_tfjs.browsers.dist import Dist
from pytest_tfjs.browsers.jobs import Activations, Job, Tap
from pytest_tfjs.browsers.server import Server
from pytest_tfjs.browsers.wire import encode

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
FEED = {"x": np.zeros(1, np.float32)}


@pytest.fixture(scope="module")
def server():
    with Server(Dist.shipped()) as server:
        yield server


@pytest.fixture
def exchange(server, tmp_path):
    """A page with a job of two chunks, `a` and `b`, and a limit of 4 MB."""
    exchange = server.open_page({})
    taps = ((Tap("a", {"node": "a"}),), (Tap("b", {"node": "b"}),))
    exchange.assign(Job(tmp_path / "model.json", "graph", (FEED,), taps, chunk_limit=4 << 20), "http://model")
    yield exchange
    server.close_page(exchange)


class Client:
    """A WebSocket as no browser has it: it sends what it is told."""

    def __init__(self, server, page, *, origin=True, path=None, key=b"dGhlIHNhbXBsZSBub25jZQ==", host=None):
        parts = urlsplit(server.url)
        self.connection = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self.stream = self.connection.makefile("rb")
        lines = [
            f"GET {parts.path}{f'/uploads/{page}' if path is None else path} HTTP/1.1",
            f"Host: {parts.netloc if host is None else host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            *(
                [f"Origin: http://{parts.netloc}"]
                if origin is True
                else [f"Origin: {origin}"]
                if origin
                else []
            ),
            *([f"Sec-WebSocket-Key: {key.decode()}"] if key else []),
        ]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head = list(iter(lambda: self.stream.readline().strip(), b""))
        self.status = int(head[0].split()[1])
        self.headers = dict(line.split(b": ", 1) for line in head[1:])

    def frame(self, opcode, payload=b"", *, final=True, mask=b"\x12\x34\xab\xcd", reserved=0):
        """One frame, as bytes."""
        length = len(payload)
        size = (
            bytes([length | (0x80 if mask else 0)])
            if length < 126
            else struct.pack(">BH", 126 | 0x80, length)
            if length < 65536
            else struct.pack(">BQ", 127 | 0x80, length)
        )
        key = (mask * (length // 4 + 1))[:length] if mask else bytes(length)
        masked = (np.frombuffer(payload, np.uint8) ^ np.frombuffer(key, np.uint8)).tobytes()
        return bytes([(0x80 if final else 0) | reserved | opcode]) + size + mask + masked

    def send(self, opcode, payload=b"", **how):
        self.connection.sendall(self.frame(opcode, payload, **how))

    def announce(self, size, *, job=1, chunk=0, feed=0):
        self.send(TEXT, json.dumps({"job": job, "chunk": chunk, "feed": feed, "bytes": size}).encode())

    def receive(self):
        """The next frame of the server: its opcode and payload; None at the end of the connection."""
        head = self.stream.read(2)
        return (head[0] & 0x0F, self.stream.read(head[1])) if len(head) == 2 else None

    def refused(self):
        """The code and the reason with which the server closes."""
        opcode, payload = self.receive()
        assert opcode == CLOSE
        assert self.receive() is None
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def close(self):
        self.stream.close()
        self.connection.close()


@pytest.fixture
def connect(server, exchange):
    with contextlib.ExitStack() as stack:

        def connect(page=None, **how):
            client = Client(server, exchange.page if page is None else page, **how)
            stack.callback(client.close)
            return client

        yield connect


def tensors(name="a", size=3):
    return encode({name: np.arange(size, dtype=np.float32)})


def received(exchange):
    message = exchange.next_message(30)
    assert isinstance(message, Activations)
    return {name: value.tolist() for name, value in message.tensors.items()}


def test_the_handshake_is_that_of_the_standard(connect):
    client = connect()
    assert client.status == 101
    assert client.headers[b"Sec-WebSocket-Accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"origin": None}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example"}, 421),
        ({"path": "/uploads/none"}, 404),
        ({"path": "/api/none/events"}, 404),
        ({"path": "x/uploads/none"}, 404),
        ({"key": None}, 400),
    ],
)
def test_only_our_own_page_can_open_a_socket(connect, how, status):
    client = connect(**how)
    assert client.status == status
    assert client.stream.read() == b""


def test_a_stale_page_cannot_open_a_socket(server, connect):
    exchange = server.open_page({})
    server.close_page(exchange)
    assert connect(exchange.page).status == 404


def test_activations_arrive_in_one_message(connect, exchange):
    client = connect()
    client.announce(len(tensors()))
    client.send(BINARY, tensors())
    assert client.receive() == (TEXT, b"ok")
    assert received(exchange) == {"a": [0, 1, 2]}


def test_activations_arrive_in_any_number_of_messages_fragments_and_segments(connect, exchange):
    client = connect()
    body = tensors(size=100_001)
    client.announce(len(body))
    stream = b"".join(
        [
            client.frame(BINARY, body[:1], mask=os.urandom(4)),
            client.frame(PING, b"between"),
            client.frame(BINARY, body[1:130], final=False, mask=os.urandom(4)),
            client.frame(0, b""),
            client.frame(BINARY, body[130:70_003], final=False),
            client.frame(PING, b"within"),
            client.frame(0, body[70_003:200_002]),
            client.frame(BINARY, body[200_002:]),
        ]
    )
    for at in range(0, len(stream), 9_973):
        client.connection.sendall(stream[at : at + 9_973])
    assert client.receive() == (PONG, b"between")
    assert client.receive() == (PONG, b"within")
    assert client.receive() == (TEXT, b"ok")
    assert received(exchange) == {"a": list(range(100_001))}


def test_headers_may_come_byte_by_byte(connect, exchange):
    client = connect()
    body = tensors(size=40)
    client.announce(len(body))
    for byte in client.frame(BINARY, body):
        client.connection.sendall(bytes([byte]))
    assert client.receive() == (TEXT, b"ok")
    assert received(exchange) == {"a": list(range(40))}


def test_the_arrays_received_can_be_written(connect, exchange):
    client = connect()
    client.announce(len(tensors()))
    client.send(BINARY, tensors())
    message = exchange.next_message(30)
    message.tensors["a"][0] = 5
    assert message.tensors["a"].tolist() == [5, 1, 2]


def test_the_next_chunk_waits_until_the_one_before_was_taken(connect, exchange):
    client = connect()
    for chunk, name in enumerate("ab"):
        client.announce(len(tensors(name)), chunk=chunk)
        client.send(BINARY, tensors(name))
    assert client.receive() == (TEXT, b"ok")
    client.connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.connection.recv(1)
    assert received(exchange) == {"a": [0, 1, 2]}
    client.connection.settimeout(30)
    assert client.connection.recv(4) == b"\x81\x02ok"
    assert received(exchange) == {"b": [0, 1, 2]}


def test_more_than_the_job_allows_is_refused_before_it_is_sent(connect):
    client = connect()
    client.announce((4 << 20) + 1)
    assert client.refused() == (1009, "4194305 bytes, at most 4194304 are accepted")


def test_more_than_was_announced_is_refused(connect):
    client = connect()
    client.announce(8)
    client.send(BINARY, bytes(9))
    assert client.refused() == (1009, "more bytes than were announced")


@pytest.mark.parametrize(
    "announcement",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"job": 1, "chunk": 0, "feed": 0, "bytes": -1}',
        b'{"job": 1, "chunk": 0, "feed": 0, "bytes": 1.5}',
    ],
)
def test_a_malformed_announcement_is_refused(connect, announcement):
    client = connect()
    client.send(TEXT, announcement)
    assert client.refused()[0] == 1002


@pytest.mark.parametrize("wrong", [{"chunk": 1}, {"feed": 1}])
def test_a_chunk_out_of_order_is_refused(connect, wrong):
    client = connect()
    client.announce(len(tensors()), **wrong)
    client.send(BINARY, tensors())
    code, reason = client.refused()
    assert code == 1002
    assert "was expected" in reason


def test_activations_of_another_job_are_refused(connect):
    client = connect()
    client.announce(len(tensors()), job=2)
    assert client.refused() == (1008, "job 2 is not the current one")


def test_activations_of_a_job_given_up_are_refused(server, connect, exchange):
    client = connect()
    client.announce(len(tensors()))
    client.send(BINARY, tensors()[:8])
    client.send(PING)
    assert client.receive() == (PONG, b"")
    server.close_page(exchange)
    client.send(BINARY, tensors()[8:])
    assert client.refused() == (1008, "this page is no longer in use")


@pytest.mark.parametrize("body", [tensors("b"), b"no tensors", tensors()[:-1]])
def test_a_chunk_with_other_contents_is_refused(connect, exchange, body):
    client = connect()
    client.announce(len(body))
    client.send(BINARY, body)
    assert client.refused()[0] == 1002
    assert exchange.next_message(0) is None


@pytest.mark.parametrize(
    "frame",
    [
        {"opcode": BINARY, "payload": b"not announced"},
        {"opcode": TEXT, "payload": b"x", "reserved": 0x40},
        {"opcode": TEXT, "payload": b"x", "mask": b""},
        {"opcode": TEXT, "payload": b"x" * 2000},
        {"opcode": 0x3, "payload": b"x"},
        {"opcode": 0x0, "payload": b"x"},
    ],
)
def test_frames_that_nothing_waits_for_are_refused(connect, frame):
    client = connect()
    client.send(**frame)
    assert client.refused()[0] in {1002, 1009}


def test_a_socket_closed_by_the_page_is_closed_in_turn(connect):
    client = connect()
    client.send(CLOSE, b"\x03\xe8")
    assert client.refused() == (1000, "")


def test_noise_harms_nobody(connect, exchange):
    noise = connect()
    noise.connection.sendall(base64.b64encode(os.urandom(3000)))
    client = connect()
    client.announce(len(tensors()))
    client.send(BINARY, tensors())
    assert client.receive() == (TEXT, b"ok")
    assert received(exchange) == {"a": [0, 1, 2]}


def test_a_connection_lost_within_a_chunk_delivers_nothing(connect, exchange):
    client = connect()
    client.announce(len(tensors()))
    client.send(BINARY, tensors()[:-4])
    client.close()
    again = connect()
    again.announce(len(tensors()))
    again.send(BINARY, tensors())
    assert again.receive() == (TEXT, b"ok")
    assert received(exchange) == {"a": [0, 1, 2]}
    assert exchange.next_message(0) is None
