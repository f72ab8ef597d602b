"""Malformed requests: the server leaks no file, does not crash and does not grow."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pytest_tfjs.formats.safetensors import decode, encode
from tests.support.fuzzed_server import CANARY
from tests.support.hostile_requests import RESULT, frames, request
from tests.support.paths import ROOT
from tests.support.raw_http import Raw, frame
from tests.support.tiny_models import RELU, X

PART = 25
"""Byte strings of one example of Hypothesis, and sockets for each job."""

FULL = 10_000
SIZES = [500, pytest.param(FULL, marks=pytest.mark.slow)]
"""The approximate number of requests."""

FUZZ = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),  # failures depend on all earlier requests
)
WARM_UP = 0.2  # of the requests
GROWTH = 12 << 20


@dataclass
class Target:
    """The server process under attack, and counts of its responses."""

    process: subprocess.Popen[str]
    url: str
    page: str
    model: str
    size: int
    sent: int = 0
    events: int = 0
    statuses: Counter = field(default_factory=Counter)
    warm: dict | None = None

    def ask(self, what: str) -> dict:
        print(what, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def path(self, address: str) -> str:
        return address.removeprefix(self.url)

    def note(self, answers: bytes) -> None:
        """Count and check the responses."""
        for part in answers.split(b"HTTP/1.1 ")[1:]:
            self.statuses[int(part[:3])] += 1
        self.check(answers)

    def check(self, answers: bytes) -> None:
        assert CANARY.encode() not in answers
        assert b"root:x:0:0" not in answers
        worst = max(self.statuses, default=0)
        assert worst < 500, (worst, answers[-2000:])

    def share(self, requests: int) -> int:
        """How many requests to send where the full size has `requests`."""
        return requests * self.size // FULL

    def count(self, requests: int) -> None:
        self.sent += requests
        if self.warm is None and self.sent >= WARM_UP * self.size:
            self.warm = self.ask("facts")


@pytest.fixture(scope="module", params=SIZES)
def target(request, tmp_path_factory):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fuzzed_server", str(tmp_path_factory.mktemp("fuzzed"))],
        cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Target(process, size=request.param, **json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.stdout.close()


def as_bytes(target: Target, request) -> bytes:
    method, path, host, headers, body = request
    parts = urlsplit(target.url)
    given = {
        "TOKEN": parts.path,
        "HOST": parts.netloc,
        "PAGE": target.page,
        "JOB": str(target.events % 2 + 1),
    }
    body = body.replace(b'"EVENTS"', str(target.events).encode())
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join([*lines, "", ""])
    for name, value in given.items():
        text = text.replace(name, value)
    return text.encode() + body


def ambiguous(request) -> bool:
    """Whether the server may wait for more data, or end an incomplete response."""
    method, path, _, headers, _ = request
    names = " ".join(headers).lower()
    return any(word in names for word in ("content-length", "transfer-encoding", "upgrade", "expect")) or (
        method in ("HEAD", "CONNECT") or "\t" in path
    )


class Asker:
    """Sends requests over one connection while the server keeps it open."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connection: Raw | None = None

    def ask(self, request) -> None:
        target, data = self.target, as_bytes(self.target, request)
        if ambiguous(request):
            with Raw(target.url) as alone:
                alone.send(data)
                target.note(alone.rest(wait=0.01))
            return
        if self.connection is None:
            self.connection = Raw(target.url)
        self.connection.send(data)
        try:
            answer = self.connection.answer()
        except TimeoutError:
            pytest.fail(f"no answer to {data[:1000]!r}")
        if answer is None:
            self.close()
            return
        target.statuses[answer.status] += 1
        target.check(answer.body)
        if answer.status == 204 and data.split(b" ")[1].endswith(b"/events"):
            target.events += len(json.loads(data.partition(b"\r\n\r\n")[2])["events"])
        if answer.headers.get("connection") == "close":
            self.close()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.socket.close()
            self.connection = None


@pytest.fixture(scope="module")
def asker(target):
    asker = Asker(target)
    yield asker
    asker.close()


def test_changed_requests(asker):
    chance = Random(1)
    for _ in range(asker.target.share(6000)):
        asker.ask(request(chance))
        asker.target.count(1)


def test_requests_with_other_bytes(target):
    chance = Random(2)
    for _ in range(target.share(1500)):
        data = bytearray(as_bytes(target, request(chance)))
        for _ in range(chance.randint(0, 4)):
            at = chance.randrange(min(len(data), 400))
            data[at : at + 1] = chance.randbytes(chance.randint(0, 3))
        with Raw(target.url) as connection:
            connection.send(bytes(data))
            target.note(connection.rest(wait=0.003))
        target.count(1)


def test_bytes_that_are_not_requests(target):
    @settings(FUZZ, max_examples=target.share(1500) // PART)
    @given(st.lists(st.binary(min_size=1, max_size=200), min_size=PART, max_size=PART))
    def send(some):
        for data in some:
            with Raw(target.url) as connection:
                connection.send(data + b"\r\n\r\n")
                target.note(connection.rest(wait=0.003))
        target.count(len(some))

    send()


def test_frames(target):
    chance = Random(3)
    for number in range(target.share(1200)):
        if number % PART == 0:
            job = target.ask("assign")["job"]
        with Raw(target.url) as connection:
            answer = connection.open_socket(target.page)
            target.statuses[answer.status] += 1
            connection.send(frames(chance, job))
            target.check(connection.rest(wait=0.003))
        target.count(1)


def test_server_has_not_grown_and_serves_a_job(target, capsys):
    after = target.ask("facts")
    grown = after["rss"] - target.warm["rss"]
    with capsys.disabled():
        print(f"\n{target.sent} requests, answers {dict(sorted(target.statuses.items()))};"
              f" memory {target.warm['rss'] >> 20} MB after a fifth, {after['rss'] >> 20} MB at the end;"
              f" {after['job']} jobs")  # fmt: skip
    assert target.sent >= target.size
    assert {200, 204, 400, 404, 405, 421, 101} <= target.statuses.keys()
    assert grown < GROWTH
    assert after["threads"] <= target.warm["threads"] + 2
    assert after["files"] <= target.warm["files"] + 2
    do_a_job(target, target.ask("assign")["job"])
    done = target.ask("facts")
    assert done["received"] == [{"dense": [[factor, factor]], "relu": [[8, 8]]} for factor in (0, 1)]


def do_a_job(target, job):
    """The requests of a page, sent by hand."""
    with contextlib.ExitStack() as stack:
        connect = lambda: stack.enter_context(Raw(target.url))  # noqa: E731
        api = f"/api/{target.page}/jobs/{job}"
        client = connect()
        client.send(client.head(f"{api}/feeds/0"))
        np.testing.assert_array_equal(decode(client.answer().body)["x"], X)
        uploads = connect()
        assert uploads.open_socket(target.page).status == 101
        for chunk in (0, 1):
            given = {"dense": np.full((1, 2), chunk, np.float32), "relu": np.full((1, 2), 8, np.float32)}
            body = encode(given)
            announcement = {"job": job, "chunk": chunk, "feed": 0, "bytes": len(body)}
            uploads.send(frame(1, json.dumps(announcement).encode()) + frame(2, body))
            assert uploads.socket.recv(16).endswith(b"ok")
        result = json.dumps(RESULT).encode()
        client.send(client.head(f"{api}/result", f"Content-Length: {len(result)}", method="POST") + result)
        assert client.answer("POST").status == 204
    started = time.monotonic()
    while target.ask("facts")["job"] == job and time.monotonic() - started < 20:
        time.sleep(0.01)


@pytest.mark.browser
def test_page_still_computes(target):
    given = target.ask("browser")
    np.testing.assert_allclose(given["relu"], RELU, rtol=1e-6)
