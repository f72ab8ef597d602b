from __future__ import annotations

import random

import pytest

from pytest_tfjs.browsers.serving.frame_counter import FrameCounter
from tests.support.raw_http import frame

TEXT, BINARY, CONTINUATION, PING = 1, 2, 0, 9
UNFINISHED = 0x00


def test_unfragmented_messages_count_zero():
    assert FrameCounter().fragments_after(frame(TEXT, b"a") + frame(BINARY, b"b") * 100) == 0


def test_each_frame_of_an_unfinished_message_counts():
    counter = FrameCounter()
    assert counter.fragments_after(frame(BINARY, b"a", first=UNFINISHED)) == 1
    assert counter.fragments_after(frame(CONTINUATION, b"", first=UNFINISHED) * 3) == 4


def test_peak_fragment_count_includes_finished_messages():
    counter = FrameCounter()
    message = frame(TEXT, b"", first=UNFINISHED) + frame(CONTINUATION, b"", first=UNFINISHED) * 5
    assert counter.fragments_after(message + frame(CONTINUATION, b"")) == 6
    assert counter.fragments_after(frame(TEXT, b"next")) == 0


def test_control_frames_between_fragments_do_not_count():
    counter = FrameCounter()
    counter.fragments_after(frame(TEXT, b"", first=UNFINISHED))
    assert counter.fragments_after(frame(PING, b"ping") * 10) == 1
    assert counter.fragments_after(frame(CONTINUATION, b"", first=UNFINISHED)) == 2


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_payloads_of_every_length_are_skipped_however_the_data_is_split(size):
    payload = random.Random(size).randbytes(size)
    data = frame(BINARY, payload, first=UNFINISHED) + frame(CONTINUATION, payload, first=UNFINISHED)
    for piece in (1, 3, 4096, len(data)):
        counter = FrameCounter()
        counts = [counter.fragments_after(data[at : at + piece]) for at in range(0, len(data), piece)]
        assert max(counts) == 2
        assert counter.fragments_after(frame(CONTINUATION, b"", first=UNFINISHED)) == 3
