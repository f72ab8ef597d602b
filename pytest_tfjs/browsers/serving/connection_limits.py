"""What a connection may ask of the server before any route does: how large, how slow, how many at once.

uvicorn bounds how long a connection is kept idle between requests and how large a WebSocket message is. It
has no setting for the size of a request's head, for a client that sends or reads slowly, or for the number
of connections other than answering 503. The methods are callbacks of asyncio and of uvicorn's protocols.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState
    from websockets.frames import Frame
    from websockets.http11 import Response

HEAD_LIMIT = 32 << 10
"""The most bytes of a request's address and headers."""

FIELD_LIMIT = 8000
"""The most bytes of the address, and of one header: the WebSocket library takes lines of 8192."""

FIELDS = 100
PIPELINED = 16
FRAGMENTS = 4096
CONNECTIONS = 256

HEAD_S = 20.0
BODY_S = 60.0
BODY_BYTES_PER_S = 100_000
STALL_S = 60.0
LINGER_S = 5.0
"""For how long the rest of a body is read that was refused, so that the answer is not lost with it."""


class _Connection(asyncio.Protocol):
    """Cuts off who does not read: for `STALL_S` nothing of what was written could be sent."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    _stall: asyncio.TimerHandle | None = None
    _unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # So that it is told of all that cannot be sent at once, little as it may be.
        self.transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def _watch(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(STALL_S, self._look)

    def _look(self) -> None:
        if self.transport.get_write_buffer_size() >= self._unsent:
            self.transport.abort()
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


class HttpConnection(_Connection, HttpToolsProtocol):
    """Requests of a bounded head, each of which arrives in a bounded time."""

    _due: asyncio.TimerHandle | None = None
    _upgraded = False
    _in_head = False
    _in_body = False
    _head = _fields = _fed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self.transport.abort()
        else:
            self._within(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._within(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._upgraded or self.transport.is_closing():
            return
        if self._in_head:  # the parser keeps what it cannot tell yet
            self._fed += len(data)
            if self._fed > HEAD_LIMIT:
                self.send_400_response("The request's head is too large.")
        elif self._due is None and self._idle():
            self._within(HEAD_S)  # blank lines end the wait for another request, and begin none

    def handle_websocket_upgrade(self) -> None:
        self._within(None)
        self._stop_watching()
        self._upgraded = True
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head = self._fields = self._fed = 0
        self._within(HEAD_S)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url), len(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._count(len(name) + len(value), len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        if len(self.pipeline) >= PIPELINED:
            raise ValueError("too many requests at once")
        declared = max((int(value) for name, value in self.headers if name == b"content-length"), default=0)
        self._within(BODY_S + min(declared / BODY_BYTES_PER_S, 10 * BODY_S))
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._within(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:
            self._within(LINGER_S)

    def _idle(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is None or bool(cycle.response_complete)

    def _count(self, size: int, field: int) -> None:
        """Raise where the head is too large: uvicorn answers 400, as to all that the parser raises."""
        self._head += size
        if self._head > HEAD_LIMIT or field > FIELD_LIMIT or self._fields > FIELDS:
            raise ValueError("the request's head is too large")

    def _within(self, seconds: float | None) -> None:
        """What is waited for comes within that time, or the connection ends; None: nothing is waited for."""
        if self._due is not None:
            self._due.cancel()
        self._due = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


class SocketConnection(_Connection, WebSocketsSansIOProtocol):
    """A WebSocket that is not read while what it has to be told cannot be sent."""

    _fragments = 0

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.conn = _Handshake(
            server_state.default_headers,
            max_size=config.ws_max_size,
            logger=logging.getLogger("uvicorn.error"),
        )

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._stall is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        self._fragments = 0 if event.fin else self._fragments + 1
        if self._fragments > FRAGMENTS and not self.transport.is_closing():
            self.conn.fail(1008, "a message in too many fragments")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()


class _Handshake(ServerProtocol):
    """Refuses with the headers that all answers of the server bear, which uvicorn adds to others alone."""

    def __init__(self, headers: list[tuple[bytes, bytes]], **settings: Any) -> None:
        super().__init__(**settings)
        self._bearing = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]

    def reject(self, status: Any, text: str) -> Response:
        response = super().reject(status, text)
        for name, value in self._bearing:
            response.headers.pop(name, None)
            response.headers[name] = value
        return response
