"""Passes jobs and messages between a page and the harness, across two threads."""

from __future__ import annotations

import asyncio
import io
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_tfjs.browsers.jobs import Activations, JobResult, job_message
from pytest_tfjs.browsers.messages import (
    ConsoleLine,
    Event,
    Failure,
    PageFault,
    Progress,
    ProtocolError,
    parse_event,
    parse_result,
)
from pytest_tfjs.formats.safetensors import decode, encode, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_tfjs.browsers.jobs import Job

PENDING = 2000
"""The most messages that wait to be read; the page limits its console lines to the same number."""

T = TypeVar("T")
Message = Event | Activations | JobResult


class StaleError(Exception):
    """A message from a page that is no longer used, or about a job that is no longer current."""


@dataclass
class _Order:
    number: int
    job: Job
    artifacts_url: str
    taken: bool = False
    received: int = 0

    def expected(self) -> tuple[int, int] | None:
        """The group and feed whose activations come next."""
        return self.job.group_at(self.received)


class PageChannel:
    """The messages between one page and the harness. Thread-safe; async methods run on the server's loop.

    `page` names the page in its URLs. `setup` is the JSON that the page starts from.
    """

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self.page = secrets.token_hex(8)
        self.setup = setup
        self._changed = threading.Condition()
        self._wakers: set[Callable[[], object]] = set()
        self._messages: deque[Message] = deque()
        self._order: _Order | None = None
        self._numbers = 0
        self._events = 0
        self._last_message_at: float | None = None
        self._busy_s = 0.0
        self._uploads = 0
        self._closed = False
        self._ended = False

    # The harness's side

    def assign(self, job: Job, artifacts_url: str) -> None:
        """Give the page its next job.

        The unread messages of the job before are dropped, except console lines and errors.
        """
        with self._changed:
            self._numbers += 1
            lines = [message for message in self._messages if isinstance(message, ConsoleLine | PageFault)]
            self._messages = deque(lines)
            self._order = _Order(self._numbers, job, artifacts_url)
            self._notify()

    def next_message(self, timeout: float) -> Message | None:
        """The next message of the page, or None after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages, timeout)
            message = self._messages.popleft() if self._messages else None
            if message is not None:
                self._notify()
            return message

    def last_message_at(self) -> float | None:
        """The time (`time.monotonic()`) of the page's last message or heartbeat; None before the first."""
        return self._last_message_at

    def main_thread_busy(self) -> float:
        """For how many seconds, at the last heartbeat, the page's main thread had been busy."""
        return self._busy_s

    def ended(self) -> bool:
        """Whether the page reported a fatal failure, after which it does no further job."""
        return self._ended

    def close(self) -> None:
        """Refuse all later messages of the page, and drop the unread ones."""
        with self._changed:
            self._closed = True
            self._order = None
            self._messages.clear()
            self._notify()

    # The server's side

    async def next_order(self, timeout: float) -> dict[str, Any] | None:
        """The JSON of the page's next job; None after `timeout` seconds."""
        self.alive()
        return await self._wait(self._take_order, timeout)

    def feed(self, number: int, index: int) -> bytes:
        """One feed of the current job, in safetensors. Raises IndexError if the job has no such feed."""
        order = self._current(number)
        if index >= len(order.job.feeds):
            raise IndexError(f"job {number} has no feed {index}")
        return encode(order.job.feeds[index])

    def references(self, number: int, feed: int, names: Sequence[str]) -> memoryview:
        """The reference's activations of some layers of the current job for one feed, in safetensors.

        Raises IndexError if the job has no such feed, and ProtocolError if it does not run layers alone,
        feeds no layer from these, or if they exceed the limit of one chunk.
        """
        job = self._current(number).job
        if feed >= len(job.feeds):
            raise IndexError(f"job {number} has no feed {feed}")
        if job.references is None:
            raise ProtocolError(f"job {number} does not run layers alone")
        wanted = set(names)
        unknown = wanted - job.fetched
        if unknown:
            some = ", ".join(sorted(unknown)[:5])
            raise ProtocolError(f"the page requested references that no layer of job {number} uses: {some}")
        tensors = {name: value for name, value in job.references(feed, wanted).items() if name in wanted}
        size = sum(value.nbytes for value in tensors.values())
        if size > job.chunk_limit:
            raise ProtocolError(f"the page requested {size} bytes at once; the limit is {job.chunk_limit}")
        body = io.BytesIO()
        write(body, tensors)
        return body.getbuffer()

    def chunk_limit(self, number: int) -> int:
        """The most bytes that a chunk of the current job may have."""
        return self._current(number).job.chunk_limit

    async def room(self, number: int, timeout: float) -> bool:
        """Wait until the harness has read the previous chunk, so that at most one chunk is waiting."""
        self._current(number)
        return bool(await self._wait(self._has_room, timeout))

    def deliver(self, number: int, chunk: int, feed: int, body: memoryview) -> None:
        """Hand over the activations of one chunk for one feed; `chunk` counts the job's groups.

        Raises WireError if `body` is not in safetensors, and ProtocolError if it is not the expected chunk or
        does not hold exactly its taps.
        """
        tensors = decode(body)
        with self._changed:
            order = self._current(number)
            if order.expected() != (chunk, feed):
                raise ProtocolError(
                    f"the page sent (chunk, feed) {(chunk, feed)}; expected {order.expected()}"
                )
            plain, alone = chunk < order.job.plain_runs, order.job.runs_alone(chunk)
            names = {tap.name for tap in order.job.groups[chunk]}
            # A plain run may not have all outputs, and not every layer may run alone.
            different = set(tensors) - names if plain or alone else names ^ set(tensors)
            if different:
                some = ", ".join(sorted(different)[:5])
                raise ProtocolError(f"chunk {chunk} has missing or unexpected taps: {some}")
            order.received += 1
            self._put(Activations(feed, tensors, chunk if plain else None, alone))

    def begin_uploads(self) -> int:
        """The number of a new connection that sends activations; the one before it is ended."""
        with self._changed:
            self._uploads += 1
            self._notify()
            return self._uploads

    async def uploads_over(self, number: int) -> None:
        """Wait until the page is closed or has opened a newer connection."""
        await self._wait(lambda: self._uploads != number, None)

    def finish(self, number: int, message: Any) -> None:
        """Hand over the result of a job; raises ProtocolError if activations are missing."""
        result = parse_result(message)
        with self._changed:
            order = self._current(number)
            if order.expected() is not None:
                raise ProtocolError(
                    f"the job ended before the activations of (chunk, feed) {order.expected()} arrived"
                )
            self._order = None
            self._put(result)

    def add_events(self, first: int, messages: list[Any]) -> None:
        """Hand over events; `first` is the number of the first one, counted from 0 over the page's life."""
        events = [parse_event(message) for message in messages]
        with self._changed:
            self.alive()
            if first != self._events:
                raise ProtocolError(f"got event {first}, expected event {self._events}")
            self._events += len(events)
            for event in events:
                self._ended |= isinstance(event, Failure) and event.fatal
                if not self._is_stale(event):
                    self._make_room()
                    self._put(event)

    def beat(self, busy_s: float) -> None:
        """Note a heartbeat; `busy_s`: for how many seconds the page's main thread has been busy."""
        self.alive()
        self._last_message_at = time.monotonic()
        self._busy_s = busy_s

    def alive(self) -> None:
        """Raise StaleError if the page is no longer in use."""
        if self._closed:
            raise StaleError("this page is no longer in use")

    # Within

    def _current(self, number: int) -> _Order:
        self.alive()
        if self._order is None or self._order.number != number:
            raise StaleError(f"job {number} is not the current one")
        return self._order

    def _is_stale(self, event: Event) -> bool:
        """Whether an event is a failure of a job that is no longer current."""
        if not isinstance(event, Failure) or event.job is None:
            return False
        return self._order is None or self._order.number != event.job

    def _take_order(self) -> dict[str, Any] | None:
        if self._order is None or self._order.taken:
            return None
        self._order.taken = True
        return job_message(self._order.job, self._order.number, self._order.artifacts_url)

    def _has_room(self) -> bool:
        return not any(isinstance(message, Activations) for message in self._messages)

    def _make_room(self) -> None:
        """If too many messages wait, drop the oldest console line, error or progress, never another."""
        if len(self._messages) < PENDING:
            return
        for place, message in enumerate(self._messages):
            if isinstance(message, ConsoleLine | PageFault | Progress):
                del self._messages[place]
                return
        raise ProtocolError(f"the harness has not read {PENDING} messages that the page sent earlier")

    def _put(self, message: Message) -> None:
        self._last_message_at = time.monotonic()
        self._messages.append(message)
        self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for wake in self._wakers:
            wake()

    async def _wait(self, take: Callable[[], T], timeout: float | None) -> T | None:
        """The first true result of `take`; None after `timeout` seconds, or if the channel is closed."""
        changed = asyncio.Event()
        wake = partial(asyncio.get_running_loop().call_soon_threadsafe, changed.set)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._wakers.add(wake)
        try:
            while True:
                changed.clear()
                with self._changed:
                    taken = None if self._closed else take()
                if taken or self._closed:
                    return taken
                try:
                    left = None if deadline is None else deadline - time.monotonic()
                    await asyncio.wait_for(changed.wait(), left)
                except asyncio.TimeoutError:
                    return None
        finally:
            with self._changed:
                self._wakers.discard(wake)
