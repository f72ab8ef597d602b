"""Where pages send activations: a WebSocket, received into the memory of the arrays that they become.

A browser copies the body of a POST several times before it sends the first byte. 35.5 MB take Chromium 150 to
190 ms by POST, whatever the server does, and 75 ms over a WebSocket, which also sends the first tensor while
the second is being read. No package is needed for the little of RFC 6455 that a page's own socket uses.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.exchange import StaleError
from pytest_tfjs.browsers.jobs import ProtocolError
from pytest_tfjs.browsers.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfjs.browsers.exchange import Exchange

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_ANNOUNCEMENT_LIMIT = 1 << 10
_ROOM_S = 20.0
_BUFFER = 1 << 20
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_PROTOCOL_ERROR, _POLICY, _TOO_BIG = 1002, 1008, 1009


class RefusedError(Exception):
    """The socket is closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass
class _Frame:
    opcode: int
    key: bytes
    left: int
    start: int


@dataclass
class _Upload:
    """The activations being received; `at` bytes of `body` are there."""

    job: int
    chunk: int
    feed: int
    body: NDArray[np.uint8]
    at: int = 0


class UploadSocket(asyncio.BufferedProtocol):
    """The server's end of one page's socket.

    The page announces each chunk with a text message `{job, chunk, feed, bytes}`, then sends that many bytes
    in any number of binary messages, and gets `ok` once they are delivered. Whatever is not so closes the
    socket with the reason. `admit` takes the request's target and headers, and gives the page's mailbox, or
    the status to refuse with.
    """

    def __init__(self, admit: Callable[[bytes, list[tuple[bytes, bytes]]], Exchange | int]) -> None:
        self._admit = admit
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport
        self._buffer = memoryview(bytearray(_BUFFER))
        self._held = 0
        self._frame: _Frame | None = None
        self._text = bytearray()
        self._upload: _Upload | None = None
        self._pause: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection from the HTTP protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """Drop what was not received completely."""
        if self._pause is not None:
            self._pause.cancel()
        self._upload = None

    def data_received(self, data: bytes) -> None:
        """Take the request that opens the socket, which uvicorn hands over in one piece."""
        line, *rest = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        headers = [
            (name.lower(), value.strip()) for name, _, value in (text.partition(b":") for text in rest)
        ]
        admitted = self._admit(line.split(b" ")[1], headers)
        key = dict(headers).get(b"sec-websocket-key", b"")
        if isinstance(admitted, int) or not key:
            status = admitted if isinstance(admitted, int) else 400
            self._transport.write(
                b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
            )
            self._transport.close()
            return
        self._exchange = admitted
        # SHA-1 is what the handshake is made of; it keeps no secret.
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's signature)
        """Where the next bytes go: always the same memory, as fresh memory costs more than the copy."""
        return self._buffer[self._held :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take the frames received so far."""
        self._held += nbytes
        if self._transport.is_closing():
            self._held = 0
            return
        try:
            used = self._take(self._buffer[: self._held])
        except RefusedError as refusal:
            self._close(refusal)
        except StaleError as error:
            self._close(RefusedError(_POLICY, str(error)))
        except (ProtocolError, WireError) as error:
            self._close(RefusedError(_PROTOCOL_ERROR, str(error)))
        else:
            rest = bytes(self._buffer[used : self._held])
            self._buffer[: len(rest)] = rest
            self._held = len(rest)

    def _take(self, data: memoryview) -> int:
        """Take whole frame headers and what there is of payloads; gives how many bytes that were."""
        used = 0
        while used < len(data) and self._pause is None:
            if self._frame is None:
                length = self._begin_frame(data[used:])
                if length == 0:
                    break
                used += length
            if self._frame is not None:
                used += self._receive(self._frame, data[used:])
        return used

    def _begin_frame(self, view: memoryview) -> int:
        """Read a frame's header; gives its length, 0 where it is not there yet."""
        head = bytes(view[:14])
        if len(head) < 2:  # noqa: PLR2004
            return 0
        if head[0] & 0x70 or not head[1] & 0x80:
            raise RefusedError(_PROTOCOL_ERROR, "a frame with reserved bits, or without a mask")
        size = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        if len(head) < 6 + size:
            return 0
        length = int.from_bytes(head[2 : 2 + size], "big") if size else head[1] & 0x7F
        opcode = head[0] & 0x0F
        start = self._check_frame(opcode, length)
        self._frame = _Frame(opcode, head[2 + size : 6 + size], length, start)
        return 6 + size

    def _check_frame(self, opcode: int, length: int) -> int:
        """Refuse a frame that nothing waits for; gives where its payload goes."""
        if opcode == _BINARY or (opcode == _CONTINUATION and self._upload is not None):
            if self._upload is None or length > len(self._upload.body) - self._upload.at:
                raise RefusedError(_TOO_BIG, "more bytes than were announced")
            return self._upload.at
        if opcode == _TEXT and self._upload is not None:
            raise RefusedError(_PROTOCOL_ERROR, "a message before the bytes announced were there")
        if len(self._text) + length > _ANNOUNCEMENT_LIMIT:
            raise RefusedError(_TOO_BIG, "an announcement is short")
        return len(self._text)

    def _receive(self, frame: _Frame, view: memoryview) -> int:
        """Take what there is of a frame's payload, and see to it once it is complete."""
        piece = view[: frame.left]
        frame.left -= len(piece)
        if self._upload is not None and frame.opcode in {_BINARY, _CONTINUATION}:
            upload = self._upload
            upload.body.data[upload.at : upload.at + len(piece)] = piece
            upload.at += len(piece)
            if frame.left == 0:
                _unmask(upload.body[frame.start : upload.at], frame.key)
                self._frame = None
                self._deliver(upload)
        else:
            self._text += piece
            if frame.left == 0:
                text = bytes(byte ^ frame.key[at % 4] for at, byte in enumerate(self._text[frame.start :]))
                self._text.clear()
                self._frame = None
                self._control(frame.opcode, text)
        return len(piece)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _CLOSE:
            raise RefusedError(1000, "")
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _TEXT:
            self._announce(payload)
        elif opcode != _PONG:
            raise RefusedError(_PROTOCOL_ERROR, f"a frame of kind {opcode}")

    def _announce(self, payload: bytes) -> None:
        import numpy as np

        assert self._exchange is not None
        job, chunk, feed, size = _parse_announcement(payload)
        limit = self._exchange.chunk_limit(job)
        if size > limit:
            raise RefusedError(_TOO_BIG, f"{size} bytes, at most {limit} are accepted")
        # numpy asks for huge pages, which makes fresh memory much cheaper than a bytearray's.
        self._upload = _Upload(job, chunk, feed, np.empty(size, np.uint8))
        self._transport.pause_reading()
        self._pause = asyncio.ensure_future(self._wait_for_room(job))

    async def _wait_for_room(self, job: int) -> None:
        """Read on once the chunk before was taken, so that no more than one waits."""
        assert self._exchange is not None
        try:
            while not await self._exchange.room(job, _ROOM_S):
                pass
        except StaleError as error:
            self._close(RefusedError(_POLICY, str(error)))
            return
        self._pause = None
        self._transport.resume_reading()
        self.buffer_updated(0)

    def _deliver(self, upload: _Upload) -> None:
        if upload.at == len(upload.body):
            assert self._exchange is not None
            self._upload = None
            self._exchange.deliver(upload.job, upload.chunk, upload.feed, upload.body.data)
            self._send(_TEXT, b"ok")

    def _send(self, opcode: int, payload: bytes) -> None:
        self._transport.write(bytes([0x80 | opcode, len(payload)]) + payload)

    def _close(self, refusal: RefusedError) -> None:
        reason = refusal.reason.encode()[:120].decode(errors="ignore").encode()
        self._send(_CLOSE, refusal.code.to_bytes(2, "big") + reason)
        self._transport.close()
        self._upload = None


def _parse_announcement(payload: bytes) -> tuple[int, int, int, int]:
    try:
        message: Any = json.loads(payload)
        numbers = [message[name] for name in ("job", "chunk", "feed", "bytes")]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError("an announcement is {job, chunk, feed, bytes}") from error
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ProtocolError("an announcement holds natural numbers")
    job, chunk, feed, size = numbers
    return job, chunk, feed, size


def _unmask(payload: NDArray[np.uint8], key: bytes) -> None:
    """Undo the masking of RFC 6455, section 5.3, in place."""
    import numpy as np

    whole = len(payload) // 4 * 4
    words = payload[:whole].view("<u4")
    np.bitwise_xor(words, np.frombuffer(key, "<u4")[0], out=words)
    rest = payload[whole:]
    np.bitwise_xor(rest, np.frombuffer(key, np.uint8)[: len(rest)], out=rest)
