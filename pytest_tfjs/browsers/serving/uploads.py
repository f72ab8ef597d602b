"""Receives activations from pages over a WebSocket, each upload into one buffer.

A browser copies the body of a POST several times before it sends the first byte. Chromium takes 150 to 190 ms
for a POST of 35.5 MB with any server, and half of that over a WebSocket, which also sends the first tensor
while the page reads the second one.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pytest_tfjs.browsers.messages import ProtocolError
from pytest_tfjs.browsers.serving.page_channel import StaleError
from pytest_tfjs.formats import strict_json
from pytest_tfjs.formats.safetensors import WireError

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from pytest_tfjs.browsers.serving.page_channel import PageChannel

MESSAGE_LIMIT = 1 << 21
"""The most bytes of one message; the page sends 1 MiB at a time."""

_ROOM_S = 20.0
_REASON_BYTES = 120
_PROTOCOL_ERROR, _POLICY, _TOO_BIG, _INTERNAL_ERROR = 1002, 1008, 1009, 1011


class _TooBigError(Exception):
    """More bytes than the job allows, or than were announced."""


async def receive_uploads(socket: WebSocket, channel: PageChannel) -> None:
    """Takes the activations that a page sends, chunk after chunk, until it closes the socket.

    The page announces each chunk with a text message `{job, chunk, feed, bytes}`, then sends that many bytes
    in any number of binary messages, and gets `ok` once they are delivered. A violation of this closes the
    socket with the reason. The socket is also closed when the page ends or opens another one.
    """
    await socket.accept()
    over = asyncio.ensure_future(channel.uploads_over(channel.begin_uploads()))
    receiving = asyncio.ensure_future(_receive_all(socket, channel))
    try:
        await asyncio.wait({over, receiving}, return_when=asyncio.FIRST_COMPLETED)
        if not receiving.done():
            await _close(socket, _POLICY, "this page is no longer in use, or has opened another connection")
    finally:
        for task in (over, receiving):
            task.cancel()
        await asyncio.gather(over, receiving, return_exceptions=True)


async def _receive_all(socket: WebSocket, channel: PageChannel) -> None:
    from starlette.websockets import WebSocketDisconnect

    try:
        while True:
            await _receive_chunk(socket, channel)
            await socket.send_text("ok")
    except WebSocketDisconnect:
        return
    except StaleError as error:
        await _close(socket, _POLICY, str(error))
    except (ProtocolError, WireError) as error:
        await _close(socket, _PROTOCOL_ERROR, str(error))
    except _TooBigError as error:
        await _close(socket, _TOO_BIG, str(error))
    except Exception as error:  # noqa: BLE001 (the page reports it as its failure)
        await _close(socket, _INTERNAL_ERROR, f"internal error of the server: {error!r}")


async def _receive_chunk(socket: WebSocket, channel: PageChannel) -> None:
    import numpy as np

    job, chunk, feed, size = _parse_announcement(await _receive(socket, "text"))
    limit = channel.chunk_limit(job)
    if size > limit:
        raise _TooBigError(f"the page announced {size} bytes; the limit is {limit}")
    # No more than one chunk waits to be taken: what comes meanwhile stays in the connection.
    while not await channel.room(job, _ROOM_S):
        pass
    # numpy requests huge pages, which makes new memory much cheaper than a bytearray's.
    body = np.empty(size, np.uint8).data
    at = 0
    while at < size:
        piece = await _receive(socket, "bytes")
        channel.chunk_limit(job)
        if len(piece) > size - at:
            raise _TooBigError("the page sent more bytes than it announced")
        body[at : at + len(piece)] = piece
        at += len(piece)
    channel.deliver(job, chunk, feed, body)


async def _receive(socket: WebSocket, kind: str) -> Any:
    from starlette.websockets import WebSocketDisconnect

    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000), message.get("reason"))
    content = message.get(kind)
    if content is None:
        raise ProtocolError("expected a text message to announce a chunk, and binary messages for its bytes")
    return content


def _parse_announcement(text: str) -> tuple[int, int, int, int]:
    try:
        message: Any = strict_json.loads(text)
        numbers = [message[name] for name in ("job", "chunk", "feed", "bytes")]
    except (ValueError, TypeError, KeyError) as error:
        raise ProtocolError("expected a JSON object with 'job', 'chunk', 'feed' and 'bytes'") from error
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ProtocolError("expected whole numbers from 0 in the announcement of a chunk")
    job, chunk, feed, size = numbers
    return job, chunk, feed, size


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    # A reason may contain a tensor's name from the page, which may not be valid Unicode.
    short = reason.encode(errors="backslashreplace")[:_REASON_BYTES].decode(errors="ignore")
    with contextlib.suppress(RuntimeError):  # the page closed it already
        await socket.close(code, short)
