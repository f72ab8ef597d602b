"""Messages between page and harness arrive in order and once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pytest_tfjs.browsers.jobs import Activations, JobResult
from pytest_tfjs.browsers.messages import (
    Failure,
    Progress,
    ProtocolError,
)
from pytest_tfjs.browsers.serving.page_channel import PageChannel, StaleError
from pytest_tfjs.formats.safetensors import WireError, decode
from tests.support.small_jobs import FEED, B, C, activations, job

RESULT = {"loadMs": 1, "firstMs": None, "warmMs": [], "memory": {}, "model": {}}


@pytest.fixture
def channel():
    """The mailbox of a page with a job of two chunks."""
    channel = PageChannel({})
    channel.assign(job(), "http://m")
    return channel


def test_each_chunk_arrives_for_every_feed():
    channel = PageChannel({})
    channel.assign(job(feeds=(FEED, FEED)), "http://m")
    for chunk, feed, names in [(0, 0, "ab"), (0, 1, "ab"), (1, 0, "c"), (1, 1, "c")]:
        channel.deliver(1, chunk, feed, activations(*names))
        message = channel.next_message(0)
        assert isinstance(message, Activations)
        assert (message.feed, set(message.tensors)) == (feed, set(names))
    channel.finish(1, RESULT)
    assert isinstance(channel.next_message(0), JobResult)


def test_plain_run_outputs_arrive_before_the_chunks():
    channel = PageChannel({})
    channel.assign(job(feeds=(FEED, FEED), outputs=(B, C), plain_runs=2), "http://m")
    expected = [(0, 0, "bc"), (0, 1, "b"), (1, 0, ""), (1, 1, "c"), (2, 0, "ab"), (2, 1, "ab"), (3, 0, "c")]
    for group, feed, names in expected:
        channel.deliver(1, group, feed, activations(*names))
        message = channel.next_message(0)
        assert (message.feed, set(message.tensors)) == (feed, set(names))
        assert message.plain_run == (group if group < 2 else None)


def test_plain_run_returns_only_outputs():
    channel = PageChannel({})
    channel.assign(job(outputs=(C,), plain_runs=1), "http://m")
    with pytest.raises(ProtocolError, match="missing or unexpected taps: a"):
        channel.deliver(1, 0, 0, activations("a", "c"))


@pytest.mark.parametrize(("chunk", "feed"), [(1, 0), (0, 1), (2, 0)])
def test_activations_out_of_order_are_rejected(channel, chunk, feed):
    with pytest.raises(ProtocolError, match=r"the page sent \(chunk, feed\) .*; expected"):
        channel.deliver(1, chunk, feed, activations("a", "b"))


def test_repeated_activations_are_rejected(channel):
    channel.deliver(1, 0, 0, activations("a", "b"))
    with pytest.raises(ProtocolError, match=r"the page sent \(chunk, feed\) .*; expected"):
        channel.deliver(1, 0, 0, activations("a", "b"))


@pytest.mark.parametrize("names", ["a", "abc", "ac", ""])
def test_chunk_must_hold_exactly_its_taps(channel, names):
    with pytest.raises(ProtocolError, match="missing or unexpected taps"):
        channel.deliver(1, 0, 0, activations(*names))
    assert channel.next_message(0) is None


def test_invalid_safetensors_are_rejected(channel):
    with pytest.raises(WireError):
        channel.deliver(1, 0, 0, memoryview(b"nonsense"))


def test_result_before_all_activations_is_rejected(channel):
    channel.deliver(1, 0, 0, activations("a", "b"))
    with pytest.raises(ProtocolError, match="before"):
        channel.finish(1, RESULT)


def test_messages_for_another_job_are_stale(channel):
    channel.assign(job(), "http://m")
    for call in (
        lambda: channel.deliver(1, 0, 0, activations("a", "b")),
        lambda: channel.finish(1, RESULT),
        lambda: channel.feed(1, 0),
        lambda: channel.chunk_limit(1),
    ):
        with pytest.raises(StaleError):
            call()


def test_new_job_drops_unread_messages(channel):
    channel.deliver(1, 0, 0, activations("a", "b"))
    channel.assign(job(), "http://m")
    assert channel.next_message(0) is None


def test_late_failure_of_an_earlier_job_is_dropped(channel):
    channel.assign(job(), "http://m")
    channel.add_events(0, [{"type": "failed", "reason": "job 1 is not the current one", "job": 1}])
    assert channel.next_message(0) is None
    channel.add_events(1, [{"type": "failed", "reason": "no memory left", "job": 2}])
    assert channel.next_message(0) == Failure("no memory left", job=2)


def test_all_messages_of_a_closed_page_are_stale(channel):
    channel.close()
    for call in (
        lambda: channel.add_events(0, []),
        lambda: channel.beat(0.0),
        lambda: channel.deliver(1, 0, 0, activations("a", "b")),
    ):
        with pytest.raises(StaleError):
            call()


def test_events_arrive_in_order_and_once(channel):
    channel.add_events(0, [{"type": "progress", "stage": "one"}, {"type": "progress", "stage": "two"}])
    for first in (0, 1, 3):
        with pytest.raises(ProtocolError, match=r"got event .*, expected event 2"):
            channel.add_events(first, [])
    channel.add_events(2, [{"type": "progress", "stage": "three"}])
    assert [channel.next_message(0).stage for _ in range(3)] == ["one", "two", "three"]


def test_malformed_event_rejects_the_whole_message(channel):
    with pytest.raises(ProtocolError):
        channel.add_events(0, [{"type": "progress", "stage": "one"}, {"type": "nonsense"}])
    assert channel.next_message(0) is None


def test_a_feed_as_safetensors(channel):
    np.testing.assert_array_equal(decode(channel.feed(1, 0))["x"], FEED["x"])
    with pytest.raises(IndexError):
        channel.feed(1, 1)


def test_message_wakes_the_waiting_thread(channel):
    sender = threading.Timer(0.05, lambda: channel.add_events(0, [{"type": "progress", "stage": "late"}]))
    sender.start()
    assert channel.next_message(30) == Progress("late")
    sender.join()


def test_heartbeat_time_is_recorded(channel):
    assert channel.last_message_at() is None
    channel.beat(4.5)
    assert channel.last_message_at() is not None
    assert channel.main_thread_busy() == 4.5
