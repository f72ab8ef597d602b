"""Parsing of well-formed and malformed messages of the page."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.browsers.jobs import JobResult
from pytest_tfjs.browsers.messages import (
    ConsoleLine,
    Failure,
    PageFault,
    PageUp,
    Progress,
    ProtocolError,
    parse_event,
    parse_result,
)
from pytest_tfjs.errors import RefusedLayer

RESULT = {"loadMs": 1, "firstMs": None, "warmMs": [], "memory": {}, "model": {}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda items: st.lists(items) | st.dictionaries(st.text(), items),
)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"type": "progress", "stage": "layers", "done": 1, "total": 2}, Progress("layers", 1, 2)),
        ({"type": "progress", "stage": "first run", "done": None}, Progress("first run")),
        ({"type": "console", "level": "warn", "arguments": ["a", "1"]}, ConsoleLine("warn", ("a", "1"))),
        ({"type": "fault", "kind": "error", "message": "m", "stack": "s"}, PageFault("error", "m", "s")),
        ({"type": "up", "facts": {"backend": "cpu"}}, PageUp({"backend": "cpu"})),
        ({"type": "failed", "reason": "r", "stack": None, "stage": "t"}, Failure("r", None, "t")),
        ({"type": "failed", "reason": "r", "job": 3}, Failure("r", job=3)),
        ({"type": "failed", "reason": "r", "job": 3, "refused": True}, Failure("r", job=3, refused=True)),
        ({"type": "failed", "reason": "r", "refused": 1}, Failure("r")),
        (
            {
                "type": "failed",
                "reason": "r",
                "layer": {"name": "y" * 900, "op": "Dense", "inputs": ["float32 [2]"] * 30, "computable": 2},
            },
            Failure("r", layer=RefusedLayer("y" * 500, "Dense", ("float32 [2]",) * 20, 2)),
        ),
    ],
)
def test_events_are_parsed(message, event):
    assert parse_event(message) == event


def test_events_as_text():
    assert str(Progress("layers", 41, 70)) == "layers 41/70"
    assert str(ConsoleLine("warn", ("two", "words"))) == "[warn] two words"
    assert str(PageFault("error", "m", "at f")) == "[error] m\nat f"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "hello"},
        {"type": 1},
        {"type": "progress"},
        {"type": "progress", "stage": "x", "done": True},
        {"type": "progress", "stage": "x", "done": 1.5},
        {"type": "console", "level": "log", "arguments": "text"},
        {"type": "console", "level": "log", "arguments": [1]},
        {"type": "up", "facts": []},
        {"type": "failed", "reason": None},
        {"type": "failed", "reason": "r", "layer": "hidden"},
        {"type": "failed", "reason": "r", "layer": {"name": "hidden"}},
        {"type": "failed", "reason": "r", "layer": {"name": "hidden", "op": "Dense", "inputs": [1]}},
        {"type": "failed", "reason": "r", "layer": {"name": "hidden", "op": "Dense", "computable": "2"}},
    ],
)
def test_malformed_events_are_rejected(message):
    with pytest.raises(ProtocolError):
        parse_event(message)


@given(JSON)
def test_parsing_raises_nothing_but_protocol_errors(message):
    for parse in (parse_event, parse_result):
        with contextlib.suppress(ProtocolError):
            parse(message)


def test_results_are_parsed():
    result = parse_result({**RESULT, "firstMs": 2.5, "warmMs": [1, 2.5], "memory": {"numTensors": 0}})
    assert result == JobResult(1, 2.5, (1.0, 2.5), {"numTensors": 0}, {})
    more = {"overwrites": [["patched", "x"]], "changedFeeds": ["x"], "withoutMask": ["pooled"]}
    found = parse_result({**RESULT, **more})
    assert (found.overwrites, found.changed_feeds, found.without_mask) == (
        (("patched", "x"),),
        ("x",),
        ("pooled",),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"warmMs": None},
        {"warmMs": ["1"]},
        {"loadMs": True},
        {"memory": 1},
        {"overwrites": [["patched"]]},
        {"overwrites": [["patched", 1]]},
        {"changedFeeds": [1]},
        {"withoutMask": "pooled"},
    ],
)
def test_malformed_results_are_rejected(change):
    with pytest.raises(ProtocolError):
        parse_result({**RESULT, **change})


LAYER = RefusedLayer("hidden", "Dense", ("float32 [2, 3]",))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("no kernel", "'hidden' (Dense of float32 [2, 3]): no kernel"),
        (
            "Bad shape. The inputs are:\n[2, 3]",
            "'hidden' (Dense of float32 [2, 3]): Bad shape\nTF.js: Bad shape. The inputs are:\n[2, 3]",
        ),
        ("a" * 400, f"'hidden' (Dense of float32 [2, 3]): {'a' * 300}...\nTF.js: {'a' * 400}"),
    ],
)
def test_the_text_of_a_failure_names_the_layer_in_its_first_line(reason, text):
    assert Failure(reason, layer=LAYER).text == text
    assert Failure(reason).text == reason
