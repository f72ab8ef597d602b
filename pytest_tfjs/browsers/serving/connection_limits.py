"""Limits the size, duration and number of requests on each connection to the server.

uvicorn bounds how long a connection idles between requests and how large a WebSocket message is. It has no
setting for the size of a request's head, for a client that sends or reads slowly, or for the number of
connections. `LimitedConnection` therefore sits between the socket and uvicorn's protocol: it parses what the
client sends, and ends the connection when a limit is exceeded. It uses only documented interfaces of asyncio,
ASGI and httptools, and uvicorn's setting for the protocol class.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httptools

from pytest_tfjs.browsers.serving.frame_counter import FrameCounter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

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
"""For how long the rest of a body is read after it was refused, so that the client still gets the answer."""

_STATE = "pytest_tfjs.connection"
_POLICY_VIOLATION = 1008
_TOO_LARGE = "the request's head is too large"


class Connections:
    """The open connections of one server.

    `protocol_class`: uvicorn's protocol for HTTP. `headers`: the headers of every response.
    """

    def __init__(self, protocol_class: Any, headers: Iterable[tuple[str, str]]) -> None:
        self._protocol_class = protocol_class
        self.headers = {
            f"{name.lower()}:".encode(): f"{name}: {value}\r\n".encode("latin-1") for name, value in headers
        }
        self.open: set[LimitedConnection] = set()

    def new(self, *, app_state: dict[str, Any], **settings: Any) -> LimitedConnection:
        """A connection, made as uvicorn makes its protocol.

        ASGI hands `app_state` to the application as `scope["state"]`, where `report_responses` finds the
        connection.
        """
        connection = LimitedConnection(self)
        state = {**app_state, _STATE: connection}
        connection.protocol = self._protocol_class(app_state=state, **settings)
        return connection


def report_responses(app: ASGIApp) -> ASGIApp:
    """`app`, which also notifies the connection of each request when the response is complete."""

    async def reporting(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            connection = scope.get("state", {}).get(_STATE)
            if connection is not None and scope["type"] == "http":
                connection.response_complete()

    return reporting


class LimitedConnection(asyncio.Protocol):
    """One connection: HTTP requests first, then a WebSocket's frames if the client upgrades to one.

    `protocol`: uvicorn's, which answers requests; `transport`: asyncio's. `unanswered`: the number of
    requests that the application works on; `reading_paused`: whether uvicorn's protocol has paused reading.
    """

    protocol: asyncio.Protocol
    transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._requests = _Requests(self)
        self._frames: FrameCounter | None = None  # of the WebSocket, after the upgrade
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._handshake_due = False
        self.unanswered = 0
        self.reading_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connections.open.add(self)
        # With this limit asyncio calls pause_writing as soon as data cannot be sent at once.
        transport.set_write_buffer_limits(high=0)
        self.protocol.connection_made(_ProtocolTransport(self))  # type: ignore[arg-type]
        if len(self._connections.open) > CONNECTIONS:
            transport.abort()
        else:
            self.abort_after(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.open.discard(self)
        self.abort_after(None)
        self._stop_watching()
        self.protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._frames is None:
            self._receive_http(data)
        elif self._frames.fragments_after(data) > FRAGMENTS:
            self._close_socket(_POLICY_VIOLATION, b"a message in too many fragments")
        else:
            self.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self.protocol.eof_received()

    def pause_writing(self) -> None:
        self._watch()
        self.protocol.pause_writing()
        if self._frames is not None:  # otherwise a client could make pongs queue without bound
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._stop_watching()
        self.protocol.resume_writing()
        self.resume_reading()

    def resume_reading(self) -> None:
        """Resume reading, unless uvicorn's protocol has paused it or the client does not read."""
        held = self._frames is not None and self._stall is not None
        if not self.reading_paused and not held and not self.transport.is_closing():
            self.transport.resume_reading()

    def _receive_http(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        try:
            self._requests.feed(data)
        except httptools.HttpParserError:
            self._refuse()
            return
        self.protocol.data_received(data)
        if self._deadline is None and self._requests.idle and not self.unanswered and self._frames is None:
            self.abort_after(HEAD_S)  # blank lines end uvicorn's wait for a request without beginning one

    def _refuse(self) -> None:
        """Answer 400 and close the connection."""
        text = b"Invalid or too large HTTP request."
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n"
            + b"".join(self._connections.headers.values())
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
            + b"content-length: %d\r\n\r\n" % len(text)
            + text
        )
        self.transport.close()

    def _close_socket(self, code: int, reason: bytes) -> None:
        if not self.transport.is_closing():
            payload = code.to_bytes(2, "big") + reason
            self.transport.write(bytes([0x88, len(payload)]) + payload)
            self.transport.close()

    def upgrade(self, protocol: asyncio.Protocol) -> None:
        """Continue with uvicorn's protocol for WebSockets."""
        self.protocol = protocol
        self._frames = FrameCounter()
        self.unanswered = 0
        self.abort_after(None)
        if self._stall is not None:
            self.protocol.pause_writing()

    def expect_handshake(self) -> None:
        """Note that the client requested another protocol: the next write is the response to that."""
        self._handshake_due = True

    def with_headers(self, data: bytes) -> bytes:
        """`data`, with the headers of every response added if it is the response to a WebSocket handshake.

        uvicorn leaves these headers out when it refuses a handshake.
        """
        if not self._handshake_due or not data.startswith(b"HTTP/1.1 "):
            return data
        self._handshake_due = False
        line, end, rest = data.partition(b"\r\n")
        present = rest.partition(b"\r\n\r\n")[0].lower()
        missing = [header for name, header in self._connections.headers.items() if name not in present]
        return b"".join((line, end, *missing, rest))

    def response_complete(self) -> None:
        """Note that the application has answered a request, perhaps before the whole body arrived."""
        self.unanswered = max(0, self.unanswered - 1)
        if self._requests.in_body and not self.unanswered:
            self.abort_after(LINGER_S)

    def abort_after(self, seconds: float | None) -> None:
        """End the connection after `seconds` unless called again before; None cancels."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._call_later(seconds, self.transport.abort)

    def _watch(self) -> None:
        """End the connection if no waiting data is sent within STALL_S."""
        self._unsent = self.transport.get_write_buffer_size()
        self._stall = self._call_later(STALL_S, self._abort_if_stalled)

    def _abort_if_stalled(self) -> None:
        if self.transport.get_write_buffer_size() >= self._unsent:
            self.transport.abort()
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    @staticmethod
    def _call_later(seconds: float, callback: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


class _ProtocolTransport:
    """The transport that uvicorn's protocols get; all other attributes are asyncio's."""

    def __init__(self, connection: LimitedConnection) -> None:
        self._connection = connection
        self._transport = connection.transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._connection.upgrade(protocol)

    def pause_reading(self) -> None:
        self._connection.reading_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._connection.reading_paused = False
        self._connection.resume_reading()

    def write(self, data: bytes) -> None:
        self._transport.write(self._connection.with_headers(data))


class _Requests:
    """Parses the requests of a connection in parallel with uvicorn; httptools calls its `on_` methods.

    `in_head` and `in_body`: which part of a request comes next.
    """

    def __init__(self, connection: LimitedConnection) -> None:
        self._connection = connection
        self._parser = httptools.HttpRequestParser(self)
        # The same setting as uvicorn's, so that both parse alike.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.in_head = self.in_body = False
        self._address = self._head = self._fields = self._received = self._declared = 0

    @property
    def idle(self) -> bool:
        """Whether no request has begun, or the last one is complete."""
        return not self.in_head and not self.in_body

    def feed(self, data: bytes) -> None:
        """Parse `data`. Raises HttpParserError if the request is malformed or exceeds a limit."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._connection.expect_handshake()
        if self.in_head:  # the parser holds back a header until its end
            self._received += len(data)
            if self._received > HEAD_LIMIT:
                raise httptools.HttpParserError(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self.in_head = True
        self._address = self._head = self._fields = self._received = self._declared = 0
        self._connection.abort_after(HEAD_S)

    def on_url(self, url: bytes) -> None:
        self._address += len(url)
        self._count(len(url), self._address)

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value)
        self._fields += 1
        self._count(size, size)
        if name.lower() == b"content-length":
            self._declared = int(value)

    def on_headers_complete(self) -> None:
        self.in_head, self.in_body = False, True
        self._connection.unanswered += 1
        if self._connection.unanswered > PIPELINED + 1:
            raise ValueError("too many requests at once")
        self._connection.abort_after(BODY_S + min(self._declared / BODY_BYTES_PER_S, 10 * BODY_S))

    def on_message_complete(self) -> None:
        self.in_body = False
        self._connection.abort_after(None)

    def _count(self, size: int, field: int) -> None:
        self._head += size
        if self._head > HEAD_LIMIT or field > FIELD_LIMIT or self._fields > FIELDS:
            raise ValueError(_TOO_LARGE)
