"""Requests and frames that no page would send, for Hypothesis to draw: valid ones, in part changed.

TOKEN, HOST, PAGE and JOB in them stand for those that there are.
"""

from __future__ import annotations

import json

import numpy as np
from hypothesis import strategies as st
from raw_http import frame

from pytest_tfjs.browsers.wire import encode

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

WORDS = st.sampled_from([*_WORDS.split(), "", "9" * 30, "9" * 5000, "a" * 300])
DIGITS = st.sampled_from(["9" * 5000, "9" * 10, "-1", "00", "1e3", "0x1", "1.0", "%31", "+1", "2", "\u0663"])
BETWEEN = st.sampled_from(["/", "/", "/", "//", "%2f", "\\", "%5c", "%252f", "/./", "/../", "\t"])
ROOTS = ("page", "dist", "artifacts/0", "artifacts", "api/PAGE", "api/PAGE/jobs", "api/PAGE/jobs/JOB/feeds",
         "api/PAGE/jobs/JOB/references", "uploads", "uploads/PAGE", "", "etc")  # fmt: skip
NEAR = (
    ("GET", "page/link.js"), ("GET", "page/folder.js/canary.js"), ("GET", "artifacts/0/link.js"),
    ("GET", "artifacts/0/canary.bin"), ("GET", "page/canary.txt"), ("GET", "page/../canary.js"),
)  # fmt: skip
"""What lies there and is not served."""

VALID = (
    ("GET", "page/index.html"), ("GET", "page/main.js"), ("GET", "dist/@tensorflow/tfjs/dist/tf.min.js"),
    ("GET", "artifacts/0/model.json"), ("GET", "artifacts/0/group1-shard1of1.bin"), ("GET", "api/PAGE/setup"),
    ("GET", "api/PAGE/job"), ("GET", "api/PAGE/jobs/JOB/feeds/0"), ("POST", "api/PAGE/jobs/JOB/references/0"),
    ("POST", "api/PAGE/jobs/JOB/result"), ("POST", "api/PAGE/events"), ("POST", "api/PAGE/beat"),
    ("GET", "uploads/PAGE"),
)  # fmt: skip
METHODS = st.sampled_from(
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "PRI", "G T", ""]
)
TOKENS = st.sampled_from(
    ["TOKEN"] * 30 + ["", "/", "/TOKE", "TOKENx", "//", "/%00", "TOKEN/..", "/..TOKEN", "/ä"]
)
HOSTS = st.sampled_from(
    ["HOST"] * 40 + ["", "evil.example", "localhost", "HOST:1", "127.0.0.1", "HOST, HOST"]
)
HEADERS = st.sampled_from([*_HEADERS.splitlines(), "X: " + "y" * 5000, "X\t: 1"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**31, 2**64, 10**19, 10**30, 1.5, 1e308, float("nan"), float("inf"), -0.0]),
    st.sampled_from(["x", "dense", "relu", "up", "failed", "console", "progress", "fault"]),
    st.sampled_from(["\x1b[31m", "\ud800", "\u202e", "::error::"]),
    st.sampled_from(["", "x" * 3000]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["first", "events", "busyMs", "names", "type", "stage", "level", "facts"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
EVENTS = st.sampled_from(
    [{"type": "progress", "stage": "x", "done": 1, "total": 2}, {"type": "up", "facts": {"backend": "cpu"}},
     {"type": "console", "level": "log", "arguments": ["a", "b"]},
     {"type": "failed", "reason": "no", "job": 1}, {"type": "fault", "kind": "error", "message": "m"}]
)  # fmt: skip
RESULT = {
    "warmMs": [],
    "memory": {},
    "model": {},
    "loadMs": 1,
    "isolated": [["relu", ["dense"]]],
    "notIsolated": [],
}
BODIES = {
    "events": st.builds(lambda events: {"first": "EVENTS", "events": events}, st.lists(EVENTS, max_size=3)),
    "beat": st.builds(lambda busy: {"busyMs": busy}, SCALARS),
    "result": st.builds(lambda key, value: {**RESULT, key: value}, st.sampled_from([*RESULT, "x"]), VALUES),
    "references": st.builds(
        lambda names: {"names": names}, st.lists(st.sampled_from(["dense", "relu", "no"]), max_size=3)
    ),
}
RAW_BODIES = st.sampled_from(
    [b"", b"{", b"\xff\xfe", b"[" * 5000, b"[" * 300 + b"]" * 300, b"1" * 5000, b'{"a":1,"a":2}']
)


@st.composite
def requests(draw):
    """Method, path, headers and body of a request: a valid one, of which some parts are changed."""
    method, path = draw(st.sampled_from([*VALID, *NEAR]))
    changed = draw(
        st.sets(st.sampled_from(["method", "path", "words", "number", "header", "body", "raw"]), max_size=2)
    )
    if "method" in changed:
        method = draw(METHODS)
    if "path" in changed:
        parts = draw(st.lists(st.tuples(BETWEEN, WORDS), min_size=1, max_size=6))
        path = draw(st.sampled_from(ROOTS)) + "".join(between + word for between, word in parts)
    elif "number" in changed:
        path = (
            path.replace("JOB", draw(DIGITS))
            if draw(st.booleans())
            else path.replace("/0", f"/{draw(DIGITS)}")
        )
    elif "words" in changed:
        words = path.split("/")
        words[draw(st.integers(0, len(words) - 1))] = draw(WORDS)
        path = "/".join(words)
    headers = draw(st.lists(HEADERS, min_size=1, max_size=3)) if "header" in changed else []
    kind = next((word for word in BODIES if word in path), None)
    if "raw" in changed:
        body = draw(RAW_BODIES)
    elif method == "GET" and "body" not in changed:
        body = b""
    else:
        body = json.dumps(draw(VALUES if kind is None or "body" in changed else BODIES[kind])).encode()
    return method, f"{draw(TOKENS)}/{path}", draw(HOSTS), headers, body


# WebSockets

ACTIVATIONS = encode({name: np.ones((2, 2), np.float32) for name in ("dense", "relu")})
NUMBERS = st.sampled_from([0, 1, 2, -1, 1.5, "0", None, 10**19, len(ACTIVATIONS), 1 << 20, (1 << 20) + 1])
ANNOUNCED = st.builds(
    lambda key, value: json.dumps(
        {"job": 0, "chunk": 0, "feed": 0, "bytes": len(ACTIVATIONS), **({key: value} if key else {})}
    ).encode(),
    st.sampled_from(["", "", "job", "chunk", "feed", "bytes", "x"]),
    NUMBERS,
)


@st.composite
def frames(draw):
    """Frames of one socket: what a page sends, in part changed."""
    sent = []
    for opcode, payload in [(1, draw(ANNOUNCED)), (2, ACTIVATIONS)] * draw(st.integers(1, 2)):
        if draw(st.booleans()):
            sent.append((opcode, payload, {}))
            continue
        at = draw(st.integers(0, len(payload) - 1))
        other = payload[:at] + draw(st.binary(max_size=9)) + payload[at + draw(st.integers(0, 9)) :]
        first = draw(st.sampled_from([0x80, 0x80, 0x00, 0xC0, 0xF0]))
        length = draw(st.sampled_from([None, None, None, 0, 125, 1 << 16, (1 << 21) + 1, (1 << 63) - 1]))
        kind = draw(st.integers(0, 15)) if first != 0x80 else opcode
        sent.append((kind, other, {"first": first, "length": length}))
    return sent


def as_frame(job, opcode, payload, how):
    """Whatever was changed in it, an announcement that still names a job names the one there is."""
    return frame(opcode, payload.replace(b'"job": 0', f'"job": {job}'.encode()), **how)
