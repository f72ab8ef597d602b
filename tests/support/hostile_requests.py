"""Malformed requests and frames: valid ones with random changes.

TOKEN, HOST, PAGE and JOB are placeholders for the real values.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfjs.formats.safetensors import encode
from tests.support.raw_http import frame

if TYPE_CHECKING:
    from random import Random

_WORDS = """
.. . %2e%2e %2E. %252e%252e ..%00 %00 C: C:%5c etc passwd canary.js canary.bin canary.txt canary.json link.js
folder.js site page models tiny index.html main.js model.json group1-shard1of1.bin 0 -1 1 ~ * ä %ff%fe %c0%ae
%u002e @tensorflow tfjs dist tf.min.js package.json ? # % %zz setup job
"""
_HEADERS = """Origin: http://HOST
Origin: http://evil.example
Origin: null
Host: HOST
Host: evil.example
Range: bytes=0-0,2-2,4-
Range: bytes=-1
Transfer-Encoding: chunked
Transfer-Encoding: gzip
Content-Length: 3
Content-Length: 0
Content-Length: -1
Content-Length: 1e3
Expect: 100-continue
Connection: Upgrade
Upgrade: websocket
Upgrade: h2c
Connection: close
X-Forwarded-For: ä,,
X-Forwarded-Proto: gopher
Content-Type: application/json
Content-Encoding: gzip
Cookie: a=b; c
If-None-Match: *
: 1
Accept-Encoding: br
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="""

WORDS = [*_WORDS.split(), "", "9" * 30, "9" * 5000, "a" * 300]
DIGITS = ["9" * 5000, "9" * 10, "-1", "00", "1e3", "0x1", "1.0", "%31", "+1", "2", "\u0663"]
BETWEEN = ["/", "/", "/", "//", "%2f", "\\", "%5c", "%252f", "/./", "/../", "\t"]
ROOTS = ("page", "dist", "artifacts/0", "artifacts", "api/PAGE", "api/PAGE/jobs", "api/PAGE/jobs/JOB/feeds",
         "api/PAGE/jobs/JOB/references", "uploads", "uploads/PAGE", "", "etc")  # fmt: skip
NEAR = (
    ("GET", "page/link.js"), ("GET", "page/folder.js/canary.js"), ("GET", "artifacts/0/link.js"),
    ("GET", "artifacts/0/canary.bin"), ("GET", "page/canary.txt"), ("GET", "page/../canary.js"),
)  # fmt: skip
"""Existing files that are not served."""

VALID = (
    ("GET", "page/index.html"), ("GET", "page/main.js"), ("GET", "dist/@tensorflow/tfjs/dist/tf.min.js"),
    ("GET", "artifacts/0/model.json"), ("GET", "artifacts/0/group1-shard1of1.bin"), ("GET", "api/PAGE/setup"),
    ("GET", "api/PAGE/job"), ("GET", "api/PAGE/jobs/JOB/feeds/0"), ("POST", "api/PAGE/jobs/JOB/references/0"),
    ("POST", "api/PAGE/jobs/JOB/result"), ("POST", "api/PAGE/events"), ("POST", "api/PAGE/beat"),
    ("GET", "uploads/PAGE"),
)  # fmt: skip
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "PRI"]
TOKENS = ["", "/", "/TOKE", "TOKENx", "//", "/%00", "TOKEN/..", "/..TOKEN", "/ä"]
HOSTS = ["", "evil.example", "localhost", "HOST:1", "127.0.0.1", "HOST, HOST"]
HEADERS = [*_HEADERS.splitlines(), "X: " + "y" * 5000, "X\t: 1"]
SCALARS = [
    None, True, False, 0, 1, -1, 2**31, 2**64, 10**19, 10**30, 1.5, 1e308, float("nan"), float("inf"), -0.0,
    "x", "dense", "relu", "up", "failed", "console", "progress", "fault", "\x1b[31m", "\ud800", "\u202e",
    "::error::", "", "x" * 3000,
]  # fmt: skip
KEYS = ["first", "events", "busyMs", "names", "type", "stage", "level", "facts"]
EVENTS = [
    {"type": "progress", "stage": "x", "done": 1, "total": 2}, {"type": "up", "facts": {"backend": "cpu"}},
    {"type": "console", "level": "log", "arguments": ["a", "b"]},
    {"type": "failed", "reason": "no", "job": 1}, {"type": "fault", "kind": "error", "message": "m"},
]  # fmt: skip
RESULT: dict[str, Any] = {
    "warmMs": [], "memory": {}, "model": {}, "loadMs": 1,
    "notAlone": [],
}  # fmt: skip
RAW_BODIES = [b"", b"{", b"\xff\xfe", b"[" * 5000, b"[" * 300 + b"]" * 300, b"1" * 5000, b'{"a":1,"a":2}']
PARTS = ("method", "path", "words", "number", "header", "body", "raw")


def request(chance: Random) -> tuple[str, str, str, list[str], bytes]:
    """Method, path, Host, other headers and body of a request, in which up to two parts are changed."""
    method, path = chance.choice([*VALID, *NEAR])
    changed = chance.sample(PARTS, chance.randint(0, 2))
    if "method" in changed:
        method = chance.choice(METHODS)
    if "path" in changed:
        parts = [chance.choice(BETWEEN) + chance.choice(WORDS) for _ in range(chance.randint(1, 6))]
        path = chance.choice(ROOTS) + "".join(parts)
    if "words" in changed:
        words = path.split("/")
        words[chance.randrange(len(words))] = chance.choice(WORDS)
        path = "/".join(words)
    if "number" in changed:
        path = path.replace(chance.choice(["JOB", "0"]), chance.choice(DIGITS))
    headers = chance.choices(HEADERS, k=chance.randint(1, 3)) if "header" in changed else []
    token = "TOKEN" if chance.random() < 0.8 else chance.choice(TOKENS)
    host = "HOST" if chance.random() < 0.9 else chance.choice(HOSTS)
    return method, f"{token}/{path}", host, headers, _body(chance, method, path, changed)


def _body(chance: Random, method: str, path: str, changed: list[str]) -> bytes:
    if "raw" in changed:
        return chance.choice(RAW_BODIES)
    if "body" in changed:
        return json.dumps(_value(chance)).encode()
    if method == "GET":
        return b""
    name = path.rsplit("/", 1)[-1]
    message = {
        "events": {"first": "EVENTS", "events": chance.choices(EVENTS, k=chance.randint(0, 3))},
        "beat": {"busyMs": chance.choice(SCALARS)},
        "result": {**RESULT, chance.choice([*RESULT, "x"]): _value(chance)},
    }.get(name, {"names": chance.choices(["dense", "relu", "no"], k=chance.randint(0, 3))})
    return json.dumps(message).encode()


def _value(chance: Random, depth: int = 0) -> Any:
    kind = chance.random()
    if depth > 3 or kind < 0.5:
        return chance.choice(SCALARS)
    inner = [_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return inner if kind < 0.75 else dict(zip(KEYS, inner, strict=False))


ACTIVATIONS = encode({name: np.ones((2, 2), np.float32) for name in ("dense", "relu")})
ANNOUNCED = {"job": 0, "chunk": 0, "feed": 0, "bytes": len(ACTIVATIONS)}
NUMBERS = [0, 1, 2, -1, 1.5, "0", None, 10**19, len(ACTIVATIONS), 1 << 20, (1 << 20) + 1]
LENGTHS = [None, None, None, 0, 125, 1 << 16, (1 << 21) + 1, (1 << 63) - 1]


def frames(chance: Random, job: int) -> bytes:
    """The frames of one socket: what a page sends for a job, in part changed."""
    sent = []
    for _ in range(chance.randint(1, 2)):
        message = {**ANNOUNCED, "job": job}
        if chance.random() < 0.5:
            message[chance.choice([*message, "x"])] = chance.choice(NUMBERS)
        for opcode, payload in ((1, json.dumps(message).encode()), (2, ACTIVATIONS)):
            sent.append(
                frame(opcode, payload) if chance.random() < 0.5 else _changed(chance, opcode, payload)
            )
    return b"".join(sent)


def _changed(chance: Random, opcode: int, payload: bytes) -> bytes:
    at = chance.randrange(len(payload))
    other = payload[:at] + chance.randbytes(chance.randint(0, 9)) + payload[at + chance.randint(0, 9) :]
    first = chance.choice([0x80, 0x80, 0x00, 0xC0, 0xF0])
    kind = opcode if first == 0x80 else chance.randrange(16)
    return frame(kind, other, first=first, length=chance.choice(LENGTHS))
