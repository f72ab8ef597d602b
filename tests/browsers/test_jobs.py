from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tfjs.browsers.jobs import (
    Activations,
    ConsoleLine,
    Failure,
    Job,
    JobResult,
    PageFault,
    PageUp,
    Progress,
    ProtocolError,
    Tap,
    TimingPlan,
    job_message,
    parse_event,
    parse_result,
)
from pytest_tfjs.browsers.serving.page_channel import Exchange, StaleError
from pytest_tfjs.formats.safetensors import WireError, decode, encode

A, B, C = (Tap(name, {"node": f"{name}:0"}) for name in "abc")
FEED = {"x": np.ones((1, 2), np.float32)}
RESULT = {"loadMs": 1, "firstMs": None, "warmMs": [], "memory": {}, "model": {}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda items: st.lists(items) | st.dictionaries(st.text(), items),
)


def job(**changes):
    return Job(
        **{
            "artifacts": Path("model.json"),
            "format": "graph",
            "feeds": (FEED,),
            "chunks": ((A, B), (C,)),
            **changes,
        }
    )


def activations(*names, value=0.0):
    return memoryview(encode({name: np.array(value, np.float32) for name in names}))


def test_a_job_knows_how_many_activations_it_reads():
    assert job().taps == 3
    assert job(chunks=()).taps == 0


@pytest.mark.parametrize(
    "changes", [{"feeds": ()}, {"chunks": ((A,), (A,))}, {"chunks": ((A, A),)}, {"chunks": ((A,), ())}]
)
def test_a_job_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ValueError, match="a job"):
        job(**changes)


@pytest.mark.parametrize("numbers", [(-1, 1, 1.0), (0, -1, 1.0), (0, 1, -1.0), (0, 1, float("nan"))])
def test_a_timing_plan_with_negative_numbers_is_refused(numbers):
    with pytest.raises(ValueError, match="timing plan"):
        TimingPlan(*numbers)


def test_the_page_is_told_the_job_as_json():
    message = json.loads(
        json.dumps(job_message(job(timing=TimingPlan(1, 2, 3.5), chunk_limit=9), 4, "http://m"))
    )
    assert message == {
        "job": 4,
        "artifacts": "http://m",
        "format": "graph",
        "feeds": 1,
        "chunks": [
            [
                {"name": "a", "address": {"node": "a:0"}, "alone": None},
                {"name": "b", "address": {"node": "b:0"}, "alone": None},
            ],
            [{"name": "c", "address": {"node": "c:0"}, "alone": None}],
        ],
        "outputs": [],
        "plainRuns": 0,
        "timing": {"warmup": 1, "runs": 2, "budgetMs": 3.5},
        "chunkLimit": 9,
        "alone": False,
    }
    assert job_message(job(), 1, "")["timing"] is None


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
    ],
)
def test_events_are_parsed(message, event):
    assert parse_event(message) == event


def test_events_are_told_in_words():
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
    ],
)
def test_malformed_events_are_refused(message):
    with pytest.raises(ProtocolError):
        parse_event(message)


@given(JSON)
def test_no_message_makes_parsing_fail_in_another_way(message):
    for parse in (parse_event, parse_result):
        with contextlib.suppress(ProtocolError):
            parse(message)


def test_results_are_parsed():
    result = parse_result({**RESULT, "firstMs": 2.5, "warmMs": [1, 2.5], "memory": {"numTensors": 0}})
    assert result == JobResult(1, 2.5, (1.0, 2.5), {"numTensors": 0}, {})


@pytest.mark.parametrize("change", [{"warmMs": None}, {"warmMs": ["1"]}, {"loadMs": True}, {"memory": 1}])
def test_malformed_results_are_refused(change):
    with pytest.raises(ProtocolError):
        parse_result({**RESULT, **change})


@pytest.fixture
def exchange():
    """The mailbox of a page that was given a job with two chunks."""
    exchange = Exchange({})
    exchange.assign(job(), "http://m")
    return exchange


def test_activations_come_chunk_by_chunk_and_each_for_every_feed():
    exchange = Exchange({})
    exchange.assign(job(feeds=(FEED, FEED)), "http://m")
    for chunk, feed, names in [(0, 0, "ab"), (0, 1, "ab"), (1, 0, "c"), (1, 1, "c")]:
        exchange.deliver(1, chunk, feed, activations(*names))
        message = exchange.next_message(0)
        assert isinstance(message, Activations)
        assert (message.feed, set(message.tensors)) == (feed, set(names))
    exchange.finish(1, RESULT)
    assert isinstance(exchange.next_message(0), JobResult)


def test_outputs_of_plain_runs_come_before_the_chunks():
    exchange = Exchange({})
    exchange.assign(job(feeds=(FEED, FEED), outputs=(B, C), plain_runs=2), "http://m")
    expected = [(0, 0, "bc"), (0, 1, "b"), (1, 0, ""), (1, 1, "c"), (2, 0, "ab"), (2, 1, "ab"), (3, 0, "c")]
    for group, feed, names in expected:
        exchange.deliver(1, group, feed, activations(*names))
        message = exchange.next_message(0)
        assert (message.feed, set(message.tensors)) == (feed, set(names))
        assert message.plain_run == (group if group < 2 else None)


def test_a_plain_run_gives_outputs_only():
    exchange = Exchange({})
    exchange.assign(job(outputs=(C,), plain_runs=1), "http://m")
    with pytest.raises(ProtocolError, match="exactly its taps: a"):
        exchange.deliver(1, 0, 0, activations("a", "c"))


@pytest.mark.parametrize(("chunk", "feed"), [(1, 0), (0, 1), (2, 0)])
def test_activations_out_of_order_are_refused(exchange, chunk, feed):
    with pytest.raises(ProtocolError, match="was expected"):
        exchange.deliver(1, chunk, feed, activations("a", "b"))


def test_activations_that_came_before_are_refused(exchange):
    exchange.deliver(1, 0, 0, activations("a", "b"))
    with pytest.raises(ProtocolError, match="was expected"):
        exchange.deliver(1, 0, 0, activations("a", "b"))


@pytest.mark.parametrize("names", ["a", "abc", "ac", ""])
def test_a_chunk_holds_exactly_its_taps(exchange, names):
    with pytest.raises(ProtocolError, match="exactly its taps"):
        exchange.deliver(1, 0, 0, activations(*names))
    assert exchange.next_message(0) is None


def test_bytes_that_are_no_tensors_are_refused(exchange):
    with pytest.raises(WireError):
        exchange.deliver(1, 0, 0, memoryview(b"nonsense"))


def test_a_job_does_not_end_before_all_activations_came(exchange):
    exchange.deliver(1, 0, 0, activations("a", "b"))
    with pytest.raises(ProtocolError, match="before"):
        exchange.finish(1, RESULT)


def test_messages_about_another_job_are_stale(exchange):
    exchange.assign(job(), "http://m")
    for call in (
        lambda: exchange.deliver(1, 0, 0, activations("a", "b")),
        lambda: exchange.finish(1, RESULT),
        lambda: exchange.feed(1, 0),
        lambda: exchange.chunk_limit(1),
    ):
        with pytest.raises(StaleError):
            call()


def test_a_new_job_drops_what_is_left_of_the_one_before(exchange):
    exchange.deliver(1, 0, 0, activations("a", "b"))
    exchange.assign(job(), "http://m")
    assert exchange.next_message(0) is None


def test_the_failure_of_a_job_that_was_given_up_is_not_that_of_the_next(exchange):
    exchange.assign(job(), "http://m")
    exchange.tell(0, [{"type": "failed", "reason": "job 1 is not the current one", "job": 1}])
    assert exchange.next_message(0) is None
    exchange.tell(1, [{"type": "failed", "reason": "no memory left", "job": 2}])
    assert exchange.next_message(0) == Failure("no memory left", job=2)


def test_all_messages_of_a_closed_page_are_stale(exchange):
    exchange.close()
    for call in (
        lambda: exchange.tell(0, []),
        lambda: exchange.beat(0.0),
        lambda: exchange.deliver(1, 0, 0, activations("a", "b")),
    ):
        with pytest.raises(StaleError):
            call()


def test_events_come_in_order_and_none_twice(exchange):
    exchange.tell(0, [{"type": "progress", "stage": "one"}, {"type": "progress", "stage": "two"}])
    for first in (0, 1, 3):
        with pytest.raises(ProtocolError, match="was expected"):
            exchange.tell(first, [])
    exchange.tell(2, [{"type": "progress", "stage": "three"}])
    assert [exchange.next_message(0).stage for _ in range(3)] == ["one", "two", "three"]


def test_one_malformed_event_refuses_its_whole_message(exchange):
    with pytest.raises(ProtocolError):
        exchange.tell(0, [{"type": "progress", "stage": "one"}, {"type": "nonsense"}])
    assert exchange.next_message(0) is None


def test_feeds_are_given_on_the_wire(exchange):
    np.testing.assert_array_equal(decode(exchange.feed(1, 0))["x"], FEED["x"])
    with pytest.raises(IndexError):
        exchange.feed(1, 1)


def test_a_message_wakes_whoever_waits_for_it(exchange):
    sender = threading.Timer(0.05, lambda: exchange.tell(0, [{"type": "progress", "stage": "late"}]))
    sender.start()
    assert exchange.next_message(30) == Progress("late")
    sender.join()


def test_a_page_that_was_never_heard_has_no_time_of_it(exchange):
    assert exchange.heard() is None
    exchange.beat(4.5)
    assert exchange.heard() is not None
    assert exchange.main_thread_busy() == 4.5
