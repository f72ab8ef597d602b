"""Time limits and page silence, measured by a fake clock."""

from __future__ import annotations

import time

import pytest

from pytest_tfjs.browsers.messages import Progress
from pytest_tfjs.browsers.watchdog import AWAY_S, BUSY_S, TICK_S, Watch, state_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def ticks(self, seconds: float, watch: Watch, heard: float | None = None) -> float:
        """Advance the clock with a check at every tick; returns the last silence."""
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            silence = watch.silence(heard)
        return silence


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def watch(clock) -> Watch:
    now = clock.now
    return Watch(
        60, 20, Progress("starting the job"), lambda _: None, started=now, looked=now, quiet_since=now
    )


def test_page_without_messages_is_silent_from_the_start(clock, watch):
    assert clock.ticks(30, watch) == 30


def test_message_ends_the_silence(clock, watch):
    clock.ticks(10, watch)
    assert watch.silence(clock.now) == 0
    assert clock.ticks(5, watch, heard=clock.now) == 5


def test_message_before_the_watch_is_ignored(clock, watch):
    assert clock.ticks(2, watch, heard=clock.now - 500) == 2


def test_pause_counts_neither_as_silence_nor_as_job_time(clock, watch):
    heard = clock.now
    clock.ticks(5, watch, heard)
    clock.now += 1000
    watch.pause(1000)
    assert watch.silence(heard) == 0
    assert not watch.over
    assert clock.ticks(5, watch, heard) == 5


def test_time_between_checks_does_not_count_as_silence(clock, watch):
    clock.ticks(5, watch)
    clock.now += AWAY_S + 1
    assert watch.silence(None) == 0


def test_job_times_out_at_its_limit(clock, watch):
    clock.now += 60
    assert not watch.over
    clock.now += 1
    assert watch.over


def test_heartbeats_tell_a_busy_page_from_a_silent_one():
    late = BUSY_S + 1
    assert (
        state_of(late, 0)
        == "the page's main thread has been busy for 4 s (the tab is alive and sends heartbeats)"
    )
    assert "there has been no heartbeat for 4 s" in state_of(0, late)
    assert "main thread is idle" in state_of(BUSY_S, BUSY_S)
