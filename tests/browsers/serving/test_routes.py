"""The routes that send reference activations to the page and receive the results."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Job, JobResult, Tap, job_message
from pytest_tfjs.browsers.messages import ProtocolError, parse_result
from pytest_tfjs.browsers.serving import routes
from pytest_tfjs.browsers.serving.page_channel import PageChannel
from pytest_tfjs.browsers.serving.server import Server
from pytest_tfjs.browsers.tfjs_dist import Dist
from pytest_tfjs.formats.safetensors import decode, encode

PLAN = {"rows": ["a", "b"], "fed": [["a:0", {"row": "a"}], ["b:0", {"row": "b"}]]}
A, B = Tap("a", {"node": "a:0"}, PLAN), Tap("b", {"node": "b:0"})
C = Tap("c", {"node": "c:0"}, {"rows": ["b"]})
FEED = {"x": np.ones((1, 2), np.float32)}
RESULT = {"loadMs": 1, "firstMs": None, "warmMs": [], "memory": {}, "model": {}}


def references(feed, names):
    return {name: np.full((2, 3), feed, np.float32) for name in [*names, "not requested"]}


def job(**changes):
    given = {"feeds": (FEED, FEED), "chunks": ((A, B), (C,)), "references": references}
    return Job(Path("model.json"), "graph", **{**given, **changes})


def activations(*names):
    return memoryview(encode({name: np.array(0, np.float32) for name in names}))


def test_job_includes_the_plan_of_each_layer_alone():
    message = json.loads(json.dumps(job_message(job(), 1, "")))
    assert message["alone"] is True
    assert [tap["alone"] for chunk in message["chunks"] for tap in chunk] == [PLAN, None, {"rows": ["b"]}]


@pytest.mark.parametrize("plain_runs", [0, 2])
def test_layers_alone_arrive_after_their_chunk(plain_runs):
    channel = PageChannel({})
    channel.assign(job(outputs=(C,), plain_runs=plain_runs), "http://m")
    plain = [(run, feed, "c") for run in range(plain_runs) for feed in (0, 1)]
    chunks = [(0, 0, "ab"), (1, 0, "a"), (0, 1, "ab"), (1, 1, ""), (2, 0, "c"), (3, 0, "c"), (2, 1, "c")]
    last = (3, 1, "c")
    expected = [*plain, *((plain_runs + group, feed, names) for group, feed, names in [*chunks, last])]
    for group, feed, names in expected:
        channel.deliver(1, group, feed, activations(*names))
        message = channel.next_message(0)
        assert (message.feed, "".join(message.tensors)) == (feed, names)
        assert message.plain_run == (group if group < plain_runs else None)
        assert message.alone == (group >= plain_runs and (group - plain_runs) % 2 == 1)
    channel.finish(1, RESULT)


@pytest.mark.parametrize(("group", "feed"), [(0, 0), (0, 1), (2, 0)])
def test_next_chunk_before_the_layers_alone_is_rejected(group, feed):
    channel = PageChannel({})
    channel.assign(job(), "http://m")
    channel.deliver(1, 0, 0, activations("a", "b"))
    with pytest.raises(ProtocolError, match=r"expected \(1, 0\)"):
        channel.deliver(1, group, feed, activations("a", "b"))
    with pytest.raises(ProtocolError, match=r"\(1, 0\) arrived"):
        channel.finish(1, RESULT)


def test_layer_alone_of_another_chunk_is_rejected():
    channel = PageChannel({})
    channel.assign(job(), "http://m")
    channel.deliver(1, 0, 0, activations("a", "b"))
    with pytest.raises(ProtocolError, match="missing or unexpected taps: c"):
        channel.deliver(1, 1, 0, activations("a", "c"))


def test_job_without_layers_alone_has_one_group_per_chunk():
    assert job(references=None).groups == ((A, B), (C,))
    assert not any(job(references=None).runs_alone(group) for group in (0, 1))


def test_result_has_reasons_of_layers_that_failed_alone():
    result = parse_result({**RESULT, "notAlone": [["c", "it failed"], ["__proto__", "it failed"]]})
    assert result.not_alone == {"c": "it failed", "__proto__": "it failed"}
    assert parse_result(RESULT) == JobResult(load_ms=1)


@pytest.mark.parametrize(
    "reasons", [{}, [["a"]], [["a", []]], [["a", 1]], [["a", None]], [[[], "it failed"]], ["a"]]
)
def test_malformed_reasons_are_rejected(reasons):
    with pytest.raises(ProtocolError):
        parse_result({**RESULT, "notAlone": reasons})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(Dist.shipped(), page_root=tmp_path_factory.mktemp("page")) as server:
        yield server


@pytest.fixture
def ask(server, channel):
    """Requests references as the page does."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield lambda path, **what: client.post(f"/api/{channel.page}/jobs/{path}", **what)


def test_page_receives_only_the_references_it_requests(ask, channel):
    channel.assign(job(), "http://m")
    answer = ask("1/references/1", json={"names": ["b", "a", "b"]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    tensors = decode(answer.content)
    assert set(tensors) == {"a", "b"}
    np.testing.assert_array_equal(tensors["b"], np.ones((2, 3), np.float32))
    assert decode(ask("1/references/0", json={"names": []}).content) == {}


@pytest.mark.parametrize(
    ("changes", "requested", "refusal"),
    [
        ({}, ("1/references/2", ["a"]), (404, "no feed 2")),
        ({}, ("2/references/0", ["a"]), (410, "not the current one")),
        (
            {},
            ("1/references/0", ["c"]),
            (400, "the page requested references that no layer of job 1 uses: c"),
        ),
        ({"references": None}, ("1/references/0", ["a"]), (400, "does not run layers alone")),
        (
            {"chunk_limit": 47},
            ("1/references/0", ["a", "b"]),
            (400, "the page requested 48 bytes at once; the limit is 47"),
        ),
        ({}, ("1/references/0", None), (400, "a JSON object with 'names'")),
        ({}, ("1/references/0", [1]), (400, "a JSON object with 'names'")),
    ],
)
def test_unknown_references_are_rejected(ask, channel, changes, requested, refusal):
    channel.assign(job(**changes), "http://m")
    path, names = requested
    answer = ask(path, json={"names": names})
    status, why = refusal
    assert (answer.status_code, why in answer.text) == (status, True), answer.text


def test_reference_request_must_be_small_and_json(ask, channel, monkeypatch):
    channel.assign(job(), "http://m")
    assert ask("1/references/0", content=b"{").status_code == 400
    monkeypatch.setattr(routes, "REFERENCES_LIMIT", 10)
    assert ask("1/references/0", json={"names": ["a"]}).status_code == 413


def test_unreadable_reference_is_reported(ask, channel):
    def missing(feed, names):
        raise FileNotFoundError("activations-0.safetensors")

    channel.assign(job(references=missing), "http://m")
    answer = ask("1/references/0", json={"names": ["a"]})
    assert (answer.status_code, "activations-0.safetensors" in answer.text) == (500, True)
